"""The scale of action values, so that one entropy coefficient fits every task."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from alf_layered.networks.constant_buffers import register_constant


class QScale(nn.Module):
    """A running range between two percentiles, at least 1 (arXiv 2310.16828, equation 4)."""

    value: Tensor
    _levels: Tensor

    def __init__(self, tau: float = 0.01, low: float = 0.05, high: float = 0.95) -> None:
        super().__init__()
        self._tau = tau
        self.register_buffer("value", torch.ones(()))
        register_constant(self, "_levels", torch.tensor([low, high]))

    @torch.no_grad()
    def update(self, q: Tensor) -> Tensor:
        """Moves towards the range of `q` `[R]`; returns a copy of the new scale.

        A range that is not finite moves nothing: that update may be skipped, the scale stays.
        """
        low, high = torch.quantile(q.detach().float().flatten(), self._levels)
        moved = self.value.lerp((high - low).clamp(min=1.0), self._tau)
        self.value.copy_(torch.where(moved.isfinite(), moved, self.value))
        return self.value.clone()
