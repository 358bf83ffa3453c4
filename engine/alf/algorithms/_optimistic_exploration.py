"""Exploration by an optimistic policy near the target policy (OAC, arXiv:1910.12807)."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.distributions as td
from torch import Tensor

from alf.utils import dist_utils
from alf.utils.dist_utils import DiagMultivariateNormal

__all__ = ["apply_transforms", "optimistic_policy", "upper_bound"]


def upper_bound(values: Tensor, beta_ub: float, *, unbiased: bool = True) -> Tensor:
    """``mean + beta_ub * standard deviation`` over the replicas of values [B, R, ...]: [B, ...].

    The deviation of one replica is 0. That of two is half of their difference if biased.
    """
    mean = values.mean(1)
    if values.shape[1] == 1:
        return mean
    return mean + beta_ub * values.std(1, correction=int(unbiased))


def optimistic_policy(
    policy: td.Distribution,
    value_of: Callable[[Tensor], Tensor],
    *,
    explore_delta: float,
    clipping: float | None,
) -> td.Distribution:
    """The policy with its mean moved to where an upper bound of the value is higher (eq. 7).

    ``mean + explore_delta * s^2 g / (|s^2 g^2|^(1/2) + 1e-6)`` with the variance ``s^2`` before
    squashing and the gradient g of the upper bound at the mean; the norm is over the whole batch.

    Args:
        policy: a squashed DiagMultivariateNormal [B].
        value_of: the upper bound [B] of squashed actions [B, A].
        explore_delta: how far the mean is moved.
        clipping: bound of each element of the gradient; None or 0 is none.

    Raises:
        ValueError: the policy is of another kind.
    """
    base = policy.base_dist if isinstance(policy, td.TransformedDistribution) else None
    if not isinstance(base, DiagMultivariateNormal):
        raise ValueError(
            "optimistic exploration needs a squashed normal policy, such as that of "
            "NormalProjectionNetwork(scale_distribution=True, state_dependent_std=True); it is "
            f"{type(policy).__name__} of {type(base or policy).__name__}"
        )
    assert isinstance(policy, td.TransformedDistribution)
    mean: Tensor = base.mean.detach()
    variance: Tensor = base.variance.detach()
    with torch.enable_grad():
        center = mean.clone().requires_grad_()
        value = value_of(apply_transforms(center, policy))
        (gradient,) = torch.autograd.grad(value.sum(), center)
    if clipping:
        gradient = gradient.clamp(-clipping, clipping)
    norm = (variance * gradient.square()).sum().sqrt()
    moved = mean + explore_delta * variance * gradient / (norm + 1e-6)
    shifted = DiagMultivariateNormal(moved, base.stddev.detach())
    return dist_utils.transformed_distribution(shifted, policy.transforms)


def apply_transforms(action: Tensor, policy: td.TransformedDistribution) -> Tensor:
    """What the transforms of ``policy``, one after the other, make of ``action``."""
    for transform in policy.transforms:
        action = cast("Tensor", transform(action))
    return action
