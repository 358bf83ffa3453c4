"""The policies of soft actor-critic: how each acts, and what it learns from.

B batch rows, R critic replicas, A discrete actions.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from alf.algorithms.sac import values as sac_values
from alf.algorithms.sac.critics import Critics
from alf.algorithms.sac.data import SacActionState, SacCriticInfo, SacCriticState, SacState
from alf.algorithms.sac.temperatures import Temperatures
from alf.algorithms.training.row_layout import RowLayout
from alf.nest import nest
from alf.utils import dist_utils
from alf.utils._policy_state import detach

__all__ = ["ContinuousPolicy", "DiscretePolicy", "MixedPolicy", "Policy", "draw", "rows_of"]


@dataclass(eq=False, slots=True)
class Policy(abc.ABC):
    """A policy with its critics and temperatures.

    Attributes:
        action_spec: of the whole action.
        actor_network: draws continuous actions; None without any.
    """

    action_spec: Any
    actor_network: Any
    critics: Critics
    temperatures: Temperatures

    @abc.abstractmethod
    def act(
        self, observation: Any, state: SacActionState, choose: Callable
    ) -> tuple[Any, Any, Any, SacActionState]:
        """Distribution, action (``choose(distribution)``), critics' values and next state.

        The values [B, R, A, ...] are those of all discrete actions; None without any.
        """

    @abc.abstractmethod
    def log_pi(self, distribution: Any, action: Any) -> Any:
        """The log probability [B] of the action; a pair of them for mixed actions."""

    @abc.abstractmethod
    def value_to_climb(
        self, observation: Any, action: Any, values: Any, state: Any
    ) -> tuple[Tensor, Any, Any]:
        """What the actor maximizes [B], its continuous actions, and the state of its critics.

        Args:
            values: what ``act()`` gave.
        """

    @abc.abstractmethod
    def critic_inputs(self, observation: Any, action: Any) -> Any:
        """Observation and action as the critics take them."""

    @abc.abstractmethod
    def value_of_taken(self, values: Tensor, action: Any) -> Tensor:
        """From the critics' answer [B, R, ...] the value of ``action``."""

    @abc.abstractmethod
    def discrete_probs(self, distribution: Any) -> Tensor | tuple:
        """The probabilities [..., A] of the discrete actions; () without any."""

    @abc.abstractmethod
    def value_of_policy(self, values: Tensor, probs: Any) -> Tensor:
        """From the critics' pessimistic answer [B, ...] the value of the policy.

        ``probs`` is what ``discrete_probs`` gives.
        """

    def climb(
        self,
        observation: Any,
        action: Any,
        values: Any,
        state: Any,
        *,
        num_fixed: int,
        clipping: float | None,
    ) -> tuple[Tensor, Any]:
        """A loss [B] whose gradient for the action is that of its value, and the critics' state.

        Args:
            action: with the policy's graph.
            values: what ``act()`` gave.
            num_fixed: the first rows, which do not train the policy: their loss is 0.
            clipping: as in ``values.action_gradient_loss``.
        """
        if num_fixed:
            observation, action = rows_of(slice(num_fixed, None), (observation, action))
        q, continuous, state = self.value_to_climb(observation, action, values, state)
        loss = sac_values.action_gradient_loss(q, nest.flatten(continuous), clipping)
        if num_fixed:
            loss = torch.cat([loss.new_zeros(num_fixed), loss])
        return loss, state

    def carry_states(self, observation: Any, action: Any, state: SacState) -> SacState:
        """The state with that of all critics after ``action`` was taken."""
        if not self.critics.has_state:
            return state
        inputs = self.critic_inputs(observation, action)
        return state._replace(critic=self.critics.next_states(inputs, state.critic))

    def evaluate(
        self,
        observations: tuple[Any, Any],
        taken: Any,
        action: Any,
        distribution: Any,
        state: SacCriticState,
        layout: RowLayout | None,
    ) -> tuple[SacCriticInfo, SacCriticState]:
        """Values [B, R, ...] of the actions taken, target values [B, ...] of the policy, state.

        Where the layout of rows is known, only those that matter are computed: the last step is
        not trained, its values are 0; the first step's target value counts only if that step is
        LAST, after which there is nothing to learn: its own value stands in.

        Args:
            observations: what the critics see, and what the target critics see.
        """
        taken_inputs = self.critic_inputs(observations[0], taken)
        policy_inputs = detach(self.critic_inputs(observations[1], action))
        probs = self.discrete_probs(distribution)
        if layout is not None:
            earlier, later = slice(-layout.batch_size), slice(layout.batch_size, None)
            taken, taken_inputs = (rows_of(earlier, x) for x in (taken, taken_inputs))
            policy_inputs, probs = (rows_of(later, x) for x in (policy_inputs, probs))
        critics, critics_state = self.critics.values(taken_inputs, state.critics)
        critics = self.value_of_taken(critics, taken)
        target, target_state = self.critics.target_values(policy_inputs, state.target_critics)
        target = self.value_of_policy(target, probs)
        if layout is not None:
            first = critics[: layout.batch_size]
            own = self.critics.pessimistic(first.detach())
            critics = torch.cat([critics, torch.zeros_like(first)])
            target = torch.cat([own, target])
        info = SacCriticInfo(critics=critics, target_critic=target)
        return info, SacCriticState(critics_state, target_state)


class ContinuousPolicy(Policy):
    """An actor network and critics Q(s, a)."""

    def act(
        self, observation: Any, state: SacActionState, choose: Callable
    ) -> tuple[Any, Any, Any, SacActionState]:
        distribution, actor_state = self.actor_network(observation, state.actor_network)
        action = choose(distribution)
        return distribution, action, None, SacActionState(actor_network=actor_state)

    def act_trained_by(self, later: slice, observation: Any) -> tuple[Any, Any]:
        """Distribution and action of all rows; only the ``later`` ones have gradients.

        The actor must have no state.
        """
        with torch.no_grad():
            head = self.actor_network(rows_of(slice(later.start), observation), ())[0]
        tail = self.actor_network(rows_of(later, observation), ())[0]
        params = map(dist_utils.distributions_to_params, (head, tail))
        joined = nest.map_structure(lambda *parts: torch.cat(parts), *params)
        distribution = dist_utils.params_to_distributions(joined, dist_utils.extract_spec(tail))
        # One draw from all of it: what was drawn remembers from what, which keeps its log
        # probability exact.
        return distribution, draw(distribution)

    def log_pi(self, distribution: Any, action: Any) -> Any:
        return dist_utils.compute_log_probability(distribution, action)

    def value_to_climb(
        self, observation: Any, action: Any, values: Any, state: Any
    ) -> tuple[Tensor, Any, Any]:
        values, state = self.critics.values((observation, action), state)
        return self.critics.policy_values(values), action, state

    def critic_inputs(self, observation: Any, action: Any) -> Any:
        return observation, action

    def value_of_taken(self, values: Tensor, action: Any) -> Tensor:
        return values

    def discrete_probs(self, distribution: Any) -> Tensor | tuple:
        return ()

    def value_of_policy(self, values: Tensor, probs: Any) -> Tensor:
        return values

    def carry_states(self, observation: Any, action: Any, state: SacState) -> SacState:
        if self.critics.has_state:
            inputs = self.critic_inputs(observation, action)
            state = state._replace(actor=self.critics.online(inputs, state.actor)[1])
        return super().carry_states(observation, action, state)


class DiscretePolicy(Policy):
    """No actor: the policy follows from the values, pi(a|s) ~ exp(Q(s, a) / alpha)."""

    @torch.no_grad()
    def act(
        self, observation: Any, state: SacActionState, choose: Callable
    ) -> tuple[Any, Any, Tensor, SacActionState]:
        values, critic_state = self.critics.values(observation, state.critic)
        alpha = self.temperatures.alphas()[0]
        policy = sac_values.boltzmann(self.critics.policy_values(values), alpha)
        (spec,) = nest.flatten(self.action_spec)
        action = choose(policy).to(spec.dtype)
        return self._pack(policy), self._pack(action), values, SacActionState(critic=critic_state)

    @torch.no_grad()
    def log_pi(self, distribution: Any, action: Any) -> Tensor:
        return dist_utils.compute_log_probability(distribution, action)

    def value_to_climb(
        self, observation: Any, action: Any, values: Any, state: Any
    ) -> tuple[Tensor, Any, Any]:
        raise TypeError("A policy of discrete actions alone has no actor that could climb.")

    def critic_inputs(self, observation: Any, action: Any) -> Any:
        return observation

    def value_of_taken(self, values: Tensor, action: Any) -> Tensor:
        return sac_values.values_of_actions(values, nest.flatten(action)[0])

    def discrete_probs(self, distribution: Any) -> Tensor:
        return nest.flatten(distribution)[0].probs

    def value_of_policy(self, values: Tensor, probs: Any) -> Tensor:
        return sac_values.expected_value(values, probs)

    def _pack(self, action: Any) -> Any:
        return nest.pack_sequence_as(self.action_spec, [action])


class MixedPolicy(Policy):
    """A pair (discrete, continuous): Q(s, c) with one output for each discrete action.

    The actor draws c, then the discrete action is drawn from exp(Q(s, c) / alpha).
    """

    def act(
        self, observation: Any, state: SacActionState, choose: Callable
    ) -> tuple[Any, Any, Tensor, SacActionState]:
        actor, actor_state = self.actor_network(observation, state.actor_network)
        continuous = choose(actor)
        values, critic_state = self.critics.values((observation, continuous), state.critic)
        policy = self._discrete(self.critics.policy_values(values))
        discrete = choose(policy).to(self.action_spec[0].dtype)
        pair = type(self.action_spec)
        return (
            pair([policy, actor]),
            pair([discrete, continuous]),
            values,
            SacActionState(actor_network=actor_state, critic=critic_state),
        )

    def log_pi(self, distribution: Any, action: Any) -> tuple[Tensor, Tensor]:
        discrete, continuous = map(dist_utils.compute_log_probability, distribution, action)
        return discrete, continuous

    def value_to_climb(
        self, observation: Any, action: Any, values: Any, state: Any
    ) -> tuple[Tensor, Any, Any]:
        q = self.critics.policy_values(values)
        # The discrete policy is optimal for Q, so its dependence on c adds no gradient.
        return sac_values.expected_value(q, self._discrete(q).probs), action[1], state

    def critic_inputs(self, observation: Any, action: Any) -> Any:
        return observation, action[1]

    def value_of_taken(self, values: Tensor, action: Any) -> Tensor:
        return sac_values.values_of_actions(values, action[0])

    def discrete_probs(self, distribution: Any) -> Tensor:
        return distribution[0].probs

    def value_of_policy(self, values: Tensor, probs: Any) -> Tensor:
        return sac_values.expected_value(values, probs)

    def _discrete(self, q: Tensor) -> torch.distributions.Categorical:
        return sac_values.boltzmann(q.detach(), self.temperatures.alphas()[0])


def draw(distributions: Any) -> Any:
    """A sample of each distribution, with its gradients where there are any."""
    return nest.map_structure(lambda d: d.rsample() if d.has_rsample else d.sample(), distributions)


def rows_of(rows: slice, nested: Any) -> Any:
    """Some rows of all tensors."""
    return nest.map_structure(lambda x: x[rows], nested)
