"""Samples of a normal distribution truncated to a box, by its inverse distribution function."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from alf_layered.planners.plan import Bounds

_SMALLEST_STD = 1e-12
_LARGEST_QUANTILE = 1 - 2**-23  # erfinv of it is 3.7 in single precision; of 1 it is infinite


def truncated_normal(mean: Tensor, std: Tensor, uniform: Tensor, bounds: Bounds) -> Tensor:
    """Quantiles `uniform` of the normal distribution given that it lies within the bounds.

    A mean outside is taken at the nearest point of the box: from further out, all mass would lie in
    a tail that single precision cannot resolve.

    Args:
        mean: broadcasts with `uniform`.
        std: broadcasts with `uniform`.
        uniform: `[..., A]`, in [0, 1].
        bounds: of the actions; single sides may be infinite.
    """
    if bounds.low is None or bounds.high is None:
        raise ValueError("a truncated normal distribution needs bounds, there are none")
    mean = bounds.clamp(mean)
    scale = std.clamp(min=_SMALLEST_STD) * math.sqrt(2)
    low = torch.erf((bounds.low - mean) / scale)
    high = torch.erf((bounds.high - mean) / scale)
    quantile = torch.lerp(low, high, uniform).clamp_(-_LARGEST_QUANTILE, _LARGEST_QUANTILE)
    return bounds.clamp(torch.addcmul(mean, scale, quantile.erfinv_()))
