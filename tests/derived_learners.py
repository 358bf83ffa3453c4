"""Algorithms as third parties derive them: each overrides or reads what ALF's algorithms have."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributions as td

from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
from alf.algorithms.actor_critic_loss import _normalize_advantages
from alf.algorithms.sac_algorithm import ActionType, SacAlgorithm
from alf.algorithms.td_loss import TDLoss
from alf.data_structures import LossInfo
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
