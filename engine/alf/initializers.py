"""Initial values of weights: variance scaling with a gain."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from alf.config_util import configurable
from alf.utils.math_ops import identity

_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = ("truncated_normal", "uniform", "untruncated_normal")
# Standard deviation of a standard normal cut to [-2, 2], by which its scale must be divided.
_TRUNCATED_STD = 0.87962566103423978


@functools.lru_cache(maxsize=64)
def _gain_after(nonlinearity: Callable[[Tensor], Tensor]) -> float:
    """The gain that keeps unit variance through ``nonlinearity``, found by integration on a grid.

    With x standard normal it is ``1 / sqrt(E[f(x)^2])``: sqrt(2) for relu, 1 for the identity.
    """
    x = torch.linspace(-8.0, 8.0, 16001, dtype=torch.float64, device="cpu")
    weight = torch.exp(-0.5 * x * x)
    with torch.no_grad():
        y = nonlinearity(x.clone())
    second_moment = float((weight * y * y).sum() / weight.sum())
    if not (math.isfinite(second_moment) and second_moment > 0.0):
        raise ValueError(f"the gain of {nonlinearity} cannot be told: E[f(x)^2] = {second_moment}")
    return 1.0 / math.sqrt(second_moment)


def _numerical_calculate_gain(
    nonlinearity: Callable[[Tensor], Tensor], dz: float = 0.01, r: float = 5.0
) -> float:
    """The gain that keeps unit variance, by a sum over [-r, r] in steps of ``dz``."""
    z = torch.arange(-r, r + 0.5 * dz, dz, dtype=torch.float64, device="cpu")
    weight = torch.exp(-0.5 * z * z)
    with torch.no_grad():
        square = nonlinearity(z.clone()).square()
    return float((weight.sum() / (weight * square).sum()).sqrt())


def _calculate_gain(nonlinearity: Callable[[Tensor], Tensor] | str, param: Any = None) -> float:
    """The gain of a function, or of a name that :func:`torch.nn.init.calculate_gain` knows."""
    if isinstance(nonlinearity, str):
        return nn.init.calculate_gain(nonlinearity, param)  # type: ignore[arg-type]
    return _gain_after(nonlinearity)


def _is_elementwise_op(op: Callable[[Tensor], Tensor]) -> bool:
    """Whether each element of ``op(x)`` depends on the same element of x alone."""
    x = torch.linspace(-2.0, 2.0, 12, device="cpu").reshape(3, 4)
    with torch.no_grad():
        try:
            whole = op(x.clone())
            single = torch.stack([op(v.clone()) for v in x.flatten()])
        except (RuntimeError, IndexError, TypeError, ValueError):
            return False
    return whole.shape == x.shape and torch.allclose(whole.flatten(), single.flatten())


def _fans(tensor: Tensor, transposed: bool) -> tuple[int, int]:
    fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(tensor)
    return (fan_out, fan_in) if transposed else (fan_in, fan_out)


@configurable
@torch.no_grad()
def variance_scaling_init(
    tensor: Tensor,
    gain: float = 1.0,
    mode: str = "fan_in",
    distribution: str = "truncated_normal",
    calc_gain_after_activation: bool = True,
    nonlinearity: Callable[[Tensor], Tensor] = identity,
    transposed: bool = False,
) -> Tensor:
    """Fill ``tensor`` in place with random numbers of variance ``(gain * g)^2 / fan``.

    He et al., arXiv:1502.01852, for any activation: g keeps the variance of a unit normal through
    ``nonlinearity`` if ``calc_gain_after_activation``, else g = 1.

    Args:
        tensor: weights [out, in, ...] (a transposed layer: [in, out, ...]).
        gain: extra factor on the standard deviation.
        mode: fan is "fan_in", "fan_out" or their mean "fan_avg".
        distribution: "truncated_normal" (cut at two standard deviations), "untruncated_normal" or
            "uniform".
        calc_gain_after_activation: account for ``nonlinearity``; it acts on the forward pass, so
            only with "fan_in".
        nonlinearity: the activation that follows; its argument may be overwritten.
        transposed: the first two axes of ``tensor`` are [in, out].

    Returns:
        ``tensor``.
    """
    if mode not in _MODES:
        raise ValueError(f"mode must be one of {_MODES}, got {mode!r}")
    if distribution not in _DISTRIBUTIONS:
        raise ValueError(f"distribution must be one of {_DISTRIBUTIONS}, got {distribution!r}")
    fan_in, fan_out = _fans(tensor, transposed)
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
    if calc_gain_after_activation and mode == "fan_in":
        gain = gain * _gain_after(nonlinearity)
    std = gain / math.sqrt(max(1.0, fan))
    if std == 0.0:
        return tensor.zero_()
    if distribution == "truncated_normal":
        scale = std / _TRUNCATED_STD
        return nn.init.trunc_normal_(tensor, std=scale, a=-2.0 * scale, b=2.0 * scale)
    if distribution == "uniform":
        limit = math.sqrt(3.0) * std
        return tensor.uniform_(-limit, limit)
    return tensor.normal_(0.0, std)


def small_uniform_init(bound: float) -> Callable[[Tensor], Tensor]:
    """An initializer that draws uniformly from ``[-bound, bound]``.

    Small last layers keep the first actions and values near zero (Lillicrap et al.,
    arXiv:1509.02971, section 7).
    """
    return functools.partial(nn.init.uniform_, a=-bound, b=bound)
