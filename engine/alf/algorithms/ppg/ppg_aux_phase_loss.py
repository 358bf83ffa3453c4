"""The loss of the auxiliary phase of phasic policy gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributions as td
from torch import Tensor

from alf.algorithms.algorithm import Loss
from alf.algorithms.ppg.ppg_utils import PPGTrainInfo
from alf.config_util import configurable
from alf.data_structures import LossInfo, namedtuple
from alf.nest import nest
from alf.utils import losses, math_ops, tensor_utils, value_ops

__all__ = ["LossInfo", "PPGAuxPhaseLoss", "PPGAuxPhaseLossInfo"]

PPGAuxPhaseLossInfo = namedtuple(
    "PPGAuxPhaseLossInfo", ["td_loss_actual", "td_loss_aux", "policy_kl_loss"], default_value=()
)


@configurable
class PPGAuxPhaseLoss(Loss):
    """``td(returns, value) + td(returns, aux) + beta * KL(rollout policy || policy)``, each [T, B].

    These are ``L_joint + L_value`` of arXiv:2009.04416, algorithm 1. The returns are the values of
    the rollout plus their advantages by GAE; the last step has no advantage.
    """

    def __init__(
        self,
        td_error_loss_fn: Callable[[Tensor, Tensor], Tensor] = losses.element_wise_squared_loss,
        policy_kl_loss_weight: float = 1.0,
        gamma: float = 0.999,
        td_lambda: float = 0.95,
        name: str = "PPGAuxPhaseLoss",
    ) -> None:
        """Choose the estimators.

        Args:
            td_error_loss_fn: called with target and value, gives the loss of each element.
            policy_kl_loss_weight: the beta of the paper.
            gamma: discount.
            td_lambda: lambda of GAE.
        """
        super().__init__(name=name)
        self._td_error_loss_fn = td_error_loss_fn
        self._policy_kl_loss_weight = policy_kl_loss_weight
        self._gamma = gamma
        self._lambda = td_lambda

    @property
    def gamma(self) -> float:
        """The discount."""
        return self._gamma

    def forward(self, info: PPGTrainInfo) -> LossInfo:
        """The loss of a time-major info."""
        with torch.no_grad():
            advantages = value_ops.generalized_advantage_estimation(
                rewards=info.reward,
                values=info.rollout_value,
                step_types=info.step_type,
                discounts=info.discount * self._gamma,
                td_lambda=self._lambda,
            )
            returns = tensor_utils.tensor_extend_zero(advantages) + info.rollout_value
        td_loss_actual = self._td_error_loss_fn(returns, info.value)
        td_loss_aux = self._td_error_loss_fn(returns, info.aux)
        divergences = nest.map_structure(
            td.kl_divergence, info.rollout_action_distribution, info.action_distribution
        )
        policy_kl_loss = math_ops.add_n(nest.flatten(divergences))
        return LossInfo(
            loss=td_loss_actual + td_loss_aux + self._policy_kl_loss_weight * policy_kl_loss,
            extra=PPGAuxPhaseLossInfo(
                td_loss_actual=td_loss_actual,
                td_loss_aux=td_loss_aux,
                policy_kl_loss=policy_kl_loss,
            ),
        )

    def calc_loss(self, info: PPGTrainInfo) -> LossInfo:
        return self(info)
