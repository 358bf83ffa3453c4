"""Losses between predictions and targets."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from alf.config_util import configurable
from alf.summary import summary_ops as summary
from alf.utils._matching import cheapest_matching
from alf.utils._scalar_losses import (
    DiscreteRegressionLoss,
    OrderedDiscreteRegressionLoss,
    QuantileRegressionLoss,
    ScalarPredictionLoss,
    SquareLoss,
)
from alf.utils._simsiam import AsymmetricSimSiamLoss
from alf.utils._unit_losses import (
    element_wise_huber_loss,
    element_wise_squared_loss,
    huber_function,
    iqn_huber_loss,
    multi_quantile_huber_loss,
)

__all__ = [
    "AsymmetricSimSiamLoss",
    "BipartiteMatchingLoss",
    "DiscreteRegressionLoss",
    "MeanSquaredLoss",
    "OrderedDiscreteRegressionLoss",
    "QuantileRegressionLoss",
    "ScalarPredictionLoss",
    "SquareLoss",
    "element_wise_huber_loss",
    "element_wise_squared_loss",
    "huber_function",
    "iqn_huber_loss",
    "multi_quantile_huber_loss",
]


@configurable
class MeanSquaredLoss:
    """Squared error, averaged over all but the batch dimensions.

    Args:
        batch_dims: number of batch dimensions.
        debug_summaries: write summaries.
        name: scope of the summaries.
    """

    def __init__(
        self, batch_dims: int = 1, debug_summaries: bool = True, name: str = "MSELoss"
    ) -> None:
        self._batch_dims = batch_dims
        self._debug_summaries = debug_summaries
        self._name = name

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss [B] of `pred` against `target`, both [B, ...]."""
        error = F.mse_loss(pred, target.to(pred.dtype), reduction="none")
        if error.dim() > self._batch_dims:
            error = error.flatten(self._batch_dims).mean(dim=-1)
        if self._debug_summaries and summary.should_record_summaries():
            with summary.scope(self._name):
                summary.scalar("loss", error.mean())
        return error

    __call__ = forward


@configurable
class BipartiteMatchingLoss:
    """Loss of the cheapest one-to-one assignment between N predictions and N targets.

    Args:
        reduction: over the N pairs: "mean", "sum" or "none".
        name: name of the loss.
    """

    def __init__(self, reduction: str = "mean", name: str = "BipartiteMatchingLoss") -> None:
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction has to be 'mean', 'sum' or 'none', got {reduction!r}")
        self._reduction = reduction
        self._name = name

    def forward(
        self, matching_cost_mat: torch.Tensor, cost_mat: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Find the assignment, and its loss.

        Args:
            matching_cost_mat: [B, N, N], cost of each pair; decides the assignment.
            cost_mat: [B, N, N], what the loss is made of; None for `matching_cost_mat`.

        Returns the loss, [B] ([B, N] without reduction), and int64 [B, N], the column for each row.
        """
        costs = matching_cost_mat if cost_mat is None else cost_mat
        columns = cheapest_matching(matching_cost_mat.detach())
        loss = costs.gather(2, columns.unsqueeze(-1)).squeeze(-1)
        if self._reduction == "mean":
            loss = loss.mean(dim=-1)
        elif self._reduction == "sum":
            loss = loss.sum(dim=-1)
        return loss, columns

    __call__ = forward
