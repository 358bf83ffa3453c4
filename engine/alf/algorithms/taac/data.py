"""The tuples of the temporally abstract actor-critic."""

from __future__ import annotations

from enum import Enum

from alf.data_structures import namedtuple

__all__ = [
    "ActPredOutput",
    "Distributions",
    "Mode",
    "TaacActorInfo",
    "TaacCriticInfo",
    "TaacInfo",
    "TaacLossInfo",
    "TaacState",
    "Tau",
]

Mode = Enum("AlgorithmMode", ("predict", "rollout", "train"))

# A trajectory: its action, and where they are used its first and second difference.
Tau = namedtuple("Tau", ["a", "v", "u"], default_value=())

TaacState = namedtuple("TaacState", ["tau", "repeats"], default_value=())
TaacCriticInfo = namedtuple(
    "TaacCriticInfo", ["critics", "target_critic", "value_loss"], default_value=()
)
TaacActorInfo = namedtuple(
    "TaacActorInfo",
    ["actor_loss", "b1_a_entropy", "beta_entropy", "adv", "value_loss"],
    default_value=(),
)
TaacInfo = namedtuple(
    "TaacInfo",
    [
        "reward",
        "step_type",
        "tau",
        "prev_tau",
        "discount",
        "action_distribution",
        "rollout_b",
        "b",
        "actor",
        "critic",
        "alpha",
        "repeats",
    ],
    default_value=(),
)
TaacLossInfo = namedtuple("TaacLossInfo", ["actor", "critic", "alpha"])
Distributions = namedtuple("Distributions", ["beta_dist", "b1_a_dist"])
ActPredOutput = namedtuple(
    "ActPredOutput", ["dists", "b", "actor_a", "taus", "q_values2"], default_value=()
)
