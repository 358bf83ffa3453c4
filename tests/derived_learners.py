"""Algorithms as third parties derive them: each overrides or reads what ALF's algorithms have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributions as td

from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
from alf.algorithms.actor_critic_loss import _normalize_advantages
from alf.algorithms.ddpg_algorithm import DdpgAlgorithm
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.algorithms.rl_algorithm import RLAlgorithm
from alf.algorithms.sac_algorithm import ActionType, SacAlgorithm
from alf.algorithms.td_loss import TDLoss
from alf.data_structures import AlgStep, LossInfo, StepType, TimeStep, namedtuple
from alf.networks import QNetwork
from alf.utils import dist_utils, losses, tensor_utils, value_ops


class OptimisticSac(SacAlgorithm):
    """Explores where the critics promise most: the mean moves along their gradient, by ``delta``.

    In the way of arXiv:1910.12807, for one squashed normal.
    """

    def __init__(self, *args: Any, delta: float = 0.5, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        assert self._act_type == ActionType.Continuous
        self._delta = delta

    def _predict_action(
        self,
        observation: Any,
        state: Any,
        epsilon_greedy: float | None = None,
        eps_greedy_sampling: bool = False,
        rollout: bool = False,
    ) -> tuple[Any, Any, Any, Any]:
        result = super()._predict_action(
            observation, state, epsilon_greedy, eps_greedy_sampling, rollout
        )
        if not rollout or not bool(self._training_started):
            return result
        dist, _, values, state = result
        dist = self._shifted(observation, dist)
        return dist, dist_utils.sample_action_distribution(dist), values, state

    def _shifted(self, observation: Any, dist: Any) -> td.Distribution:
        base = dist_utils.get_base_dist(dist)
        mean = base.loc.detach().requires_grad_()
        with torch.enable_grad():
            action = mean
            for transform in dist.transforms:
                action = transform(action)
            q, _ = self._critic_networks((observation, action), ())
            (gradient,) = torch.autograd.grad(q.amax(1).sum(), mean)
        shift = self._delta * gradient / (gradient.norm(dim=-1, keepdim=True) + 1e-6)
        normal = dist_utils.DiagMultivariateNormal(mean.detach() + shift, base.scale.detach())
        return td.TransformedDistribution(normal, dist.transforms)


class ConservativeSac(SacAlgorithm):
    """Keeps values of actions that were not taken low; one replica learns by the Huber loss."""

    def __init__(self, *args: Any, weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._weight = weight
        self._critic_losses[1] = TDLoss(
            gamma=float(self._critic_losses[0].gamma),
            td_lambda=0.0,
            td_error_loss_fn=losses.element_wise_huber_loss,
        )

    def train_step(self, inputs: Any, state: Any, rollout_info: Any) -> Any:
        step = super().train_step(inputs, state, rollout_info)
        drawn = step.output.detach()
        other, _ = self._critic_networks((inputs.observation, drawn), ())
        taken, _ = self._critic_networks((inputs.observation, rollout_info.action), ())
        return step._replace(info=step.info._replace(repr=(other - taken).mean(1)))

    def calc_loss(self, info: Any) -> LossInfo:
        loss = super().calc_loss(info._replace(repr=()))
        return loss._replace(loss=loss.loss + self._weight * info.repr)


class AdvantageWeighted(ActorCriticAlgorithm):
    """Learns what worked: log probabilities weighted by exp(advantage), as in arXiv:1910.00177."""

    def calc_loss(self, info: Any) -> LossInfo:
        value = info.value.detach()
        discount = info.discount * self._loss.gamma
        arguments = (info.reward, value, info.step_type, discount)
        advantage = tensor_utils.tensor_extend_zero(
            value_ops.generalized_advantage_estimation(*arguments, td_lambda=0.95)
        )
        weight = _normalize_advantages(advantage).clamp(max=3.0).exp()
        log_prob = dist_utils.compute_log_probability(info.action_distribution, info.action)
        value_loss = (info.value - advantage - value).square()
        return LossInfo(loss=value_loss - weight * log_prob, extra=weight)


class CloningDdpg(DdpgAlgorithm):
    """Stays near what was done, as in arXiv:2106.06860; explores and acts in ways of its own.

    It explores by ``explore`` of the greedy action, and acts by the target of the actor.
    """

    def __init__(
        self, *args: Any, explore: Callable[[Any], Any], weight: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._explore, self._weight = explore, weight
        self.num_updates = 0

    def predict_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        step = super().predict_step(inputs, state)
        action, _ = self._target_actor_network(inputs.observation, ())
        return step._replace(output=action)

    def rollout_step(self, time_step: TimeStep, state: Any = None) -> AlgStep:
        step = super().rollout_step(time_step, state)
        action = self._explore(self._actor_network(time_step.observation, ())[0])
        return step._replace(output=action, info=step.info._replace(action=action))

    def train_step(self, inputs: TimeStep, state: Any, rollout_info: Any) -> AlgStep:
        step = super().train_step(inputs, state, rollout_info)
        distance = (step.output - rollout_info.action).square().sum(-1)
        return step._replace(info=step.info._replace(discounted_return=distance))

    def calc_loss(self, info: Any) -> LossInfo:
        loss = super().calc_loss(info._replace(discounted_return=()))
        return loss._replace(loss=loss.loss + self._weight * info.discounted_return)

    def after_update(self, root_inputs: Any, info: Any) -> None:
        super().after_update(root_inputs, info)
        self.num_updates += 1


RewardInfo = namedtuple("RewardInfo", ["action", "reward", "step_type", "value"], default_value=())


class _Rewards(RLAlgorithm):
    """Learns the reward of each action by regression, and acts greedily by it.

    Everything that an algorithm can override is its own.
    """

    def __init__(
        self, observation_spec: Any, action_spec: Any, epsilon: float = 0.3, **options: Any
    ) -> None:
        super().__init__(observation_spec, action_spec, train_state_spec=(), **options)
        self._net = QNetwork(observation_spec, action_spec, fc_layer_params=(32,))
        self._epsilon = epsilon
        self.num_updates = self.num_iterations = 0

    def _act(self, inputs: TimeStep, epsilon: float) -> AlgStep:
        value, _ = self._net(inputs.observation)
        random = torch.rand(len(value)) < epsilon
        action = torch.where(random, torch.randint(value.shape[1], (len(value),)), value.argmax(1))
        return AlgStep(output=action, info=RewardInfo(action=action))

    def predict_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        return self._act(inputs, 0.0)

    def rollout_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        return self._act(inputs, self._epsilon)

    def preprocess_experience(
        self, root_inputs: TimeStep, rollout_info: Any, batch_info: Any
    ) -> tuple[TimeStep, Any]:
        """Reward, [B, T], stands beside the action that it is for; at the end there is none."""
        reward = root_inputs.reward.roll(-1, dims=1)
        return root_inputs, rollout_info._replace(reward=reward, step_type=root_inputs.step_type)

    def train_step(self, inputs: TimeStep, state: Any, rollout_info: Any) -> AlgStep:
        value, _ = self._net(inputs.observation)
        value = value.gather(1, rollout_info.action.unsqueeze(1)).squeeze(1)
        return AlgStep(output=rollout_info.action, info=rollout_info._replace(value=value))

    def calc_loss(self, info: Any) -> LossInfo:
        loss = (info.value - info.reward).square() * (info.step_type != StepType.LAST)
        return LossInfo(loss=torch.cat([loss[:-1], torch.zeros_like(loss[-1:])]))

    def after_update(self, root_inputs: Any, info: Any) -> None:
        self.num_updates += 1

    def after_train_iter(self, root_inputs: Any, rollout_info: Any = None) -> None:
        self.num_iterations += 1


class RewardsOnRL(_Rewards):
    """`_Rewards` on the most general base, which has to be told that it replays."""

    def __init__(self, observation_spec: Any, action_spec: Any, **options: Any) -> None:
        super().__init__(observation_spec, action_spec, is_on_policy=False, **options)


class RewardsOffPolicy(_Rewards, OffPolicyAlgorithm):
    """`_Rewards` on the base for replaying."""
