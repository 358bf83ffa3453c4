"""A linear map after which changes of state have unit covariance."""

from __future__ import annotations

import torch
from torch import nn

from alf_layered.networks.running_moments import RunningMoments


class DeltaStandardizer(nn.Module):
    """Learns a matrix such that `Cov(matrix (s' - s)) = I`.

    The scale of each dimension is measured, so that only the correlations are left to learn, by a
    symmetric matrix that starts as the identity.

    Args:
        dim: S.
        momentum: weight of a new batch in the scales.
    """

    def __init__(self, dim: int, *, momentum: float = 0.01) -> None:
        super().__init__()
        self._parameter = nn.Parameter(torch.eye(dim))
        self.changes = RunningMoments(dim, momentum=momentum, eps=1e-8)

    @property
    def matrix(self) -> torch.Tensor:
        """`[S, S]`."""
        upper = self._parameter.triu()
        return 0.5 * (upper + upper.T) / self.changes.scale

    @property
    def inverse(self) -> torch.Tensor:
        """`[S, S]`, from standardised changes to changes of state."""
        return torch.linalg.pinv(self.matrix)

    def forward(self, change: torch.Tensor) -> torch.Tensor:
        """Standardised changes `[..., S]`."""
        return change @ self.matrix.T

    def loss(self, change: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Frobenius distance of the covariance of valid changes `[R, S]` from the identity."""
        change = change.detach()
        if self.training:
            self.changes.update(change, valid)
        weight = valid.to(change).unsqueeze(-1)
        count = weight.sum().clamp(min=1)
        x = self(torch.where(weight > 0, change, 0.0))
        x = weight * (x - (weight * x).sum(0) / count)
        distance = x.T @ x / count - torch.eye(x.shape[-1]).to(x)
        # The root has no slope at 0, which a batch of equal changes in one dimension can reach.
        return (distance.square().sum() + 1e-12).sqrt()
