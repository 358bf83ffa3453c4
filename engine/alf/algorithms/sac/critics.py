"""What soft actor-critic asks its critics, online and target ones; ``sac`` is the algorithm.

T time, B batch rows, R critic replicas; a vector reward adds a last axis to every value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from alf.algorithms import _row_layout
from alf.algorithms.sac.data import ActionType, SacCriticInfo, SacCriticState, SacState
from alf.nest import nest
from alf.utils._policy_state import detach

if TYPE_CHECKING:
    from alf.algorithms.sac_algorithm import SacAlgorithm

__all__ = [
    "carry_states",
    "critics_of_steps",
    "pessimistic",
    "policy_values",
    "rows_of",
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
    sac: SacAlgorithm,
    observations: tuple[Any, Any],
    taken: Any,
    action: Any,
    distribution: Any,
    state: SacCriticState,
) -> tuple[SacCriticInfo, SacCriticState]:
    """Values [B, R, ...] of the actions taken, target values [B, ...] of the policy, next state.

    Where it is known which time steps the rows are, only those that matter are computed: the last
    step is not trained, its values are 0; the first step's target value counts only if that step
    is LAST, after which there is nothing to learn: its own value stands in.

    Args:
        observations: what the critics see, and what the target critics see.
    """
    kind = sac._kind
    taken_inputs = kind.critic_inputs(observations[0], taken)
    policy_inputs = detach(kind.critic_inputs(observations[1], action))
    probs = kind.discrete_probs(distribution)
    num_rows = nest.flatten(taken)[0].shape[0]
    layout = None if sac._has_critic_state else _row_layout.sequences_of(num_rows)
    if layout is not None:
        B = layout[1]
        earlier, later = slice(-B), slice(B, None)
        taken, taken_inputs = (rows_of(earlier, x) for x in (taken, taken_inputs))
        policy_inputs, probs = (rows_of(later, x) for x in (policy_inputs, probs))
    critics, critics_state = values_of(sac, taken_inputs, state.critics)
    critics = kind.value_of_taken(critics, taken)
    target, target_state = target_values(sac, policy_inputs, state.target_critics)
    target = kind.value_of_policy(target, probs)
    if layout is not None:
        own = pessimistic(sac, critics[:B].detach())
        critics = torch.cat([critics, torch.zeros_like(critics[:B])])
        target = torch.cat([own, target])
    info = SacCriticInfo(critics=critics, target_critic=target)
    return info, SacCriticState(critics_state, target_state)


def rows_of(rows: slice, nested: Any) -> Any:
    """Some rows of all tensors."""
    return nest.map_structure(lambda x: x[rows], nested)


def carry_states(sac: SacAlgorithm, observation: Any, action: Any, state: SacState) -> SacState:
    """The state with that of all critics after ``action`` was taken."""
    if not sac._has_critic_state:
        return state
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
    return sac._split_heads(values, sac._num_critic_replicas, shape), state


def _weights(sac: SacAlgorithm) -> Tensor | None:
    shape = sac._reward_spec.shape
    if not shape:
        return None
    weights = sac.reward_weights
    return torch.ones(shape) if weights is None else weights
