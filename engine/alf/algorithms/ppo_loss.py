"""The loss of proximal policy optimization (arXiv:1707.06347, equation 9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from alf.algorithms.actor_critic_loss import ActorCriticLoss
from alf.config_util import configurable
from alf.utils import losses, value_ops

__all__ = ["PPOLoss"]


@configurable
class PPOLoss(ActorCriticLoss):
    """``-L_clip + td_loss_weight * td_loss - entropy_regularization * entropy``, each [T, B].

    Returns and advantages come with the info, from ``PPOAlgorithm.preprocess_experience()``. The
    value itself is not clipped.
    """

    def __init__(
        self,
        gamma: float | list[float] = 0.99,
        td_error_loss_fn: Callable[[Tensor, Tensor], Tensor] = losses.element_wise_squared_loss,
        td_lambda: float = 0.95,
        normalize_advantages: bool = True,
        compute_advantages_internally: bool = False,
        advantage_clip: float | None = None,
        entropy_regularization: float | None = None,
        td_loss_weight: float = 1.0,
        importance_ratio_clipping: float = 0.2,
        log_prob_clipping: float = 0.0,
        check_numerics: bool = False,
        debug_summaries: bool = False,
        name: str = "PPOLoss",
    ) -> None:
        """Choose the estimators.

        Args:
            gamma: discount; a list has one for each dimension of a vector reward.
            td_error_loss_fn: called with target and value, gives the loss of each element.
            td_lambda: lambda of GAE.
            normalize_advantages: mean 0 and deviation 1 over all steps of a mini batch.
            compute_advantages_internally: compute returns and advantages here, from
                ``info.rollout_value`` and the sequences of a mini batch, which then have to be
                longer than one step.
            advantage_clip: bound of the advantage's absolute value, after normalization.
            importance_ratio_clipping: the epsilon of equation (7).
            log_prob_clipping: if positive, bound of the absolute log probability of an action now.
            check_numerics: raise ValueError where a ratio is not finite.
        """
        super().__init__(
            gamma=gamma,
            td_error_loss_fn=td_error_loss_fn,
            use_gae=True,
            td_lambda=td_lambda,
            use_td_lambda_return=True,
            normalize_advantages=normalize_advantages,
            advantage_clip=advantage_clip,
            entropy_regularization=entropy_regularization,
            td_loss_weight=td_loss_weight,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._compute_advantages_internally = compute_advantages_internally
        self._importance_ratio_clipping = importance_ratio_clipping
        self._log_prob_clipping = log_prob_clipping
        self._check_numerics = check_numerics

    def _returns_and_advantages(self, info: Any, value: Tensor) -> tuple[Tensor, Tensor]:
        if not self._compute_advantages_internally:
            return info.returns, info.advantages
        rollout_value = getattr(info, "rollout_value", None)
        if not isinstance(rollout_value, Tensor):
            raise ValueError(
                f"{self.name}.compute_advantages_internally needs the rollout's values in "
                f"`info.rollout_value`; the info is a {type(info).__name__}."
            )
        return super()._returns_and_advantages(info, rollout_value)

    def _pg_loss(self, info: Any, advantages: Tensor) -> Tensor:
        ratio, clipped = value_ops.action_importance_ratio(
            action_distribution=info.action_distribution,
            rollout_action_distribution=info.rollout_action_distribution,
            action=info.action,
            clipping_mode="double_sided",
            scope=self._name,
            importance_ratio_clipping=self._importance_ratio_clipping,
            log_prob_clipping=self._log_prob_clipping,
            check_numerics=self._check_numerics,
            debug_summaries=self._debug_summaries,
            rollout_log_prob=info.rollout_log_prob,
        )
        return -torch.minimum(ratio * advantages, clipped * advantages)
