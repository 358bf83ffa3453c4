"""What the best plans of an iteration say: their weights and moments."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from alf_layered.planners.plan import Bounds


def gaussian(mean: Tensor, std: Tensor, noise: Tensor, bounds: Bounds) -> Tensor:
    """`mean + std * noise`, at the nearest point within the bounds: `[B, K, H, A]`."""
    return bounds.clamp(torch.addcmul(mean[:, None], std[:, None], noise))


def equal_weights(score: Tensor) -> Tensor:
    """`[B, E]`, the same for every elite whose score is not -inf."""
    valid = (score > -math.inf).to(score.dtype)
    return valid / valid.sum(dim=1, keepdim=True).clamp(min=1)


def moments(mean: Tensor, std: Tensor, elites: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and variance of the elites `[B, H, A]`; `mean`, `std ** 2` without weights."""
    w = weights.reshape(weights.shape + (1,) * (elites.ndim - 2))
    # A plan that lost may hold NaN, and 0 * NaN is NaN.
    x = torch.where(w > 0, elites, mean[:, None])
    found = (w * x).sum(dim=1)
    variance = (w * (x - found[:, None]).square()).sum(dim=1)
    fitted = w.sum(dim=1) > 0
    return torch.where(fitted, found, mean), torch.where(fitted, variance, std.square())


def refit_with_momentum(
    mean: Tensor, std: Tensor, elites: Tensor, weights: Tensor, *, momentum: float, floor: float
) -> tuple[Tensor, Tensor]:
    """`m * old + (1 - m) * elites'` for mean and (unbiased) deviation, which stays over `floor`.

    A single elite says nothing of the deviation: it stays.
    """
    found, variance = moments(mean, std, elites, weights)
    count = (weights > 0).sum(dim=1).to(std.dtype)[:, None, None]
    unbiased = (variance * (count / (count - 1).clamp(min=1))).sqrt()
    unbiased = torch.where(count > 1, unbiased, std)
    return (
        torch.lerp(found, mean, momentum),
        torch.lerp(unbiased, std, momentum).clamp(min=floor),
    )
