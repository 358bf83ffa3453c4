"""The score of plans: what a search maximises.

Axis letters: B environments, K plans, H horizon, A action.
"""

from __future__ import annotations

import torch

from alf_layered.predictors.predictor import Predictor, Prospect


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


def score_plans(
    predictor: Predictor,
    state: torch.Tensor,
    context: torch.Tensor,
    plans: torch.Tensor,
    *,
    value_tail: bool = True,
    terminations: bool = True,
    deterministic: bool = True,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Discounted return `[B, K]` that a predictor expects of plans.

    Args:
        predictor: of the semi-MDP.
        state: `[B, S]`.
        context: `[B, C]`.
        plans: `[B, K, H, A]` or indices `[B, K, H]`.
        value_tail: whether the value of the last state counts.
        terminations: whether plans may end early.
        deterministic: one particle that follows the mean, instead of drawn ones.
        generator: for the draws.
    """
    prospect = predictor.prospect(
        state,
        context,
        plans,
        deterministic=deterministic,
        terminations=terminations,
        generator=generator,
    )
    tail = None
    if value_tail and predictor.val_func is not None:
        with torch.no_grad():
            tail = predictor.state_value(prospect.imagined.state[-1], context[None, :, None, None])
    return plan_return(prospect, tail)
