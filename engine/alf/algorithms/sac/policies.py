"""The three kinds of actions of soft actor-critic: how each acts and how its policy learns.

A kind has no state of its own: networks and temperatures belong to the algorithm (``sac``) that is
passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from alf.algorithms.sac import critics as sac_critics
from alf.algorithms.sac import values as sac_values
from alf.algorithms.sac.data import ActionType, SacActionState, SacCriticState, SacState
from alf.nest import nest
from alf.networks.network import Network
from alf.tensor_specs import BoundedTensorSpec
from alf.utils import dist_utils

if TYPE_CHECKING:
    from alf.algorithms.sac_algorithm import SacAlgorithm

__all__ = ["ContinuousActions", "DiscreteActions", "MixedActions", "kind_of_actions"]


class ContinuousActions:
    """An actor network and critics Q(s, a)."""

    type = ActionType.Continuous
    has_actor = True

    def __init__(self, action_spec: Any) -> None:
        self._action_spec = action_spec

    def parts(self) -> list:
        """The specs of the parts of the action, each with its own temperature."""
        return [self._action_spec]

    def make_actor(
        self, actor_network_cls: Callable[..., Network] | None, observation_spec: Any
    ) -> Network:
        return _required_actor(actor_network_cls)(
            input_tensor_spec=observation_spec, action_spec=self._action_spec
        )

    def make_critic(
        self, critic_cls: Callable | None, q_cls: Callable | None, obs_spec: Any
    ) -> Network | None:
        """One critic; None if there is no constructor, then the algorithm can only act."""
        if critic_cls is None:
            return None
        return critic_cls(input_tensor_spec=(obs_spec, self._action_spec))

    def state_spec(self, actor_spec: Any, critic_spec: Any) -> SacState:
        return SacState(
            action=SacActionState(actor_network=actor_spec),
            actor=critic_spec,
            critic=SacCriticState(critics=critic_spec, target_critics=critic_spec),
        )

    def act(
        self, sac: SacAlgorithm, observation: Any, state: SacActionState, choose: Callable
    ) -> tuple[Any, Any, Any, SacActionState]:
        """Distribution, action (``choose(distribution)``), critics' values and next state.

        The values [B, R, A, ...] are those of all discrete actions; None without any.
        """
        distribution, actor_state = sac._actor_network(observation, state.actor_network)
        action = choose(distribution)
        return distribution, action, None, SacActionState(actor_network=actor_state)

    def log_pi(self, distribution: Any, action: Any) -> Any:
        """The log probability [B] of the action; a pair of them for mixed actions."""
        return dist_utils.compute_log_probability(distribution, action)

    def value_to_climb(
        self, sac: SacAlgorithm, observation: Any, action: Any, values: Any, state: Any
    ) -> tuple[Tensor, Any, Any]:
        """What the actor maximizes [B], its continuous actions, and the state of its critics.

        Args:
            values: what ``act()`` gave.
        """
        values, state = sac_critics.values_of(sac, (observation, action), state)
        return sac_critics.policy_values(sac, values), action, state

    def critic_inputs(self, observation: Any, action: Any) -> Any:
        """Observation and action as the critics take them."""
        return observation, action

    def value_of_taken(self, values: Tensor, action: Any) -> Tensor:
        """From the critics' answer [B, R, ...] the value of ``action``."""
        return values

    def discrete_probs(self, distribution: Any) -> Tensor | tuple:
        """The probabilities [..., A] of the discrete actions; () without any."""
        return ()

    def value_of_policy(self, values: Tensor, probs: Any) -> Tensor:
        """From the critics' pessimistic answer [B, ...] the value of the policy.

        ``probs`` is what ``discrete_probs`` gives.
        """
        return values


class DiscreteActions:
    """No actor: the policy follows from the values, pi(a|s) ~ exp(Q(s, a) / alpha)."""

    type = ActionType.Discrete
    has_actor = False

    def __init__(self, action_spec: Any) -> None:
        self._action_spec = action_spec
        self._dtype = nest.flatten(action_spec)[0].dtype

    def parts(self) -> list:
        return [self._action_spec]

    def make_actor(
        self, actor_network_cls: Callable[..., Network] | None, observation_spec: Any
    ) -> None:
        return None

    def make_critic(
        self, critic_cls: Callable | None, q_cls: Callable | None, obs_spec: Any
    ) -> Network:
        (spec,) = nest.flatten(self._action_spec)
        return _required(q_cls)(input_tensor_spec=obs_spec, action_spec=spec)

    def state_spec(self, actor_spec: Any, critic_spec: Any) -> SacState:
        return SacState(
            action=SacActionState(critic=critic_spec),
            critic=SacCriticState(critics=critic_spec, target_critics=critic_spec),
        )

    @torch.no_grad()
    def act(
        self, sac: SacAlgorithm, observation: Any, state: SacActionState, choose: Callable
    ) -> tuple[Any, Any, Tensor, SacActionState]:
        values, critic_state = sac_critics.values_of(sac, observation, state.critic)
        policy = sac_values.boltzmann(sac_critics.policy_values(sac, values), sac._alphas()[0])
        action = choose(policy).to(self._dtype)
        return self._pack(policy), self._pack(action), values, SacActionState(critic=critic_state)

    @torch.no_grad()
    def log_pi(self, distribution: Any, action: Any) -> Tensor:
        return dist_utils.compute_log_probability(distribution, action)

    def critic_inputs(self, observation: Any, action: Any) -> Any:
        return observation

    def value_of_taken(self, values: Tensor, action: Any) -> Tensor:
        return sac_values.values_of_actions(values, nest.flatten(action)[0])

    def discrete_probs(self, distribution: Any) -> Tensor:
        return nest.flatten(distribution)[0].probs

    def value_of_policy(self, values: Tensor, probs: Any) -> Tensor:
        return sac_values.expected_value(values, probs)

    def _pack(self, action: Any) -> Any:
        return nest.pack_sequence_as(self._action_spec, [action])


class MixedActions:
    """A pair (discrete, continuous): Q(s, c) with one output for each discrete action.

    The actor draws c, then the discrete action is drawn from exp(Q(s, c) / alpha).
    """

    type = ActionType.Mixed
    has_actor = True

    def __init__(self, action_spec: Any) -> None:
        self._discrete_spec, self._continuous_spec = action_spec
        self._pair = type(action_spec)

    def parts(self) -> list:
        return [self._discrete_spec, self._continuous_spec]

    def make_actor(
        self, actor_network_cls: Callable[..., Network] | None, observation_spec: Any
    ) -> Network:
        return _required_actor(actor_network_cls)(
            input_tensor_spec=observation_spec, action_spec=self._continuous_spec
        )

    def make_critic(
        self, critic_cls: Callable | None, q_cls: Callable | None, obs_spec: Any
    ) -> Network:
        return _required(q_cls)(
            input_tensor_spec=(obs_spec, self._continuous_spec), action_spec=self._discrete_spec
        )

    def state_spec(self, actor_spec: Any, critic_spec: Any) -> SacState:
        return SacState(
            action=SacActionState(actor_network=actor_spec, critic=critic_spec),
            critic=SacCriticState(critics=critic_spec, target_critics=critic_spec),
        )

    def act(
        self, sac: SacAlgorithm, observation: Any, state: SacActionState, choose: Callable
    ) -> tuple[Any, Any, Tensor, SacActionState]:
        actor, actor_state = sac._actor_network(observation, state.actor_network)
        continuous = choose(actor)
        values, critic_state = sac_critics.values_of(sac, (observation, continuous), state.critic)
        q = sac_critics.policy_values(sac, values).detach()
        policy = sac_values.boltzmann(q, sac._alphas()[0])
        discrete = choose(policy).to(self._discrete_spec.dtype)
        return (
            self._pair([policy, actor]),
            self._pair([discrete, continuous]),
            values,
            SacActionState(actor_network=actor_state, critic=critic_state),
        )

    def log_pi(self, distribution: Any, action: Any) -> tuple[Tensor, Tensor]:
        discrete, continuous = map(dist_utils.compute_log_probability, distribution, action)
        return discrete, continuous

    def value_to_climb(
        self, sac: SacAlgorithm, observation: Any, action: Any, values: Any, state: Any
    ) -> tuple[Tensor, Any, Any]:
        q = sac_critics.policy_values(sac, values)
        # The discrete policy is optimal for Q, so its dependence on c adds no gradient.
        probs = sac_values.boltzmann(q.detach(), sac._alphas()[0]).probs
        return sac_values.expected_value(q, probs), action[1], state

    def critic_inputs(self, observation: Any, action: Any) -> Any:
        return observation, action[1]

    def value_of_taken(self, values: Tensor, action: Any) -> Tensor:
        return sac_values.values_of_actions(values, action[0])

    def discrete_probs(self, distribution: Any) -> Tensor:
        return distribution[0].probs

    def value_of_policy(self, values: Tensor, probs: Any) -> Tensor:
        return sac_values.expected_value(values, probs)


ActionKind = ContinuousActions | DiscreteActions | MixedActions


def kind_of_actions(action_spec: BoundedTensorSpec | tuple | list | dict) -> ActionKind:
    """The kind of actions that ``action_spec`` describes.

    Raises:
        ValueError: no action, more than one discrete action, one that does not count from 0, or a
            mixture that is not a pair ``(discrete_action_spec, continuous_action_spec)``.
    """
    leaves = nest.flatten(action_spec)
    discrete = [spec for spec in leaves if spec.is_discrete]
    if not leaves:
        raise ValueError("SacAlgorithm needs an action_spec with at least one action, got none.")
    for spec in discrete:
        if len(discrete) > 1 or tuple(spec.shape) != () or int(spec.minimum) != 0:
            raise ValueError(
                "SacAlgorithm takes at most one discrete action, a scalar that counts from 0; "
                f"the action_spec is {action_spec}."
            )
    if not discrete:
        return ContinuousActions(action_spec)
    if len(leaves) == 1:
        return DiscreteActions(action_spec)
    is_pair = isinstance(action_spec, tuple | list) and len(action_spec) == 2
    first = action_spec[0] if isinstance(action_spec, tuple | list) else None
    if not is_pair or nest.is_namedtuple(action_spec) or first is not discrete[0]:
        raise ValueError(
            "A mixture of actions must be a pair (discrete_action_spec, continuous_action_spec); "
            f"the action_spec is {action_spec}."
        )
    return MixedActions(action_spec)


def _required(q_network_cls: Callable | None) -> Callable:
    if q_network_cls is None:
        raise ValueError(
            "SacAlgorithm needs a q_network_cls where there is a discrete action: the policy is "
            "made from its values, in evaluation too."
        )
    return q_network_cls


def _required_actor(actor_network_cls: Callable | None) -> Callable:
    if actor_network_cls is None:
        raise ValueError(
            "SacAlgorithm needs an actor_network_cls where there is a continuous action"
        )
    return actor_network_cls
