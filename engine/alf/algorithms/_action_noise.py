"""How a deterministic policy explores: correlated noise on its action, or now and then another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from alf.nest import nest
from alf.utils import spec_utils

__all__ = ["choose", "with_noise"]


def with_noise(action: Any, state: Any, processes: Iterable, action_spec: Any) -> tuple[Any, Any]:
    """Action and noise, within the bounds, and the next state of the noise.

    The gradient is that of the action alone: at a bound it would be lost otherwise.

    Args:
        action: nest of tensors [B, ...].
        state: the noise of the step before, in the same structure.
        processes: an :class:`.OUProcess` for each tensor of the action.
        action_spec: nest of bounded specs.
    """
    leaves, states = nest.flatten(action), nest.flatten(state)
    steps = [process(s) for process, s in zip(processes, states, strict=True)]
    noisy = []
    for a, (noise, _), spec in zip(leaves, steps, nest.flatten(action_spec), strict=True):
        there = spec_utils.clip_to_spec(a.detach() + noise, spec)
        noisy.append(there + (a - a.detach()) if a.requires_grad else there)
    return (
        nest.pack_sequence_as(action, noisy),
        nest.pack_sequence_as(state, [s for _, s in steps]),
    )


def choose(one: Any, other: Any, share: float) -> Any:
    """Rows of ``one`` with probability ``share``, else of ``other``."""
    first = nest.flatten(other)[0]
    chosen = torch.rand(first.shape[:1], device=first.device) < share

    def row(x: Tensor, y: Tensor) -> Tensor:
        return torch.where(chosen.reshape(-1, *(1,) * (y.dim() - 1)), x, y)

    return nest.map_structure(row, one, other)
