"""Constructors that a hierarchy calls: classes, partials, functions; never what they make."""

from __future__ import annotations

import difflib
import inspect
from functools import partial
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


class LevelConstructor(partial):
    """A constructor with some arguments bound; `options` binds more."""

    def options(self, **arguments: Any) -> LevelConstructor:
        """This constructor with arguments bound, checked by their names.

        Raises:
            TypeError: it takes no argument of such a name.
        """
        return bind_options(self, arguments)


def bind_options(ctor: Any, arguments: dict[str, Any]) -> LevelConstructor:
    """`ctor` with arguments bound.

    Raises:
        TypeError: it takes no argument of such a name.
    """
    called = called_by(ctor)
    taken = inspect.signature(called).parameters
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in taken.values())
    for name in arguments:
        if name not in taken and not open_ended:
            near = difflib.get_close_matches(name, taken, n=3)
            hint = f"did you mean {', '.join(near)}?" if near else f"it takes {', '.join(taken)}"
            raise TypeError(f"{called.__name__}.options() takes no {name!r}; {hint}")
    bound = getattr(ctor, "keywords", {}) | arguments
    return LevelConstructor(called, *getattr(ctor, "args", ()), **bound)
