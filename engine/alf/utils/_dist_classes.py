"""Distributions used by policies, cheap to construct and stable at the ends of their range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributions as td
import torch.nn.functional as F
from torch import Tensor
from torch.distributions.transforms import Transform

from alf.utils._transforms import AffineTransform, fresh_transforms


class ElementwiseTransformedDistribution(td.TransformedDistribution):
    """A :class:`torch.distributions.TransformedDistribution` whose transforms keep every shape.

    Skips the shape inference of torch's constructor, which costs more than a small policy network.
    The transforms are copied, so that the cache which inverts a sample exactly belongs to this
    object.
    """

    def __init__(self, base_dist: td.Distribution, transforms: Sequence[Transform]) -> None:
        self.base_dist = base_dist
        self.transforms = fresh_transforms(transforms)
        td.Distribution.__init__(
            self, base_dist.batch_shape, base_dist.event_shape, validate_args=False
        )

    def expand(self, batch_shape: Any, _instance: Any = None) -> ElementwiseTransformedDistribution:
        return type(self)(self.base_dist.expand(batch_shape), self.transforms)


def transformed_distribution(
    base_dist: td.Distribution, transforms: Sequence[Transform]
) -> td.TransformedDistribution:
    """``base_dist`` pushed through ``transforms``; the cheap class where no shape changes."""
    event_dim = len(base_dist.event_shape)
    for transform in transforms:
        if transform.domain.event_dim > 0 or transform.codomain.event_dim > event_dim:
            return td.TransformedDistribution(
                base_dist, fresh_transforms(transforms), validate_args=False
            )
    return ElementwiseTransformedDistribution(base_dist, transforms)


class AffineTransformedDistribution(td.TransformedDistribution):
    """``loc + scale * x`` with x from ``base_dist``; moments and entropy are known."""

    def __init__(
        self, base_dist: td.Distribution, loc: Tensor | float, scale: Tensor | float
    ) -> None:
        self.loc, self.scale = loc, scale
        super().__init__(base_dist, [AffineTransform(loc, scale)], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * self.base_dist.mean

    @property
    def variance(self) -> Tensor:
        return self.scale**2 * self.base_dist.variance

    @property
    def stddev(self) -> Tensor:
        return abs(self.scale) * self.base_dist.stddev

    def entropy(self) -> Tensor:
        shape = self.batch_shape + self.event_shape
        reference = self.base_dist.entropy()
        scale = torch.as_tensor(self.scale, dtype=reference.dtype, device=reference.device)
        log_scale = scale.abs().log().expand(shape)
        if self.event_shape:
            log_scale = log_scale.flatten(len(self.batch_shape)).sum(-1)
        return reference + log_scale

    def expand(self, batch_shape: Any, _instance: Any = None) -> AffineTransformedDistribution:
        return type(self)(self.base_dist.expand(batch_shape), self.loc, self.scale)


class DiagMultivariateNormal(td.Independent):
    """Normal distributions over the last axis seen as one vector."""

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        super().__init__(_normal(loc, scale), 1, validate_args=False)

    @property
    def loc(self) -> Tensor:
        return self.base_dist.loc

    @property
    def scale(self) -> Tensor:
        return self.base_dist.scale

    @property
    def stddev(self) -> Tensor:
        return self.base_dist.scale

    def sample(
        self, sample_shape: torch.Size | list[int] | tuple[int, ...] = torch.Size([])
    ) -> Tensor:
        if len(sample_shape):
            return super().sample(torch.Size(sample_shape))
        # The numbers that torch.normal draws, without its look at the sign of every scale, for
        # which the host would wait.
        loc, scale = self.base_dist.loc, self.base_dist.scale
        with torch.no_grad():
            return torch.randn_like(loc).mul_(scale).add_(loc)

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the whole vector; half of the operations that the sum over its elements takes."""
        loc, scale = self.base_dist.loc, self.base_dist.scale
        error = (value - loc) / scale
        # -(e^2 / 2 + log(scale) + log(2 pi) / 2), summed
        halves = torch.addcmul(scale.log(), error, error, value=0.5).sum(-1)
        return -0.5 * math.log(2 * math.pi) * loc.shape[-1] - halves

    def expand(self, batch_shape: Any, _instance: Any = None) -> DiagMultivariateNormal:
        shape = torch.Size(batch_shape) + self.event_shape
        return type(self)(self.loc.expand(shape), self.scale.expand(shape))


def _normal(loc: Tensor, scale: Tensor) -> td.Normal:
    """`torch.distributions.Normal`; its constructor is skipped where it has nothing to broadcast.

    It costs as much as a layer of a small policy.
    """
    if loc.shape != scale.shape:
        return td.Normal(loc, scale, validate_args=False)
    normal = object.__new__(td.Normal)
    normal.loc, normal.scale = loc, scale
    td.Distribution.__init__(normal, loc.shape, validate_args=False)
    return normal


class StableCauchy(td.Cauchy):
    """Cauchy distribution whose samples stay finite."""

    def __init__(self, loc: Tensor, scale: Tensor, validate_args: bool | None = None) -> None:
        super().__init__(loc, scale, validate_args=validate_args or False)

    def rsample(
        self,
        sample_shape: torch.Size | list[int] | tuple[int, ...] = torch.Size([]),
        clipping_value: float = 0.49,
    ) -> Tensor:
        """Sample by inverting the distribution function at ``0.5 +- clipping_value`` at most."""
        if not 0.0 < clipping_value < 0.5:
            raise ValueError(f"clipping_value must lie in (0, 0.5), got {clipping_value}")
        shape = self._extended_shape(torch.Size(sample_shape))
        quantile = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device) - 0.5
        quantile = quantile.clamp(-clipping_value, clipping_value)
        return self.loc + self.scale * torch.tan(torch.pi * quantile)


class DiagMultivariateCauchy(td.Independent):
    """Cauchy distributions over the last axis seen as one vector."""

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        super().__init__(StableCauchy(loc, scale), 1, validate_args=False)

    @property
    def loc(self) -> Tensor:
        return self.base_dist.loc

    @property
    def scale(self) -> Tensor:
        return self.base_dist.scale

    def expand(self, batch_shape: Any, _instance: Any = None) -> DiagMultivariateCauchy:
        shape = torch.Size(batch_shape) + self.event_shape
        return type(self)(self.loc.expand(shape), self.scale.expand(shape))


class Beta(td.Beta):
    """Beta distribution whose samples keep ``eps`` off 0 and 1, where the density may be infinite.

    ``eps`` is the machine epsilon of the parameters' type if not given.
    """

    def __init__(
        self,
        concentration1: Tensor,
        concentration0: Tensor,
        eps: float | None = None,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(concentration1, concentration0, validate_args=validate_args or False)
        self._eps = torch.finfo(self._dirichlet.concentration.dtype).eps if eps is None else eps

    @property
    def mode(self) -> Tensor:
        """The peak; the mean where the density is flat or has its peaks at both ends."""
        alpha, beta = self.concentration1, self.concentration0
        inner = (alpha - 1.0) / (alpha + beta - 2.0).clamp_min(torch.finfo(alpha.dtype).tiny)
        no_peak = (alpha <= 1.0) & (beta <= 1.0)
        return torch.where(no_peak, self.mean, inner.clamp(0.0, 1.0))

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        return super().rsample(sample_shape).clamp(self._eps, 1.0 - self._eps)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Beta:
        return type(self)(
            self.concentration1.expand(batch_shape),
            self.concentration0.expand(batch_shape),
            eps=self._eps,
        )


class DiagMultivariateBeta(td.Independent):
    """Beta distributions over the last axis seen as one vector."""

    def __init__(self, concentration1: Tensor, concentration0: Tensor) -> None:
        super().__init__(Beta(concentration1, concentration0), 1, validate_args=False)

    @property
    def concentration1(self) -> Tensor:
        return self.base_dist.concentration1

    @property
    def concentration0(self) -> Tensor:
        return self.base_dist.concentration0

    def expand(self, batch_shape: Any, _instance: Any = None) -> DiagMultivariateBeta:
        shape = torch.Size(batch_shape) + self.event_shape
        return type(self)(self.concentration1.expand(shape), self.concentration0.expand(shape))


def _one_hot_argmax(logits: Tensor) -> Tensor:
    return F.one_hot(logits.argmax(dim=-1), logits.shape[-1]).to(logits.dtype)


class OneHotCategoricalStraightThrough(td.OneHotCategoricalStraightThrough):
    """One-hot samples with the gradient of the probabilities (Bengio et al., arXiv:1308.3432)."""

    def __init__(
        self,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(probs=probs, logits=logits, validate_args=validate_args or False)

    @property
    def mode(self) -> Tensor:
        """The most probable category, with the same straight-through gradient."""
        probs = self.probs
        return _one_hot_argmax(self.logits) + (probs - probs.detach())

    def expand(self, batch_shape: Any, _instance: Any = None) -> OneHotCategoricalStraightThrough:
        shape = torch.Size(batch_shape) + self.event_shape
        return type(self)(logits=self.logits.expand(shape))


class OneHotCategoricalGumbelSoftmax(td.OneHotCategorical):
    """One-hot categories with relaxed samples (Jang et al., arXiv:1611.01144).

    ``rsample`` draws softmax((logits + Gumbel noise) / tau), made one-hot in the forward pass if
    ``hard_sample``. ``sample`` is exact.
    """

    has_rsample = True

    def __init__(self, hard_sample: bool = True, tau: float = 1.0, **kwargs: Any) -> None:
        if tau <= 0:
            raise ValueError(f"tau must be positive, got {tau}")
        kwargs.setdefault("validate_args", False)
        super().__init__(**kwargs)
        self._hard_sample, self._tau = hard_sample, tau

    @property
    def mode(self) -> Tensor:
        """The most probable category, with the gradient of the tempered probabilities."""
        probs = F.softmax(self.logits / self._tau, dim=-1)
        return _one_hot_argmax(self.logits) + (probs - probs.detach())

    def rsample(
        self, sample_shape: torch.Size | list[int] | tuple[int, ...] = torch.Size([])
    ) -> Tensor:
        logits = self.logits.expand(self._extended_shape(torch.Size(sample_shape)))
        return F.gumbel_softmax(logits, tau=self._tau, hard=self._hard_sample, dim=-1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> OneHotCategoricalGumbelSoftmax:
        shape = torch.Size(batch_shape) + self.event_shape
        return type(self)(self._hard_sample, self._tau, logits=self.logits.expand(shape))
