"""Deep Q learning, double Q learning among it (arXiv:1312.5602, 1509.06461)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from alf.algorithms import _sac_critics as sac_critics
from alf.algorithms import _sac_losses as sac_losses
from alf.algorithms import _sac_values as sac_values
from alf.algorithms._sac_data import (
    SacActionState,
    SacCriticInfo,
    SacCriticState,
    SacInfo,
    SacLossInfo,
    SacState,
)
from alf.algorithms.config import TrainerConfig
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep
from alf.nest import nest
from alf.networks.network import Network
from alf.networks.q_networks import QNetwork
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.schedulers import Scheduler, as_scheduler

__all__ = ["DqnAlgorithm"]


@configurable
class DqnAlgorithm(SacAlgorithm):
    """Q(s, a) for all discrete actions; the policy takes the best one, and now and then any.

    Values are the least of all replicas', as in TD3; ``num_critic_replicas=1`` is the original.
    Targets follow as ``SacAlgorithm.target_update_tau`` and ``target_update_period`` say.
    """

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec,
        reward_spec: TensorSpec = TensorSpec(()),
        q_network_cls: Callable[..., Network] = QNetwork,
        q_optimizer: torch.optim.Optimizer | None = None,
        rollout_epsilon_greedy: float | Scheduler = 0.1,
        target_net_target_action: bool = True,
        num_critic_replicas: int = 2,
        env: Any = None,
        config: TrainerConfig | None = None,
        critic_loss_ctor: Callable | None = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "DqnAlgorithm",
    ) -> None:
        """Build the networks.

        Args:
            action_spec: one discrete action, a scalar that counts from 0.
            reward_spec: rank 0, or rank 1 for a vector reward, whose sum is maximized.
            q_network_cls: called with ``input_tensor_spec`` and ``action_spec``.
            q_optimizer: must be without parameters; each algorithm uses its own copy. None leaves
                the networks to the ``optimizer`` of a parent.
            rollout_epsilon_greedy: probability of a uniformly random action in a rollout.
            target_net_target_action: whether the target network says which action comes next, as
                in DQN; else the network that is trained, as in double DQN.
            critic_loss_ctor: called with ``debug_summaries`` and ``name``; None is OneStepTDLoss.

        Raises:
            ValueError: the action is something else.
        """
        leaves = nest.flatten(action_spec)
        if len(leaves) != 1 or not leaves[0].is_discrete:
            raise ValueError(f"{name} needs exactly one discrete action, got {action_spec}.")
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            q_network_cls=q_network_cls,
            use_entropy_reward=False,
            num_critic_replicas=num_critic_replicas,
            env=env,
            config=config,
            critic_loss_ctor=critic_loss_ctor,
            target_entropy=0.0,
            critic_optimizer=q_optimizer,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        # There is no policy with a temperature to train.
        self._log_alpha.requires_grad_(False)
        self._rollout_epsilon_greedy = as_scheduler(rollout_epsilon_greedy)
        self._target_net_target_action = target_net_target_action
        self._num_actions = int(leaves[0].maximum) + 1

    # Acting

    def predict_step(self, inputs: TimeStep, state: SacState) -> AlgStep:
        action, action_state = self._act(inputs, state.action, self._epsilon_greedy)
        return AlgStep(output=action, state=SacState(action=action_state))

    def rollout_step(self, inputs: TimeStep, state: SacState) -> AlgStep:
        """The best action, or a random one; if states are stored, those of critics go along."""
        epsilon = self._rollout_epsilon_greedy()
        action, action_state = self._act(inputs, state.action, epsilon)
        state = state._replace(action=action_state)
        if self.need_full_rollout_state():
            state = sac_critics.carry_states(self, inputs.observation, action, state)
        return AlgStep(output=action, state=state, info=SacInfo(action=action))

    def _act(
        self, inputs: TimeStep, state: SacActionState, epsilon: float
    ) -> tuple[Any, SacActionState]:
        values, critic_state = sac_critics.values_of(self, inputs.observation, state.critic)
        action = sac_critics.policy_values(self, values).argmax(-1)
        if epsilon > 0:
            explores = torch.rand(action.shape, device=action.device) < epsilon
            action = torch.where(explores, torch.randint_like(action, self._num_actions), action)
        (spec,) = nest.flatten(self.action_spec)
        action = nest.pack_sequence_as(self.action_spec, [action.to(spec.dtype)])
        return action, SacActionState(critic=critic_state)

    # Training

    def train_step(self, inputs: TimeStep, state: SacState, rollout_info: SacInfo) -> AlgStep:
        """What the loss needs; networks without state are asked in ``calc_loss``."""
        action = rollout_info.action
        critic: Any = inputs.observation
        next_state = SacState(action=SacActionState(), critic=SacCriticState())
        if self._has_critic_state:
            critic, critic_state = self._values(inputs.observation, action, state.critic)
            next_state = SacState(
                action=SacActionState(critic=critic_state.critics), critic=critic_state
            )
        info = SacInfo(
            reward=inputs.reward,
            step_type=inputs.step_type,
            discount=inputs.discount,
            action=action,
            critic=critic,
        )
        return AlgStep(output=action, state=next_state, info=info)

    def _values(
        self, observation: Any, action: Any, state: SacCriticState
    ) -> tuple[SacCriticInfo, SacCriticState]:
        """Values [B, R, ...] of the actions taken, target values [B, ...] of the best ones."""
        values, critics_state = sac_critics.values_of(self, observation, state.critics)
        target, target_state = sac_critics.target_values(self, observation, state.target_critics)
        info = SacCriticInfo(
            critics=self._kind.value_of_taken(values, action),
            target_critic=self._value_of_best(target, values),
        )
        return info, SacCriticState(critics_state, target_state)

    @torch.no_grad()
    def _value_of_best(self, target: Tensor, values: Tensor) -> Tensor:
        """Of target values [B, A, ...] the best action's; ``values`` [B, R, A, ...] are online."""
        if self._target_net_target_action:
            best = sac_critics.scalarize(self, target).argmax(-1)
        else:
            best = sac_critics.policy_values(self, values).argmax(-1)
        return sac_values.values_of_actions(target.unsqueeze(1), best).squeeze(1)

    def calc_loss(self, info: SacInfo) -> LossInfo:
        if not self._has_critic_state:
            info = info._replace(critic=self._values_of_sequences(info))
        loss = sac_losses.loss_of_replicas(self._critic_loss, info)
        return LossInfo(loss=loss, extra=SacLossInfo(critic=loss))

    def _values_of_sequences(self, info: SacInfo) -> SacCriticInfo:
        """As ``sac_critics.critics_of_sequences``: asked only where the answers matter."""
        T, B = info.step_type.shape

        def rows(steps: slice, nested: Any) -> Any:
            return nest.map_structure(lambda x: x[steps].flatten(0, 1), nested)

        first, rest = slice(None, -1), slice(1, None)
        values, _ = sac_critics.values_of(self, rows(first, info.critic), ())
        values = self._kind.value_of_taken(values, rows(first, info.action))
        values = values.unflatten(0, (T - 1, B))
        later = rows(rest, info.critic)
        target, _ = sac_critics.target_values(self, later, ())
        online = target.unsqueeze(1)  # not looked at
        if not self._target_net_target_action:
            with torch.no_grad():
                online, _ = sac_critics.values_of(self, later, ())
        target = self._value_of_best(target, online).unflatten(0, (T - 1, B))
        own = sac_critics.pessimistic(self, values[0].detach())
        return SacCriticInfo(
            critics=torch.cat([values, torch.zeros_like(values[:1])]),
            target_critic=torch.cat([own.unsqueeze(0), target]),
        )
