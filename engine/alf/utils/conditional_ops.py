"""Work on those rows of a batch for which a condition holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from alf.nest import nest

__all__ = ["conditional_update", "select_from_mask"]


def conditional_update(
    target: Any, cond: torch.Tensor, func: Callable, *args: Any, **kwargs: Any
) -> Any:
    """Replace rows of `target` by what `func` makes of the same rows of its arguments.

    `func` is called with the rows for which `cond` holds only, and not at all if there are none.

    Args:
        target: nest of [B, ...].
        cond: bool [B].
        func: called as `func(*args, **kwargs)` with n rows; returns [n, ...], a nest like `target`.
        args: nests of [B, ...].
        kwargs: nests of [B, ...].

    Returns a nest like `target`; `target` itself is not changed.
    """
    rows = torch.nonzero(cond).flatten()
    if rows.numel() == 0:
        return target
    if rows.numel() == cond.numel():
        return func(*args, **kwargs)
    args, kwargs = nest.map_structure(lambda x: x[rows], (args, kwargs))
    result = func(*args, **kwargs)
    return nest.map_structure(lambda old, new: old.index_copy(0, rows, new), target, result)


def select_from_mask(data: Any, mask: torch.Tensor) -> Any:
    """The rows of a nest of [B, ...] for which `mask` (bool [B]) holds: nest of [n, ...]."""
    rows = torch.nonzero(mask).flatten()
    return nest.map_structure(lambda x: x[rows], data)
