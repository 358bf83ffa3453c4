"""Elementwise maths: soft clipping, invertible squashing, reductions over lists."""

from __future__ import annotations

import abc
import functools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from alf.config_util import configurable
from alf.nest import nest


def identity(x: Any) -> Any:
    """``x`` itself."""
    return x


@configurable
def clipped_exp(
    value: torch.Tensor, clip_value_min: float = -20, clip_value_max: float = 2
) -> torch.Tensor:
    """``exp`` of ``value`` clipped to the given range."""
    return torch.exp(torch.clamp(value, clip_value_min, clip_value_max))


def add_ignore_empty(x: Any, y: Any) -> Any:
    """``x + y``, where ``()`` is nothing: the other one is returned."""
    if isinstance(y, tuple) and not y:
        return x
    if isinstance(x, tuple) and not x:
        return y
    return x + y


def add_n(inputs: Sequence[Any]) -> Any:
    """The sum of a non-empty sequence."""
    return functools.reduce(lambda a, b: a + b, inputs)


def mul_n(inputs: Sequence[Any]) -> Any:
    """The product of a non-empty sequence."""
    return functools.reduce(lambda a, b: a * b, inputs)


def max_n(inputs: Sequence[torch.Tensor]) -> torch.Tensor:
    """The elementwise maximum of a non-empty sequence."""
    return functools.reduce(torch.maximum, inputs)


def min_n(inputs: Sequence[torch.Tensor]) -> torch.Tensor:
    """The elementwise minimum of a non-empty sequence."""
    return functools.reduce(torch.minimum, inputs)


def argmin(x: torch.Tensor) -> torch.Tensor:
    """The index [B] of the smallest element in each row of ``x`` [B, N]; the first of equals."""
    smallest = x.min(dim=-1, keepdim=True).values
    # torch.argmin does not say which of equal elements it takes, and devices differ.
    return (x == smallest).to(torch.int8).cumsum(-1).eq(0).sum(-1)


def square(x: torch.Tensor) -> torch.Tensor:
    """``x * x``."""
    return x * x


def swish(x: torch.Tensor) -> torch.Tensor:
    """``x * sigmoid(x)`` (Ramachandran et al. 2017, arXiv:1710.05941)."""
    return F.silu(x)


def binary_neg_entropy(p: torch.Tensor) -> torch.Tensor:
    """``p log p + (1 - p) log(1 - p)``, with ``0 log 0 = 0``."""
    return torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p)


def softlower(x: torch.Tensor, low: Any, hinge_softness: float = 1.0) -> torch.Tensor:
    """A smooth ``max(x, low)`` that stays above ``low``."""
    return low + hinge_softness * F.softplus((x - low) / hinge_softness)


def softupper(x: torch.Tensor, high: Any, hinge_softness: float = 1.0) -> torch.Tensor:
    """A smooth ``min(x, high)`` that stays below ``high``."""
    return high - hinge_softness * F.softplus((high - x) / hinge_softness)


def softclip(x: torch.Tensor, low: Any, high: Any, hinge_softness: float = 1.0) -> torch.Tensor:
    """A smooth clip to (low, high) that is symmetric about the middle of the range.

    ``low + s (softplus((x - low) / s) - softplus((x - high) / s))`` with the softness ``s``.
    """
    s = hinge_softness
    return low + s * (F.softplus((x - low) / s) - F.softplus((x - high) / s))


def softclip_tf(x: torch.Tensor, low: Any, high: Any, hinge_softness: float = 1.0) -> torch.Tensor:
    """A smooth clip to (low, high) by two soft hinges in turn.

    The formula is the documented one of TensorFlow Probability's ``SoftClip`` bijector: a soft
    hinge at ``low``, then one at ``high``, rescaled so that the lower limit is ``low`` exactly.
    """
    s = hinge_softness
    width = torch.as_tensor((high - low) / s, dtype=x.dtype, device=x.device)
    above_low = F.softplus((x - low) / s)
    return high - s * F.softplus(width - above_low) * width / F.softplus(width)


class Softsign_(torch.autograd.Function):
    """``x / (1 + |x|)``, written over its input."""

    @staticmethod
    def forward(ctx: Any, input: torch.Tensor) -> torch.Tensor:
        output = input.div_(1 + input.abs())
        ctx.mark_dirty(input)
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
        (output,) = ctx.saved_tensors
        return grad_output * (1 - output.abs()) ** 2


class Softsign(torch.autograd.Function):
    """``x / (1 + |x|)``, which remembers only its output for the backward pass."""

    @staticmethod
    def forward(ctx: Any, input: torch.Tensor) -> torch.Tensor:
        output = input / (1 + input.abs())
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
        (output,) = ctx.saved_tensors
        return grad_output * (1 - output.abs()) ** 2


softsign = Softsign.apply
softsign_ = Softsign_.apply


def sum_to_leftmost(value: torch.Tensor, dim: int) -> torch.Tensor:
    """Sums over all dimensions but the first ``dim`` ones."""
    if value.ndim <= dim:
        return value
    return value.sum(dim=tuple(range(dim, value.ndim)))


def weighted_reduce_mean(x: torch.Tensor, weight: torch.Tensor, dim: Any = ()) -> torch.Tensor:
    """The weighted mean of ``x`` over ``dim``; 0 where all weights are 0.

    Args:
        x: any shape.
        weight: not negative; broadcasts to the shape of ``x``.
        dim: one dimension or several; ``()`` means all.
    """
    weight = weight.to(x.dtype).expand_as(x)
    dims = tuple(range(x.ndim)) if isinstance(dim, (tuple, list)) and not dim else dim
    total = weight.sum(dim=dims)
    weighted = (x * weight).sum(dim=dims)
    return weighted / total.clamp_min(torch.finfo(x.dtype).tiny)


def shuffle(values: Any) -> Any:
    """The rows of all tensors of a nest in one random order."""
    size = nest.get_nest_batch_size(values)
    order = torch.randperm(size)
    return nest.map_structure(lambda value: value[order.to(value.device)], values)


def normalize_min_max(x: torch.Tensor) -> torch.Tensor:
    """Each row of ``x`` [B, ...] (a vector as a whole) mapped linearly onto [0, 1].

    Zeros where all elements are equal (Schrittwieser et al. 2020, arXiv:1911.08265, appendix G).
    """
    dims = tuple(range(min(1, x.ndim - 1), x.ndim))
    low, high = x.amin(dims, keepdim=True), x.amax(dims, keepdim=True)
    width = high - low
    return (x - low) / torch.where(width > 0, width, torch.ones_like(width))


class InvertibleTransform(abc.ABC):
    """A monotone elementwise function and its inverse, e.g. for values and rewards."""

    @abc.abstractmethod
    def transform(self, x: torch.Tensor) -> torch.Tensor:
        """The function."""

    @abc.abstractmethod
    def inverse_transform(self, y: torch.Tensor) -> torch.Tensor:
        """The inverse function."""


@configurable
class Sqrt1pTransform(InvertibleTransform):
    """``sign(x) (sqrt(|x| + 1) - 1)``."""

    def transform(self, x: torch.Tensor) -> torch.Tensor:
        return x.sign() * ((x.abs() + 1).sqrt() - 1)

    def inverse_transform(self, y: torch.Tensor) -> torch.Tensor:
        # (|y| + 1)**2 - 1 without the cancellation near 0.
        return y * (y.abs() + 2)


@configurable
class SqrtLinearTransform(InvertibleTransform):
    """``sign(x) (sqrt(|x| + 1) - 1) + eps x`` (Pohlen et al. 2018, arXiv:1805.11593, eq. 1)."""

    def __init__(self, eps: float = 1e-3) -> None:
        if eps <= 0:
            raise ValueError(f"eps is {eps}; it must be positive")
        self._eps = eps

    def transform(self, x: torch.Tensor) -> torch.Tensor:
        return x.sign() * ((x.abs() + 1).sqrt() - 1) + self._eps * x

    def inverse_transform(self, y: torch.Tensor) -> torch.Tensor:
        # With u = sqrt(|x| + 1): eps u^2 + u = |y| + 1 + eps. The root is written without a
        # difference of nearly equal numbers, which loses all digits in single precision.
        eps = self._eps
        c = y.abs() + 1 + eps
        u = 2 * c / (1 + (1 + 4 * eps * c).sqrt())
        return y.sign() * (u * u - 1)


@configurable
class Log1pTransform(InvertibleTransform):
    """``sign(x) alpha log(1 + |x|)``."""

    def __init__(self, alpha: float = 20) -> None:
        if alpha <= 0:
            raise ValueError(f"alpha is {alpha}; it must be positive")
        self._alpha = alpha

    def transform(self, x: torch.Tensor) -> torch.Tensor:
        return self._alpha * x.sign() * x.abs().log1p()

    def inverse_transform(self, y: torch.Tensor) -> torch.Tensor:
        return y.sign() * (y.abs() / self._alpha).expm1()
