"""Advantage actor-critic on the steps just rolled out (arXiv:1602.01783)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from alf.algorithms.actor_critic_loss import ActorCriticLoss
from alf.algorithms.config import TrainerConfig
from alf.algorithms.on_policy_algorithm import OnPolicyAlgorithm
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep, namedtuple
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.network import Network
from alf.networks.value_networks import ValueNetwork
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils
from alf.utils._run_numbers import get_epsilon_greedy

ActorCriticState = namedtuple("ActorCriticState", ["actor", "value"], default_value=())
ActorCriticInfo = namedtuple(
    "ActorCriticInfo",
    [
        "step_type",
        "discount",
        "reward",
        "action",
        "log_prob",
        "action_distribution",
        "value",
        "reward_weights",
    ],
    default_value=(),
)


@configurable
class ActorCriticAlgorithm(OnPolicyAlgorithm):
    """An actor and a value network trained by one loss on each unroll."""

    _value_network: Any
    """None in an algorithm that can only act; then nobody calls it."""

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        reward_spec: TensorSpec = TensorSpec(()),
        reward_weights: list[float] | None = None,
        actor_network_ctor: Callable[..., Network] = ActorDistributionNetwork,
        value_network_ctor: Callable[..., Network] | None = ValueNetwork,
        epsilon_greedy: float | None = None,
        env: Any = None,
        config: TrainerConfig | None = None,
        loss: ActorCriticLoss | None = None,
        loss_class: Callable[..., ActorCriticLoss] = ActorCriticLoss,
        optimizer: torch.optim.Optimizer | None = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "ActorCriticAlgorithm",
    ) -> None:
        """Build the networks.

        Args:
            reward_spec: rank 0, or rank 1 for a vector reward: one value for each dimension.
            reward_weights: weights of the advantages of a vector reward; None is all ones.
            actor_network_ctor: called with ``input_tensor_spec`` and ``action_spec``.
            value_network_ctor: called with ``input_tensor_spec``; None makes an algorithm that can
                act but not learn.
            epsilon_greedy: share of sampled instead of greedy actions in ``predict_step``; None
                takes ``TrainerConfig.epsilon_greedy``.
            loss: None is ``loss_class(debug_summaries=...)``.
            optimizer: must be without parameters; the algorithm uses its own copy.
        """
        (optimizer,) = own_optimizers(optimizer)
        actor_network = actor_network_ctor(
            input_tensor_spec=observation_spec, action_spec=action_spec
        )
        value_network = None
        if value_network_ctor is not None:
            value_network = value_network_ctor(input_tensor_spec=observation_spec)
            if reward_spec.numel > 1:
                value_network = value_network.make_parallel(reward_spec.numel)
        state_spec = ActorCriticState(
            actor=actor_network.state_spec,
            value=() if value_network is None else value_network.state_spec,
        )
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            train_state_spec=state_spec,
            predict_state_spec=ActorCriticState(actor=actor_network.state_spec),
            reward_weights=reward_weights,
            env=env,
            config=config,
            optimizer=optimizer,
            checkpoint=checkpoint,
            is_eval=value_network is None,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._actor_network = actor_network
        self._value_network = value_network
        self._epsilon_greedy = (
            get_epsilon_greedy(config) if epsilon_greedy is None else epsilon_greedy
        )
        self._loss = loss_class(debug_summaries=debug_summaries) if loss is None else loss

    def convert_train_state_to_predict_state(self, state: ActorCriticState) -> ActorCriticState:
        return state._replace(value=())

    def predict_step(self, inputs: TimeStep, state: ActorCriticState) -> AlgStep:
        distribution, actor_state = self._actor_network(inputs.observation, state.actor)
        action = dist_utils.epsilon_greedy_sample(distribution, self._epsilon_greedy)
        return AlgStep(
            output=action,
            state=ActorCriticState(actor=actor_state),
            info=ActorCriticInfo(action_distribution=distribution),
        )

    def rollout_step(self, inputs: TimeStep, state: ActorCriticState) -> AlgStep:
        distribution, actor_state = self._actor_network(inputs.observation, state.actor)
        value, value_state = self._value_network(inputs.observation, state.value)
        action = dist_utils.sample_action_distribution(distribution)
        with torch.no_grad():
            log_prob = dist_utils.compute_log_probability(distribution, action)
        reward_weights = ()
        if self.has_multidim_reward() and self.reward_weights is not None:
            reward_weights = self.reward_weights.expand_as(value)
        info = ActorCriticInfo(
            step_type=inputs.step_type,
            discount=inputs.discount,
            reward=inputs.reward,
            action=action,
            log_prob=log_prob,
            action_distribution=distribution,
            value=value,
            reward_weights=reward_weights,
        )
        state = ActorCriticState(actor=actor_state, value=value_state)
        return AlgStep(output=action, state=state, info=info)

    def calc_loss(self, info: ActorCriticInfo) -> LossInfo:
        return self._loss(info)
