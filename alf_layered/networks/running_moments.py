"""Running mean and variance of vectors, kept with the model they scale."""

from __future__ import annotations

import torch
from torch import nn


class RunningMoments(nn.Module):
    """Exponential means over batches; the first batch sets them.

    Args:
        dim: D.
        momentum: weight of a new batch.
        eps: added to the variance under the root.
    """

    mean: torch.Tensor
    var: torch.Tensor
    seen: torch.Tensor

    def __init__(self, dim: int, *, momentum: float = 0.01, eps: float = 1e-5) -> None:
        super().__init__()
        if not 0 < momentum <= 1:
            raise ValueError(f"the momentum of running moments is {momentum}; it is in (0, 1]")
        self._momentum = momentum
        self._eps = eps
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("var", torch.ones(dim))
        self.register_buffer("seen", torch.zeros((), dtype=torch.bool))

    @property
    def scale(self) -> torch.Tensor:
        """`[D]`, the standard deviation."""
        return (self.var + self._eps).sqrt()

    @torch.no_grad()
    def update(self, x: torch.Tensor, valid: torch.Tensor) -> None:
        """Takes the rows of `x` `[R, D]` where `valid` `[R]` (bool or 0/1) into account."""
        weight = valid.to(x.dtype).unsqueeze(-1)
        count = weight.sum()
        x = torch.where(weight > 0, x, 0.0)  # 0 times what is not valid could be NaN
        mean = x.sum(0) / count.clamp(min=1)
        var = (weight * (x - mean).square()).sum(0) / count.clamp(min=1)
        rate = torch.where(self.seen, self._momentum, 1.0) * (count > 0)
        self.mean.lerp_(mean, rate)
        self.var.lerp_(var, rate)
        self.seen.logical_or_(count > 0)
