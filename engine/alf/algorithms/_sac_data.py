"""The tuples of soft actor-critic."""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from torch import Tensor

from alf.data_structures import namedtuple

__all__ = [
    "ActionType",
    "CriticInputs",
    "PolicyStep",
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


CriticInputs = namedtuple("CriticInputs", ["taken", "policy"], default_value=())
"""What critics are still to be asked: about the actions that were taken, and about the policy's."""


class PolicyStep(NamedTuple):
    """What one training step says about the policy, whatever the kind of action.

    Attributes:
        action: the policy's action, with its graph.
        distribution: the policy, one distribution for each action.
        log_pi: one [B] for each part of the action; a discrete part's is the expectation.
        actor_loss: [B]; its gradient for the action is -dQ/da. () without an actor.
        critic_inputs: observation and action as the critics take them, without graph.
        state: the next state, that of the critics left out.
    """

    action: Any
    distribution: Any
    log_pi: tuple[Tensor, ...]
    actor_loss: Tensor | tuple
    critic_inputs: Any
    state: SacState
