"""Actions of a spec as vectors in [-1, 1] and back.

Axis letters: B environments, L any axes of rows, A action.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from alf.tensor_specs import BoundedTensorSpec
from alf_layered.networks.constant_buffers import register_constant


class ActionSpace(nn.Module):
    """Scales between the bounds of a spec and [-1, 1].

    Args:
        spec: of the actions.
    """

    _low: Tensor
    _high: Tensor

    def __init__(self, spec: BoundedTensorSpec) -> None:
        super().__init__()
        self._spec = spec
        for key, bound in (("_low", spec.minimum), ("_high", spec.maximum)):
            bound = torch.as_tensor(bound, dtype=torch.float32).broadcast_to(spec.shape)
            register_constant(self, key, bound.reshape(-1).clone())

    @property
    def size(self) -> int:
        """A."""
        return len(self._low)

    @property
    def device(self) -> torch.device:
        """Where the actions are."""
        return self._low.device

    def to_spec(self, action: Tensor) -> Tensor:
        """Actions `[B, *spec.shape]` of vectors `[B, A]`."""
        scaled = self._low + (action + 1) / 2 * (self._high - self._low)
        return scaled.to(self._spec.dtype).reshape(-1, *self._spec.shape)

    def from_spec(self, action: Tensor) -> Tensor:
        """Vectors `[H, B, A]` of actions `[H, B, *spec.shape]`."""
        vectors = action.reshape(*action.shape[:2], -1)
        width = self._high - self._low
        # A dimension of one value is 0 for the model, whatever the policy meant.
        inside = (vectors - self._low) / torch.where(width > 0, width, 1.0) * 2 - 1
        return torch.where(width > 0, inside, 0.0)
