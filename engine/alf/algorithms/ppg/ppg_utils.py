"""Infos of phasic policy gradient, and the step that both of its phases make."""

from __future__ import annotations

from typing import Any

import torch

from alf.data_structures import AlgStep, TimeStep, namedtuple
from alf.utils import dist_utils

__all__ = [
    "AlgStep",
    "PPGRolloutInfo",
    "PPGTrainInfo",
    "TimeStep",
    "evaluate",
    "ppg_network_forward",
]

_ROLLOUT_FIELDS = [
    "action_distribution",
    "action",
    "log_prob",
    "value",
    "aux",
    "step_type",
    "discount",
    "reward",
    "reward_weights",
]

PPGRolloutInfo = namedtuple("PPGRolloutInfo", _ROLLOUT_FIELDS, default_value=())

_EVALUATED = (
    "step_type",
    "reward",
    "discount",
    "action_distribution",
    "value",
    "aux",
    "reward_weights",
)


class PPGTrainInfo(
    namedtuple(
        "PPGTrainInfo",
        [*_ROLLOUT_FIELDS, "rollout_action_distribution", "rollout_value", "rollout_log_prob"],
        default_value=(),
    )
):
    """What the rollout knew, and what the network says now."""

    __slots__ = ()

    def absorbed(self, info: PPGRolloutInfo) -> PPGTrainInfo:
        """With what ``info`` says now; the action and the rollout's fields stay."""
        return self._replace(**{field: getattr(info, field) for field in _EVALUATED})


def evaluate(
    network: Any, inputs: TimeStep, state: Any, require_aux: bool
) -> tuple[PPGRolloutInfo, Any]:
    """What the network says of a time step [B], without an action; and its next state."""
    (distribution, value, aux), state = network(inputs.observation, state, require_aux=require_aux)
    info = PPGRolloutInfo(
        action_distribution=distribution,
        value=value,
        aux=aux,
        step_type=inputs.step_type,
        discount=inputs.discount,
        reward=inputs.reward,
    )
    return info, state


def ppg_network_forward(
    network: Any,
    inputs: TimeStep,
    state: Any,
    require_aux: bool = True,
    epsilon_greedy: float | None = None,
) -> AlgStep:
    """Act by a ``DisjointPolicyValueNetwork``; the info is a ``PPGRolloutInfo``.

    Args:
        epsilon_greedy: None samples, and the info has the action's ``log_prob``; a number is the
            share of sampled instead of greedy actions.
    """
    info, state = evaluate(network, inputs, state, require_aux)
    if epsilon_greedy is not None:
        action = dist_utils.epsilon_greedy_sample(info.action_distribution, epsilon_greedy)
        return AlgStep(output=action, state=state, info=info._replace(action=action))
    action = dist_utils.sample_action_distribution(info.action_distribution)
    with torch.no_grad():
        log_prob = dist_utils.compute_log_probability(info.action_distribution, action)
    return AlgStep(output=action, state=state, info=info._replace(action=action, log_prob=log_prob))
