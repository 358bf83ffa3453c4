"""What a predictor of skills says of states: the information they have of the skill.

Axis letters: P points, R rows, N skills from the prior, S state, C context, Z skill.
"""

from __future__ import annotations

import torch
from torch import Tensor

from alf_layered.predictors.predictor import Predictor
from alf_layered.skills.rewards import information


@torch.no_grad()
def skill_information(
    predictor: Predictor,
    state: Tensor,
    context: Tensor,
    skill: Tensor,
    others: Tensor,
    points: Tensor,
    *,
    std: Tensor | float | None,
) -> Tensor:
    """`information` `[P, R]` of states and skills; may be infinite or NaN where densities are 0.

    What a skill leads to is predicted once for all points, and the skills of the denominator are
    the same for all rows.

    Args:
        predictor: of what skills lead to.
        state: `[R, S]`, where the skills start.
        context: `[R, C]`.
        skill: `[R, Z]` or indices `[R]`, that are followed.
        others: `[N, Z]` or indices `[N]`, drawn from the prior.
        points: `[P, R, S]`, states to be explained.
        std: deviation of the standardised change of state, a scalar or `[S]`; None: the model's
            own, of the state.
    """

    def log_prob(skills: Tensor) -> Tensor:
        """`[P, R, 1 or N]` for skills `[1, R, 1, Z]` or `[1, 1, N, Z]`."""
        where, around = state[None, :, None], context[None, :, None]
        there = points[:, :, None]
        if std is None:
            return predictor.model.get_log_prob(where, around, skills, there)[0]
        return predictor.get_standardized_log_prob(where, around, skills, there, std)

    return information(log_prob(skill[None, :, None]).squeeze(-1), log_prob(others[None, None]))
