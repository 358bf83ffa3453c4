"""Distributions in nests: samples, modes, probabilities, entropies, and their parameters.

A distribution is a leaf of its nest, and the leaves of a nest are independent of one another: their
log probabilities and entropies are added.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
import torch.distributions as td
import torch.nn.functional as F
from torch import Tensor

from alf.config_util import configurable
from alf.nest import nest
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
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
from alf.utils._dist_params import (
    DistributionSpec,
    distributions_to_params,
    extract_distribution_parameters,
    extract_spec,
    params_to_distributions,
    to_distribution_param_spec,
)
from alf.utils._transforms import (
    AbsTransform,
    AffineTransform,
    ExpTransform,
    PowerTransform,
    SigmoidTransform,
    Softclip,
    SoftclipTF,
    Softlower,
    SoftmaxTransform,
    Softplus,
    Softsign,
    Softupper,
    StableTanh,
    get_invertible,
)
from alf.utils.distributions import TruncatedNormal
from alf.utils.spec_utils import has_finite_bounds

__all__ = [
    "AbsTransform",
    "AffineTransform",
    "AffineTransformedDistribution",
    "Beta",
    "DiagMultivariateBeta",
    "DiagMultivariateCauchy",
    "DiagMultivariateNormal",
    "DistributionSpec",
    "ExpTransform",
    "OneHotCategoricalGumbelSoftmax",
    "OneHotCategoricalStraightThrough",
    "PowerTransform",
    "SigmoidTransform",
    "Softclip",
    "SoftclipTF",
    "Softlower",
    "SoftmaxTransform",
    "Softplus",
    "Softsign",
    "Softupper",
    "StableCauchy",
    "StableTanh",
    "TruncatedNormal",
    "calc_default_max_entropy",
    "calc_default_target_entropy",
    "calc_default_target_entropy_quantized",
    "calc_uniform_log_prob",
    "compute_entropy",
    "compute_log_probability",
    "distributions_to_params",
    "entropy_with_fallback",
    "epsilon_greedy_sample",
    "estimated_entropy",
    "extract_distribution_parameters",
    "extract_spec",
    "get_base_dist",
    "get_invertible",
    "get_mode",
    "get_rmode",
    "params_to_distributions",
    "rsample_action_distribution",
    "sample_action_distribution",
    "to_distribution_param_spec",
    "transformed_distribution",
]

_OPEN_WIDTH = 2.0

NestedDistribution = Any
"""Nest of distributions."""
Nested = Any
"""Nest of tensors."""


# ---- samples and modes ----


def sample_action_distribution(
    nested_distributions: NestedDistribution, return_log_prob: bool = False
) -> Any:
    """One sample of each distribution; ``return_log_prob``: and their total log probability."""
    actions = nest.map_structure(lambda dist: dist.sample(), nested_distributions)
    if not return_log_prob:
        return actions
    return actions, compute_log_probability(nested_distributions, actions)


def rsample_action_distribution(
    nested_distributions: NestedDistribution, return_log_prob: bool = False
) -> Any:
    """As :func:`sample_action_distribution`, with gradients to the parameters (reparameterised)."""
    actions = nest.map_structure(_rsample, nested_distributions)
    if not return_log_prob:
        return actions
    return actions, compute_log_probability(nested_distributions, actions)


def _rsample(dist: td.Distribution) -> Tensor:
    if not dist.has_rsample:
        raise ValueError(
            f"{_describe(dist)} has no reparameterised sample; use sample_action_distribution"
        )
    return dist.rsample()


@configurable
def epsilon_greedy_sample(nested_distributions: NestedDistribution, eps: float = 0.1) -> Nested:
    """For each row of the batch a sample with probability ``eps``, else the mode.

    All parts of a nest are sampled, or all at their modes, in the same rows.
    """
    if not 0.0 <= eps <= 1.0:
        raise ValueError(f"eps must lie in [0, 1], got {eps}")
    if eps == 0.0:
        return nest.map_structure(get_mode, nested_distributions)
    if eps == 1.0:
        return sample_action_distribution(nested_distributions)
    modes = nest.map_structure(get_mode, nested_distributions)
    samples = sample_action_distribution(nested_distributions)
    first = nest.flatten(modes)[0]
    explore = torch.rand(first.shape[:1], device=first.device) < eps

    def choose(mode: Tensor, sample: Tensor) -> Tensor:
        row = explore.reshape(explore.shape + (1,) * (mode.ndim - 1))
        return torch.where(row, sample, mode)

    return nest.map_structure(choose, modes, samples)


def get_mode(dist: td.Distribution) -> Tensor:
    """The most probable value.

    For a transformed distribution this is the transformed mode of its base, for a mixture the mode
    of its most probable component: neither is the exact peak of the density, both are what a greedy
    policy wants.
    """
    if isinstance(dist, td.Categorical):
        return dist.logits.argmax(dim=-1)
    if isinstance(dist, td.Independent):
        return get_mode(dist.base_dist)
    if isinstance(dist, td.TransformedDistribution):
        mode = get_mode(dist.base_dist)
        for transform in dist.transforms:
            mode = cast("Tensor", transform(mode))
        return mode
    if isinstance(dist, td.MixtureSameFamily):
        return _mixture_mode(dist)
    try:
        return dist.mode
    except NotImplementedError as error:
        raise ValueError(f"no mode is known for {_describe(dist)}") from error


def _mixture_mode(dist: td.MixtureSameFamily) -> Tensor:
    best = dist.mixture_distribution.logits.argmax(dim=-1)
    modes = get_mode(dist.component_distribution)
    event_shape = dist.event_shape
    index = best.reshape(best.shape + (1,) * (1 + len(event_shape)))
    index = index.expand(best.shape + (1,) + event_shape)
    return modes.gather(best.ndim, index).squeeze(best.ndim)


def get_rmode(dist: td.Distribution) -> Tensor:
    """As :func:`get_mode`, for distributions whose mode has a gradient to the parameters."""
    base = get_base_dist(dist)
    if isinstance(base, td.MixtureSameFamily):
        base = get_base_dist(base.component_distribution)
    if isinstance(base, OneHotCategoricalStraightThrough | OneHotCategoricalGumbelSoftmax):
        return get_mode(dist)
    if isinstance(base, td.OneHotCategoricalStraightThrough):
        probs = base.probs
        return F.one_hot(probs.argmax(-1), probs.shape[-1]).to(probs) + probs - probs.detach()
    if not base.has_rsample:
        raise ValueError(f"the mode of {_describe(dist)} has no gradient to its parameters")
    return get_mode(dist)


def get_base_dist(dist: td.Distribution) -> td.Distribution:
    """The innermost distribution under Independent and transforms."""
    while isinstance(dist, td.Independent | td.TransformedDistribution):
        dist = dist.base_dist
    return dist


# ---- probabilities and entropies ----


def compute_log_probability(distributions: NestedDistribution, actions: Nested) -> Tensor:
    """Total log probability of ``actions``, one number for each row of the batch."""
    if isinstance(distributions, td.Distribution):
        return distributions.log_prob(actions)
    return _add(nest.map_structure(lambda d, a: d.log_prob(a), distributions, actions))


def compute_entropy(distributions: NestedDistribution) -> Tensor:
    """Total entropy, one number for each row of the batch; exact.

    Raises:
        ValueError: for a distribution without a formula; :func:`entropy_with_fallback` takes those
            too.
    """
    return _add(nest.map_structure(_entropy, distributions))


def _entropy(dist: td.Distribution) -> Tensor:
    try:
        return dist.entropy()
    except NotImplementedError as error:
        raise ValueError(
            f"no formula is known for the entropy of {_describe(dist)}; use entropy_with_fallback"
        ) from error


@configurable
def estimated_entropy(
    dist: td.Distribution, num_samples: int = 1, check_numerics: bool = False
) -> tuple[Tensor, Tensor]:
    """Entropy by Monte Carlo.

    Returns:
        the estimate, and a tensor of the same shape whose gradient estimates the entropy's
        gradient. With reparameterised samples they are the same. Without, ``d/dt H = -E[log p d/dt
        log p]``, which is the gradient of ``-E[(log p)^2] / 2`` at fixed samples.

    Raises:
        ArithmeticError: if ``check_numerics`` and a log probability is not finite.
    """
    shape = (num_samples,)
    sample = dist.rsample(shape) if dist.has_rsample else dist.sample(shape)
    log_prob = dist.log_prob(sample)
    if check_numerics and not torch.isfinite(log_prob).all():
        raise ArithmeticError(f"a sample of {_describe(dist)} has a log probability not finite")
    entropy = -log_prob.mean(dim=0)
    if dist.has_rsample:
        return entropy, entropy
    return entropy, -0.5 * log_prob.square().mean(dim=0)


@configurable
def entropy_with_fallback(
    distributions: NestedDistribution, return_sum: bool = True
) -> tuple[Any, Any]:
    """Entropy by formula where there is one, else by :func:`estimated_entropy` with one sample.

    Returns:
        entropy and entropy for gradient, each added over the nest if ``return_sum``, else a nest.
    """

    def both(dist: td.Distribution) -> tuple[Tensor, Tensor]:
        try:
            entropy = dist.entropy()
        except NotImplementedError:
            return estimated_entropy(dist)
        return entropy, entropy

    pairs = [both(dist) for dist in nest.flatten(distributions)]
    entropy = nest.pack_sequence_as(distributions, [pair[0] for pair in pairs])
    for_gradient = nest.pack_sequence_as(distributions, [pair[1] for pair in pairs])
    if return_sum:
        return _add(entropy), _add(for_gradient)
    return entropy, for_gradient


def _add(nested: Nested) -> Tensor:
    if isinstance(nested, Tensor):
        return nested
    first, *rest = nest.flatten(nested)
    for leaf in rest:
        first = first + leaf
    return first


def _describe(dist: td.Distribution) -> str:
    base = get_base_dist(dist)
    name = type(dist).__name__
    return name if base is dist else f"{name} of {type(base).__name__}"


# ---- entropies that an action spec suggests ----


def _widths(spec: TensorSpec) -> np.ndarray:
    """Per action dimension the width of its range, or the number of its values if discrete.

    It is 2, as of the range [-1, 1], where a continuous dimension has no finite bounds or, the
    density of which would be infinite, one value.
    """
    if not isinstance(spec, BoundedTensorSpec):
        if spec.is_discrete:
            raise ValueError(f"a BoundedTensorSpec is needed to tell an entropy, got {spec}")
        return np.full(spec.numel, _OPEN_WIDTH)
    low = np.broadcast_to(np.asarray(spec.minimum, dtype=np.float64), tuple(spec.shape))
    high = np.broadcast_to(np.asarray(spec.maximum, dtype=np.float64), tuple(spec.shape))
    if spec.is_discrete:
        return (high - low + 1.0).reshape(-1)
    with np.errstate(invalid="ignore"):
        width = (high - low).reshape(-1)
    return np.where(np.isfinite(width) & (width > 0), width, _OPEN_WIDTH)


@configurable
def calc_default_target_entropy(spec: BoundedTensorSpec, min_prob: float = 0.1) -> float:
    """Entropy of a policy that has nearly made up its mind, for SAC's temperature.

    Continuous: uniform on ``min_prob`` of each dimension's range. Discrete: the best value with
    probability ``1 - min_prob``, the others sharing ``min_prob``.
    """
    if not 0.0 < min_prob < 1.0:
        raise ValueError(f"min_prob must lie in (0, 1), got {min_prob}")
    widths = _widths(spec)
    if not spec.is_discrete:
        return float(np.sum(np.log(min_prob * widths)))
    others = np.maximum(widths - 1.0, 1.0)
    peak = 1.0 - min_prob
    entropies = -peak * np.log(peak) - min_prob * np.log(min_prob / others)
    return float(np.sum(np.where(widths > 1.0, entropies, 0.0)))


@configurable
def calc_default_target_entropy_quantized(
    spec: BoundedTensorSpec, num_bins: int, ent_per_action_dim: float = -1.0
) -> float:
    """Target entropy for a continuous action cut into ``num_bins`` equal bins in each dimension.

    It equals a differential entropy of ``ent_per_action_dim`` in each dimension: a density that is
    constant within bins of width w has differential entropy ``H + log w``.
    """
    return float(np.sum(ent_per_action_dim - np.log(_widths(spec) / num_bins)))


@configurable
def calc_default_max_entropy(spec: BoundedTensorSpec, fraction: float = 0.8) -> float:
    """``fraction`` of the entropy of the uniform distribution over ``spec``.

    Where that of a dimension is negative it is divided by ``fraction``, so that the result stays
    below it.
    """
    if not 0.0 < fraction <= 1.0:
        raise ValueError(f"fraction must lie in (0, 1], got {fraction}")
    entropies = np.log(_widths(spec))
    return float(np.sum(np.where(entropies > 0.0, entropies * fraction, entropies / fraction)))


def calc_uniform_log_prob(spec: BoundedTensorSpec) -> float:
    """Log probability (density) of any action under the uniform distribution over ``spec``.

    Raises:
        ValueError: ``spec`` has no finite bounds.
    """
    if not isinstance(spec, BoundedTensorSpec) or not has_finite_bounds(spec):
        raise ValueError(f"calc_uniform_log_prob needs a spec with finite bounds, got {spec}")
    return float(-np.sum(np.log(_widths(spec))))
