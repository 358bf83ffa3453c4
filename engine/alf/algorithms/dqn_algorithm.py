"""Deep Q learning, double Q learning among it (arXiv:1312.5602, 1509.06461)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from alf.algorithms.config import TrainerConfig
from alf.algorithms.sac import values as sac_values
from alf.algorithms.sac.data import (
    SacActionState,
    SacActorInfo,
    SacCriticInfo,
    SacCriticState,
    SacInfo,
    SacLossInfo,
    SacState,
)
from alf.algorithms.sac.policies import rows_of
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

    _ignores_rollout_policy = True

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

    def _predict_action(
        self,
        observation: Any,
        state: SacActionState,
        epsilon_greedy: float | None = None,
        eps_greedy_sampling: bool = False,
        rollout: bool = False,
    ) -> tuple[Any, Any, Any, SacActionState]:
        """The best action, or with probability ``epsilon_greedy`` any; as in ``SacAlgorithm``."""
        with torch.no_grad():
            values, critic_state = self._critics.values(observation, state.critic)
            best = self._critics.policy_values(values).argmax(-1)
        epsilon = epsilon_greedy or 0.0
        distribution = self._epsilon_greedy_distribution(best, epsilon)
        action = best if epsilon == 0 else distribution.sample()
        (spec,) = nest.flatten(self.action_spec)
        pack = functools.partial(nest.pack_sequence_as, self.action_spec)
        state = SacActionState(critic=critic_state)
        return pack([distribution]), pack([action.to(spec.dtype)]), values, state

    def _epsilon_greedy_distribution(
        self, best: Tensor, epsilon: float
    ) -> torch.distributions.Categorical:
        probs = nn.functional.one_hot(best, self._num_actions) * (1.0 - epsilon)
        probs = probs + epsilon / self._num_actions
        return torch.distributions.Categorical(probs=probs, validate_args=False)

    def rollout_step(self, inputs: TimeStep, state: SacState) -> AlgStep:
        """The best action, or a random one; if states are stored, those of critics go along."""
        distribution, action, _, action_state = self._predict_action(
            inputs.observation,
            state=state.action,
            epsilon_greedy=self._rollout_epsilon_greedy(),
            eps_greedy_sampling=True,
            rollout=True,
        )
        state = state._replace(action=action_state)
        if self.need_full_rollout_state():
            state = self._policy.carry_states(inputs.observation, action, state)
        info = SacInfo(action=action, action_distribution=distribution)
        return AlgStep(output=action, state=state, info=info)

    # Training

    def train_step(self, inputs: TimeStep, state: SacState, rollout_info: SacInfo) -> AlgStep:
        """What the loss needs, as ``Policy.evaluate()`` says, with the greedy policy."""
        taken = rollout_info.action
        info = SacInfo(
            reward=inputs.reward,
            step_type=inputs.step_type,
            discount=inputs.discount,
            action=taken,
        )
        layout = None
        if not self._has_critic_state:
            layout = self.sequences_of(inputs.step_type.shape[0])
        if layout is not None:
            critic = self._values_of_sequences(inputs.observation, taken, layout.batch_size)
            state = SacState(action=SacActionState(), critic=SacCriticState())
            return AlgStep(output=taken, state=state, info=info._replace(critic=critic))
        distribution, action, _, _ = self._predict_action(inputs.observation, state.action)
        critic, critic_state = self._values(inputs.observation, taken, state.critic)
        state = SacState(action=SacActionState(critic=critic_state.critics), critic=critic_state)
        log_pi = self._policy.log_pi(distribution, action)
        info = info._replace(
            action_distribution=distribution,
            actor=LossInfo(extra=SacActorInfo(neg_entropy=log_pi)),
            critic=critic,
            alpha=self._alpha_train_step(log_pi),
            log_pi=log_pi,
        )
        return AlgStep(output=action, state=state, info=info)

    def _values(
        self, observation: Any, action: Any, state: SacCriticState
    ) -> tuple[SacCriticInfo, SacCriticState]:
        """Values [B, R, ...] of the actions taken, target values [B, ...] of the best ones."""
        values, critics_state = self._critics.values(observation, state.critics)
        target, target_state = self._critics.target_values(observation, state.target_critics)
        info = SacCriticInfo(
            critics=self._policy.value_of_taken(values, action),
            target_critic=self._value_of_best(target, values),
        )
        return info, SacCriticState(critics_state, target_state)

    @torch.no_grad()
    def _value_of_best(self, target: Tensor, values: Tensor) -> Tensor:
        """Of target values [B, A, ...] the best action's; ``values`` [B, R, A, ...] are online."""
        if self._target_net_target_action:
            best = self._critics.scalarize(target).argmax(-1)
        else:
            best = self._critics.policy_values(values).argmax(-1)
        return sac_values.values_of_actions(target.unsqueeze(1), best).squeeze(1)

    def _values_of_sequences(self, observation: Any, taken: Any, batch: int) -> SacCriticInfo:
        """As ``_values()``, of all rows but only where the answers matter."""
        earlier, later = slice(-batch), slice(batch, None)
        first, rest = (rows_of(rows, observation) for rows in (earlier, later))
        values, _ = self._critics.values(first, ())
        values = self._policy.value_of_taken(values, rows_of(earlier, taken))
        target, _ = self._critics.target_values(rest, ())
        online = target.unsqueeze(1)  # not looked at
        if not self._target_net_target_action:
            with torch.no_grad():
                online, _ = self._critics.values(rest, ())
        own = self._critics.pessimistic(values[:batch].detach())
        return SacCriticInfo(
            critics=torch.cat([values, torch.zeros_like(values[:batch])]),
            target_critic=torch.cat([own, self._value_of_best(target, online)]),
        )

    def calc_loss(self, info: SacInfo) -> LossInfo:
        loss = self._calc_critic_loss(info)
        return LossInfo(loss=loss.loss, extra=SacLossInfo(critic=loss.extra))
