"""Distributions taken apart into tensors and put together again.

A distribution is (builder, parameters): parameters are a nest of batched tensors that can be
stored, cut and stacked; the builder holds everything else (classes, transforms, bounds) and is made
once per spec.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch.distributions as td
from torch import Tensor
from torch.distributions.transforms import Transform

from alf.nest import nest
from alf.tensor_specs import TensorSpec
from alf.utils._dist_classes import (
    AffineTransformedDistribution,
    Beta,
    DiagMultivariateBeta,
    DiagMultivariateCauchy,
    DiagMultivariateNormal,
    OneHotCategoricalGumbelSoftmax,
    OneHotCategoricalStraightThrough,
    StableCauchy,
    transformed_distribution,
)
from alf.utils._transforms import AffineTransform, fresh_transforms
from alf.utils.distributions import TruncatedDistribution

NestedParams = Any
"""Nest of tensors."""
Nested = Any
"""Nest of tensors, distributions or specs, as the function says."""


class DistributionSpec:
    """How to build a distribution, and the specs of the parameters this takes.

    Args:
        builder: called with the nest of parameters, returns the distribution.
        input_params_spec: nest of TensorSpec matching the parameters without their batch
            dimensions.
    """

    def __init__(
        self, builder: Callable[[NestedParams], td.Distribution], input_params_spec: Any
    ) -> None:
        self.builder = builder
        self.input_params_spec = input_params_spec

    def __repr__(self) -> str:
        return f"DistributionSpec({self.builder!r}, {self.input_params_spec!r})"

    def build_distribution(self, input_params: NestedParams) -> td.Distribution:
        """The distribution with parameters ``input_params``."""
        return self.builder(input_params)

    @classmethod
    def from_distribution(cls, dist: td.Distribution, from_dim: int = 0) -> DistributionSpec:
        """The spec of ``dist``, whose parameters' first ``from_dim`` axes are batch axes."""
        specs = nest.map_structure(
            lambda x: TensorSpec.from_tensor(x, from_dim), extract_distribution_parameters(dist)
        )
        return cls(make_builder(dist), specs)


def distributions_to_params(nests: Nested) -> Nested:
    """``nests`` with each distribution replaced by the nest of its parameters; tensors stay.

    Without distributions it is ``nests`` itself.

    Raises:
        ValueError: if a leaf is neither a tensor nor a distribution.
    """
    leaves = nest.flatten(nests)
    _check_kinds("distributions_to_params", leaves, (Tensor, td.Distribution))
    if not any(isinstance(leaf, td.Distribution) for leaf in leaves):
        return nests
    return nest.map_structure(_to_params, nests)


def _check_kinds(name: str, leaves: list[Any], allowed: tuple[type, ...]) -> None:
    for leaf in leaves:
        if not isinstance(leaf, allowed):
            kinds = " or ".join(kind.__name__ for kind in allowed)
            raise ValueError(f"{name}: a leaf must be a {kinds}, got {leaf!r:.100}")


def _to_params(leaf: Any) -> Nested:
    return extract_distribution_parameters(leaf) if isinstance(leaf, td.Distribution) else leaf


def extract_spec(nests: Nested, from_dim: int = 1) -> Nested:
    """The spec of each leaf: TensorSpec for a tensor, DistributionSpec for a distribution.

    The first ``from_dim`` axes are batch axes and left out.
    """

    _check_kinds("extract_spec", nest.flatten(nests), (Tensor, td.Distribution))

    def spec_of(leaf: Any) -> Any:
        if isinstance(leaf, td.Distribution):
            return DistributionSpec.from_distribution(leaf, from_dim)
        return TensorSpec.from_tensor(leaf, from_dim)

    return nest.map_structure(spec_of, nests)


def params_to_distributions(nests: Nested, nest_spec: Nested) -> Nested:
    """Inverse of :func:`distributions_to_params`.

    Args:
        nests: nest of tensors, with parameters where ``nest_spec`` has a DistributionSpec.
        nest_spec: nest of TensorSpec and DistributionSpec, from :func:`extract_spec`.
    """
    return nest.map_structure_up_to(nest_spec, _to_distribution, nest_spec, nests)


def _to_distribution(spec: Any, params: Nested) -> Any:
    return spec.builder(params) if isinstance(spec, DistributionSpec) else params


def to_distribution_param_spec(nests: Nested) -> Nested:
    """``nests`` with each DistributionSpec replaced by the specs of its parameters."""
    leaves = nest.flatten(nests)
    _check_kinds("to_distribution_param_spec", leaves, (TensorSpec, DistributionSpec))
    return nest.map_structure(
        lambda spec: spec.input_params_spec if isinstance(spec, DistributionSpec) else spec, nests
    )


def extract_distribution_parameters(dist: td.Distribution) -> NestedParams:
    """The nest of tensors which, with the builder of its spec, makes ``dist`` again."""
    return _handler(dist).params(dist)


def make_builder(dist: td.Distribution) -> Callable[[NestedParams], td.Distribution]:
    """A picklable callable that maps parameters to a distribution like ``dist``."""
    return _handler(dist).builder(dist)


class _Handler(NamedTuple):
    """How one class of distribution is taken apart."""

    params: Callable[[Any], NestedParams]
    builder: Callable[[Any], Callable[[NestedParams], td.Distribution]]


class _FromKeywords:
    """Builder for classes that take their parameters by name."""

    def __init__(self, cls: type[td.Distribution], **static: Any) -> None:
        self._cls, self._static = cls, static

    def __repr__(self) -> str:
        return self._cls.__name__

    def __call__(self, params: dict[str, Tensor]) -> td.Distribution:
        return self._cls(**params, **self._static)


class _IndependentBuilder:
    """Builder for :class:`torch.distributions.Independent`."""

    def __init__(self, dist: td.Independent) -> None:
        self._base = make_builder(dist.base_dist)
        self._ndims = dist.reinterpreted_batch_ndims

    def __repr__(self) -> str:
        return f"Independent({self._base!r}, {self._ndims})"

    def __call__(self, params: NestedParams) -> td.Distribution:
        return td.Independent(self._base(params), self._ndims, validate_args=False)


class _TransformedBuilder:
    """Builder for transformed distributions; batched settings of transforms are parameters too."""

    def __init__(self, dist: td.TransformedDistribution) -> None:
        self._base = make_builder(dist.base_dist)
        self._transforms = fresh_transforms(dist.transforms)
        self._batched = [_is_batched(t, dist) for t in dist.transforms]

    def __repr__(self) -> str:
        names = [type(transform).__name__ for transform in self._transforms]
        return f"Transformed({self._base!r}, {names})"

    def __call__(self, params: NestedParams) -> td.Distribution:
        if not any(self._batched):
            return transformed_distribution(self._base(params), self._transforms)
        transforms = [
            _with_params(t, p) if batched else t
            for t, batched, p in zip(
                self._transforms, self._batched, params["transforms"], strict=True
            )
        ]
        return transformed_distribution(self._base(params["base"]), transforms)


class _AffineBuilder:
    """Builder for :class:`AffineTransformedDistribution`."""

    def __init__(self, dist: AffineTransformedDistribution) -> None:
        self._base = make_builder(dist.base_dist)
        self._static = None if _is_batched(dist.transforms[0], dist) else (dist.loc, dist.scale)

    def __repr__(self) -> str:
        return f"AffineTransformed({self._base!r})"

    def __call__(self, params: NestedParams) -> td.Distribution:
        if self._static is not None:
            return AffineTransformedDistribution(self._base(params), *self._static)
        affine = params["transforms"][0]
        return AffineTransformedDistribution(
            self._base(params["base"]), affine["loc"], affine["scale"]
        )


class _MixtureBuilder:
    """Builder for :class:`torch.distributions.MixtureSameFamily`."""

    def __init__(self, dist: td.MixtureSameFamily) -> None:
        self._mixture = make_builder(dist.mixture_distribution)
        self._component = make_builder(dist.component_distribution)

    def __repr__(self) -> str:
        return f"Mixture({self._mixture!r}, {self._component!r})"

    def __call__(self, params: NestedParams) -> td.Distribution:
        return td.MixtureSameFamily(
            cast("td.Categorical", self._mixture(params["mixture"])),
            self._component(params["component"]),
            validate_args=False,
        )


def _with_params(transform: Any, params: NestedParams) -> Transform:
    """A transform like ``transform`` for other rows of the batch."""
    if isinstance(transform, td.AffineTransform):
        return AffineTransform(params["loc"], params["scale"], event_dim=transform.event_dim)
    return transform.with_params(params)


def _is_batched(transform: Transform, dist: td.Distribution) -> bool:
    """Whether ``transform`` has one setting per row of the batch.

    That is an affine one, or one that has ``params``, a nest of tensors [B, ...], and
    ``with_params(params)``.

    Raises:
        ValueError: for another transform of which that is true.
    """
    rank = len(dist.event_shape)
    if isinstance(transform, td.PowerTransform) and transform.exponent.ndim > rank:
        raise ValueError(f"cannot take a {type(dist).__name__} apart: its exponents are batched")
    if hasattr(transform, "with_params"):
        return getattr(transform, "params", ()) != ()
    if not isinstance(transform, td.AffineTransform):
        return False
    return any(isinstance(x, Tensor) and x.ndim > rank for x in (transform.loc, transform.scale))


def _transform_params(transform: Transform, dist: td.Distribution) -> NestedParams:
    if not _is_batched(transform, dist):
        return ()
    if not isinstance(transform, td.AffineTransform):
        return getattr(transform, "params", ())
    shape = dist.batch_shape + dist.event_shape
    one = _any_tensor(extract_distribution_parameters(dist.base_dist)).new_ones(())
    return {
        "loc": (one * transform.loc).expand(shape),
        "scale": (one * transform.scale).expand(shape),
    }


def _any_tensor(params: NestedParams) -> Tensor:
    return nest.flatten(params)[0]


def _transformed_params(dist: td.TransformedDistribution) -> NestedParams:
    base = extract_distribution_parameters(dist.base_dist)
    transforms = [_transform_params(transform, dist) for transform in dist.transforms]
    if all(params == () for params in transforms):
        return base
    return {"base": base, "transforms": transforms}


def _keywords(
    cls: type[td.Distribution], names: tuple[str, ...], validates: bool = True
) -> _Handler:
    """Handler of a class made of tensors ``names``; ``validates``: it takes ``validate_args``."""
    static = {"validate_args": False} if validates else {}
    builder = _FromKeywords(cls, **static)
    return _Handler(
        params=lambda dist: {name: getattr(dist, name) for name in names},
        builder=lambda dist: builder,
    )


def _truncated_builder(dist: TruncatedDistribution) -> _FromKeywords:
    static: dict[str, Any] = {"lower_bound": dist.lower_bound, "upper_bound": dist.upper_bound}
    if type(dist) is TruncatedDistribution:
        static["its"] = dist.its
    return _FromKeywords(type(dist), **static)


def _loc_scale_params(dist: Any) -> NestedParams:
    return {"loc": dist.loc, "scale": dist.scale}


_LOC_SCALE = ("loc", "scale")
_CONCENTRATIONS = ("concentration1", "concentration0")

_HANDLERS: dict[type, _Handler] = {
    td.Normal: _keywords(td.Normal, _LOC_SCALE),
    td.Cauchy: _keywords(td.Cauchy, _LOC_SCALE),
    StableCauchy: _keywords(StableCauchy, _LOC_SCALE),
    td.Laplace: _keywords(td.Laplace, _LOC_SCALE),
    td.Gumbel: _keywords(td.Gumbel, _LOC_SCALE),
    td.Uniform: _keywords(td.Uniform, ("low", "high")),
    td.Exponential: _keywords(td.Exponential, ("rate",)),
    td.Gamma: _keywords(td.Gamma, ("concentration", "rate")),
    td.Dirichlet: _keywords(td.Dirichlet, ("concentration",)),
    td.Poisson: _keywords(td.Poisson, ("rate",)),
    td.StudentT: _keywords(td.StudentT, ("df", "loc", "scale")),
    td.Beta: _keywords(td.Beta, _CONCENTRATIONS),
    td.Bernoulli: _keywords(td.Bernoulli, ("logits",)),
    td.Categorical: _keywords(td.Categorical, ("logits",)),
    td.OneHotCategorical: _keywords(td.OneHotCategorical, ("logits",)),
    td.OneHotCategoricalStraightThrough: _keywords(
        td.OneHotCategoricalStraightThrough, ("logits",)
    ),
    td.MultivariateNormal: _keywords(td.MultivariateNormal, ("loc", "scale_tril")),
    OneHotCategoricalStraightThrough: _keywords(OneHotCategoricalStraightThrough, ("logits",)),
    DiagMultivariateNormal: _keywords(DiagMultivariateNormal, _LOC_SCALE, validates=False),
    DiagMultivariateCauchy: _keywords(DiagMultivariateCauchy, _LOC_SCALE, validates=False),
    DiagMultivariateBeta: _keywords(DiagMultivariateBeta, _CONCENTRATIONS, validates=False),
    Beta: _Handler(
        params=lambda dist: {name: getattr(dist, name) for name in _CONCENTRATIONS},
        builder=lambda dist: _FromKeywords(Beta, eps=dist._eps),
    ),
    OneHotCategoricalGumbelSoftmax: _Handler(
        params=lambda dist: {"logits": dist.logits},
        builder=lambda dist: _FromKeywords(
            OneHotCategoricalGumbelSoftmax, hard_sample=dist._hard_sample, tau=dist._tau
        ),
    ),
    td.Independent: _Handler(
        params=lambda dist: extract_distribution_parameters(dist.base_dist),
        builder=_IndependentBuilder,
    ),
    AffineTransformedDistribution: _Handler(_transformed_params, _AffineBuilder),
    td.TransformedDistribution: _Handler(_transformed_params, _TransformedBuilder),
    td.MixtureSameFamily: _Handler(
        params=lambda dist: {
            "mixture": extract_distribution_parameters(dist.mixture_distribution),
            "component": extract_distribution_parameters(dist.component_distribution),
        },
        builder=_MixtureBuilder,
    ),
    TruncatedDistribution: _Handler(_loc_scale_params, _truncated_builder),
}
"""By exact class, as a subclass may hold more than its base; see ``_REBUILT_BY_BASE``."""

_REBUILT_BY_BASE = (td.TransformedDistribution, TruncatedDistribution)


def _handler(dist: td.Distribution) -> _Handler:
    cls = type(dist)
    handler = _HANDLERS.get(cls)
    if handler is None:
        for base in _REBUILT_BY_BASE:
            if isinstance(dist, base):
                handler = _HANDLERS[cls] = _HANDLERS[base]
                return handler
        known = sorted(known.__name__ for known in _HANDLERS)
        raise ValueError(f"cannot take a {cls.__name__} apart; known distributions: {known}")
    return handler
