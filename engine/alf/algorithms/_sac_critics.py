"""What soft actor-critic asks its critics, online and target ones; ``sac`` is the algorithm.

T time, B batch rows, R critic replicas; a vector reward adds a last axis to every value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from alf.algorithms import _sac_values as sac_values
from alf.algorithms._sac_data import (
    ActionType,
    CriticInputs,
    SacCriticInfo,
    SacCriticState,
    SacInfo,
    SacState,
)
from alf.nest import nest
from alf.utils import tensor_utils

if TYPE_CHECKING:
    from alf.algorithms.sac_algorithm import SacAlgorithm

__all__ = [
    "carry_states",
    "critics_of_sequences",
    "critics_of_steps",
    "pessimistic",
    "policy_values",
    "scalarize",
    "target_values",
    "values_of",
]


def values_of(sac: SacAlgorithm, inputs: Any, state: Any) -> tuple[Tensor, Any]:
    """Values [B, R, ...] of all replicas, and their next state."""
    return _split(sac, sac._critic_networks(inputs, state))


def policy_values(sac: SacAlgorithm, values: Tensor) -> Tensor:
    """What the policy maximizes: pessimistic over replicas, weighted over rewards."""
    return scalarize(sac, pessimistic(sac, values))


def pessimistic(sac: SacAlgorithm, values: Tensor) -> Tensor:
    """From values [B, R, ...] of all replicas the one to count on."""
    return sac._least_replica(values, _weights(sac))


def scalarize(sac: SacAlgorithm, values: Tensor) -> Tensor:
    """From values for each reward (or quantile) the number to maximize."""
    return sac._scalarize(values, _weights(sac))


def critics_of_steps(
    sac: SacAlgorithm, inputs: CriticInputs, taken: Any, distribution: Any, state: SacCriticState
) -> tuple[SacCriticInfo, SacCriticState]:
    """Values [B, R, ...] of the actions taken, target values [B, ...] of the policy, next state."""
    critics, critics_state = values_of(sac, inputs.taken, state.critics)
    target, target_state = target_values(sac, inputs.policy, state.target_critics)
    kind = sac._kind
    info = SacCriticInfo(
        critics=kind.value_of_taken(critics, taken),
        target_critic=kind.value_of_policy(target, kind.discrete_probs(distribution)),
    )
    return info, SacCriticState(critics_state, target_state)


def critics_of_sequences(sac: SacAlgorithm, info: SacInfo) -> SacCriticInfo:
    """Values [T, B, R, ...] and target values [T, B, ...], computed where they matter.

    The last step is not trained, so its values are 0. The first step's target value counts only if
    that step is LAST, after which there is nothing to learn: its own value stands in.
    """
    T, B = info.step_type.shape
    kind = sac._kind

    def rows(steps: slice, nested: Any) -> Any:
        return nest.map_structure(lambda x: x[steps].flatten(0, 1), nested)

    first, rest = slice(None, -1), slice(1, None)
    critics, _ = values_of(sac, rows(first, info.critic.taken), ())
    critics = kind.value_of_taken(critics, rows(first, info.action)).unflatten(0, (T - 1, B))
    target, _ = target_values(sac, rows(rest, info.critic.policy), ())
    probs = rows(rest, kind.discrete_probs(info.action_distribution))
    target = kind.value_of_policy(target, probs).unflatten(0, (T - 1, B))
    own = pessimistic(sac, critics[0].detach())
    return SacCriticInfo(
        critics=tensor_utils.tensor_extend_zero(critics),
        target_critic=torch.cat([own.unsqueeze(0), target]),
    )


def carry_states(sac: SacAlgorithm, observation: Any, action: Any, state: SacState) -> SacState:
    """The state with that of all critics after ``action`` was taken."""
    inputs = sac._kind.critic_inputs(observation, action)
    if sac._kind.type is ActionType.Continuous:
        state = state._replace(actor=sac._critic_networks(inputs, state.actor)[1])
    _, critics_state = sac._critic_networks(inputs, state.critic.critics)
    _, target_state = sac._target_critic_networks(inputs, state.critic.target_critics)
    return state._replace(critic=SacCriticState(critics_state, target_state))


@torch.no_grad()
def target_values(sac: SacAlgorithm, inputs: Any, state: Any) -> tuple[Tensor, Any]:
    """Pessimistic values [B, ...] of the target critics, and their next state."""
    values, state = _split(sac, sac._target_critic_networks(inputs, state))
    return pessimistic(sac, values), state


def _split(sac: SacAlgorithm, step: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
    values, state = step
    shape = sac._reward_spec.shape
    return sac_values.split_heads(values, sac._num_critic_replicas, shape), state


def _weights(sac: SacAlgorithm) -> Tensor | None:
    shape = sac._reward_spec.shape
    if not shape:
        return None
    weights = sac.reward_weights
    return torch.ones(shape) if weights is None else weights
