"""Deep deterministic policy gradient (arXiv:1509.02971), with clipped double Q (1802.09477)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from alf.algorithms import _action_noise as action_noise
from alf.algorithms._ddpg_data import (
    DdpgActorState,
    DdpgCriticInfo,
    DdpgCriticState,
    DdpgInfo,
    DdpgLossInfo,
    DdpgState,
)
from alf.algorithms.config import TrainerConfig
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.algorithms.one_step_loss import OneStepTDLoss
from alf.algorithms.sac import losses as sac_losses
from alf.algorithms.sac import values as sac_values
from alf.algorithms.sac.data import SacCriticInfo, SacInfo
from alf.algorithms.training.carried_spec import carried
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.algorithms.training.row_layout import ReadsRowLayout
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep
from alf.nest import nest
from alf.networks.actor_networks import ActorNetwork
from alf.networks.critic_networks import CriticNetwork
from alf.networks.network import Network
from alf.networks.ou_process import OUProcess
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils._periodic import TargetUpdater
from alf.utils._run_numbers import get_epsilon_greedy

__all__ = [
    "DdpgActorState",
    "DdpgAlgorithm",
    "DdpgCriticInfo",
    "DdpgCriticState",
    "DdpgInfo",
    "DdpgLossInfo",
    "DdpgState",
]


@configurable
class DdpgAlgorithm(ReadsRowLayout, OffPolicyAlgorithm):
    """A deterministic actor, critics Q(s, a), and slowly following targets of both.

    All replicas of the critic are one batched network; the least of their values counts, for the
    targets and for the actor. The actor loss is computed at every time step of a mini batch, the
    critic loss at all but the last. Training has no noise: the state of the noise is passed on, and
    all time steps of a mini batch are trained at once where networks have no state. A subclass
    whose ``train_step()`` reads it sets ``TrainerConfig.temporally_independent_train_step=False``.
    """

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        reward_spec: TensorSpec = TensorSpec(()),
        actor_network_ctor: Callable[..., Network] = ActorNetwork,
        critic_network_ctor: Callable[..., Network] = CriticNetwork,
        reward_weights: list[float] | None = None,
        epsilon_greedy: float | None = None,
        calculate_priority: bool = False,
        env: Any = None,
        config: TrainerConfig | None = None,
        ou_stddev: float = 0.2,
        ou_damping: float = 0.15,
        critic_loss_ctor: Callable | None = None,
        num_critic_replicas: int = 1,
        target_update_tau: float = 0.05,
        target_update_period: int = 1,
        rollout_random_action: float = 0.0,
        dqda_clipping: float | None = None,
        action_l2: float = 0,
        actor_optimizer: torch.optim.Optimizer | None = None,
        critic_optimizer: torch.optim.Optimizer | None = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "DdpgAlgorithm",
    ) -> None:
        """Build networks, noise and losses.

        Args:
            action_spec: continuous actions.
            reward_spec: rank 0, or rank 1 for a vector reward: then there is a critic for each
                dimension and the policy maximizes their weighted sum.
            actor_network_ctor: called with ``input_tensor_spec`` and ``action_spec``.
            critic_network_ctor: called with ``input_tensor_spec=(observation, action)`` and
                ``output_tensor_spec=reward_spec``.
            reward_weights: weights of a vector reward; None is all ones.
            epsilon_greedy: share of the steps of ``predict_step`` with noise; None takes
                ``TrainerConfig.epsilon_greedy``.
            ou_stddev: deviation of the change of the Ornstein-Uhlenbeck noise in one step, in
                units of the action. The noise starts at 0 in every episode.
            ou_damping: rate at which that noise returns to 0.
            critic_loss_ctor: called with ``debug_summaries`` and ``name``; None is OneStepTDLoss.
            num_critic_replicas: 2 for clipped double Q.
            rollout_random_action: share of uniform random actions in ``rollout_step``.
            dqda_clipping: bound for each element of dQ/da in the actor loss; None or 0 is none.
            action_l2: weight of the squared norm of the action in the actor loss.
            actor_optimizer: must be without parameters; each algorithm uses its own copy. The
                same holds for the other one. None leaves that part to the ``optimizer`` of a
                parent.

        Raises:
            ValueError: an action is discrete, or a share does not lie in [0, 1].
        """
        for spec in nest.flatten(action_spec):
            if not isinstance(spec, BoundedTensorSpec) or spec.is_discrete:
                raise ValueError(f"{name} needs bounded continuous actions; there is {spec}.")
        if epsilon_greedy is None:
            epsilon_greedy = get_epsilon_greedy(config)
        actor_optimizer, critic_optimizer = own_optimizers(actor_optimizer, critic_optimizer)
        actor_network = actor_network_ctor(
            input_tensor_spec=observation_spec, action_spec=action_spec
        )
        critic = critic_network_ctor(
            input_tensor_spec=(observation_spec, action_spec), output_tensor_spec=reward_spec
        )
        critic_networks = critic.make_parallel(num_critic_replicas)
        actor_state_spec = DdpgActorState(
            actor=actor_network.state_spec, critics=critic_networks.state_spec
        )
        train_state_spec = DdpgState(
            actor=actor_state_spec,
            critics=DdpgCriticState(
                critics=critic_networks.state_spec,
                target_actor=actor_network.state_spec,
                target_critics=critic_networks.state_spec,
            ),
            noise=carried(action_spec),
        )
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            train_state_spec=train_state_spec,
            predict_state_spec=DdpgState(
                actor=actor_state_spec, critics=DdpgCriticState(), noise=train_state_spec.noise
            ),
            reward_weights=reward_weights,
            env=env,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._epsilon_greedy = epsilon_greedy
        self._rollout_random_action = rollout_random_action
        self._calculate_priority = calculate_priority
        self._dqda_clipping = dqda_clipping
        self._action_l2 = action_l2
        self._actor_network = actor_network
        self._critic_networks = critic_networks
        self._has_state = actor_network.is_rnn or critic_networks.is_rnn
        self._noise_processes = nn.ModuleList(
            OUProcess(state_spec=spec, damping=ou_damping, stddev=ou_stddev)
            for spec in nest.flatten(action_spec)
        )
        if actor_optimizer is not None:
            self.add_optimizer(actor_optimizer, [actor_network])
        if critic_optimizer is not None:
            self.add_optimizer(critic_optimizer, [critic_networks])
        self._critic_losses = sac_losses.CriticLosses(
            critic_loss_ctor or OneStepTDLoss, num_critic_replicas, debug_summaries
        )
        self._target_actor_network = actor_network.copy(name="target_actor_network")
        self._target_critic_networks = critic_networks.copy()
        self._update_target = TargetUpdater(
            models=[self._actor_network, self._critic_networks],
            target_models=[self._target_actor_network, self._target_critic_networks],
            tau=target_update_tau,
            period=target_update_period,
        )

    def _trainable_attributes_to_ignore(self) -> list[str]:
        return ["_target_actor_network", "_target_critic_networks"]

    # Acting

    def predict_step(self, inputs: TimeStep, state: DdpgState) -> AlgStep:
        greedy, actor_state = self._actor_network(inputs.observation, state.actor.actor)
        action, noise = greedy, state.noise
        if self._epsilon_greedy > 0:
            noisy, noise = self._with_noise(action, noise)
            action = action_noise.choose(noisy, action, self._epsilon_greedy)
        state = state._replace(actor=state.actor._replace(actor=actor_state), noise=noise)
        info = DdpgInfo(action=action, action_distribution=greedy)
        return AlgStep(output=action, state=state, info=info)

    def rollout_step(self, time_step: TimeStep, state: DdpgState | None = None) -> AlgStep:
        """The actor's action with noise, or a random one."""
        if state is None:
            state = self.get_initial_rollout_state(time_step.step_type.shape[0])
        observation = time_step.observation
        greedy, actor_state = self._actor_network(observation, state.actor.actor)
        action, noise = self._with_noise(greedy, state.noise)
        if self._rollout_random_action > 0:
            rows = time_step.step_type.shape[0]
            uniform = nest.map_structure(
                lambda spec: spec.sample(outer_dims=(rows,)), self.action_spec
            )
            action = action_noise.choose(uniform, action, self._rollout_random_action)
        state = state._replace(actor=state.actor._replace(actor=actor_state), noise=noise)
        if self.need_full_rollout_state():
            state = self._with_critic_states(observation, action, state)
        info = DdpgInfo(action=action, action_distribution=greedy)
        return AlgStep(output=action, state=state, info=info)

    def _with_noise(self, action: Any, state: Any) -> tuple[Any, Any]:
        """Action and noise, within the bounds, and the next state of the noise."""
        return action_noise.with_noise(action, state, self._noise_processes, self.action_spec)

    def _with_critic_states(self, observation: Any, action: Any, state: DdpgState) -> DdpgState:
        """The state with that of everything but the actor after ``action`` was taken."""
        critics, actor = state.critics, state.actor
        target_action, target_actor = self._target_actor_network(observation, critics.target_actor)
        taken = (observation, action)
        return state._replace(
            actor=actor._replace(critics=self._critic_networks(taken, actor.critics)[1]),
            critics=DdpgCriticState(
                critics=self._critic_networks(taken, critics.critics)[1],
                target_actor=target_actor,
                target_critics=self._target_critic_networks(
                    (observation, target_action), critics.target_critics
                )[1],
            ),
        )

    # Training

    def train_step(self, inputs: TimeStep, state: DdpgState, rollout_info: DdpgInfo) -> AlgStep:
        """What the losses need."""
        observation = inputs.observation
        action, actor_state = self._actor_network(observation, state.actor.actor)
        actor_loss, critics_state = self._actor_loss(observation, action, state.actor.critics)
        critic, critic_state = self._critics(observation, rollout_info.action, state.critics)
        info = DdpgInfo(
            reward=inputs.reward,
            step_type=inputs.step_type,
            discount=inputs.discount,
            action_distribution=action,
            actor_loss=actor_loss,
            critic=critic,
        )
        state = DdpgState(
            actor=DdpgActorState(actor=actor_state, critics=critics_state),
            critics=critic_state,
            noise=state.noise,
        )
        return AlgStep(output=action, state=state, info=info)

    def _actor_loss(self, observation: Any, action: Any, state: Any) -> tuple[LossInfo, Any]:
        """A loss [B] with the gradient -dQ/da for the action, and the state of its critics."""
        values, state = self._values(self._critic_networks, (observation, action), state)
        weights = self._weights()
        q = sac_values.scalarize(sac_values.least_replica(values, weights), weights)
        leaves = nest.flatten(action)
        loss = sac_values.action_gradient_loss(q, leaves, self._dqda_clipping)
        if self._action_l2 > 0:
            norm = torch.stack([a.square().flatten(1).sum(1) for a in leaves]).sum(0)
            loss = loss + self._action_l2 * norm
        return LossInfo(loss=loss, extra=loss), state

    def _critics(
        self, observation: Any, taken: Any, state: DdpgCriticState
    ) -> tuple[DdpgCriticInfo, DdpgCriticState]:
        """Values [B, R, ...] of the actions taken, target values [B, ...], and the next states.

        Where it is known which time steps the rows are, only those that matter are computed: the
        last step is not trained, its values are 0; the first step's target value counts only if
        that step is LAST, after which there is nothing to learn: its own value stands in.
        """
        later = observation
        layout = None
        if not self._has_state:
            layout = self.sequences_of(nest.flatten(taken)[0].shape[0])
        if layout is not None:
            B = layout.batch_size
            observation, taken = nest.map_structure(lambda x: x[:-B], (observation, taken))
            later = nest.map_structure(lambda x: x[B:], later)
        values, critics_state = self._values(
            self._critic_networks, (observation, taken), state.critics
        )
        target, next_state = self._target_values(later, state)
        if layout is not None:
            own = sac_values.least_replica(values[:B].detach(), self._weights())
            values = torch.cat([values, torch.zeros_like(values[:B])])
            target = torch.cat([own, target])
        info = DdpgCriticInfo(q_values=values, target_q_values=target)
        return info, next_state._replace(critics=critics_state)

    def _values(self, networks: Network, inputs: Any, state: Any) -> tuple[Tensor, Any]:
        """Values [B, R] or [B, R, n] of the replicas."""
        return networks(inputs, state)

    @torch.no_grad()
    def _target_values(
        self, observation: Any, state: DdpgCriticState
    ) -> tuple[Tensor, DdpgCriticState]:
        """The value [B] or [B, n] of the target actor's action, and the next states."""
        action, actor_state = self._target_actor_network(observation, state.target_actor)
        values, critics_state = self._values(
            self._target_critic_networks, (observation, action), state.target_critics
        )
        target = sac_values.least_replica(values, self._weights())
        return target, DdpgCriticState(target_actor=actor_state, target_critics=critics_state)

    def _weights(self) -> Tensor | None:
        return sac_values.reward_weights(self._reward_spec.shape, self.reward_weights)

    # The loss

    def calc_loss(self, info: DdpgInfo) -> LossInfo:
        critic = info.critic
        values = SacCriticInfo(critics=critic.q_values, target_critic=critic.target_q_values)
        rows = SacInfo(
            reward=info.reward,
            step_type=info.step_type,
            discount=info.discount,
            critic=values,
            discounted_return=info.discounted_return,
        )
        critic_loss = sac_losses.loss_of_replicas(self._critic_losses, rows)
        priority = ()
        if self._calculate_priority:
            priority = sac_losses.priority_of(info.step_type, critic_loss)
        return LossInfo(
            loss=critic_loss + info.actor_loss.loss,
            priority=priority,
            extra=DdpgLossInfo(actor=info.actor_loss.extra, critic=critic_loss),
        )

    @torch.no_grad()
    def after_update(self, root_inputs: Any, info: DdpgInfo) -> None:
        self._update_target()
