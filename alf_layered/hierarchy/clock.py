"""The semi-MDP clock: what a level's present decision has gathered so far.

A decision that lasts k environment steps earns `sum_{j<k} gamma^j prod_{i<j} d_i r_j` and is
followed by the discount `gamma^k prod_{j<k} d_j`, with r and d the environment's rewards and
discounts (Sutton, Precup and Singh, 1999, section 2). ALF multiplies a time step's discount by
gamma once more, hence `step_discount`.
"""

from __future__ import annotations

import torch

from alf.data_structures import namedtuple
from alf.tensor_specs import TensorSpec
from alf_layered.hierarchy.rows import as_mask

Clock = namedtuple("Clock", ["reward", "discount", "steps"], default_value=())
Clock.__doc__ = """What the present decision has gathered.

Fields:
    reward: `[B]` or `[B, n]`, discounted sum of the rewards since the decision.
    discount: `[B]`, `gamma^k` times the environment's discounts since the decision.
    steps: `[B]`, int64, k, environment steps since the decision.
"""


def clock_spec(reward_spec: TensorSpec) -> Clock:
    """The specs of a `Clock` in the state nest."""
    return Clock(
        reward=TensorSpec(reward_spec.shape),
        discount=TensorSpec(()),
        steps=TensorSpec((), dtype=torch.int64),
    )


def start(clock: Clock) -> Clock:
    """A clock of the same shape at the moment of a decision."""
    return Clock(
        reward=torch.zeros_like(clock.reward),
        discount=torch.ones_like(clock.discount),
        steps=torch.zeros_like(clock.steps),
    )


def tick(clock: Clock, reward: torch.Tensor, discount: torch.Tensor, gamma: float) -> Clock:
    """One environment step later.

    Args:
        clock: before the step.
        reward: `[B]` or `[B, n]`, the environment's reward of the step.
        discount: `[B]`, the environment's discount of the step: 0 where it terminated.
        gamma: the level's discount factor per environment step.
    """
    return Clock(
        reward=clock.reward + as_mask(clock.discount, reward) * reward,
        discount=clock.discount * discount * gamma,
        steps=clock.steps + 1,
    )


def step_discount(clock: Clock, gamma: float) -> torch.Tensor:
    """The time step's discount `[B]` for which ALF's `gamma * discount` is `clock.discount`."""
    return clock.discount / gamma


def time_discount(clock: Clock, gamma: float) -> torch.Tensor:
    """`step_discount` `[B]` as it were had the environment not terminated: `gamma^(k-1)`."""
    return gamma ** (clock.steps - 1).to(clock.discount.dtype)


def mean_reward(clock: Clock) -> torch.Tensor:
    """Mean reward per environment step, LayeredRL's convention; needs `gamma = 1` in `tick`."""
    return clock.reward / as_mask(clock.steps.clamp(min=1), clock.reward)
