"""Skill rewards as functions of log probabilities.

All estimate the information that states and skills have of each other.

Axis letters: L any axes of rows, N skills drawn from the prior.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def information(log_prob: Tensor, log_prob_others: Tensor) -> Tensor:
    """How much more likely a state is by the skill that was followed than by any skill, `[*L]`.

    `log q(s'|s,z) - log( (q(s'|s,z) + sum_i q(s'|s,z_i)) / (N + 1) )`, with `z_i ~ p(z)`: the
    intrinsic reward of DADS (Sharma et al., 2020, arXiv 1907.01657, section 3, `r_z`), with the
    skill itself among those of the denominator, which bounds it by `log(N + 1)`. In SPlaTES (RLC
    2025) it is the potential of the state in which a skill ends, with s the one where it started.

    Args:
        log_prob: `[*L]`, of the state by the skill that was followed.
        log_prob_others: `[*L, N]`, by skills drawn from the prior.
    """
    both = torch.cat([log_prob.unsqueeze(-1), log_prob_others], dim=-1)
    return log_prob - torch.logsumexp(both, dim=-1) + math.log(both.shape[-1])


def potential_difference(before: Tensor, after: Tensor) -> Tensor:
    """The reward of a step inside a skill: what it adds to the potential.

    Over a skill the sum is the last potential less the first (Ng, Harada and Russell, 1999,
    equation 2, without discount).
    """
    return after - before


def diayn(log_posterior: Tensor, log_prior: Tensor) -> Tensor:
    """`log q(z|s') - log p(z)` (Eysenbach et al., 2019, arXiv 1802.06070, equation 3)."""
    return log_posterior - log_prior


def clipped(reward: Tensor, low: float, high: float) -> Tensor:
    """Within bounds; what is no number counts as `low`, as `-inf` does.

    Densities of states that no skill explains underflow: 0 over 0 is no information.
    """
    return torch.where(reward.isnan(), low, reward).clamp(low, high)
