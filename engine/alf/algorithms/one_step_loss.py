"""Temporal difference losses that look one step ahead."""

from __future__ import annotations

from collections.abc import Callable

from alf.algorithms.td_loss import TDLoss, TDQRLoss
from alf.config_util import configurable
from alf.utils import losses

__all__ = ["OneStepTDLoss", "OneStepTDQRLoss"]


@configurable
class OneStepTDLoss(TDLoss):
    """`TDLoss` with the target `reward[t+1] + gamma * discount[t+1] * value[t+1]`.

    Args:
        gamma: discount per step; a list has one for each dimension of the reward.
        td_error_loss_fn: called as `fn(target, value)`, element-wise.
        debug_summaries: write summaries.
        name: scope of the summaries.
    """

    def __init__(
        self,
        gamma: float | list[float] = 0.99,
        td_error_loss_fn: Callable = losses.element_wise_squared_loss,
        debug_summaries: bool = False,
        name: str = "OneStepTDLoss",
    ) -> None:
        super().__init__(
            gamma=gamma,
            td_error_loss_fn=td_error_loss_fn,
            td_lambda=0.0,
            normalize_target=False,
            debug_summaries=debug_summaries,
            name=name,
        )


@configurable
class OneStepTDQRLoss(TDQRLoss):
    """`TDQRLoss` with the target `reward[t+1] + gamma * discount[t+1] * value[t+1]`.

    Args:
        num_quantiles: the number of quantiles of the value if their fractions are not given.
        gamma: discount per step; a list has one for each dimension of the reward.
        td_error_loss_fn: has the arguments of `losses.iqn_huber_loss`.
        sum_over_quantiles: sum the loss over the quantiles instead of averaging it.
        debug_summaries: write summaries.
        name: scope of the summaries.
    """

    def __init__(
        self,
        num_quantiles: int = 50,
        gamma: float | list[float] = 0.99,
        td_error_loss_fn: Callable = losses.iqn_huber_loss,
        sum_over_quantiles: bool = False,
        debug_summaries: bool = False,
        name: str = "OneStepTDQRLoss",
    ) -> None:
        super().__init__(
            num_quantiles=num_quantiles,
            gamma=gamma,
            td_error_loss_fn=td_error_loss_fn,
            td_lambda=0.0,
            sum_over_quantiles=sum_over_quantiles,
            debug_summaries=debug_summaries,
            name=name,
        )
