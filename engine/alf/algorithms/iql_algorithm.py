"""Implicit Q learning: offline learning that asks no critic about an action outside of the data.

Kostrikov, Nair and Levine, arXiv:2110.06169.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from alf.algorithms.config import TrainerConfig
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.algorithms.one_step_loss import OneStepTDLoss
from alf.algorithms.sac import losses as sac_losses
from alf.algorithms.sac import values as sac_values
from alf.algorithms.sac.data import SacCriticInfo, SacInfo
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.algorithms.training.row_layout import ReadsRowLayout
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep, namedtuple
from alf.nest import nest
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.critic_networks import CriticNetwork
from alf.networks.network import Network
from alf.networks.value_networks import ValueNetwork
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils
from alf.utils._periodic import TargetUpdater
from alf.utils._run_numbers import get_epsilon_greedy

__all__ = [
    "IqlActionState",
    "IqlActorInfo",
    "IqlAlgorithm",
    "IqlCriticInfo",
    "IqlCriticState",
    "IqlInfo",
    "IqlLossInfo",
    "IqlState",
]

IqlActionState = namedtuple("IqlActionState", ["actor_network", "critic"], default_value=())
IqlCriticState = namedtuple("IqlCriticState", ["critics", "target_critics"])
# `actor` is the state of the value network, which weights what the actor learns.
IqlState = namedtuple("IqlState", ["action", "actor", "critic"], default_value=())
IqlCriticInfo = namedtuple("IqlCriticInfo", ["critics", "target_value", "value"])
IqlActorInfo = namedtuple("IqlActorInfo", ["actor_loss"], default_value=())
IqlInfo = namedtuple(
    "IqlInfo",
    ["reward", "step_type", "discount", "action", "action_distribution", "actor", "critic"],
    default_value=(),
)
IqlLossInfo = namedtuple("IqlLossInfo", ["actor", "critic"], default_value=())


@configurable
class IqlAlgorithm(ReadsRowLayout, OffPolicyAlgorithm):
    """A value V(s), critics Q(s, a) and a policy that imitates the actions better than V says.

    With d = min_r Q'_r(s, a) - V(s), where a is the action of the data and Q'_r are the slowly
    following targets of the critics (equations of arXiv:2110.06169):

        loss of V       |expectile - 1[d <= 0]| d^2                                     (5)
        loss of Q_r     (r + gamma V(s') - Q_r(s, a))^2                                 (6)
        loss of pi      -min(exp(d / temperature), max_exp_advantage) log pi(a|s)       (7)

    So V goes to a high expectile of Q over the actions of the data: the value of good ones among
    them. Values and policy are learned at every time step of a mini batch, critics at all but the
    last. It also goes on online, with the actions that ``rollout_step()`` samples.
    """

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        reward_spec: TensorSpec = TensorSpec(()),
        actor_network_cls: Callable[..., Network] = ActorDistributionNetwork,
        critic_network_cls: Callable[..., Network] = CriticNetwork,
        v_network_cls: Callable[..., Network] = ValueNetwork,
        reward_weights: list[float] | None = None,
        epsilon_greedy: float | None = None,
        calculate_priority: bool = False,
        num_critic_replicas: int = 2,
        env: Any = None,
        config: TrainerConfig | None = None,
        critic_loss_ctor: Callable | None = None,
        target_update_tau: float = 0.05,
        target_update_period: int = 1,
        temperature: float = 1.0,
        actor_optimizer: torch.optim.Optimizer | None = None,
        critic_optimizer: torch.optim.Optimizer | None = None,
        value_optimizer: torch.optim.Optimizer | None = None,
        expectile: float = 0.8,
        max_exp_advantage: float = 100,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "IqlAlgorithm",
    ) -> None:
        """Build networks and losses.

        Args:
            action_spec: continuous actions.
            reward_spec: rank 0, or rank 1 for a vector reward: then there is a critic and a value
                for each dimension, and the policy looks at the weighted sum of the advantages.
            actor_network_cls: called with ``input_tensor_spec`` and ``action_spec``; its output is
                a distribution.
            critic_network_cls: called with ``input_tensor_spec=(observation, action)`` and
                ``output_tensor_spec=reward_spec``.
            v_network_cls: called with ``input_tensor_spec`` and ``output_tensor_spec=reward_spec``.
            reward_weights: weights of a vector reward; None is all ones.
            epsilon_greedy: share of sampled instead of greedy actions in ``predict_step``; None
                takes ``TrainerConfig.epsilon_greedy``.
            critic_loss_ctor: called with ``debug_summaries`` and ``name`` for each replica; None is
                OneStepTDLoss.
            temperature: advantages are divided by it; 1 / beta of equation 7.
            actor_optimizer: must be without parameters; each algorithm uses its own copy. The
                same holds for the other two. None leaves that part to the ``optimizer`` of a
                parent.
            expectile: tau of equation 5; 0.5 is the mean, towards 1 the best action of the data.
            max_exp_advantage: upper bound of the weight of a sample in the actor's loss.

        Raises:
            ValueError: an action is discrete or without bounds.
        """
        for spec in nest.flatten(action_spec):
            if not isinstance(spec, BoundedTensorSpec) or spec.is_discrete:
                raise ValueError(f"{name} needs bounded continuous actions; there is {spec}.")
        if epsilon_greedy is None:
            epsilon_greedy = get_epsilon_greedy(config)
        actor_optimizer, critic_optimizer, value_optimizer = own_optimizers(
            actor_optimizer, critic_optimizer, value_optimizer
        )
        actor_network = actor_network_cls(
            input_tensor_spec=observation_spec, action_spec=action_spec
        )
        critic = critic_network_cls(
            input_tensor_spec=(observation_spec, action_spec), output_tensor_spec=reward_spec
        )
        critic_networks = critic.make_parallel(num_critic_replicas)
        v_network = v_network_cls(
            input_tensor_spec=observation_spec, output_tensor_spec=reward_spec
        )
        state_spec = IqlState(
            action=IqlActionState(actor_network=actor_network.state_spec),
            actor=v_network.state_spec,
            critic=IqlCriticState(critic_networks.state_spec, critic_networks.state_spec),
        )
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            train_state_spec=state_spec,
            predict_state_spec=IqlState(action=state_spec.action),
            reward_weights=reward_weights,
            env=env,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._epsilon_greedy = epsilon_greedy
        self._calculate_priority = calculate_priority
        self._num_critic_replicas = num_critic_replicas
        self._temperature = temperature
        self._expectile = expectile
        self._max_exp_advantage = max_exp_advantage
        self._actor_network = actor_network
        self._critic_networks = critic_networks
        self._v_network = v_network
        self._has_critic_state = critic_networks.is_rnn
        if actor_optimizer is not None:
            self.add_optimizer(actor_optimizer, [actor_network])
        if critic_optimizer is not None:
            self.add_optimizer(critic_optimizer, [critic_networks])
        if value_optimizer is not None:
            self.add_optimizer(value_optimizer, [v_network])
        self._critic_losses = sac_losses.CriticLosses(
            critic_loss_ctor or OneStepTDLoss, num_critic_replicas, debug_summaries
        )
        self._target_critic_networks = critic_networks.copy(name="target_critic_networks")
        self._update_target = TargetUpdater(
            models=[self._critic_networks],
            target_models=[self._target_critic_networks],
            tau=target_update_tau,
            period=target_update_period,
        )

    def _trainable_attributes_to_ignore(self) -> list[str]:
        return ["_target_critic_networks"]

    # Acting

    def predict_step(self, inputs: TimeStep, state: IqlState) -> AlgStep:
        distribution, actor_state = self._actor_network(
            inputs.observation, state.action.actor_network
        )
        action = dist_utils.epsilon_greedy_sample(distribution, self._epsilon_greedy)
        return AlgStep(output=action, state=IqlState(action=IqlActionState(actor_state)))

    def rollout_step(self, inputs: TimeStep, state: IqlState) -> AlgStep:
        """Sample an action; if states are stored, those of critics and value go along."""
        observation = inputs.observation
        distribution, actor_state = self._actor_network(observation, state.action.actor_network)
        action = dist_utils.sample_action_distribution(distribution)
        state = state._replace(action=IqlActionState(actor_state))
        if self.need_full_rollout_state():
            taken, critic = (observation, action), state.critic
            state = state._replace(
                actor=self._v_network(observation, state.actor)[1],
                critic=IqlCriticState(
                    critics=self._critic_networks(taken, critic.critics)[1],
                    target_critics=self._target_critic_networks(taken, critic.target_critics)[1],
                ),
            )
        return AlgStep(output=action, state=state, info=IqlInfo(action=action))

    # Training

    def train_step(self, inputs: TimeStep, state: IqlState, rollout_info: IqlInfo) -> AlgStep:
        """What the losses need; the actions are those of ``rollout_info``."""
        observation, taken = inputs.observation, rollout_info.action
        distribution, actor_state = self._actor_network(observation, state.action.actor_network)
        value, value_state = self._v_network(observation, state.actor)
        with torch.no_grad():
            target, target_state = self._target_critic_networks(
                (observation, taken), state.critic.target_critics
            )
            target = sac_values.least_replica(target, self._weights())
        critics, critics_state = self._critics(observation, taken, state.critic.critics)
        actor_loss = self._actor_loss(distribution, taken, target - value.detach())
        info = IqlInfo(
            reward=inputs.reward,
            step_type=inputs.step_type,
            discount=inputs.discount,
            action=taken,
            action_distribution=distribution,
            actor=LossInfo(loss=actor_loss, extra=IqlActorInfo(actor_loss=actor_loss)),
            critic=IqlCriticInfo(critics=critics, target_value=target, value=value),
        )
        state = IqlState(
            action=IqlActionState(actor_state),
            actor=value_state,
            critic=IqlCriticState(critics_state, target_state),
        )
        return AlgStep(output=taken, state=state, info=info)

    def _critics(self, observation: Any, taken: Any, state: Any) -> tuple[Tensor, Any]:
        """Values [B, R, ...] of the actions taken, and the next state.

        Where it is known which time steps the rows are, those of the last step, which trains no
        critic, are 0.
        """
        layout = None
        if not self._has_critic_state:
            layout = self.sequences_of(nest.flatten(taken)[0].shape[0])
        if layout is None:
            return self._critic_networks((observation, taken), state)
        earlier = nest.map_structure(lambda x: x[: -layout.batch_size], (observation, taken))
        values, state = self._critic_networks(earlier, state)
        return torch.cat([values, torch.zeros_like(values[: layout.batch_size])]), state

    def _actor_loss(self, distribution: Any, taken: Any, advantage: Tensor) -> Tensor:
        """Equation 7: log likelihood [B] of the data, weighted by how good it is.

        ``advantage`` is [B], or [B, n] for a vector reward.
        """
        advantage = sac_values.scalarize(advantage, self._weights())
        weight = (advantage / self._temperature).exp().clamp(max=self._max_exp_advantage)
        return -weight * dist_utils.compute_log_probability(distribution, taken)

    def _weights(self) -> Tensor | None:
        return sac_values.reward_weights(self._reward_spec.shape, self.reward_weights)

    # The loss

    def calc_loss(self, info: IqlInfo) -> LossInfo:
        critic = info.critic
        values = SacCriticInfo(critics=critic.critics, target_critic=critic.value.detach())
        critic_loss = sac_losses.loss_of_replicas(
            self._critic_losses,
            SacInfo(
                reward=info.reward,
                step_type=info.step_type,
                discount=info.discount,
                critic=values,
            ),
        )
        critic_loss = critic_loss + self._value_loss(critic)
        priority = ()
        if self._calculate_priority:
            priority = sac_losses.priority_of(info.step_type, critic_loss)
        return LossInfo(
            loss=info.actor.loss + critic_loss,
            priority=priority,
            extra=IqlLossInfo(
                actor=info.actor.extra, critic=critic_loss / self._num_critic_replicas
            ),
        )

    def _value_loss(self, critic: IqlCriticInfo) -> Tensor:
        """Equation 5: expectile regression [T, B], the mean over the dimensions of the reward."""
        d = critic.target_value.detach() - critic.value
        weight = torch.where(d > 0, self._expectile, 1 - self._expectile)
        loss = weight * d.square()
        return loss.mean(-1) if loss.dim() == 3 else loss

    @torch.no_grad()
    def after_update(self, root_inputs: Any, info: Any) -> None:
        self._update_target()
