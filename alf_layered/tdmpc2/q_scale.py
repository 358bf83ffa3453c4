"""The scale of action values, so that one entropy coefficient fits every task."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class QScale(nn.Module):
    """A running range between two percentiles, at least 1 (arXiv 2310.16828, equation 4)."""

    value: Tensor

    def __init__(self, tau: float = 0.01, low: float = 0.05, high: float = 0.95) -> None:
        super().__init__()
        self._tau = tau
        self._low, self._high = low, high
        self.register_buffer("value", torch.ones(()))

    @torch.no_grad()
    def update(self, q: Tensor) -> Tensor:
        """Moves towards the range of `q` `[R]`; returns a copy of the new scale."""
        q = q.detach().float().flatten()
        levels = torch.tensor([self._low, self._high], dtype=q.dtype, device=q.device)
        low, high = torch.quantile(q, levels)
        self.value.lerp_((high - low).clamp(min=1.0), self._tau)
        return self.value.clone()
