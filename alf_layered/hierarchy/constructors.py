"""Constructors that a hierarchy calls: classes, partials, functions; never what they make."""

from __future__ import annotations

from typing import Any

from torch import nn


def called_by(ctor: Any) -> Any:
    """What a constructor made by `functools.partial` calls in the end."""
    while hasattr(ctor, "func"):
        ctor = ctor.func
    return ctor


def check_constructor(ctor: Any, what: str) -> None:
    """Raises `TypeError` where an object, or something that cannot be called, is given.

    Args:
        ctor: a setting that should be a constructor.
        what: names the setting.
    """
    if isinstance(ctor, nn.Module):
        kind = type(ctor).__name__
        raise TypeError(
            f"{what} is a {kind} that is made already; give what makes one: {kind} or "
            f"functools.partial({kind}, ...)"
        )
    if not callable(ctor):
        raise TypeError(f"{what} is {ctor!r}, it must be a class or functools.partial of one")
