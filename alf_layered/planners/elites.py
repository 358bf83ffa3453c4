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
    valid = weights > 0
    found, variance = _moments(mean, elites, weights, valid)
    fitted = valid.any(dim=1)[:, None, None]
    return torch.where(fitted, found, mean), torch.where(fitted, variance, std.square())


def _moments(mean: Tensor, elites: Tensor, weights: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """The same, 0 without weights."""
    # A plan that lost may hold NaN, and 0 * NaN is NaN.
    x = torch.where(valid[..., None, None], elites, mean[:, None]).flatten(2)
    w = weights[:, None]
    found = torch.bmm(w, x)
    variance = torch.bmm(w, (x - found).square_())
    return found.view_as(mean), variance.view_as(mean)


def refit_with_momentum(
    mean: Tensor, std: Tensor, elites: Tensor, weights: Tensor, *, momentum: float, floor: float
) -> tuple[Tensor, Tensor]:
    """`m * old + (1 - m) * elites'` for mean and (unbiased) deviation, which stays over `floor`.

    A single elite says nothing of the deviation: it stays.
    """
    valid = weights > 0
    found, variance = _moments(mean, elites, weights, valid)
    count = valid.sum(dim=1, dtype=std.dtype)[:, None, None]
    unbiased = (variance * (count / (count - 1).clamp_(min=1))).sqrt_()
    return (
        torch.lerp(found, mean, torch.where(count > 0, momentum, 1.0).to(mean)),
        torch.lerp(unbiased, std, torch.where(count > 1, momentum, 1.0).to(mean)).clamp_(min=floor),
    )
