"""The bounds of actions: what is executed lies inside them, whatever a policy drew.

ALF's `SacAlgorithm`, `ActorCriticAlgorithm` and `PPOAlgorithm` draw from normal distributions that
are not squashed unless a configuration asks for it, so some of their actions lie outside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

import alf
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

Nest = Any


def has_finite_bounds(spec: TensorSpec) -> bool:
    """Whether a spec has bounds, and they, their range and their center are numbers of its dtype.

    The bounds of a gymnasium Box may be infinite, or as large as its dtype allows, which stands for
    the same: then maximum - minimum overflows.
    """
    if not isinstance(spec, BoundedTensorSpec):
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        ends = (spec.maximum - spec.minimum, spec.maximum + spec.minimum)
    return bool(np.isfinite(ends).all())


class Bounds:
    """Clips actions `[B, ...]` to the bounds of a nest of specs.

    Discrete actions and actions without bounds stay as they are, and so does NaN.

    Args:
        spec: of the actions.
    """

    def __init__(self, spec: Nest) -> None:
        self._limits = alf.nest.map_structure(_Limits, spec)

    def clip(self, action: Nest) -> Nest:
        """Each action, or the nearest one inside the bounds."""
        if isinstance(self._limits, _Limits):
            return self._limits.clip(action)
        return alf.nest.map_structure(lambda limits, a: limits.clip(a), self._limits, action)


class _Limits:
    """The bounds of one action."""

    def __init__(self, spec: TensorSpec) -> None:
        self._on_device: dict[torch.device, tuple[Any, Any]] = {}
        self._low = self._high = None
        if not isinstance(spec, BoundedTensorSpec) or spec.is_discrete:
            return
        low, high = np.asarray(spec.minimum), np.asarray(spec.maximum)
        if low.size and (low == low.flat[0]).all() and (high == high.flat[0]).all():
            self._low, self._high = low.flat[0].item(), high.flat[0].item()
        else:
            self._low = torch.as_tensor(low, dtype=spec.dtype).cpu()
            self._high = torch.as_tensor(high, dtype=spec.dtype).cpu()

    def clip(self, action: Tensor) -> Tensor:
        if self._low is None:
            return action
        if not isinstance(self._low, Tensor):
            return action.clamp(self._low, self._high)
        low, high = self._moved(action.device)
        return torch.minimum(torch.maximum(action, low), high)

    def _moved(self, device: torch.device) -> tuple[Any, Any]:
        if device not in self._on_device:
            self._on_device[device] = (self._low.to(device), self._high.to(device))
        return self._on_device[device]
