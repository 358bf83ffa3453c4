"""The return of plans.

Axis letters: B environments, K plans, H horizon, N members, P particles.
"""

from __future__ import annotations

import torch

from alf_layered.predictors.predictor import PredictedRollout


def plan_return(rollout: PredictedRollout, tail: torch.Tensor | None = None) -> torch.Tensor:
    """Discounted return `[B, K]` of plans, mean over members and particles.

    `sum_t w_t r_t + w_H V(s_H)`, where w is the product of the discounts before: gamma^k of each
    decision times the probability that nothing has terminated.

    Args:
        rollout: of the plans.
        tail: `[B, K, N, P]`, value of the last states; None: 0.
    """
    reward = rollout.reward
    discount = rollout.discount.expand(*rollout.discount.shape[:-1], reward.shape[-1])
    weight = discount.cumprod(-1)
    total = reward[..., 0] + (weight[..., :-1] * reward[..., 1:]).sum(-1)
    if tail is not None:
        total = total + weight[..., -1] * tail
    return total.mean((2, 3))
