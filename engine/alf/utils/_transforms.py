"""Invertible transforms of random variables that keep the value they came from.

torch caches the last (x, y) pair of a transform whose ``cache_size`` is 1. All here do so by
default: near the end of its range the inverse of a squashing function cannot be computed from
``y`` with any accuracy, so the log probability of a fresh sample must use the cached ``x``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.distributions as td
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.transforms import Transform

from alf.config_util import configurable

PUBLIC_MODULE = "alf.utils.dist_utils"  # under which these names are configured

Builder = Any
"""A callable that makes a transform or a distribution."""


def fresh_transform(transform: Transform) -> Transform:
    """Copy ``transform`` without its cache, so that no two distributions share one."""
    if isinstance(transform, td.transforms._InverseTransform):
        return fresh_transform(transform.inv).inv
    new = object.__new__(type(transform))
    new.__dict__.update(transform.__dict__)
    new._inv = None
    if "_cached_x_y" in new.__dict__:
        new._cached_x_y = (None, None)
    if isinstance(transform, td.ComposeTransform):
        new.parts = [fresh_transform(part) for part in transform.parts]
    elif isinstance(transform, td.IndependentTransform):
        new.base_transform = fresh_transform(transform.base_transform)
    return new


def fresh_transforms(transforms: Sequence[Transform]) -> list[Transform]:
    """:func:`fresh_transform` for each of ``transforms``."""
    return [fresh_transform(transform) for transform in transforms]


class _CachedMixin:
    """Equality by class and settings, and builders, for transforms of this module."""

    def get_builder(self) -> Builder:
        """A callable without arguments that makes this transform anew, its cache empty."""
        return _TransformBuilder(fresh_transform(self))  # type: ignore[arg-type]


class _TransformBuilder:
    """Picklable callable giving fresh copies of one transform."""

    def __init__(self, transform: Transform) -> None:
        self._transform = transform

    def __call__(self) -> Transform:
        return fresh_transform(self._transform)


def get_invertible(cls: type[Transform]) -> type[Transform]:
    """A subclass of ``cls`` with the one-value cache on: it inverts its own outputs exactly."""

    class NewCls(_CachedMixin, cls):  # type: ignore[misc,valid-type]
        __doc__ = f"{cls.__name__} with ``cache_size=1`` by default."

        def __init__(self, *args: Any, cache_size: int = 1, **kwargs: Any) -> None:
            super().__init__(*args, cache_size=cache_size, **kwargs)

    NewCls.__name__ = cls.__name__
    return NewCls


class AbsTransform(_CachedMixin, td.AbsTransform):
    """``y = |x|``."""

    def __init__(self, cache_size: int = 1) -> None:
        super().__init__(cache_size=cache_size)


class AffineTransform(_CachedMixin, td.AffineTransform):
    """``y = loc + scale * x``."""

    def __init__(
        self, loc: Tensor | float, scale: Tensor | float, event_dim: int = 0, cache_size: int = 1
    ) -> None:
        super().__init__(loc, scale, event_dim=event_dim, cache_size=cache_size)


class ExpTransform(_CachedMixin, td.ExpTransform):
    """``y = exp(x)``."""

    def __init__(self, cache_size: int = 1) -> None:
        super().__init__(cache_size=cache_size)


class PowerTransform(_CachedMixin, td.PowerTransform):
    """``y = x ** exponent``."""

    def __init__(self, exponent: Tensor | float, cache_size: int = 1) -> None:
        # torch makes a tensor of a number
        super().__init__(cast("Tensor", exponent), cache_size=cache_size)


class SigmoidTransform(_CachedMixin, td.SigmoidTransform):
    """``y = 1 / (1 + exp(-x))``."""

    def __init__(self, cache_size: int = 1) -> None:
        super().__init__(cache_size=cache_size)


class SoftmaxTransform(_CachedMixin, td.SoftmaxTransform):
    """``y = softmax(x)`` over the last axis; not invertible."""

    def __init__(self, cache_size: int = 1) -> None:
        super().__init__(cache_size=cache_size)


class _Elementwise(_CachedMixin, Transform):
    """A strictly increasing function of one real variable."""

    domain = constraints.real
    bijective = True
    sign = +1  # pyright: ignore[reportAssignmentType] (as torch's transforms say it)

    def _settings(self) -> tuple[Any, ...]:
        return ()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._settings() == other._settings()  # type: ignore

    def __hash__(self) -> int:
        return hash((type(self), self._settings()))

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return type(self)(*self._settings(), cache_size=cache_size)


def _log_expm1(x: Tensor) -> Tensor:
    """``log(exp(x) - 1)`` for ``x > 0``, without overflow for large ``x``."""
    return x + torch.log(-torch.expm1(-x))


class StableTanh(_Elementwise):
    """``y = tanh(x)`` with a log determinant that stays finite and exact for large ``|x|``."""

    codomain = constraints.interval(-1.0, 1.0)

    def __init__(self, cache_size: int = 1) -> None:
        super().__init__(cache_size=cache_size)

    def _call(self, x: Tensor) -> Tensor:
        return torch.tanh(x)

    def _inverse(self, y: Tensor) -> Tensor:
        # tanh rounds to exactly +-1 from |x| of about 9 in float32, where atanh is infinite.
        limit = 1.0 - torch.finfo(y.dtype).eps / 2
        return torch.atanh(y.clamp(-limit, limit))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        # log(1 - tanh(x)^2) cancels catastrophically; this is the same function of x.
        return 2.0 * (math.log(2.0) - x - F.softplus(-2.0 * x))


@configurable
class FixedPart(_Elementwise):
    """``y = value`` where ``mask``, else ``y = x``.

    What is fixed has one value and no density of its own: the log determinant is 0 there, and the
    inverse gives ``y``.
    """

    codomain = constraints.real

    def __init__(self, mask: Tensor, value: Tensor, cache_size: int = 1) -> None:
        super().__init__(cache_size=cache_size)
        self._mask, self._value = mask, value

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def with_cache(self, cache_size: int = 1) -> Transform:
        return FixedPart(self._mask, self._value, cache_size)

    def _call(self, x: Tensor) -> Tensor:
        return torch.where(self._mask, self._value, x)

    def _inverse(self, y: Tensor) -> Tensor:
        return y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.zeros_like(x)


class Softplus(_Elementwise):
    """``y = h * log(1 + exp(x / h))`` with ``h = hinge_softness``."""

    codomain = constraints.positive

    def __init__(self, hinge_softness: float = 1.0, cache_size: int = 1) -> None:
        if hinge_softness <= 0:
            raise ValueError(f"hinge_softness must be positive, got {hinge_softness}")
        super().__init__(cache_size=cache_size)
        self._hinge_softness = float(hinge_softness)

    def _settings(self) -> tuple[Any, ...]:
        return (self._hinge_softness,)

    def _call(self, x: Tensor) -> Tensor:
        return self._hinge_softness * F.softplus(x / self._hinge_softness)

    def _inverse(self, y: Tensor) -> Tensor:
        return self._hinge_softness * _log_expm1(y / self._hinge_softness)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return F.logsigmoid(x / self._hinge_softness)


@configurable
class Softsign(_Elementwise):
    """``y = x / (1 + |x|)``."""

    codomain = constraints.interval(-1.0, 1.0)

    def __init__(self, cache_size: int = 1) -> None:
        super().__init__(cache_size=cache_size)

    def _call(self, x: Tensor) -> Tensor:
        return F.softsign(x)

    def _inverse(self, y: Tensor) -> Tensor:
        limit = 1.0 - torch.finfo(y.dtype).eps / 2
        y = y.clamp(-limit, limit)
        return y / (1.0 - y.abs())

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -2.0 * torch.log1p(x.abs())


@configurable
class Softclip(_Elementwise):
    """Smooth clipping into ``(low, high)``.

    It is ``low + h * (softplus((x - low) / h) - softplus((x - high) / h))``: close to the identity
    inside the range, with bends of width ``h = hinge_softness``.
    """

    def __init__(
        self, low: float, high: float, hinge_softness: float = 1.0, cache_size: int = 1
    ) -> None:
        if not low < high:
            raise ValueError(f"Softclip needs low < high, got low={low} and high={high}")
        if hinge_softness <= 0:
            raise ValueError(f"hinge_softness must be positive, got {hinge_softness}")
        super().__init__(cache_size=cache_size)
        self._low, self._high = float(low), float(high)
        self._hinge_softness = float(hinge_softness)

    @property
    def codomain(self) -> constraints.Constraint:  # type: ignore[override]
        return constraints.interval(self._low, self._high)

    def _settings(self) -> tuple[Any, ...]:
        return (self._low, self._high, self._hinge_softness)

    def _call(self, x: Tensor) -> Tensor:
        h = self._hinge_softness
        return self._low + h * (F.softplus((x - self._low) / h) - F.softplus((x - self._high) / h))

    def _inverse(self, y: Tensor) -> Tensor:
        h = self._hinge_softness
        eps = torch.finfo(y.dtype).eps * (self._high - self._low)
        y = y.clamp(self._low + eps, self._high - eps)
        above_low, below_high = (y - self._low) / h, (self._high - y) / h
        return self._low + h * (_log_expm1(above_low) - torch.log(-torch.expm1(-below_high)))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        # sigmoid(a) - sigmoid(b) = sigmoid(a) * sigmoid(-b) * (1 - exp(b - a)), all safe in logs
        h = self._hinge_softness
        a, b = (x - self._low) / h, (x - self._high) / h
        width = (self._high - self._low) / h
        return F.logsigmoid(a) + F.logsigmoid(-b) + math.log(-math.expm1(-width))


def Softlower(low: float, hinge_softness: float = 1.0) -> Transform:
    """Smooth clipping from below: ``low + softplus(x - low)``."""
    return td.ComposeTransform(
        [AffineTransform(-low, 1.0), Softplus(hinge_softness), AffineTransform(low, 1.0)],
        cache_size=1,
    )


def Softupper(high: float, hinge_softness: float = 1.0) -> Transform:
    """Smooth clipping from above: ``high - softplus(high - x)``."""
    return td.ComposeTransform(
        [AffineTransform(high, -1.0), Softplus(hinge_softness), AffineTransform(high, -1.0)],
        cache_size=1,
    )


def SoftclipTF(low: float, high: float, hinge_softness: float = 1.0) -> Transform:
    """Smooth clipping as :func:`Softlower`, :func:`Softupper`, then rescaling to ``(low, high)``.

    The second bend alone would end at ``high - softplus(high - low)``, which is below ``low``. This
    is the definition of TensorFlow Probability's SoftClip bijector.
    """
    if not low < high:
        raise ValueError(f"SoftclipTF needs low < high, got low={low} and high={high}")
    width = high - low
    softplus_width = hinge_softness * math.log1p(math.exp(-width / hinge_softness)) + width
    shrink = width / softplus_width
    rescale = AffineTransform(high * (1.0 - shrink), shrink)
    return td.ComposeTransform(
        [Softlower(low, hinge_softness), Softupper(high, hinge_softness), rescale], cache_size=1
    )
