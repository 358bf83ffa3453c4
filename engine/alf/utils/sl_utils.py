"""Losses and scores of supervised learning, of networks whose likelihood matters."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from alf.config_util import configurable
from alf.data_structures import LossInfo

__all__ = ["auc_score", "classification_loss", "regression_loss"]


@configurable
def classification_loss(output: Tensor, target: Tensor) -> LossInfo:
    """Negative log likelihood of classes, summed over the batch.

    Args:
        output: logits `[B, K]`.
        target: integer class numbers `[B]` or `[B, 1]`.

    Returns:
        ``loss`` [] and, as ``extra``, the share of rows whose largest logit is the right one.
    """
    classes = target.reshape(-1).long()
    if output.ndim != 2 or classes.shape[0] != output.shape[0]:
        raise ValueError(
            f"classification_loss: output has shape {tuple(output.shape)} and target "
            f"{tuple(target.shape)}; allowed: [B, K] and [B] or [B, 1]"
        )
    accuracy = (output.argmax(dim=-1) == classes).float().mean()
    return LossInfo(loss=F.cross_entropy(output, classes, reduction="sum"), extra=accuracy)


@configurable
def regression_loss(output: Tensor, target: Tensor) -> LossInfo:
    """Half the sum of squared errors: minus the log likelihood of unit Gaussians, up to a constant.

    Args:
        output: any shape.
        target: of the same shape.
    """
    if output.shape != target.shape:
        raise ValueError(
            f"regression_loss: output has shape {tuple(output.shape)}, target "
            f"{tuple(target.shape)}; they must be the same"
        )
    return LossInfo(loss=0.5 * F.mse_loss(output, target, reduction="sum"))


def auc_score(inliers: Tensor, outliers: Tensor) -> Tensor:
    """Area under the ROC curve of telling outliers from inliers by their scores.

    It is the probability that an outlier has a larger score than an inlier; ties count half.

    Args:
        inliers: scores `[N]`.
        outliers: scores `[M]`.

    Returns:
        a number [] in [0, 1].
    """
    ordered = inliers.reshape(-1).sort().values
    scores = outliers.reshape(-1).contiguous()
    below = torch.searchsorted(ordered, scores)
    not_above = torch.searchsorted(ordered, scores, right=True)
    return (below + not_above).double().mean().div(2 * len(ordered)).to(inliers.dtype)
