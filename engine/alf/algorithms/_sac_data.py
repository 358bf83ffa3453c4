"""The tuples of soft actor-critic."""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from torch import Tensor

from alf.data_structures import namedtuple

__all__ = [
    "ActionType",
    "Learned",
    "SacActionState",
    "SacActorInfo",
    "SacCriticInfo",
    "SacCriticState",
    "SacInfo",
    "SacLossInfo",
    "SacState",
]

ActionType = Enum("ActionType", ("Discrete", "Continuous", "Mixed"))

SacActionState = namedtuple("SacActionState", ["actor_network", "critic"], default_value=())
SacCriticState = namedtuple("SacCriticState", ["critics", "target_critics"], default_value=())
SacState = namedtuple(
    "SacState", ["action", "actor", "critic", "repr", "target_repr"], default_value=()
)
SacCriticInfo = namedtuple("SacCriticInfo", ["critics", "target_critic"], default_value=())
SacActorInfo = namedtuple("SacActorInfo", ["actor_loss", "neg_entropy"], default_value=())
SacInfo = namedtuple(
    "SacInfo",
    [
        "reward",
        "step_type",
        "discount",
        "action",
        "action_distribution",
        "actor",
        "critic",
        "alpha",
        "log_pi",
        "discounted_return",
        "repr",
    ],
    default_value=(),
)
SacLossInfo = namedtuple("SacLossInfo", ["actor", "critic", "alpha", "repr"], default_value=())


class Learned(NamedTuple):
    """What the losses need of one training step, whatever the kind of action.

    Attributes:
        action: the policy's action, with its graph.
        distribution: the policy, one distribution for each action.
        log_pi: one [B] for each part of the action; a discrete part's is the expectation.
        actor_loss: [B]; its gradient for the action is -dQ/da. () without an actor.
        critics: values [B, R, ...] of the actions that were taken, the reward axis last.
        target_critic: target value [B, ...] of the policy, without gradient.
        state: the next state.
    """

    action: Any
    distribution: Any
    log_pi: tuple[Tensor, ...]
    actor_loss: Tensor | tuple
    critics: Tensor
    target_critic: Tensor
    state: SacState
