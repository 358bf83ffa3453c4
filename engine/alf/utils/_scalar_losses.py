"""Losses for the prediction of a scalar by a number, a set of quantiles or a categorical."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from alf.config_util import configurable
from alf.utils._unit_losses import multi_quantile_huber_loss
from alf.utils.math_ops import InvertibleTransform

PUBLIC_MODULE = "alf.utils.losses"  # under which these names are configured


class ScalarPredictionLoss:
    """A loss, called as `loss(pred, target)` with target [B] and loss [B]."""

    def __call__(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def calc_expectation(self, pred: torch.Tensor) -> torch.Tensor:
        """The expected scalar [B] under the prediction."""
        raise NotImplementedError

    def initialize_bias(self, bias: torch.Tensor) -> None:
        """Set the bias of the layer that makes `pred` so that the first predictions are near 0."""
        bias.data.zero_()


def _transformed(transform: InvertibleTransform | None, x: torch.Tensor) -> torch.Tensor:
    return x if transform is None else transform.transform(x)


def _restored(transform: InvertibleTransform | None, y: torch.Tensor) -> torch.Tensor:
    return y if transform is None else transform.inverse_transform(y)


@configurable
class SquareLoss(ScalarPredictionLoss):
    """Squared error; the prediction is a number [B] (or [B, 1]).

    Args:
        transform: what is predicted is the transformed target.
    """

    def __init__(self, transform: InvertibleTransform | None = None) -> None:
        self._transform = transform

    def __call__(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (_number(pred, target) - _transformed(self._transform, target)) ** 2

    def calc_expectation(self, pred: torch.Tensor) -> torch.Tensor:
        pred = pred.squeeze(-1) if pred.dim() > 1 and pred.shape[-1] == 1 else pred
        return _restored(self._transform, pred)


def _number(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return pred.squeeze(-1) if pred.dim() == target.dim() + 1 and pred.shape[-1] == 1 else pred


class _OverOutcomes(ScalarPredictionLoss):
    """Base of predictions [B, n] of the distribution of the transformed target.

    Args:
        transform: the distribution is that of the transformed target.
        inverse_after_mean: undo the transform after averaging instead of before. Before is
            unbiased; after is less noisy.
    """

    def __init__(
        self, transform: InvertibleTransform | None = None, inverse_after_mean: bool = False
    ) -> None:
        self._transform = transform
        self._inverse_after_mean = inverse_after_mean

    def _mean(self, outcomes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        if self._inverse_after_mean:
            return _restored(self._transform, (weights * outcomes).sum(dim=-1))
        return (weights * _restored(self._transform, outcomes)).sum(dim=-1)


class _DiscreteRegressionLossBase(_OverOutcomes):
    """Base of predictions over n outcomes, the integers -((n - 1) // 2) ... n // 2.

    A target between two of them counts as a mixture of both that has the right mean: that of the
    outcomes themselves with `inverse_after_mean`, otherwise that of what they stand for, their
    inverse transforms.
    """

    @staticmethod
    def _support(logits: torch.Tensor) -> torch.Tensor:
        n = logits.shape[-1]
        low = -((n - 1) // 2)
        return torch.arange(low, low + n, device=logits.device, dtype=logits.dtype)

    def _place(
        self, logits: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The outcome below each target, counted from the first, and the weight of the next one.

        Targets beyond the outcomes count as the nearest one.
        """
        support = self._support(logits)
        place = (_transformed(self._transform, target) - support[0]).clamp(0, len(support) - 1)
        lower = place.floor().long().clamp(max=max(len(support) - 2, 0))
        if self._transform is None or self._inverse_after_mean:
            return lower, place - lower
        values = _restored(self._transform, support)
        low = values[lower]
        width = values[(lower + 1).clamp(max=len(support) - 1)] - low
        weight = (target - low) / torch.where(width > 0, width, torch.ones_like(width))
        return lower, weight.clamp(0, 1)


# How the outcomes are weighted before anything has been learned: the smaller, the more probable.
def _initial_log_probs(n: int, like: torch.Tensor) -> torch.Tensor:
    low = -((n - 1) // 2)
    size = torch.arange(low, low + n, device=like.device, dtype=torch.float64).abs()
    return F.log_softmax(-2 * torch.log1p(size), dim=0)


@configurable
class DiscreteRegressionLoss(_DiscreteRegressionLossBase):
    """Cross entropy; the prediction [B, n] are logits of n outcomes.

    The outcomes are the integers -((n - 1) // 2) ... n // 2 (Schrittwieser et al. 2020, "Mastering
    Atari, Go, Chess and Shogi by Planning with a Learned Model", appendix F).

    Args:
        transform: the outcomes are those of the transformed target.
        inverse_after_mean: undo the transform after averaging instead of before.
    """

    def __call__(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        lower, weight = self._place(pred, target)
        upper = (lower + 1).clamp(max=pred.shape[-1] - 1)
        log_probs = F.log_softmax(pred, dim=-1)
        at_lower = log_probs.gather(-1, lower.unsqueeze(-1)).squeeze(-1)
        at_upper = log_probs.gather(-1, upper.unsqueeze(-1)).squeeze(-1)
        return -(1 - weight) * at_lower - weight * at_upper

    def calc_expectation(self, logits: torch.Tensor) -> torch.Tensor:
        return self._mean(self._support(logits), logits.softmax(dim=-1))

    def initialize_bias(self, bias: torch.Tensor) -> None:
        bias.data.copy_(_initial_log_probs(bias.shape[0], bias))


@configurable
class OrderedDiscreteRegressionLoss(_DiscreteRegressionLossBase):
    """Binary cross entropies; the prediction [B, n] are logits of "at least outcome i".

    The outcomes are the integers -((n - 1) // 2) ... n // 2. "At least the first" is always right,
    and learned like the others. Logits that rise from one outcome to the next contradict each
    other; the smaller counts.

    Args:
        transform: the outcomes are those of the transformed target.
        inverse_after_mean: undo the transform after averaging instead of before.
    """

    def __call__(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        index = torch.arange(pred.shape[-1], device=pred.device)
        lower, weight = self._place(pred, target)
        at_least = ((lower + weight).unsqueeze(-1) - (index - 1)).clamp(0, 1)
        loss = F.binary_cross_entropy_with_logits(pred, at_least, reduction="none")
        return loss.sum(dim=-1)

    def calc_expectation(self, logits: torch.Tensor) -> torch.Tensor:
        at_least = logits.cummin(dim=-1).values.sigmoid()
        support = self._support(logits)
        # E[X] = x_0 + sum_i (x_i - x_{i-1}) P(X >= x_i)
        if self._transform is None or self._inverse_after_mean:
            return _restored(self._transform, at_least.sum(dim=-1) + (support[0] - 1))
        support = _restored(self._transform, support)
        return (torch.cat([support[:1], support.diff()]) * at_least).sum(dim=-1)

    def initialize_bias(self, bias: torch.Tensor) -> None:
        at_least = _initial_log_probs(bias.shape[0], bias).exp().flip(0).cumsum(0).flip(0)
        bias.data.copy_(torch.logit(at_least, eps=1e-3))


@configurable
class QuantileRegressionLoss(_OverOutcomes):
    """Quantile regression; the prediction [B, n] are quantiles of the transformed target.

    Args:
        transform: the quantiles are those of the transformed target.
        inverse_after_mean: undo the transform after averaging instead of before.
        delta: width of the quadratic part of the loss, see `multi_quantile_huber_loss`.
    """

    def __init__(
        self,
        transform: InvertibleTransform | None = None,
        inverse_after_mean: bool = False,
        delta: float = 0.0,
    ) -> None:
        super().__init__(transform, inverse_after_mean)
        self._delta = delta

    def __call__(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return multi_quantile_huber_loss(pred, _transformed(self._transform, target), self._delta)

    def calc_expectation(self, quantiles: torch.Tensor) -> torch.Tensor:
        return self._mean(quantiles, torch.full_like(quantiles, 1 / quantiles.shape[-1]))
