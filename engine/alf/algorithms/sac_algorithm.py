"""Soft actor-critic for continuous, discrete and mixed actions (arXiv:1812.05905)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from alf.algorithms.config import TrainerConfig
from alf.algorithms.one_step_loss import OneStepTDLoss
from alf.algorithms.sac import losses as sac_losses
from alf.algorithms.sac.acting import SacActing
from alf.algorithms.sac.data import (
    ActionType,
    SacActionState,
    SacActorInfo,
    SacCriticInfo,
    SacCriticState,
    SacInfo,
    SacLossInfo,
    SacState,
)
from alf.algorithms.sac.kinds import kind_of_actions, make_networks
from alf.algorithms.sac.representation import Representation
from alf.algorithms.sac.targets import make_periodic_reset, make_target_updater
from alf.algorithms.sac.temperatures import LOG_ALPHA_LIMIT, parts_of, target_entropies
from alf.algorithms.sac.temperatures import set_target_entropy as _set_target_entropy
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep
from alf.nest import nest
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.critic_networks import CriticNetwork
from alf.networks.network import Network
from alf.networks.q_networks import QNetwork
from alf.summary import summary_ops as summary
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils, math_ops
from alf.utils._run_numbers import get_epsilon_greedy
from alf.utils.normalizers import ScalarAdaptiveNormalizer

__all__ = [
    "ActionType",
    "SacActionState",
    "SacActorInfo",
    "SacAlgorithm",
    "SacCriticInfo",
    "SacCriticState",
    "SacInfo",
    "SacLossInfo",
    "SacState",
    "_set_target_entropy",
]


@configurable
class SacAlgorithm(SacActing):
    """Soft actor-critic with automatic temperature, for all kinds of actions and vector rewards.

    * Continuous: an actor network and critics Q(s, a).
    * Discrete: no actor; pi(a|s) is proportional to exp(Q(s, a) / alpha).
    * Mixed, a pair (discrete, continuous): Q(s, c) has one output for each discrete action; the
      actor draws c, then the discrete action is drawn from exp(Q(s, c) / alpha).

    All replicas of the critic are one batched network. One draw from the policy serves all losses.
    Actor and temperature losses are computed at every time step of a mini batch, the critic loss at
    all but the last, where it is 0: with ``mini_batch_length=2`` the critic loss weighs half.

    A variant can override ``_predict_action()``, which acts and gives the policy to learn from, the
    parts of ``train_step()`` (``_actor_train_step()``, ``_critic_train_step()``,
    ``_alpha_train_step()``) and ``_calc_critic_loss()``.
    """

    _critic_losses: Any

    # Its train_step() asks nothing of the distribution in the rollout's info.
    _ignores_rollout_policy = True

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        reward_spec: TensorSpec = TensorSpec(()),
        actor_network_cls: Callable[..., Network] | None = ActorDistributionNetwork,
        critic_network_cls: Callable[..., Network] | None = CriticNetwork,
        q_network_cls: Callable[..., Network] | None = QNetwork,
        repr_alg_ctor: Callable | None = None,
        reward_weights: list[float] | None = None,
        epsilon_greedy: float | None = None,
        use_entropy_reward: bool = True,
        normalize_entropy_reward: bool = False,
        calculate_priority: bool = False,
        num_critic_replicas: int = 2,
        env: Any = None,
        config: TrainerConfig | None = None,
        critic_loss_ctor: Callable | None = None,
        target_entropy: float | Callable | tuple | list | None = None,
        prior_actor_ctor: Callable | None = None,
        target_kld_per_dim: float = 3.0,
        initial_log_alpha: float = 0.0,
        max_log_alpha: float | None = None,
        target_update_tau: float = 0.05,
        target_update_period: int = 1,
        parameter_reset_period: int = -1,
        dqda_clipping: float | None = None,
        actor_optimizer: torch.optim.Optimizer | None = None,
        critic_optimizer: torch.optim.Optimizer | None = None,
        alpha_optimizer: torch.optim.Optimizer | None = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        reproduce_locomotion: bool = False,
        name: str = "SacAlgorithm",
    ) -> None:
        """Build networks, temperatures and losses.

        Args:
            action_spec: at most one discrete action, a scalar that counts from 0.
            reward_spec: rank 0, or rank 1 for a vector reward: then there is a critic for each
                dimension and the policy maximizes their weighted sum.
            actor_network_cls: called with ``input_tensor_spec`` and ``action_spec``.
            critic_network_cls: called with ``input_tensor_spec=(observation, action)``. None makes
                an algorithm with continuous actions that can act but not learn.
            q_network_cls: called with ``input_tensor_spec`` and ``action_spec``; for mixed actions
                its input is ``(observation, continuous_action)``.
            repr_alg_ctor: called like ``EncodingAlgorithm`` for a representation of observations
                that all networks get instead. Actor and critic losses train it, and target critics
                have a slowly following copy of it.
            reward_weights: weights of a vector reward; None is all ones.
            epsilon_greedy: share of sampled instead of greedy actions in ``predict_step``; None
                takes ``TrainerConfig.epsilon_greedy``.
            use_entropy_reward: count alpha times the entropy as reward.
            normalize_entropy_reward: bring that reward to mean 0 and deviation 1.
            critic_loss_ctor: called with ``debug_summaries`` and ``name`` for each replica; None is
                OneStepTDLoss.
            target_entropy: a number, or a callable on each action's spec; for mixed actions it can
                be a pair. None is ``dist_utils.calc_default_target_entropy``.
            prior_actor_ctor: if given, the divergence from this prior policy replaces minus the
                entropy everywhere and is held at ``target_kld_per_dim`` for each dimension.
                Continuous actions only.
            max_log_alpha: upper bound of log alpha; None: 40. The lower one is -40.
            parameter_reset_period: actor and critics start anew after this many training
                iterations (primacy bias, arXiv:2205.07802); never if not positive.
            dqda_clipping: bound for each element of dQ/da in the actor loss; None or 0 is none.
            actor_optimizer: must be without parameters; each algorithm uses its own copy. The
                same holds for the other two. None leaves that part to the ``optimizer`` of a
                parent.
            reproduce_locomotion: as in the original for MuJoCo: uniform actions until training
                starts; the first time step of a mini batch trains neither actor nor temperature.

        Raises:
            ValueError: actions, optimizers or options that cannot be used together.
        """
        kind = kind_of_actions(action_spec)
        if prior_actor_ctor is not None and kind.type is not ActionType.Continuous:
            raise ValueError(
                "SacAlgorithm.prior_actor_ctor is supported for continuous actions only; the "
                f"action_spec is {action_spec}."
            )
        actor_optimizer, critic_optimizer, alpha_optimizer = own_optimizers(
            actor_optimizer, critic_optimizer, alpha_optimizer
        )
        representation = Representation.make(
            repr_alg_ctor, observation_spec, action_spec, reward_spec, config, debug_summaries
        )
        actor_network, critic_networks, state_spec = make_networks(
            kind,
            actor_network_cls,
            critic_network_cls,
            q_network_cls,
            representation.spec(observation_spec),
            num_critics=num_critic_replicas * reward_spec.numel,
        )
        can_learn = critic_networks is not None
        state_spec, predict_state_spec = representation.add_states(state_spec)
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            train_state_spec=state_spec,
            predict_state_spec=predict_state_spec,
            reward_weights=reward_weights,
            env=env,
            config=config,
            checkpoint=checkpoint,
            is_eval=not can_learn,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._kind = kind
        self._act_type = kind.type
        self._num_critic_replicas = num_critic_replicas
        self._has_critic_state = can_learn and critic_networks.is_rnn
        self._epsilon_greedy = (
            get_epsilon_greedy(config) if epsilon_greedy is None else epsilon_greedy
        )
        self._use_entropy_reward = use_entropy_reward
        self._calculate_priority = calculate_priority
        self._dqda_clipping = dqda_clipping
        self._max_log_alpha = LOG_ALPHA_LIMIT if max_log_alpha is None else max_log_alpha
        self._reproduce_locomotion = reproduce_locomotion
        self._target_entropies = target_entropies(
            kind.parts(),
            target_entropy=target_entropy,
            target_kld_per_dim=None if prior_actor_ctor is None else target_kld_per_dim,
        )

        self._actor_network = actor_network
        self._critic_networks = critic_networks
        self._target_critic_networks = None
        self._repr_alg = representation.online
        self._target_repr_alg = representation.target if can_learn else None
        log_alphas = [
            nn.Parameter(torch.tensor(float(initial_log_alpha))) for _ in self._target_entropies
        ]
        self._log_alpha = log_alphas[0] if len(log_alphas) == 1 else nn.ParameterList(log_alphas)
        self._init_training_started()
        self._prior_actor = prior_actor_ctor and prior_actor_ctor(
            observation_spec, action_spec, debug_summaries=debug_summaries
        )
        if actor_optimizer is not None and actor_network is not None:
            self.add_optimizer(actor_optimizer, [actor_network])
        if critic_optimizer is not None and critic_networks is not None:
            self.add_optimizer(critic_optimizer, [critic_networks])
        if alpha_optimizer is not None:
            self.add_optimizer(alpha_optimizer, log_alphas)
        self._periodic_reset = None
        if not can_learn:
            return
        self._critic_losses = sac_losses.CriticLosses(
            critic_loss_ctor or OneStepTDLoss, num_critic_replicas, debug_summaries
        )
        normalizes = use_entropy_reward and normalize_entropy_reward
        self._entropy_normalizer = ScalarAdaptiveNormalizer(unit_std=True) if normalizes else None
        self._target_critic_networks = targets = critic_networks.copy()
        self._update_target = make_target_updater(
            [(critic_networks, targets), (self._repr_alg, self._target_repr_alg)],
            tau=target_update_tau,
            period=target_update_period,
        )
        self._periodic_reset = make_periodic_reset(
            actor_network, critic_networks, targets, period=parameter_reset_period
        )

    def _trainable_attributes_to_ignore(self) -> list[str]:
        return ["_target_critic_networks", "_target_repr_alg"]

    # Training

    def train_step(self, inputs: TimeStep, state: SacState, rollout_info: SacInfo) -> AlgStep:
        """What the losses need."""
        if not self._has_trained:
            self._has_trained = True
            self._training_started.fill_(True)
        raw = inputs
        representation = self._representation
        inputs, repr_step = representation.encode("train_step", inputs, state, rollout_info)
        target_observation, target_repr = representation.encode_for_targets(raw, inputs, state)
        distribution, action, values, action_state = self._act_to_learn(inputs.observation, state)
        log_pi: Any = self._policy.log_pi(distribution, action)
        if self._prior_actor is not None:
            prior = self._prior_actor.train_step(raw, ()).output
            log_pi = log_pi - dist_utils.compute_log_probability(prior, action)
        actor_state, actor_loss = self._actor_train_step(
            inputs, state.actor, action, values, log_pi, distribution
        )
        critic_state, critic_info = self._critic_train_step(
            inputs, state.critic, rollout_info, action, distribution, target_observation
        )
        info = SacInfo(
            reward=inputs.reward,
            step_type=inputs.step_type,
            discount=inputs.discount,
            action=rollout_info.action,
            action_distribution=distribution,
            actor=actor_loss,
            critic=critic_info,
            alpha=self._alpha_train_step(log_pi),
            log_pi=log_pi,
            repr=repr_step.info,
        )
        next_state = SacState(action_state, actor_state, critic_state, repr_step.state, target_repr)
        return AlgStep(output=action, state=next_state, info=info)

    def _actor_train_step(
        self,
        inputs: TimeStep,
        state: Any,
        action: Any,
        critics: Any,
        log_pi: Any,
        action_distribution: Any,
    ) -> tuple[Any, LossInfo]:
        """Next state of the actor's critics, and the actor's loss [B].

        Args:
            state: of the critics at the policy's actions.
            action: the policy's, with its graph.
            critics: what ``_predict_action()`` says of them.
            log_pi: [B]; for mixed actions a pair.
        """
        parts = parts_of(log_pi)
        neg_entropy = math_ops.add_n(list(parts))
        if self._kind.type is ActionType.Discrete:
            return (), LossInfo(extra=SacActorInfo(neg_entropy=neg_entropy))
        loss, state = self._policy.climb(
            inputs.observation,
            action,
            critics,
            state,
            num_fixed=self._rows_without_policy(neg_entropy.shape[0]),
            clipping=self._dqda_clipping,
        )
        return state, LossInfo(
            loss=loss + self._temperatures.alphas()[-1] * parts[-1],
            extra=SacActorInfo(actor_loss=loss, neg_entropy=neg_entropy),
        )

    def _critic_train_step(
        self,
        inputs: TimeStep,
        state: SacCriticState,
        rollout_info: SacInfo,
        action: Any,
        action_distribution: Any,
        target_observation: Any = None,
    ) -> tuple[SacCriticState, SacCriticInfo]:
        """Next state of the critics, and their values as ``Policy.evaluate()`` says.

        ``target_observation`` is what the target critics see; None is ``inputs.observation``.
        """
        if target_observation is None:
            target_observation = inputs.observation
        observations = (inputs.observation, target_observation)
        taken = rollout_info.action
        layout = None
        if not self._has_critic_state:
            layout = self.sequences_of(nest.flatten(taken)[0].shape[0])
        info, state = self._policy.evaluate(
            observations, taken, action, action_distribution, state, layout
        )
        return state, info

    def _alpha_train_step(self, log_pi: Any) -> Tensor:
        """The loss [B] of the temperatures."""
        return self._temperatures.loss(log_pi)

    # The loss

    def calc_loss(self, info: SacInfo) -> LossInfo:
        critic = self._calc_critic_loss(info)
        policy_loss = math_ops.add_ignore_empty(info.actor.loss, info.alpha)
        if self._reproduce_locomotion:
            policy_loss = torch.cat([torch.zeros_like(policy_loss[:1]), policy_loss[1:]])
        if self._debug_summaries and summary.should_record_summaries():
            with summary.scope(self._name):
                self._temperatures.summarize()
        loss = LossInfo(
            loss=policy_loss + critic.loss,
            priority=critic.priority,
            extra=SacLossInfo(actor=info.actor.extra, critic=critic.extra, alpha=info.alpha),
        )
        return self._representation.add_loss(loss, info)

    def _calc_critic_loss(self, info: SacInfo) -> LossInfo:
        """The sum [T, B] of the losses of all replicas, priorities, and the mean as ``extra``."""
        if self._use_entropy_reward:
            gamma = self._critic_losses[0].gamma
            reward = sac_losses.reward_with_entropy(
                info, self._temperatures.alphas(), gamma, self._entropy_normalizer
            )
            info = info._replace(reward=reward)
        loss = self._loss_of_replicas(info)
        priority = ()
        if self._calculate_priority:
            priority = sac_losses.priority_of(info.step_type, loss)
        return LossInfo(loss=loss, priority=priority, extra=loss / self._num_critic_replicas)

    def _loss_of_replicas(self, info: SacInfo) -> Tensor:
        return sac_losses.loss_of_replicas(self._critic_losses, info)

    @torch.no_grad()
    def after_update(self, root_inputs: Any, info: Any) -> None:
        self._representation.after_update(root_inputs, info)
        self._update_target()
        self._temperatures.clamp()

    def after_train_iter(self, inputs: Any, info: Any) -> None:
        self._representation.after_train_iter(inputs, info)
        if self._periodic_reset is not None:
            self._periodic_reset()

    def _looks_at_unroll(self) -> bool:
        """Whether an unroll has to be kept: SAC itself needs none after an iteration."""
        own = type(self).after_train_iter is not SacAlgorithm.after_train_iter
        if own or self._repr_alg is not None:
            return super()._looks_at_unroll()
        return summary.should_record_summaries()
