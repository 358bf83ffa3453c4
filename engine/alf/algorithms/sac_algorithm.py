"""Soft actor-critic for continuous, discrete and mixed actions (arXiv:1812.05905)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alf.algorithms import _sac_critics as sac_critics
from alf.algorithms import _sac_losses as sac_losses
from alf.algorithms import _sac_values as sac_values
from alf.algorithms._own_optimizers import own_optimizers
from alf.algorithms._sac_data import (
    ActionType,
    CriticInputs,
    SacActionState,
    SacActorInfo,
    SacCriticInfo,
    SacCriticState,
    SacInfo,
    SacLossInfo,
    SacState,
)
from alf.algorithms._sac_kinds import kind_of_actions
from alf.algorithms.config import TrainerConfig
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.algorithms.one_step_loss import OneStepTDLoss
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep
from alf.nest import nest
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.critic_networks import CriticNetwork
from alf.networks.network import Network
from alf.networks.q_networks import QNetwork
from alf.summary import summary_ops as summary
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import common, dist_utils, math_ops, tensor_utils
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
]

# Where the target entropy cannot be reached log alpha moves on for ever: alpha would be 0, by which
# discrete actions divide, or infinite.
LOG_ALPHA_LIMIT = 40.0


@configurable
class SacAlgorithm(OffPolicyAlgorithm):
    """Soft actor-critic with automatic temperature, for all kinds of actions and vector rewards.

    * Continuous: an actor network and critics Q(s, a).
    * Discrete: no actor; pi(a|s) is proportional to exp(Q(s, a) / alpha).
    * Mixed, a pair (discrete, continuous): Q(s, c) has one output for each discrete action; the
      actor draws c, then the discrete action is drawn from exp(Q(s, c) / alpha).

    All replicas of the critic are one batched network. One draw from the policy serves all losses.
    Actor and temperature losses are computed at every time step of a mini batch, the critic loss at
    all but the last, where it is 0: with ``mini_batch_length=2`` the critic loss weighs half.
    """

    # These two are None where there are none, and then nobody calls them.
    _actor_network: Any
    _critic_networks: Any
    _training_started: Tensor

    # What of the critics' values counts; a variant of the algorithm can put others here.
    _least_replica = staticmethod(sac_values.least_replica)
    _scalarize = staticmethod(sac_values.scalarize)

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
            repr_alg_ctor: only None is supported.
            reward_weights: weights of a vector reward; None is all ones.
            epsilon_greedy: share of sampled instead of greedy actions in ``predict_step``; None
                takes ``TrainerConfig.epsilon_greedy``.
            use_entropy_reward: count alpha times the entropy as reward.
            normalize_entropy_reward: bring that reward to mean 0 and deviation 1.
            critic_loss_ctor: called with ``debug_summaries`` and ``name``; None is OneStepTDLoss.
            target_entropy: a number, or a callable on each action's spec; for mixed actions it can
                be a pair. None is ``dist_utils.calc_default_target_entropy``.
            prior_actor_ctor: if given, the divergence from this prior policy replaces minus the
                entropy everywhere and is held at ``target_kld_per_dim`` for each dimension.
                Continuous actions only.
            max_log_alpha: upper bound of log alpha; None: 40. The lower one is -40.
            parameter_reset_period: actor and critics start anew after this many updates (primacy
                bias, arXiv:2205.07802); never if not positive.
            dqda_clipping: bound for each element of dQ/da in the actor loss; None or 0 is none.
            actor_optimizer: must be without parameters; each algorithm uses its own copy. The
                same holds for the other two. None leaves that part to the ``optimizer`` of a
                parent.
            reproduce_locomotion: as in the original for MuJoCo: uniform actions until training
                starts; the last time step of a mini batch trains neither actor nor temperature.

        Raises:
            ValueError: actions, optimizers or options that cannot be used together.
        """
        if repr_alg_ctor is not None:
            raise ValueError(
                "SacAlgorithm.repr_alg_ctor is not supported by this engine; allowed is None. "
                "Use Agent(representation_learner_cls=...) for a learned representation."
            )
        kind = kind_of_actions(action_spec)
        if prior_actor_ctor is not None and kind.type is not ActionType.Continuous:
            raise ValueError(
                "SacAlgorithm.prior_actor_ctor is supported for continuous actions only; the "
                f"action_spec is {action_spec}."
            )
        actor_optimizer, critic_optimizer, alpha_optimizer = own_optimizers(
            actor_optimizer, critic_optimizer, alpha_optimizer
        )
        actor_network = kind.make_actor(actor_network_cls, observation_spec)
        critic = kind.make_critic(critic_network_cls, q_network_cls, observation_spec)
        can_learn = critic is not None
        critic_networks = critic and critic.make_parallel(num_critic_replicas * reward_spec.numel)
        state_spec = kind.state_spec(
            actor_network.state_spec if actor_network is not None else (),
            critic_networks.state_spec if can_learn else (),
        )
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            train_state_spec=state_spec,
            predict_state_spec=SacState(action=state_spec.action),
            reward_weights=reward_weights,
            env=env,
            config=config,
            checkpoint=checkpoint,
            is_eval=not can_learn,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._kind = kind
        self._num_critic_replicas = num_critic_replicas
        self._has_critic_state = can_learn and critic_networks.is_rnn
        self._epsilon_greedy = (
            common.get_epsilon_greedy(config) if epsilon_greedy is None else epsilon_greedy
        )
        self._keeps_distributions = config is not None and config.summarize_action_distributions
        self._use_entropy_reward = use_entropy_reward
        self._calculate_priority = calculate_priority
        self._dqda_clipping = dqda_clipping
        self._max_log_alpha = LOG_ALPHA_LIMIT if max_log_alpha is None else max_log_alpha
        self._reproduce_locomotion = reproduce_locomotion
        # Only then is it known which steps are last, at which the actor has nothing to learn.
        self._actor_learns_in_calc_loss = (
            reproduce_locomotion
            and kind.type is ActionType.Continuous
            and not self._has_critic_state
        )
        self._target_entropies = sac_losses.target_entropies(
            kind.parts(),
            target_entropy=target_entropy,
            target_kld_per_dim=None if prior_actor_ctor is None else target_kld_per_dim,
        )

        self._actor_network = actor_network
        self._critic_networks = critic_networks
        log_alphas = [
            nn.Parameter(torch.tensor(float(initial_log_alpha))) for _ in self._target_entropies
        ]
        self._log_alpha = log_alphas[0] if len(log_alphas) == 1 else nn.ParameterList(log_alphas)
        if reproduce_locomotion:
            self.register_buffer("_training_started", torch.zeros((), dtype=torch.bool))
        if prior_actor_ctor is None:
            self._prior_actor = None
        else:
            self._prior_actor = prior_actor_ctor(
                observation_spec, action_spec, debug_summaries=debug_summaries
            )

        if actor_optimizer is not None and actor_network is not None:
            self.add_optimizer(actor_optimizer, [actor_network])
        if critic_optimizer is not None and critic_networks is not None:
            self.add_optimizer(critic_optimizer, [critic_networks])
        if alpha_optimizer is not None:
            self.add_optimizer(alpha_optimizer, log_alphas)
        if can_learn:
            self._build_learning(
                critic_loss_ctor or OneStepTDLoss,
                normalize_entropy_reward=use_entropy_reward and normalize_entropy_reward,
                tau=target_update_tau,
                period=target_update_period,
                reset_period=parameter_reset_period,
            )

    def _build_learning(
        self,
        critic_loss_ctor: Callable,
        *,
        normalize_entropy_reward: bool,
        tau: float,
        period: int,
        reset_period: int,
    ) -> None:
        self._critic_loss = critic_loss_ctor(
            debug_summaries=self._debug_summaries, name="critic_loss"
        )
        self._entropy_normalizer = (
            ScalarAdaptiveNormalizer(unit_std=True) if normalize_entropy_reward else None
        )
        self._target_critic_networks = self._critic_networks.copy()
        self._update_target = common.TargetUpdater(
            models=[self._critic_networks],
            target_models=[self._target_critic_networks],
            tau=tau,
            period=period,
        )
        self._periodic_reset = None
        if reset_period > 0:
            copy_to_target = common.TargetUpdater(
                models=[self._critic_networks], target_models=[self._target_critic_networks]
            )
            networks = [self._actor_network, self._critic_networks]
            self._periodic_reset = common.PeriodicReset(
                models=[network for network in networks if network is not None],
                period=reset_period,
                post_processings=[copy_to_target],
            )

    def _trainable_attributes_to_ignore(self) -> list[str]:
        return ["_target_critic_networks"]

    # Acting

    def predict_step(self, inputs: TimeStep, state: SacState) -> AlgStep:
        choose = functools.partial(dist_utils.epsilon_greedy_sample, eps=self._epsilon_greedy)
        distribution, action, action_state = self._kind.act(
            self, inputs.observation, state.action, choose
        )
        return AlgStep(
            output=action,
            state=SacState(action=action_state),
            info=SacInfo(action_distribution=distribution),
        )

    def rollout_step(self, inputs: TimeStep, state: SacState) -> AlgStep:
        """Sample an action; if states are stored, recurrent critics go along."""
        distribution, action, action_state = self._kind.act(
            self, inputs.observation, state.action, dist_utils.sample_action_distribution
        )
        if self._reproduce_locomotion and not self._is_training_known_to_have_started():
            action = nest.map_structure(self._uniform_before_training, action, self.action_spec)
        state = state._replace(action=action_state)
        if self.need_full_rollout_state():
            state = sac_critics.carry_states(self, inputs.observation, action, state)
        info = SacInfo(action=action)
        if self._keeps_distributions:
            info = info._replace(action_distribution=distribution)
        return AlgStep(output=action, state=state, info=info)

    def _is_training_known_to_have_started(self) -> bool:
        """Looked up where that does not mean to wait for an accelerator."""
        started = self._training_started
        return started.device.type == "cpu" and bool(started)

    def _uniform_before_training(self, action: Tensor, spec: BoundedTensorSpec) -> Tensor:
        uniform = spec.sample(outer_dims=(action.shape[0],)).to(action.device)
        return torch.where(self._training_started, action, uniform)

    # Training

    def train_step(self, inputs: TimeStep, state: SacState, rollout_info: SacInfo) -> AlgStep:
        """What the losses need.

        Critics without state are asked later, in ``calc_loss``, where it is known which steps are
        the first and last of their sequences: half of the work for sequences of two.
        """
        policy = self._kind.learn(self, inputs, state)
        if self._reproduce_locomotion:
            self._training_started.fill_(True)
        taken = rollout_info.action
        critic = CriticInputs(
            taken=self._kind.critic_inputs(inputs.observation, taken), policy=policy.critic_inputs
        )
        next_state = policy.state._replace(critic=SacCriticState())
        if self._has_critic_state:
            critic, critic_state = sac_critics.critics_of_steps(
                self, critic, taken, policy.distribution, state.critic
            )
            next_state = next_state._replace(critic=critic_state)
        info = SacInfo(
            reward=inputs.reward,
            step_type=inputs.step_type,
            discount=inputs.discount,
            action=taken,
            action_distribution=policy.distribution,
            actor=self._actor_loss(policy.actor_loss, policy.log_pi[-1]),
            critic=critic,
            alpha=self._alpha_loss(policy.log_pi),
            log_pi=policy.log_pi,
        )
        return AlgStep(output=policy.action, state=next_state, info=info)

    def _actor_loss(self, loss: Tensor | tuple, log_pi: Tensor) -> LossInfo:
        if not isinstance(loss, Tensor):
            return LossInfo(extra=SacActorInfo(neg_entropy=log_pi))
        return LossInfo(
            loss=loss + self._alphas()[-1] * log_pi,
            extra=SacActorInfo(actor_loss=loss, neg_entropy=log_pi),
        )

    def _alpha_loss(self, log_pi: tuple[Tensor, ...]) -> Tensor:
        losses = [
            sac_values.temperature_loss(*part)
            for part in zip(self._log_alphas(), log_pi, self._target_entropies, strict=True)
        ]
        return sum(losses[1:], losses[0])

    # The loss

    def calc_loss(self, info: SacInfo) -> LossInfo:
        if self._actor_learns_in_calc_loss:
            info = info._replace(actor=self._actor_loss_of_sequences(info))
        if not self._has_critic_state:
            info = info._replace(critic=sac_critics.critics_of_sequences(self, info))
        if self._use_entropy_reward:
            reward = sac_losses.reward_with_entropy(
                info, self._alphas(), self._critic_loss.gamma, self._entropy_normalizer
            )
            info = info._replace(reward=reward)
        critic_loss = sac_losses.loss_of_replicas(self._critic_loss, info)
        policy_loss = math_ops.add_ignore_empty(info.actor.loss, info.alpha)
        if self._reproduce_locomotion:
            policy_loss = tensor_utils.tensor_extend_zero(policy_loss[:-1])
        priority = ()
        if self._calculate_priority:
            priority = sac_losses.priority_of(info.step_type, critic_loss)
        if self._debug_summaries and summary.should_record_summaries():
            self._summarize_alphas()
        return LossInfo(
            loss=policy_loss + critic_loss,
            priority=priority,
            extra=SacLossInfo(actor=info.actor.extra, critic=critic_loss, alpha=info.alpha),
        )

    def _actor_loss_of_sequences(self, info: SacInfo) -> LossInfo:
        """The actor's loss [T, B], 0 at the last step."""
        T, B = info.step_type.shape
        earlier = nest.map_structure(lambda x: x[:-1].flatten(0, 1), info.critic.policy)
        loss = self._kind.actor_loss(self, earlier).unflatten(0, (T - 1, B))
        return self._actor_loss(tensor_utils.tensor_extend_zero(loss), info.log_pi[-1])

    def _summarize_alphas(self) -> None:
        names = ["alpha/discrete", "alpha/continuous"]
        alphas = self._alphas()
        with summary.scope(self._name):
            for name, alpha in zip(names if len(alphas) > 1 else ["alpha"], alphas, strict=True):
                summary.scalar(name, alpha)

    @torch.no_grad()
    def after_update(self, root_inputs: Any, info: Any) -> None:
        self._update_target()
        for log_alpha in self._log_alphas():
            log_alpha.clamp_(-LOG_ALPHA_LIMIT, self._max_log_alpha)
        if self._periodic_reset is not None:
            self._periodic_reset()

    # For the kinds of actions

    def _log_alphas(self) -> Sequence[Tensor]:
        log_alpha = self._log_alpha
        return list(log_alpha) if isinstance(log_alpha, nn.ParameterList) else [log_alpha]

    def _alphas(self) -> list[Tensor]:
        return [log_alpha.detach().exp() for log_alpha in self._log_alphas()]

    def _action_gradient_loss(self, q: Tensor, leaf: Any, sampled: Any) -> Tensor:
        return sac_values.action_gradient_loss(
            q, nest.flatten(leaf), nest.flatten(sampled), self._dqda_clipping
        )
