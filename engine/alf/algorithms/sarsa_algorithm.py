"""SARSA for continuous actions, on-policy or off-policy, with an actor as that of DDPG or SAC."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from alf.algorithms import _action_noise as action_noise
from alf.algorithms.config import TrainerConfig
from alf.algorithms.one_step_loss import OneStepTDLoss
from alf.algorithms.rl_algorithm import RLAlgorithm
from alf.algorithms.sac import losses as sac_losses
from alf.algorithms.sac import values as sac_values
from alf.algorithms.sac.data import SacCriticInfo, SacInfo
from alf.algorithms.sac.temperatures import set_target_entropy
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, StepType, TimeStep, namedtuple
from alf.nest import nest
from alf.networks.network import Network
from alf.networks.ou_process import OUProcess
from alf.summary import summary_ops as summary
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils, tensor_utils
from alf.utils._periodic import TargetUpdater
from alf.utils._policy_state import reset_state_if_necessary
from alf.utils._run_numbers import get_epsilon_greedy

__all__ = ["SarsaAlgorithm", "SarsaInfo", "SarsaLossInfo", "SarsaState"]

SarsaState = namedtuple(
    "SarsaState",
    ["prev_observation", "prev_step_type", "actor", "critics", "target_critics", "noise"],
    default_value=(),
)
SarsaInfo = namedtuple(
    "SarsaInfo",
    [
        "reward",
        "step_type",
        "discount",
        "action_distribution",
        "actor_loss",
        "critics",
        "target_critics",
        "neg_entropy",
    ],
    default_value=(),
)
SarsaLossInfo = namedtuple(
    "SarsaLossInfo", ["actor", "critic", "alpha", "neg_entropy"], default_value=()
)


@configurable
class SarsaAlgorithm(RLAlgorithm):
    """Critics learn |Q(s_t, a_t) - sg(r_{t+1} + gamma Q'(s_{t+1}, a_{t+1}))|^2.

    Each step learns the value of the step before it, whose observation is in the state and whose
    action is ``prev_action``; a_{t+1} is the policy's present action. So nothing has to be known of
    the future, and on-policy training needs no step beyond the newest one. The actor climbs
    min_r Q_r(s, a), a stochastic one also its entropy, weighted with alpha.

    Off-policy, the state is stored in the replay buffer: without it the observation before the
    first step of a mini batch would not be known. For the same reason steps are trained in order.
    """

    _critic_losses: Any
    _log_alpha: Any

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        actor_network_ctor: Callable[..., Network],
        critic_network_ctor: Callable[..., Network],
        reward_spec: TensorSpec = TensorSpec(()),
        num_critic_replicas: int = 2,
        env: Any = None,
        config: TrainerConfig | None = None,
        critic_loss_cls: Callable = OneStepTDLoss,
        target_entropy: float | Callable | None = None,
        epsilon_greedy: float | None = None,
        use_entropy_reward: bool = False,
        calculate_priority: bool = False,
        initial_alpha: float | None = 1.0,
        ou_stddev: float = 0.2,
        ou_damping: float = 0.15,
        actor_optimizer: torch.optim.Optimizer | None = None,
        critic_optimizer: torch.optim.Optimizer | None = None,
        alpha_optimizer: torch.optim.Optimizer | None = None,
        target_update_tau: float = 0.05,
        target_update_period: int = 10,
        use_smoothed_actor: bool = False,
        dqda_clipping: float = 0.0,
        on_policy: bool = False,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "SarsaAlgorithm",
    ) -> None:
        """Build networks, noise, temperature and losses.

        Args:
            action_spec: continuous actions.
            actor_network_ctor: called with ``input_tensor_spec`` and ``action_spec``; its output is
                an action, or a distribution of actions.
            critic_network_ctor: called with ``input_tensor_spec=(observation, action)``.
            reward_spec: rank 0, or rank 1 for a vector reward: then there is a critic for each
                dimension and the policy maximizes their sum.
            critic_loss_cls: called with ``debug_summaries`` and ``name`` for each replica.
            target_entropy: a number, or a callable on each action's spec; None is
                ``dist_utils.calc_default_target_entropy``.
            epsilon_greedy: share of the steps of ``predict_step`` that sample the distribution, or
                have noise; None takes ``TrainerConfig.epsilon_greedy``.
            use_entropy_reward: count alpha times the entropy as reward.
            initial_alpha: weight of the entropy in the actor's loss; None is none. A deterministic
                actor has none.
            ou_stddev: deviation of the change of the Ornstein-Uhlenbeck noise of a deterministic
                actor in one step, in units of the action. It starts at 0 in every episode.
            ou_damping: rate at which that noise returns to 0.
            actor_optimizer: must be without parameters; each algorithm uses its own copy. The
                same holds for the other two.
            critic_optimizer: of all critics.
            alpha_optimizer: None keeps alpha at ``initial_alpha``.
            use_smoothed_actor: act with an actor that follows the trained one as targets do.
            dqda_clipping: bound for each element of dQ/da in the actor loss; 0 is none.
            on_policy: learn from the newest unroll instead of a replay buffer.

        Raises:
            ValueError: an action is discrete or unbounded, an optimizer is missing, or
                ``use_smoothed_actor`` is given on-policy.
        """
        for spec in nest.flatten(action_spec):
            if not isinstance(spec, BoundedTensorSpec) or spec.is_discrete:
                raise ValueError(f"{name} needs bounded continuous actions; there is {spec}.")
        if actor_optimizer is None or critic_optimizer is None:
            raise ValueError(
                f"{name} needs actor_optimizer and critic_optimizer, got {actor_optimizer!r:.60} "
                f"and {critic_optimizer!r:.60}."
            )
        if use_smoothed_actor and on_policy:
            raise ValueError(
                f"{name}.use_smoothed_actor is for training with on_policy=False: on-policy "
                "training needs actions of the actor that is trained."
            )
        if epsilon_greedy is None:
            epsilon_greedy = get_epsilon_greedy(config)
        own_actor_optimizer, own_critic_optimizer, own_alpha_optimizer = own_optimizers(
            actor_optimizer, critic_optimizer, alpha_optimizer
        )
        actor_network = actor_network_ctor(
            input_tensor_spec=observation_spec, action_spec=action_spec
        )
        critic = critic_network_ctor(input_tensor_spec=(observation_spec, action_spec))
        critic_networks = critic.make_parallel(num_critic_replicas * reward_spec.numel)
        is_stochastic = actor_network.is_distribution_output
        predict_state_spec = SarsaState(
            prev_observation=observation_spec,
            prev_step_type=TensorSpec((), torch.int32),
            actor=actor_network.state_spec,
            noise=() if is_stochastic else action_spec,
        )
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            train_state_spec=predict_state_spec._replace(
                critics=critic_networks.state_spec, target_critics=critic_networks.state_spec
            ),
            predict_state_spec=predict_state_spec,
            is_on_policy=on_policy,
            env=env,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._is_stochastic = is_stochastic
        self._num_critic_replicas = num_critic_replicas
        self._epsilon_greedy = epsilon_greedy
        self._use_entropy_reward = use_entropy_reward
        self._calculate_priority = calculate_priority
        self._dqda_clipping = dqda_clipping
        self._actor_network = actor_network
        self._critic_networks = critic_networks
        self._noise_processes = nn.ModuleList(
            OUProcess(state_spec=spec, damping=ou_damping, stddev=ou_stddev)
            for spec in ([] if is_stochastic else nest.flatten(action_spec))
        )
        self.add_optimizer(own_actor_optimizer, [actor_network])
        self.add_optimizer(own_critic_optimizer, [critic_networks])
        self._build_alpha(initial_alpha, target_entropy, own_alpha_optimizer)
        self._critic_losses = sac_losses.CriticLosses(
            critic_loss_cls, num_critic_replicas, debug_summaries
        )
        self._target_critic_networks = critic_networks.copy(name="target_critic_networks")
        self._smoothed_actor_network = None
        models: list[nn.Module] = [critic_networks]
        targets: list[nn.Module] = [self._target_critic_networks]
        if use_smoothed_actor:
            self._smoothed_actor_network = actor_network.copy(name="smoothed_actor_network")
            models.append(actor_network)
            targets.append(self._smoothed_actor_network)
        self._update_target = TargetUpdater(
            models=models,
            target_models=targets,
            tau=target_update_tau,
            period=target_update_period,
        )

    def _build_alpha(
        self, initial_alpha: float | None, target_entropy: Any, optimizer: Any
    ) -> None:
        """The temperature: a parameter if something trains it, else a constant; None without."""
        self._log_alpha = None
        if initial_alpha is None or not self._is_stochastic:
            return
        self._target_entropy = set_target_entropy(
            self._name, target_entropy, nest.flatten(self.action_spec)
        )
        log_alpha = torch.tensor(math.log(initial_alpha))
        if optimizer is None:
            del self._log_alpha
            self.register_buffer("_log_alpha", log_alpha)
        else:
            self._log_alpha = nn.Parameter(log_alpha)
            self.add_optimizer(optimizer, [self._log_alpha])

    def _post_init(self) -> None:
        super()._post_init()
        if not self.on_policy:
            self.use_rollout_state = True

    def _trainable_attributes_to_ignore(self) -> list[str]:
        return ["_target_critic_networks", "_smoothed_actor_network"]

    def convert_train_state_to_predict_state(self, state: SarsaState) -> SarsaState:
        return state._replace(critics=(), target_critics=())

    # Acting

    def predict_step(self, inputs: TimeStep, state: SarsaState) -> AlgStep:
        output, actor_state = self._acting_network()(inputs.observation, state.actor)
        noise = state.noise
        if self._is_stochastic:
            action = dist_utils.epsilon_greedy_sample(output, self._epsilon_greedy)
        else:
            action = output
            if self._epsilon_greedy > 0:
                noisy, noise = self._with_noise(action, noise)
                action = action_noise.choose(noisy, action, self._epsilon_greedy)
        state = self._next_state(inputs, state, actor=actor_state, noise=noise)
        return AlgStep(output=action, state=state, info=SarsaInfo(action_distribution=output))

    def rollout_step(self, inputs: TimeStep, state: SarsaState) -> AlgStep:
        """Act; on-policy it is the train step too."""
        if self.on_policy:
            return self._learning_step(inputs, state)
        output, actor_state = self._acting_network()(inputs.observation, state.actor)
        action, noise = self._explore(output, state.noise)
        next_state = self._next_state(inputs, state, actor=actor_state, noise=noise)
        if self.need_full_rollout_state() and self._critic_networks.is_rnn:
            _, critics_state = self._previous_values(inputs, state)
            _, target_state = self._target_critic_networks(
                (inputs.observation, action), state.target_critics
            )
            next_state = next_state._replace(critics=critics_state, target_critics=target_state)
        return AlgStep(output=action, state=next_state, info=SarsaInfo(action_distribution=output))

    def _acting_network(self) -> Network:
        return self._smoothed_actor_network or self._actor_network

    @staticmethod
    def _next_state(inputs: TimeStep, state: SarsaState, **parts: Any) -> SarsaState:
        """The state after this step, which is the previous one of the next."""
        return state._replace(
            prev_observation=inputs.observation, prev_step_type=inputs.step_type, **parts
        )

    def _explore(self, output: Any, noise: Any) -> tuple[Any, Any]:
        """An action that is tried, with its gradient, and the next state of the noise."""
        if self._is_stochastic:
            return dist_utils.rsample_action_distribution(output), noise
        return self._with_noise(output, noise)

    def _with_noise(self, action: Any, state: Any) -> tuple[Any, Any]:
        """Action and noise, within the bounds, and the next state of the noise."""
        return action_noise.with_noise(action, state, self._noise_processes, self.action_spec)

    # Training

    def train_step(self, inputs: TimeStep, state: SarsaState, rollout_info: SarsaInfo) -> AlgStep:
        """What the losses need, as ``rollout_step()`` does on-policy."""
        return self._learning_step(inputs, state)

    def _learning_step(self, inputs: TimeStep, state: SarsaState) -> AlgStep:
        """``critics`` [B, R, ...] are of the previous step, ``target_critics`` [B, ...] of this."""
        observation = inputs.observation
        output, actor_state = self._actor_network(observation, state.actor)
        action, noise = self._explore(output, state.noise)
        critics, critics_state = self._previous_values(inputs, state)
        q, _ = self._values(self._critic_networks, observation, action, critics_state)
        weights = self._weights()
        q = sac_values.scalarize(sac_values.least_replica(q, weights), weights)
        actor_loss = sac_values.action_gradient_loss(q, nest.flatten(action), self._dqda_clipping)
        with torch.no_grad():
            target, target_state = self._values(
                self._target_critic_networks, observation, action, state.target_critics
            )
            target = sac_values.least_replica(target, weights)
        info = SarsaInfo(
            reward=inputs.reward,
            step_type=inputs.step_type,
            discount=inputs.discount,
            action_distribution=output,
            actor_loss=actor_loss,
            critics=critics,
            target_critics=target,
        )
        if self._log_alpha is not None:
            log_pi = dist_utils.compute_log_probability(output, action)
            info = info._replace(neg_entropy=log_pi)
        state = self._next_state(
            inputs,
            state,
            actor=actor_state,
            critics=critics_state,
            target_critics=target_state,
            noise=noise,
        )
        return AlgStep(output=action, state=state, info=info)

    def _previous_values(self, inputs: TimeStep, state: SarsaState) -> tuple[Tensor, Any]:
        """Values [B, R, ...] of the previous step, and the next state of the critics.

        Nothing was before the first step of an episode: there the state stays as it is.
        """
        values, critics_state = self._values(
            self._critic_networks, state.prev_observation, inputs.prev_action, state.critics
        )
        kept = reset_state_if_necessary(critics_state, state.critics, inputs.is_first())
        return values, kept

    def _values(
        self, networks: Network, observation: Any, action: Any, state: Any
    ) -> tuple[Tensor, Any]:
        values, state = networks((observation, action), state)
        shape = self._reward_spec.shape
        return sac_values.split_heads(values, self._num_critic_replicas, shape), state

    def _weights(self) -> Tensor | None:
        return self._reward_weights if self._reward_spec.shape else None

    # The loss

    def calc_loss(self, info: SarsaInfo) -> LossInfo:
        loss, alpha_loss = info.actor_loss, ()
        if self._log_alpha is not None:
            alpha = self._log_alpha.detach().exp()
            alpha_loss = sac_values.temperature_loss(
                self._log_alpha, info.neg_entropy, self._target_entropy
            )
            loss = loss + alpha * info.neg_entropy + alpha_loss
            if self._use_entropy_reward:
                info = info._replace(reward=self._reward_with_entropy(info, alpha))
            if self._debug_summaries and summary.should_record_summaries():
                with summary.scope(self._name):
                    summary.scalar("alpha", alpha)
        valid = (info.step_type != StepType.FIRST).to(info.discount.dtype)
        critic_loss = self._critic_loss(info) * valid
        priority = ()
        if self._calculate_priority:
            counts = valid.sum(0).clamp(min=1.0)
            priority = (critic_loss.detach().sum(0) / counts).sqrt()
        return LossInfo(
            loss=loss,
            scalar_loss=critic_loss.mean(),
            priority=priority,
            extra=SarsaLossInfo(
                actor=info.actor_loss,
                critic=critic_loss,
                alpha=alpha_loss,
                neg_entropy=info.neg_entropy,
            ),
        )

    def _reward_with_entropy(self, info: SarsaInfo, alpha: Tensor) -> Tensor:
        """The reward [T, B] or [T, B, n] with that for the entropy of the action after it."""
        entropy = -info.neg_entropy.detach()
        if info.reward.dim() == 3:
            entropy = entropy.unsqueeze(-1)
        return info.reward + self._critic_losses[0].gamma * alpha * entropy

    def _critic_loss(self, info: SarsaInfo) -> Tensor:
        """The loss [T, B], summed over replicas, of the value of the step before each step.

        The critic loss wants the value of a step beside that step's type, and the reward and the
        next value one row later. So a row for the step before the first goes in front.
        """
        first = info.step_type[:1]
        before = torch.where(first == StepType.FIRST, StepType.LAST, first)
        before = torch.where(first == StepType.LAST, StepType.MID, before).to(first.dtype)
        later = tensor_utils.tensor_prepend_zero

        rows = SacInfo(
            reward=later(info.reward),
            step_type=torch.cat([before, info.step_type]),
            discount=later(info.discount),
            critic=SacCriticInfo(
                critics=tensor_utils.tensor_extend_zero(info.critics),
                target_critic=later(info.target_critics),
            ),
        )
        return sac_losses.loss_of_replicas(self._critic_losses, rows)[:-1]

    @torch.no_grad()
    def after_update(self, root_inputs: Any, info: Any) -> None:
        self._update_target()
