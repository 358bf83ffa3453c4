"""The tuples of deep deterministic policy gradient."""

from __future__ import annotations

from alf.data_structures import namedtuple

__all__ = [
    "DdpgActorState",
    "DdpgCriticInfo",
    "DdpgCriticState",
    "DdpgInfo",
    "DdpgLossInfo",
    "DdpgState",
]

DdpgCriticState = namedtuple(
    "DdpgCriticState", ["critics", "target_actor", "target_critics"], default_value=()
)
DdpgCriticInfo = namedtuple("DdpgCriticInfo", ["q_values", "target_q_values"], default_value=())
DdpgActorState = namedtuple("DdpgActorState", ["actor", "critics"], default_value=())
DdpgState = namedtuple("DdpgState", ["actor", "critics", "noise"], default_value=())
DdpgInfo = namedtuple(
    "DdpgInfo",
    [
        "reward",
        "step_type",
        "discount",
        "action",
        "action_distribution",
        "actor_loss",
        "critic",
        "discounted_return",
    ],
    default_value=(),
)
DdpgLossInfo = namedtuple("DdpgLossInfo", ["actor", "critic"], default_value=())
