"""The tuples of soft actor-critic."""

from __future__ import annotations

from enum import Enum

from alf.data_structures import namedtuple

__all__ = [
    "ActionType",
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
