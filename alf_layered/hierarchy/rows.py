"""The environment axis: masks are boolean and full width `[B]`, everywhere.

Axis letters: B environments, R selected rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import alf

Nest = Any


def as_mask(mask: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """`mask [B]` with trailing axes of length one, to broadcast against `value [B, ...]`."""
    return mask.reshape(mask.shape + (1,) * (value.ndim - mask.ndim))


def coverage(mask: torch.Tensor) -> float | None:
    """1.0 if all rows of `mask [B]` are true, 0.0 if none is, else None.

    Also None on accelerators: to look there is to wait, and a few operations more cost less.
    """
    if mask.device.type != "cpu":
        return None
    count = int(mask.count_nonzero())
    return 1.0 if count == mask.numel() else 0.0 if count == 0 else None


def where_rows(mask: torch.Tensor, chosen: Nest, otherwise: Nest) -> Nest:
    """Row b of `chosen` where `mask[b]`, else row b of `otherwise`.

    Args:
        mask: `[B]`, bool.
        chosen: nest of `[B, ...]`.
        otherwise: nest of the same structure and shapes.

    Returns:
        A new nest, or one of the two as it is where all rows come from it.
    """
    covered = coverage(mask)
    if covered is not None:
        return chosen if covered else otherwise
    return alf.nest.map_structure(
        lambda a, b: torch.where(as_mask(mask, b), a, b), chosen, otherwise
    )


def take_rows(mask: torch.Tensor, nest: Nest) -> Nest:
    """The rows where `mask`, in order: nest of `[R, ...]`, `nest` itself if that is all."""
    if coverage(mask) == 1.0:
        return nest
    rows = mask.nonzero(as_tuple=True)[0]
    return alf.nest.map_structure(lambda x: x[rows], nest)


def on_rows(
    mask: torch.Tensor, function: Callable[[Nest], Nest], inputs: Nest, otherwise: Nest
) -> Nest:
    """Calls `function` on the rows where `mask` alone and scatters what it returns.

    Args:
        mask: `[B]`, bool.
        function: takes `inputs` reduced to `[R, ...]` (R >= 1), returns a nest of `[R, ...]`.
        inputs: nest of `[B, ...]`.
        otherwise: nest of `[B, ...]`, the result of the other rows; the result of all rows,
            without a call, where no row is selected.
    """
    rows = mask.nonzero(as_tuple=True)[0]
    if rows.numel() == 0:
        return otherwise
    if rows.numel() == mask.numel():
        return function(inputs)
    results = function(alf.nest.map_structure(lambda x: x[rows], inputs))
    return alf.nest.map_structure(
        lambda full, part: full.index_copy(0, rows, part.to(full.dtype)), otherwise, results
    )
