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
    density by the skill, relative to the mean density by N + 1 skills.

    The intrinsic reward `r_z` of DADS (Sharma et al., 2020, arXiv 1907.01657, section 3) is the
    same with a mean over the N drawn skills alone. That the skill itself is among them, as in
    LayeredRL, bounds the value from above by `log(N + 1)`. In SPlaTES (RLC 2025) it is the
    potential of a state s' in a skill that began in s.

    The bound is that of this value, thus of DADS' reward and of SPlaTES' potential before they are
    scaled and offset. Differences of potential can be larger, and what DIAYN pays has no N.

    Args:
        log_prob: `[*L]`, of the state by the skill that was followed.
        log_prob_others: `[*L, N]`, by skills drawn from the prior.
    """
    both = torch.cat([log_prob.unsqueeze(-1), log_prob_others], dim=-1)
    return log_prob - torch.logsumexp(both, dim=-1) + math.log(both.shape[-1])


def potential_difference(before: Tensor, after: Tensor) -> Tensor:
    """The reward of a step inside a skill: what it adds to the potential.

    Over a skill the sum is the last potential less the first (Ng, Harada and Russell, 1999,
    equation 2, without discount). Nothing but the clipping of potentials bounds it: from a state
    that the skill does not explain, a step can add far more than `log(N + 1)`.
    """
    return after - before


def diayn(log_posterior: Tensor, log_prior: Tensor) -> Tensor:
    """`log q(z|s') - log p(z)` (Eysenbach et al., 2019, arXiv 1802.06070, equation 3).

    At most `-log p(z)` for options, the logarithm of their number; for vectors there is no bound.
    """
    return log_posterior - log_prior


def clipped(reward: Tensor, low: float, high: float) -> Tensor:
    """Within bounds; what is no number counts as `low`, as `-inf` does.

    Densities of states that no skill explains underflow: 0 over 0 is no information.
    """
    return torch.where(reward.isnan(), low, reward).clamp(low, high)
