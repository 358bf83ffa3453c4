"""The return of plans.

Axis letters: B environments, K plans, H horizon, N members, P particles.
"""

from __future__ import annotations

import torch

from alf_layered.predictors.predictor import Prospect


def plan_return(prospect: Prospect, tail: torch.Tensor | None = None) -> torch.Tensor:
    """Discounted return `[B, K]` of plans, mean over members and particles.

    `sum_t w_t r_t + w_H V(s_H)`, where w is the product of the discounts before: gamma^k of each
    decision times the probability that nothing has terminated.

    Args:
        prospect: of the plans.
        tail: `[N, B, K, P]`, value of the last states; None: 0.
    """
    reward = prospect.reward
    steps = reward.shape[0]
    lead = (1,) * (reward.ndim - prospect.discount.ndim)
    discount = prospect.discount.reshape(*lead, *prospect.discount.shape)
    weight = discount.expand(steps, *discount.shape[1:]).cumprod(0)
    total = reward[0] + (weight[:-1] * reward[1:]).sum(0)
    if tail is not None:
        total = total + weight[-1] * tail
    return total.mean((0, 3))
