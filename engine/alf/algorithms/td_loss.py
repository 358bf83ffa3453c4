"""Temporal difference losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from alf.config_util import configurable
from alf.data_structures import LossInfo, StepType
from alf.summary import summary_ops as summary
from alf.tensor_specs import TensorSpec
from alf.utils import losses, tensor_utils, value_ops
from alf.utils.normalizers import AdaptiveNormalizer
from alf.utils.summary_utils import safe_mean_hist_summary

__all__ = ["LossInfo", "TDLoss", "TDQRLoss"]


@configurable
class TDLoss(nn.Module):
    """Loss between a value function and the lambda-return of what happened.

    The target of step t is `reward[t+1] + gamma * discount[t+1] * value[t+1]` for `td_lambda` 0,
    the discounted rewards up to the end of the sequence (and the value there) for 1, and the
    lambda-return (Sutton and Barto 2018, equation 12.2) in between. A step of type LAST has no next
    one: its target is its own value.

    Args:
        gamma: discount per step; a list has one for each dimension of the reward.
        td_error_loss_fn: called as `fn(target, value)`, element-wise.
        td_lambda: lambda.
        normalize_target: compare value and target in units of the spread of recent targets, of each
            dimension of the reward. This changes the loss, not the value function.
        debug_summaries: write summaries.
        name: scope of the summaries.
    """

    _gamma: torch.Tensor

    def __init__(
        self,
        gamma: float | list[float] = 0.99,
        td_error_loss_fn: Callable = losses.element_wise_squared_loss,
        td_lambda: float = 0.95,
        normalize_target: bool = False,
        debug_summaries: bool = False,
        name: str = "TDLoss",
    ) -> None:
        super().__init__()
        self.register_buffer("_gamma", torch.tensor(gamma), persistent=False)
        self._td_error_loss_fn = td_error_loss_fn
        self._lambda = td_lambda
        self._debug_summaries = debug_summaries
        self._name = name
        self._target_normalizer = self._normalizer(()) if normalize_target else None

    def _normalizer(self, shape: Sequence[int]) -> AdaptiveNormalizer:
        return AdaptiveNormalizer(
            TensorSpec(tuple(shape)),
            auto_update=False,
            debug_summaries=self._debug_summaries,
        )

    def _fit_normalizer(self, shape: Sequence[int], device: torch.device) -> None:
        """Makes the normalizer one for rewards of ``shape``, [] or [n], if it is not."""
        statistics = self._target_normalizer._origin(0)
        if statistics.shape != torch.Size(shape):
            self._target_normalizer = self._normalizer(shape).to(device)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        saved = state_dict.get(f"{prefix}_target_normalizer._origin0")
        if self._target_normalizer is not None and saved is not None:
            self._fit_normalizer(saved.shape, self._gamma.device)
        super()._load_from_state_dict(state_dict, prefix, *args)

    @property
    def is_stateless(self) -> bool:
        """Whether calls do not depend on each other, so that batches can be put together."""
        known = type(self).forward in (TDLoss.forward, TDQRLoss.forward)
        return known and self._target_normalizer is None

    @property
    def gamma(self) -> torch.Tensor:
        """Discount per step, [] or [number of reward dimensions]."""
        return self._gamma

    def compute_td_target(self, info: Any, target_value: torch.Tensor) -> torch.Tensor:
        """The target of each step but the last.

        Args:
            info: has `reward` [T, B] or [T, B, n], `step_type` [T, B] and `discount` [T, B].
            target_value: value of each step, with the shape of the reward.

        Returns [T - 1, B] or [T - 1, B, n].
        """
        reward, discount = info.reward, self._discount(info)
        step_type = info.step_type
        if self._lambda == 1.0:
            return value_ops.discounted_return(reward, target_value, step_type, discount)
        if self._lambda == 0.0:
            return value_ops.one_step_discounted_return(reward, target_value, step_type, discount)
        advantage = value_ops.generalized_advantage_estimation(
            reward, target_value, step_type, discount, self._lambda
        )
        return advantage + target_value[:-1]

    def _discount(self, info: Any) -> torch.Tensor:
        if info.reward.dim() == info.discount.dim():
            return info.discount * self._gamma
        return info.discount.unsqueeze(-1) * self._gamma

    def forward(self, info: Any, value: torch.Tensor, target_value: torch.Tensor) -> LossInfo:
        """The loss of each step.

        Args:
            info: as for `compute_td_target`.
            value: [T, B] or [T, B, n], what is trained.
            target_value: same shape, what the targets are made of.

        Returns a `LossInfo` whose `loss` is [T, B], averaged over reward dimensions, and `extra`
        the TD error, target minus value, in the shape of `value`. Both are 0 at the last step,
        which has no target.
        """
        _check_same_shape(value, target_value, info.reward.shape)
        target = self.compute_td_target(info, target_value)
        value = value[:-1]
        if self._target_normalizer is not None:
            self._fit_normalizer(info.reward.shape[2:], value.device)
            self._target_normalizer.update(target)
            target = self._target_normalizer.normalize(target)
            value = self._target_normalizer.normalize(value)
        self._summarize(info, value, target)
        loss = self._td_error_loss_fn(target.detach(), value)
        return _loss_info(loss, tensor_utils.tensor_extend_zero(target - value))

    def _summarize(self, info: Any, value: torch.Tensor, target: torch.Tensor) -> None:
        if self._debug_summaries and summary.should_record_summaries():
            summarize_td(self._name, info, value, target)


@configurable
class TDQRLoss(TDLoss):
    """Quantile regression loss between a distribution of the value and that of the return.

    Dabney et al. 2018, "Distributional Reinforcement Learning with Quantile Regression".

    Args:
        num_quantiles: N, the number of quantiles of the value if their fractions are not given.
        gamma: discount per step; a list has one for each dimension of the reward.
        td_error_loss_fn: has the arguments of `losses.iqn_huber_loss`.
        td_lambda: 0 or 1.
        sum_over_quantiles: sum the loss over the quantiles instead of averaging it.
        debug_summaries: write summaries.
        name: scope of the summaries.
    """

    _fixed_tau: torch.Tensor

    def __init__(
        self,
        num_quantiles: int = 50,
        gamma: float | list[float] = 0.99,
        td_error_loss_fn: Callable = losses.iqn_huber_loss,
        td_lambda: float = 1.0,
        sum_over_quantiles: bool = False,
        debug_summaries: bool = False,
        name: str = "TDQRLoss",
    ) -> None:
        if td_lambda not in (0, 1):
            raise ValueError(f"{name}: td_lambda has to be 0 or 1 with quantiles, got {td_lambda}")
        super().__init__(gamma, td_error_loss_fn, td_lambda, False, debug_summaries, name)
        fractions = (torch.arange(num_quantiles, dtype=torch.float32) + 0.5) / num_quantiles
        self.register_buffer("_fixed_tau", fractions, persistent=False)
        self._sum_over_quantiles = sum_over_quantiles

    def compute_td_target(self, info: Any, target_value: torch.Tensor) -> torch.Tensor:
        """The target of each step but the last; quantiles are the last dimension of the values.

        Args:
            info: has `reward` [T, B] or [T, B, n], `step_type` [T, B] and `discount` [T, B].
            target_value: [*reward.shape, M].

        Returns [T - 1, *reward.shape[1:], M].
        """
        reward, discount = info.reward.unsqueeze(-1), self._discount(info).unsqueeze(-1)
        is_full = self._lambda == 1
        ops = value_ops.discounted_return if is_full else value_ops.one_step_discounted_return
        return ops(reward, target_value, info.step_type, discount)

    def forward(
        self,
        info: Any,
        value: torch.Tensor,
        target_value: torch.Tensor,
        tau_hat: Any = (),
        delta_tau: Any = (),
        next_delta_tau: Any = (),
    ) -> LossInfo:
        """The loss of each step.

        Args:
            info: as for `compute_td_target`.
            value: [T, B, N] or [T, B, n, N], what is trained.
            target_value: [T, B, M] or [T, B, n, M], what the targets are made of.
            tau_hat: fraction each quantile of `value` stands for, in the shape of `value`.
            delta_tau: weight of each quantile of `value`, for the summaries only.
            next_delta_tau: weight of each quantile of `target_value`, in its shape.

        Returns a `LossInfo` as `TDLoss` does; its `extra` is a dict of the means of the quantiles,
        "value" and "returns", [T - 1, B] or [T - 1, B, n].
        """
        _check_same_shape(value[..., 0], target_value[..., 0], info.reward.shape)
        target = self.compute_td_target(info, target_value)
        means = {"value": _mean(value, delta_tau)[:-1], "returns": target.mean(dim=-1)}
        self._summarize(info, means["value"], means["returns"])
        loss = self._td_error_loss_fn(
            value=value[:-1],
            target=target.detach(),
            tau_hat=tau_hat[:-1],
            # The targets of step t are made of the target values of step t + 1. `()` stays `()`.
            next_delta_tau=next_delta_tau[1:],
            fixed_tau=self._fixed_tau,
            sum_over_quantiles=self._sum_over_quantiles,
        )
        if isinstance(loss, tuple):  # the loss, and what it is made of
            loss = loss[0]
        return _loss_info(loss, means)


@torch.no_grad()
def summarize_td(name: str, info: Any, value: torch.Tensor, target: torch.Tensor) -> None:
    """Write summaries of values and targets [T - 1, B] or [T - 1, B, n] under the scope `name`.

    Args:
        info: has `step_type` [T, B]; steps of type LAST are left out.
    """
    mask = info.step_type[:-1] != StepType.LAST
    with summary.scope(name):
        for suffix, v, r in _by_reward_dimension(value, target):
            explained = tensor_utils.explained_variance(v, r, mask)
            summary.scalar("explained_variance_of_return_by_value" + suffix, explained)
            safe_mean_hist_summary("values" + suffix, v, mask)
            safe_mean_hist_summary("returns" + suffix, r, mask)
            safe_mean_hist_summary("td_error" + suffix, r - v, mask)


def _check_same_shape(value: torch.Tensor, target_value: torch.Tensor, shape: torch.Size) -> None:
    # Shapes that differ would be broadcast against each other without a word.
    if value.shape != shape or target_value.shape != shape:
        raise ValueError(
            f"value and target_value have to have the shape of the reward, {list(shape)} (without "
            f"quantiles), got {list(value.shape)} and {list(target_value.shape)}"
        )


def _loss_info(loss: torch.Tensor, extra: Any) -> LossInfo:
    if loss.dim() == 3:
        loss = loss.mean(dim=2)
    return LossInfo(loss=tensor_utils.tensor_extend_zero(loss), extra=extra)


def _mean(quantiles: torch.Tensor, weights: Any) -> torch.Tensor:
    if isinstance(weights, torch.Tensor):
        return (quantiles * weights).sum(dim=-1)
    return quantiles.mean(dim=-1)


def _by_reward_dimension(value: torch.Tensor, target: torch.Tensor) -> list[tuple]:
    if value.dim() == 2:
        return [("", value, target)]
    return [(f"/{i}", value[..., i], target[..., i]) for i in range(value.shape[-1])]
