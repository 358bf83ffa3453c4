"""Options of single parameters, and an estimate of how noisy gradients are."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from alf.config_util import configurable
from alf.nest import nest
from alf.utils.averager import ScalarEMAverager
from alf.utils.tensor_utils import global_norm

__all__ = ["GradientNoiseScaleEstimator", "get_opt_arg"]


def get_opt_arg(p: torch.Tensor, argname: str, default: Any = None) -> Any:
    """The option `argname` that parameter `p` brings along for its optimizer in `p.opt_args`."""
    return getattr(p, "opt_args", {}).get(argname, default)


@configurable
class GradientNoiseScaleEstimator(nn.Module):
    """Estimate of the simple gradient noise scale, trace(covariance) / |mean gradient|^2.

    McCandlish et al. 2018, "An Empirical Model of Large-Batch Training", appendix A.1: the norms of
    the gradients of a whole batch and of a part of it tell both terms; both are averaged over time.

    Args:
        batch_size_ratio: size of the part relative to the batch, in (0, 1).
        update_rate: of the averages over time.
        gradient_norm_clip: largest norm that enters the estimate; None for no limit.
        mode: only "alternative" is supported.
        name: name of the estimator.
    """

    def __init__(
        self,
        batch_size_ratio: float = 0.1,
        update_rate: float = 0.001,
        gradient_norm_clip: float | None = None,
        mode: str = "alternative",
        name: str = "GNSEstimator",
    ) -> None:
        if mode != "alternative":
            raise ValueError(f"{name}: mode has to be 'alternative', got {mode!r}")
        if not 0 < batch_size_ratio < 1:
            raise ValueError(
                f"{name}: batch_size_ratio has to be in (0, 1), got {batch_size_ratio}"
            )
        super().__init__()
        self._batch_size_ratio = batch_size_ratio
        self._gradient_norm_clip = gradient_norm_clip
        self._noise = ScalarEMAverager(update_rate)
        self._signal = ScalarEMAverager(update_rate)

    def forward(self, loss: torch.Tensor, tensors: Any) -> torch.Tensor:
        """The noise scale after taking one more batch into account: [].

        Args:
            loss: loss of each sample, [B] or [T, B], with its graph, which is kept.
            tensors: nest of the parameters.
        """
        per_sample = loss.mean(dim=0) if loss.dim() > 1 else loss
        big = per_sample.shape[0]
        small = max(1, round(big * self._batch_size_ratio))
        if small >= big:
            raise ValueError(f"a batch of {big} is too small to estimate the noise of gradients")
        part = torch.randperm(big, device=loss.device)[:small]
        big_norm2 = self._norm2(per_sample.mean(), tensors)
        small_norm2 = self._norm2(per_sample[part].mean(), tensors)
        signal = (big * big_norm2 - small * small_norm2) / (big - small)
        noise = (small_norm2 - big_norm2) / (1 / small - 1 / big)
        signal, noise = self._signal.average(signal), self._noise.average(noise)
        return noise / signal.clamp(min=1e-20)

    def _norm2(self, loss: torch.Tensor, tensors: Any) -> torch.Tensor:
        grads = torch.autograd.grad(
            loss, nest.flatten(tensors), retain_graph=True, allow_unused=True
        )
        norm = global_norm([g for g in grads if g is not None])
        if self._gradient_norm_clip is not None:
            norm = norm.clamp(max=self._gradient_norm_clip)
        return norm**2
