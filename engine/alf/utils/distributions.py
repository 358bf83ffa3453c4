"""Distributions cut to an interval, sampled by inverting their distribution function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.distributions as td
from torch import Tensor
from torch.distributions import constraints


class InverseTransformSampling:
    """A distribution of one real number, location 0 and scale 1, by its functions."""

    def cdf(self, x: Tensor) -> Tensor:
        """Probability of a value below ``x``."""
        raise NotImplementedError(f"{type(self).__name__} does not define cdf")

    def log_cdf(self, x: Tensor) -> Tensor:
        """Logarithm of :meth:`cdf`."""
        return self.cdf(x).clamp_min(torch.finfo(x.dtype).tiny).log()

    def icdf(self, x: Tensor) -> Tensor:
        """The value whose :meth:`cdf` is ``x``."""
        raise NotImplementedError(f"{type(self).__name__} does not define icdf")

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density at ``x``."""
        raise NotImplementedError(f"{type(self).__name__} does not define log_prob")


class _LogNormalCdf(torch.autograd.Function):
    """``log Phi(x)``, whose gradient ``phi(x) / Phi(x)`` is right far left of 0 as well.

    That of ``torch.special.log_ndtr`` is 65,000 at -10,000 in float32, 0 at -100,000 and NaN below.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        log_cdf = torch.special.log_ndtr(x)
        ctx.save_for_backward(x, log_cdf)
        return log_cdf

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        x, log_cdf = ctx.saved_tensors
        near = torch.exp(NormalITS().log_prob(x) - log_cdf)
        # Abramowitz and Stegun (1964), 26.2.12, inverted
        t = -x.clamp(max=-5.0)
        far = t + 1.0 / t - 2.0 / t**3 + 10.0 / t**5
        return grad_output * torch.where(x < -10.0, far, near)


class NormalITS(InverseTransformSampling):
    """The standard normal distribution."""

    def cdf(self, x: Tensor) -> Tensor:
        # torch.special.ndtr is 0.5 + erf / 2, which has no digits left from x = -6 on.
        return 0.5 * torch.erfc(-math.sqrt(0.5) * x)

    def log_cdf(self, x: Tensor) -> Tensor:
        return _LogNormalCdf.apply(x)

    def icdf(self, x: Tensor) -> Tensor:
        return torch.special.ndtri(x)

    def log_prob(self, x: Tensor) -> Tensor:
        return -0.5 * (x * x + math.log(2.0 * math.pi))


class CauchyITS(InverseTransformSampling):
    """The standard Cauchy distribution."""

    def cdf(self, x: Tensor) -> Tensor:
        return torch.atan(x) / math.pi + 0.5

    def icdf(self, x: Tensor) -> Tensor:
        return torch.tan(math.pi * (x - 0.5))

    def log_prob(self, x: Tensor) -> Tensor:
        return -math.log(math.pi) - torch.log1p(x * x)


class T2Cdf_(torch.autograd.Function):
    """Distribution function of :class:`T2ITS`; its gradient is the density.

    ``F(x) = 1/2 + x / (2 sqrt(1 + x^2))``, whose derivative by autograd would overflow for large x.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return 0.5 + 0.5 * x * torch.rsqrt(1.0 + x * x)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad_output * 0.5 * torch.rsqrt(1.0 + x * x) ** 3


class T2ITS(InverseTransformSampling):
    """Student's t distribution with 2 degrees of freedom, divided by sqrt(2).

    Its density is ``1 / (2 (1 + x^2)^1.5)``.
    """

    def cdf(self, x: Tensor) -> Tensor:
        return T2Cdf_.apply(x)

    def icdf(self, x: Tensor) -> Tensor:
        return (x - 0.5) * torch.rsqrt(x * (1.0 - x))

    def log_prob(self, x: Tensor) -> Tensor:
        return -1.5 * torch.log1p(x * x) - math.log(2.0)


class TruncatedDistribution(td.Distribution):
    """``loc + scale * x`` given that it lies in ``[lower_bound, upper_bound]``, over the last axis.

    Args:
        loc: location, shape [..., D].
        scale: scale, shape [..., D].
        lower_bound: lower end of the interval, shape [D].
        upper_bound: upper end of the interval, shape [D].
        its: the distribution of x.
    """

    arg_constraints: ClassVar = {  # pyright: ignore[reportAssignmentType] (as torch's classes do)
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        scale: Tensor,
        lower_bound: Tensor,
        upper_bound: Tensor,
        its: InverseTransformSampling,
    ) -> None:
        self._loc, self._scale = loc, scale
        self._lower_bound, self._upper_bound = lower_bound, upper_bound
        self.its = its
        # Mirrored so that the end nearer to loc is the right one: far left of 0 a distribution
        # function keeps its digits, far right of 0 all its values round to 1.
        self._flip = loc < 0.5 * (lower_bound + upper_bound)
        low, high = (lower_bound - loc) / scale, (upper_bound - loc) / scale
        self._left = torch.where(self._flip, -high, low)
        self._right = torch.where(self._flip, -low, high)
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def loc(self) -> Tensor:
        return self._loc

    @property
    def scale(self) -> Tensor:
        return self._scale

    @property
    def lower_bound(self) -> Tensor:
        return self._lower_bound

    @property
    def upper_bound(self) -> Tensor:
        return self._upper_bound

    @property
    def support(self) -> constraints.Constraint:  # type: ignore[override]
        return constraints.independent(
            constraints.interval(self._lower_bound, self._upper_bound), 1
        )

    @property
    def mode(self) -> Tensor:
        """The point of the interval nearest to ``loc``."""
        return torch.minimum(torch.maximum(self._loc, self._lower_bound), self._upper_bound)

    def rsample(self, sample_shape: torch.Size | Sequence[int] = torch.Size([])) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        uniform = torch.rand(shape, dtype=self._loc.dtype, device=self._loc.device)
        info = torch.finfo(uniform.dtype)
        cdf_left = self.its.cdf(self._left)
        quantile = cdf_left + uniform * (self.its.cdf(self._right) - cdf_left)
        x = self.its.icdf(quantile.clamp(info.tiny, 1.0 - 0.5 * info.eps))
        x = torch.where(self._flip, -x, x)
        value = self._loc + self._scale * x
        return torch.minimum(torch.maximum(value, self._lower_bound), self._upper_bound)

    def log_prob(self, value: Tensor) -> Tensor:
        x = (value - self._loc) / self._scale
        log_prob = self.its.log_prob(x) - self._scale.log() - self.log_mass()
        inside = (value >= self._lower_bound) & (value <= self._upper_bound)
        return log_prob.masked_fill(~inside, -math.inf).sum(dim=-1)

    def log_mass(self) -> Tensor:
        """Logarithm of the probability that ``loc + scale * x`` lies in the interval, [..., D]."""
        log_left, log_right = self.its.log_cdf(self._left), self.its.log_cdf(self._right)
        tiny = torch.finfo(log_left.dtype).tiny
        return log_right + torch.log((-torch.expm1(log_left - log_right)).clamp_min(tiny))

    def expand(self, batch_shape: Any, _instance: Any = None) -> TruncatedDistribution:
        shape = torch.Size(batch_shape) + self.event_shape
        args = (self._loc.expand(shape), self._scale.expand(shape))
        bounds = (self._lower_bound, self._upper_bound)
        if type(self) is TruncatedDistribution:
            return TruncatedDistribution(*args, *bounds, self.its)
        return type(self)(*args, *bounds)  # type: ignore[call-arg]


class TruncatedNormal(TruncatedDistribution):
    """Normal distributions cut to an interval."""

    def __init__(
        self, loc: Tensor, scale: Tensor, lower_bound: Tensor, upper_bound: Tensor
    ) -> None:
        super().__init__(loc, scale, lower_bound, upper_bound, NormalITS())


class TruncatedCauchy(TruncatedDistribution):
    """Cauchy distributions cut to an interval."""

    def __init__(
        self, loc: Tensor, scale: Tensor, lower_bound: Tensor, upper_bound: Tensor
    ) -> None:
        super().__init__(loc, scale, lower_bound, upper_bound, CauchyITS())


class TruncatedT2(TruncatedDistribution):
    """Student's t distributions with 2 degrees of freedom cut to an interval."""

    def __init__(
        self, loc: Tensor, scale: Tensor, lower_bound: Tensor, upper_bound: Tensor
    ) -> None:
        super().__init__(loc, scale, lower_bound, upper_bound, T2ITS())


@td.register_kl(TruncatedNormal, TruncatedNormal)
def _kl_of_truncated_normals(p: TruncatedNormal, q: TruncatedNormal) -> Tensor:
    """KL(p || q), summed over the last axis; infinite where p's interval is not within q's.

    With x = (v - loc_p) / scale_p cut to [a, b] and Z its mass, E[x] = (phi(a) - phi(b)) / Z and
    E[x^2] = 1 + (a phi(a) - b phi(b)) / Z (Johnson, Kotz and Balakrishnan, "Continuous Univariate
    Distributions", section 13.10.1).
    """
    log_mass = p.log_mass()
    a, b = ((bound - p.loc) / p.scale for bound in (p.lower_bound, p.upper_bound))
    at_a, at_b = (torch.exp(p.its.log_prob(x) - log_mass) for x in (a, b))
    mean, square = at_a - at_b, 1 + a * at_a - b * at_b
    ratio, shift = p.scale / q.scale, (p.loc - q.loc) / q.scale
    of_q = ratio.square() * square + 2 * ratio * shift * mean + shift.square()
    kl = q.log_mass() - log_mass - ratio.log() + 0.5 * (of_q - square)
    outside = (p.lower_bound < q.lower_bound) | (p.upper_bound > q.upper_bound)
    return kl.masked_fill(outside, math.inf).sum(dim=-1)
