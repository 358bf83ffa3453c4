"""The critic loss of the temporally abstract actor-critic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from alf.algorithms.td_loss import summarize_td
from alf.config_util import configurable
from alf.data_structures import LossInfo, StepType
from alf.summary import summary_ops as summary
from alf.utils import losses, tensor_utils
from alf.utils._reverse_scan import reverse_linear_scan

__all__ = ["TAACTDLoss"]

PUBLIC_MODULE = "alf.algorithms.taac_algorithm"  # under which it is configured


@configurable
class TAACTDLoss(nn.Module):
    """TD loss with the compare-through multi-step target (arXiv:2104.06521, section 4.2).

    The rewards that followed in the rollout count as long as both the rollout and the present
    policy went on with their trajectory; where one of them began a new one, the target values take
    over. A step of type LAST has no next one: its target is its own target value.

    Args:
        gamma: discount per step; a list has one for each dimension of the reward.
        td_error_loss_fn: called as ``fn(target, value)``, element by element.
        debug_summaries: write summaries.
        name: scope of the summaries.
    """

    _gamma: Tensor
    is_stateless = True

    def __init__(
        self,
        gamma: float | list[float] = 0.99,
        td_error_loss_fn: Callable = losses.element_wise_squared_loss,
        debug_summaries: bool = False,
        name: str = "TAACTDLoss",
    ) -> None:
        super().__init__()
        self.register_buffer("_gamma", torch.tensor(gamma), persistent=False)
        self._td_error_loss_fn = td_error_loss_fn
        self._debug_summaries = debug_summaries
        self._name = name

    @property
    def gamma(self) -> Tensor:
        """Discount per step, [] or [number of reward dimensions]."""
        return self._gamma

    def forward(self, info: Any, value: Tensor, target_value: Tensor) -> LossInfo:
        """The loss of each step.

        Args:
            info: has ``reward`` [T, B] or [T, B, n], and [T, B]: ``step_type``, ``discount``, and
                ``b`` and ``rollout_b``, which are 1 where the present policy and the rollout began
                a new trajectory.
            value: in the shape of the reward, what is trained.
            target_value: same shape, what the targets are made of.

        Returns:
            A ``LossInfo`` whose ``loss`` and ``extra`` are both the loss [T, B], averaged over
            reward dimensions; 0 at the last step, which has no target.
        """
        target = self._target(info, target_value).detach()
        value = value[:-1]
        if self._debug_summaries and summary.should_record_summaries():
            summarize_td(self._name, info, value, target)
        loss = self._td_error_loss_fn(target, value)
        if loss.dim() == 3:
            loss = loss.mean(dim=2)
        loss = tensor_utils.tensor_extend_zero(loss)
        return LossInfo(loss=loss, extra=loss)

    def _target(self, info: Any, target_value: Tensor) -> Tensor:
        """The target [T - 1, ...] of each step but the last."""

        def wide(x: Tensor) -> Tensor:
            return x if info.reward.dim() == 2 else x.unsqueeze(-1)

        is_last = info.step_type == StepType.LAST
        stops = is_last | (info.b != 0) | (info.rollout_b != 0)
        # The row 0 is nobody's future; the last row has none.
        stops = torch.cat([stops[:-1], torch.ones_like(stops[:1])])
        stop, reward = wide(stops), info.reward[1:]
        decay = (wide(info.discount) * self._gamma)[1:].expand_as(reward)
        # y[t] = target_value[t] where it stops, else reward[t+1] + decay[t+1] y[t+1]
        goes_on = ~stop[:-1]
        inputs = torch.cat([torch.where(goes_on, reward, target_value[:-1]), target_value[-1:]])
        decays = torch.cat([decay * goes_on, torch.zeros_like(target_value[-1:])])
        y = reverse_linear_scan(inputs, decays)
        return torch.where(wide(is_last[:-1]), target_value[:-1], reward + decay * y[1:])
