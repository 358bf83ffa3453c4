"""The loss of advantage actor-critic (arXiv:1602.01783), with GAE (arXiv:1506.02438) on request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from alf.algorithms.algorithm import Loss
from alf.config_util import configurable
from alf.data_structures import LossInfo, namedtuple
from alf.nest import nest
from alf.summary import summary_ops as summary
from alf.utils import dist_utils, losses, math_ops, tensor_utils, value_ops
from alf.utils.summary_utils import safe_mean_hist_summary

ActorCriticLossInfo = namedtuple(
    "ActorCriticLossInfo", ["pg_loss", "td_loss", "neg_entropy"], default_value=()
)


@configurable
class ActorCriticLoss(Loss):
    """``pg_loss + td_loss_weight * td_loss - entropy_regularization * entropy``, each [T, B].

    The last step of an unroll only bootstraps: its advantage and its TD loss are 0.
    """

    def __init__(
        self,
        gamma: float | list[float] = 0.99,
        td_error_loss_fn: Callable[[Tensor, Tensor], Tensor] = losses.element_wise_squared_loss,
        use_gae: bool = False,
        td_lambda: float = 0.95,
        use_td_lambda_return: bool = True,
        normalize_advantages: bool = False,
        advantage_clip: float | None = None,
        entropy_regularization: float | None = None,
        td_loss_weight: float = 1.0,
        debug_summaries: bool = False,
        name: str = "ActorCriticLoss",
    ) -> None:
        """Choose the estimators.

        Args:
            gamma: discount; a list has one for each dimension of a vector reward.
            td_error_loss_fn: called with target and value, gives the loss of each element.
            use_gae: advantages by GAE(td_lambda) instead of return minus value.
            use_td_lambda_return: with GAE, fit the value to advantage + value instead of the
                return.
            normalize_advantages: mean 0 and deviation 1 over the batch, for each dimension of a
                vector reward.
            advantage_clip: bound of the advantage's absolute value, after normalization; positive.
                The dimensions of a vector reward are weighted and added after that.

        Raises:
            ValueError: ``advantage_clip`` is not positive.
        """
        if advantage_clip is not None and not advantage_clip > 0:
            raise ValueError(f"{name}.advantage_clip must be positive, got {advantage_clip}.")
        super().__init__(name=name)
        self._gamma = torch.tensor(gamma)
        self._td_error_loss_fn = td_error_loss_fn
        self._use_gae = use_gae
        self._lambda = td_lambda
        self._use_td_lambda_return = use_td_lambda_return
        self._normalize_advantages = normalize_advantages
        self._advantage_clip = advantage_clip
        self._entropy_regularization = entropy_regularization
        self._td_loss_weight = td_loss_weight
        self._debug_summaries = debug_summaries

    @property
    def gamma(self) -> Tensor:
        """The discount, [] or [n]."""
        return self._gamma

    def forward(self, info: Any) -> LossInfo:
        """The loss of time-major ``info``: ActorCriticInfo or a tuple with fields like it."""
        value = info.value
        returns, advantages = self._returns_and_advantages(info, value.detach())
        if self._normalize_advantages:
            advantages = _normalize_advantages(advantages)
        if self._advantage_clip is not None:
            advantages = advantages.clamp(-self._advantage_clip, self._advantage_clip)
        if value.dim() == 3:
            weights = getattr(info, "reward_weights", ())
            is_weighted = isinstance(weights, Tensor)
            advantages = (advantages * weights if is_weighted else advantages).sum(-1)
        self._summarize(info, value, returns, advantages)

        pg_loss = self._pg_loss(info, advantages)
        td_loss = self._td_error_loss_fn(returns, value)
        if td_loss.dim() == 3:
            td_loss = td_loss.mean(-1)
        loss = pg_loss + self._td_loss_weight * td_loss
        neg_entropy = ()
        if self._entropy_regularization is not None:
            entropy, entropy_for_gradient = dist_utils.entropy_with_fallback(
                info.action_distribution, return_sum=False
            )
            total = math_ops.add_n(nest.flatten(entropy_for_gradient))
            loss = loss - self._entropy_regularization * total
            neg_entropy = nest.map_structure(torch.neg, entropy)
        return LossInfo(
            loss=loss,
            extra=ActorCriticLossInfo(pg_loss=pg_loss, td_loss=td_loss, neg_entropy=neg_entropy),
        )

    def calc_loss(self, info: Any) -> LossInfo:
        return self(info)

    def _pg_loss(self, info: Any, advantages: Tensor) -> Tensor:
        """The policy gradient loss [T, B]; a subclass can put another here."""
        log_prob = dist_utils.compute_log_probability(info.action_distribution, info.action)
        return -advantages * log_prob

    def _returns_and_advantages(self, info: Any, value: Tensor) -> tuple[Tensor, Tensor]:
        """Returns and advantages, each of the shape of ``value``: [T, B] or [T, B, n]."""
        discounts = info.discount
        if value.dim() == 3:
            discounts = discounts.unsqueeze(-1)
        discounts = discounts * self._gamma.to(value.device)
        arguments = (info.reward, value, info.step_type, discounts)
        returns = tensor_utils.tensor_extend(value_ops.discounted_return(*arguments), value[-1])
        if not self._use_gae:
            return returns, returns - value
        advantages = tensor_utils.tensor_extend_zero(
            value_ops.generalized_advantage_estimation(*arguments, td_lambda=self._lambda)
        )
        if self._use_td_lambda_return:
            returns = advantages + value
        return returns, advantages

    def _summarize(self, info: Any, value: Tensor, returns: Tensor, advantages: Tensor) -> None:
        if not (self._debug_summaries and summary.should_record_summaries()):
            return
        with summary.scope(self._name):
            safe_mean_hist_summary("values", value.detach())
            safe_mean_hist_summary("returns", returns)
            safe_mean_hist_summary("advantages", advantages)


def _normalize_advantages(advantages: Tensor, variance_epsilon: float = 1e-8) -> Tensor:
    """Advantages [T, B] or [T, B, n] with mean 0 and deviation 1 over T and B.

    ``variance_epsilon`` keeps those of a constant batch finite.
    """
    variance, mean = torch.var_mean(advantages, dim=(0, 1), unbiased=False)
    return (advantages - mean) / (variance.sqrt() + variance_epsilon)
