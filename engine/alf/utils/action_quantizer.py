"""Continuous actions as numbers of bins, for each dimension on its own."""

from __future__ import annotations

import torch
from torch import Tensor

from alf.config_util import configurable
from alf.tensor_specs import BoundedTensorSpec
from alf.utils.spec_utils import has_finite_bounds


@configurable
class ActionQuantizer:
    """Cuts the range of each dimension of an action into bins of equal width.

    Args:
        action_spec: continuous, bounded and of rank 1.
        sampling_method: only "uniform": bins have equal width.
        action_bins: number of bins.
        rep_mode: what a bin stands for: its "center", or its lower "boundary", so that the first
            and the last one are the limits of the range.
    """

    def __init__(
        self,
        action_spec: BoundedTensorSpec,
        sampling_method: str = "uniform",
        action_bins: int = 7,
        rep_mode: str = "center",
    ) -> None:
        if not isinstance(action_spec, BoundedTensorSpec) or action_spec.is_discrete:
            raise ValueError(f"the action must be continuous and bounded, got {action_spec}")
        if not has_finite_bounds(action_spec):
            raise ValueError(f"the action must have finite bounds, got {action_spec}")
        if action_spec.ndim != 1:
            raise ValueError(f"the action must have rank 1, got {action_spec}")
        if sampling_method != "uniform":
            raise ValueError(f'sampling_method must be "uniform", got {sampling_method!r}')
        if rep_mode not in ("center", "boundary"):
            raise ValueError(f'rep_mode must be "center" or "boundary", got {rep_mode!r}')
        if action_bins < 2:
            raise ValueError(f"action_bins must be at least 2, got {action_bins}")
        self._bins = action_bins
        self._dtype = action_spec.dtype
        self._low = torch.as_tensor(action_spec.minimum, dtype=self._dtype)
        high = torch.as_tensor(action_spec.maximum, dtype=self._dtype)
        self._width = (high - self._low) / (
            action_bins if rep_mode == "center" else action_bins - 1
        )
        self._offset = 0.5 if rep_mode == "center" else 0.0

    @property
    def action_bins(self) -> int:
        """Number of bins of a dimension."""
        return self._bins

    def ind_to_action(self, action_ind: Tensor) -> Tensor:
        """The action [B, D] that bins [B, D] (int64) stand for."""
        low, width = self._low.to(action_ind.device), self._width.to(action_ind.device)
        return low + (action_ind.to(self._dtype) + self._offset) * width

    def action_to_ind(self, action: Tensor) -> Tensor:
        """The bins [B, D] (int64) that ``action`` [B, D] lies in."""
        low, width = self._low.to(action.device), self._width.to(action.device)
        place = (action - low) / torch.where(width > 0, width, 1.0)  # 0 where there is one value
        if self._offset == 0.0:
            place = place + 1e-4  # a boundary belongs to its bin, in spite of rounding
        return place.floor().to(torch.int64).clamp(0, self._bins - 1)
