"""Projection networks: from an encoding to the distribution of one action."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.distributions as td
import torch.nn.functional as F
from torch import Tensor, nn

from alf.config_util import configurable
from alf.layers import FC, ParallelFC
from alf.nest import nest
from alf.networks.network import Network
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.dist_utils import (
    AffineTransform,
    DiagMultivariateBeta,
    DiagMultivariateCauchy,
    DiagMultivariateNormal,
    OneHotCategoricalGumbelSoftmax,
    OneHotCategoricalStraightThrough,
    StableTanh,
    transformed_distribution,
)
from alf.utils.distributions import TruncatedDistribution, TruncatedNormal
from alf.utils.math_ops import identity

Activation = Callable[[Tensor], Tensor]


def _check_continuous(spec: Any, name: str, bounded: bool) -> None:
    if not isinstance(spec, TensorSpec) or spec.is_discrete or spec.ndim != 1:
        raise ValueError(f"{name}: the action must be continuous and of rank 1, got {spec}")
    if bounded and not isinstance(spec, BoundedTensorSpec):
        raise ValueError(f"{name}: the action must be bounded, got {spec}")


def _check_discrete(spec: Any, name: str) -> int:
    """The number of values of a discrete action that counts from 0."""
    if not isinstance(spec, BoundedTensorSpec) or not spec.is_discrete or spec.ndim > 1:
        raise ValueError(f"{name}: the action must be discrete and of rank 0 or 1, got {spec}")
    low, high = spec.minimum.reshape(-1), spec.maximum.reshape(-1)
    if (low != 0).any() or (high != high[0]).any():
        raise ValueError(f"{name}: all parts of the action must have values 0..n, got {spec}")
    return int(high[0]) + 1


class _Range(nn.Module):
    """Middle and half width of a bounded action, moving with the network between devices."""

    def __init__(self, spec: BoundedTensorSpec) -> None:
        super().__init__()
        low = torch.as_tensor(spec.minimum, dtype=spec.dtype).expand(spec.shape)
        high = torch.as_tensor(spec.maximum, dtype=spec.dtype).expand(spec.shape)
        self.is_unit = bool((low == -1).all() and (high == 1).all())
        device = torch.empty(()).device
        self.register_buffer("low", low.to(device).clone(), persistent=False)
        self.register_buffer("high", high.to(device).clone(), persistent=False)
        self.register_buffer("middle", (0.5 * (low + high)).to(device), persistent=False)
        self.register_buffer("half_width", (0.5 * (high - low)).to(device), persistent=False)


def _make_fc(parallelism: int | None) -> Callable[..., Any]:
    return FC if parallelism is None else functools.partial(ParallelFC, n=parallelism)


class _Spread(nn.Module):
    """Raw scales [B, ..., D]: of the input through a layer, or free parameters."""

    def __init__(
        self,
        state_dependent: bool,
        input_size: int,
        size: int,
        parallelism: int | None,
        gain: float,
        bias: float,
    ) -> None:
        super().__init__()
        self._bias_init = bias
        self._layer = None
        if state_dependent:
            self._layer = _make_fc(parallelism)(
                input_size, size, kernel_init_gain=gain, bias_init_value=bias
            )
        else:
            shape = (size,) if parallelism is None else (parallelism, size)
            self._free = nn.Parameter(torch.full(shape, float(bias)))

    def reset_parameters(self) -> None:
        """Draw initial parameters anew."""
        if self._layer is None:
            nn.init.constant_(self._free, self._bias_init)
        else:
            self._layer.reset_parameters()

    def forward(self, inputs: Tensor) -> Tensor:
        return self._free if self._layer is None else self._layer(inputs)


@configurable
class NormalProjectionNetwork(Network):
    """Normal distributions with diagonal covariance, squashed into the action's range if asked for.

    Args:
        input_size: size of the encoding.
        action_spec: continuous and of rank 1; bounded if squashed.
        parallelism: number of distributions per row, each with layers of its own; None for one
            without an axis for it.
        activation: of the layer that gives the mean.
        projection_output_init_gain: gain of that layer's initial weights.
        std_bias_initializer_value: initial bias of the standard deviation before ``std_transform``.
        squash_mean: squash the mean into the action's range by tanh; ignored with
            ``scale_distribution``.
        mean_transform: instead of that squashing, applied to the mean.
        state_dependent_std: compute the standard deviation from the encoding; else it is a
            parameter.
        std_transform: applied to the standard deviation, must give positive numbers.
        scale_distribution: squash the samples by ``dist_squashing_transform``, then scale and shift
            them into the action's range.
        dist_squashing_transform: an invertible transform from all numbers to (-1, 1).
        name: for printing.
    """

    def __init__(
        self,
        input_size: int,
        action_spec: TensorSpec,
        parallelism: int | None = None,
        activation: Activation = identity,
        projection_output_init_gain: float = 0.3,
        std_bias_initializer_value: float = 0.0,
        squash_mean: bool = True,
        mean_transform: Activation | None = None,
        state_dependent_std: bool = False,
        std_transform: Activation = F.softplus,
        scale_distribution: bool = False,
        dist_squashing_transform: td.Transform = StableTanh(),
        name: str = "NormalProjectionNetwork",
    ) -> None:
        super().__init__(TensorSpec((input_size,)), (), name)
        squash_mean = squash_mean and mean_transform is None and not scale_distribution
        _check_continuous(action_spec, name, bounded=squash_mean or scale_distribution)
        size = action_spec.shape[0]
        self._mean_layer = _make_fc(parallelism)(
            input_size, size, activation=activation, kernel_init_gain=projection_output_init_gain
        )
        self._spread = _Spread(
            state_dependent_std,
            input_size,
            size,
            parallelism,
            projection_output_init_gain,
            std_bias_initializer_value,
        )
        self._std_transform = std_transform
        self._mean_transform = mean_transform
        self._range = _Range(action_spec) if squash_mean or scale_distribution else None
        self._squash_mean, self._scale_distribution = squash_mean, scale_distribution
        self._squash = dist_squashing_transform

    def forward(self, inputs: Tensor, state: Any = ()) -> tuple[td.Distribution, Any]:
        mean = self._mean_layer(inputs)
        return self._make(mean, self._std_transform(self._spread(inputs))), state

    def _make(self, mean: Tensor, std: Tensor) -> td.Distribution:
        """The distribution for raw ``mean``, and ``std`` which need not have a batch axis."""
        if self._mean_transform is not None:
            mean = self._mean_transform(mean)
        if self._squash_mean:
            mean = self._range.middle + self._range.half_width * torch.tanh(mean)
        return self._fit(self._vector(mean, std))

    def _vector(self, loc: Tensor, scale: Tensor) -> td.Distribution:
        return DiagMultivariateNormal(loc, scale)

    def _fit(self, dist: td.Distribution) -> td.Distribution:
        """``dist`` squashed into the action's range, if asked for."""
        if not self._scale_distribution:
            return dist
        transforms = [self._squash]
        if not self._range.is_unit:
            transforms.append(AffineTransform(self._range.middle, self._range.half_width))
        return transformed_distribution(dist, transforms)

    def make_parallel(self, n: int) -> Network:
        """n independent replicas: inputs [B, n, input_size] or [B, input_size]."""
        return _with_parallelism(self, n)


def _with_parallelism(network: Network, n: int) -> Network:
    if network.saved_args.get("parallelism") is not None:
        raise ValueError(f"{network.name} is parallel already")
    return network.copy(parallelism=n, name=f"parallel_{network.name}")


@configurable
class StableNormalProjectionNetwork(NormalProjectionNetwork):
    """Normal projection whose loss stays smooth when the standard deviation becomes small.

    With layer outputs a and b: ``std = min_std + 1 / (c + f(b))`` and ``mean = a * std``, so that
    second derivatives of the log probability by a and b are bounded for every std; c makes
    ``max_std`` the limit.

    Args:
        inverse_std_transform: f is "softplus" or "exp".
        init_std: initial standard deviation, between ``min_std`` and ``max_std``.
        min_std: lower limit of the standard deviation.
        max_std: upper limit; None for none.

    The other arguments are those of :class:`NormalProjectionNetwork`.
    """

    def __init__(
        self,
        input_size: int,
        action_spec: TensorSpec,
        parallelism: int | None = None,
        activation: Activation = identity,
        projection_output_init_gain: float = 1e-05,
        squash_mean: bool = True,
        state_dependent_std: bool = False,
        inverse_std_transform: str = "softplus",
        scale_distribution: bool = False,
        init_std: float = 1.0,
        min_std: float = 0.0,
        max_std: float | None = None,
        dist_squashing_transform: td.Transform = StableTanh(),
        name: str = "StableNormalProjectionNetwork",
    ) -> None:
        if inverse_std_transform not in ("softplus", "exp"):
            raise ValueError(
                f'inverse_std_transform must be "softplus" or "exp", got {inverse_std_transform!r}'
            )
        if not (0.0 <= min_std < init_std and (max_std is None or init_std < max_std)):
            raise ValueError(
                f"{name} needs 0 <= min_std < init_std < max_std, "
                f"got {min_std}, {init_std}, {max_std}"
            )
        self._min_std = min_std
        self._inverse_floor = 0.0 if max_std is None else 1.0 / (max_std - min_std)
        inverse = 1.0 / (init_std - min_std) - self._inverse_floor
        softplus = inverse_std_transform == "softplus"
        bias = inverse + math.log(-math.expm1(-inverse)) if softplus else math.log(inverse)
        self._inverse_transform = F.softplus if softplus else torch.exp
        super().__init__(
            input_size,
            action_spec,
            parallelism=parallelism,
            activation=activation,
            projection_output_init_gain=projection_output_init_gain,
            std_bias_initializer_value=bias,
            squash_mean=squash_mean,
            state_dependent_std=state_dependent_std,
            scale_distribution=scale_distribution,
            dist_squashing_transform=dist_squashing_transform,
            name=name,
        )

    def forward(self, inputs: Tensor, state: Any = ()) -> tuple[td.Distribution, Any]:
        inverse = self._inverse_floor + self._inverse_transform(self._spread(inputs))
        std = self._min_std + 1.0 / inverse
        return self._make(self._mean_layer(inputs) * std, std), state


@configurable
class CauchyProjectionNetwork(NormalProjectionNetwork):
    """Cauchy distributions in each dimension; arguments as for :class:`NormalProjectionNetwork`.

    ``squash_median``, ``scale_bias_initializer_value``, ``state_dependent_scale`` and
    ``scale_transform`` are there for location and scale what the ones of that class are for mean
    and deviation.
    """

    def __init__(
        self,
        input_size: int,
        action_spec: TensorSpec,
        squash_median: bool = True,
        scale_bias_initializer_value: float = 0.0,
        state_dependent_scale: bool = False,
        scale_transform: Activation = F.softplus,
        scale_distribution: bool = False,
        dist_squashing_transform: td.Transform = StableTanh(),
        name: str = "CauchyProjectionNetwork",
    ) -> None:
        super().__init__(
            input_size,
            action_spec,
            std_bias_initializer_value=scale_bias_initializer_value,
            squash_mean=squash_median,
            state_dependent_std=state_dependent_scale,
            std_transform=scale_transform,
            scale_distribution=scale_distribution,
            dist_squashing_transform=dist_squashing_transform,
            name=name,
        )

    def _vector(self, loc: Tensor, scale: Tensor) -> td.Distribution:
        return DiagMultivariateCauchy(loc, scale)

    def make_parallel(self, n: int) -> Network:
        return Network.make_parallel(self, n)


@configurable
class BetaProjectionNetwork(Network):
    """Beta distributions scaled to the action's range.

    Args:
        input_size: size of the encoding.
        action_spec: bounded, continuous and of rank 1.
        parallelism: as for :class:`NormalProjectionNetwork`.
        activation: makes the concentrations positive.
        min_concentration: added to them, against numerical trouble near 0.
        projection_output_init_gain: gain of the initial weights.
        bias_init_value: initial bias; by default softplus of it is 1, the uniform distribution.
        grad_clip: the norm of the gradient by the concentrations is cut to this; None for no limit.
        name: for printing.
    """

    def __init__(
        self,
        input_size: int,
        action_spec: BoundedTensorSpec,
        parallelism: int | None = None,
        activation: Activation = F.softplus,
        min_concentration: float = 0.0,
        projection_output_init_gain: float = 0.0,
        bias_init_value: float = 0.541324854612918,
        grad_clip: float | None = 0.01,
        name: str = "BetaProjectionNetwork",
    ) -> None:
        super().__init__(TensorSpec((input_size,)), (), name)
        _check_continuous(action_spec, name, bounded=True)
        self._layer = _make_fc(parallelism)(
            input_size,
            2 * action_spec.shape[0],
            activation=activation,
            kernel_init_gain=projection_output_init_gain,
            bias_init_value=bias_init_value,
        )
        self._min_concentration, self._grad_clip = min_concentration, grad_clip
        self._range = _Range(action_spec)

    def forward(self, inputs: Tensor, state: Any = ()) -> tuple[td.Distribution, Any]:
        concentration = self._layer(inputs) + self._min_concentration
        if self._grad_clip is not None and concentration.requires_grad:
            concentration.register_hook(functools.partial(_clip_norm, max_norm=self._grad_clip))
        base = DiagMultivariateBeta(*concentration.chunk(2, dim=-1))
        to_range = AffineTransform(self._range.low, self._range.high - self._range.low)
        return transformed_distribution(base, [to_range]), state

    def make_parallel(self, n: int) -> Network:
        """n independent replicas: inputs [B, n, input_size] or [B, input_size]."""
        return _with_parallelism(self, n)


def _clip_norm(grad: Tensor, max_norm: float) -> Tensor:
    return grad * (max_norm / grad.norm().clamp_min(max_norm))


@configurable
class TruncatedProjectionNetwork(Network):
    """Distributions cut to the action's range.

    Args:
        input_size: size of the encoding.
        action_spec: bounded, continuous and of rank 1.
        activation: of the layer that gives the location.
        projection_output_init_gain: gain of that layer's initial weights.
        scale_bias_initializer_value: initial bias of the scale before ``scale_transform``.
        state_dependent_scale: compute the scale from the encoding; else it is a parameter.
        loc_transform: squashes the location into (-1, 1), which is then stretched to the range.
        scale_transform: makes the scale positive.
        min_scale: lower limit of the scale; None for none.
        max_scale: upper limit of the scale; None for none.
        dist_ctor: called with loc, scale, lower_bound and upper_bound.
        name: for printing.
    """

    def __init__(
        self,
        input_size: int,
        action_spec: BoundedTensorSpec,
        activation: Activation = identity,
        projection_output_init_gain: float = 0.3,
        scale_bias_initializer_value: float = 0.0,
        state_dependent_scale: bool = False,
        loc_transform: Activation = torch.tanh,
        scale_transform: Activation = F.softplus,
        min_scale: float | None = None,
        max_scale: float | None = None,
        dist_ctor: Callable[..., TruncatedDistribution] = TruncatedNormal,
        name: str = "TruncatedProjectionNetwork",
    ) -> None:
        super().__init__(TensorSpec((input_size,)), (), name)
        _check_continuous(action_spec, name, bounded=True)
        size = action_spec.shape[0]
        self._loc_layer = FC(
            input_size, size, activation=activation, kernel_init_gain=projection_output_init_gain
        )
        self._spread = _Spread(
            state_dependent_scale,
            input_size,
            size,
            None,
            projection_output_init_gain,
            scale_bias_initializer_value,
        )
        self._loc_transform, self._scale_transform = loc_transform, scale_transform
        self._min_scale, self._max_scale = min_scale, max_scale
        self._dist_ctor = dist_ctor
        self._range = _Range(action_spec)

    def forward(self, inputs: Tensor, state: Any = ()) -> tuple[td.Distribution, Any]:
        loc = self._loc_transform(self._loc_layer(inputs))
        loc = self._range.middle + self._range.half_width * loc
        scale = self._scale_transform(self._spread(inputs))
        if self._min_scale is not None or self._max_scale is not None:
            scale = scale.clamp(self._min_scale, self._max_scale)
        scale = scale.expand_as(loc)
        dist = self._dist_ctor(
            loc=loc, scale=scale, lower_bound=self._range.low, upper_bound=self._range.high
        )
        return dist, state


def _categorical(logits: Tensor, rank: int) -> td.Distribution:
    """Categories of ``logits``; ``rank`` axes before the last belong to the action."""
    dist = td.Categorical(logits=logits, validate_args=False)
    return td.Independent(dist, rank, validate_args=False) if rank else dist


@configurable
class CategoricalProjectionNetwork(Network):
    """Categorical distributions of a discrete action.

    Args:
        input_size: size of the encoding.
        action_spec: discrete, values from 0, of rank 0 or 1.
        fc_ctor: makes the layer.
        logits_init_output_factor: gain of the layer's initial weights.
        weight_opt_args: options of the optimizer for the weight alone.
        bias_opt_args: the same for the bias.
        name: for printing.
    """

    def __init__(
        self,
        input_size: int,
        action_spec: BoundedTensorSpec,
        fc_ctor: Callable[..., nn.Module] = FC,
        logits_init_output_factor: float = 0.1,
        weight_opt_args: dict[str, Any] | None = None,
        bias_opt_args: dict[str, Any] | None = None,
        name: str = "CategoricalProjectionNetwork",
    ) -> None:
        super().__init__(TensorSpec((input_size,)), (), name)
        num_values = _check_discrete(action_spec, name)
        self._shape = (*action_spec.shape, num_values)
        options = {"weight_opt_args": weight_opt_args, "bias_opt_args": bias_opt_args}
        self._layer = fc_ctor(
            input_size,
            math.prod(self._shape),
            kernel_init_gain=logits_init_output_factor,
            **{key: value for key, value in options.items() if value is not None},
        )

    def forward(self, inputs: Tensor, state: Any = ()) -> tuple[td.Distribution, Any]:
        logits = self._layer(inputs)
        rank = len(self._shape) - 1
        if rank:
            logits = logits.reshape(*logits.shape[:-1], *self._shape)
        return _categorical(logits, rank), state

    def make_parallel(self, n: int) -> Network:
        """n independent replicas: inputs [B, n, input_size] or [B, input_size]."""
        args = self.saved_args
        if args.get("fc_ctor", FC) is not FC:
            return super().make_parallel(n)
        fc_ctor = functools.partial(ParallelFC, n=n)
        return self.copy(fc_ctor=fc_ctor, name=f"parallel_{self.name}")


@configurable
class ParallelCategoricalProjectionNetwork(Network):
    """n independent :class:`CategoricalProjectionNetwork`."""

    def __init__(
        self,
        input_size: int,
        action_spec: BoundedTensorSpec,
        n: int,
        fc_ctor: Callable[..., nn.Module] = FC,
        logits_init_output_factor: float = 0.1,
        name: str = "ParallelCategoricalProjectionNetwork",
    ) -> None:
        super().__init__(TensorSpec((input_size,)), (), name)
        single = CategoricalProjectionNetwork(
            input_size, action_spec, fc_ctor, logits_init_output_factor
        )
        self._net = single.make_parallel(n)

    def forward(self, inputs: Tensor, state: Any = ()) -> tuple[td.Distribution, Any]:
        return self._net(inputs, state)


@configurable
class OnehotCategoricalProjectionNetwork(Network):
    """One-hot categories with gradients.

    Args:
        input_size: size of the encoding.
        action_spec: discrete scalar, values from 0.
        logits_init_output_factor: gain of the layer's initial weights.
        mode: gradients are straight-through ("st") or of Gumbel-softmax samples ("gumbel").
        gumbel_temperature: temperature of the latter.
        name: for printing.
    """

    def __init__(
        self,
        input_size: int,
        action_spec: BoundedTensorSpec,
        logits_init_output_factor: float = 0.1,
        mode: str = "st",
        gumbel_temperature: float = 1.0,
        name: str = "OnehotCategoricalProjectionNetwork",
    ) -> None:
        super().__init__(TensorSpec((input_size,)), (), name)
        num_values = _check_discrete(action_spec, name)
        if action_spec.ndim != 0:
            raise ValueError(f"{name}: the action must be a scalar, got {action_spec}")
        if mode not in ("st", "gumbel"):
            raise ValueError(f'mode must be "st" or "gumbel", got {mode!r}')
        self._layer = FC(input_size, num_values, kernel_init_gain=logits_init_output_factor)
        self._mode, self._temperature = mode, gumbel_temperature

    def forward(self, inputs: Tensor, state: Any = ()) -> tuple[td.Distribution, Any]:
        logits = self._layer(inputs)
        if self._mode == "st":
            return OneHotCategoricalStraightThrough(logits=logits), state
        return OneHotCategoricalGumbelSoftmax(tau=self._temperature, logits=logits), state


@configurable
class MixtureProjectionNetwork(Network):
    """Mixture of distributions of one family.

    Args:
        input_size: size of the encoding.
        action_spec: spec of the action.
        num_components: number of distributions mixed.
        component_ctor: makes their projection network; called with ``input_size``, ``action_spec``
            and ``parallelism=num_components``.
        mixture_ctor: makes the projection network of their weights.
        name: for printing.
    """

    def __init__(
        self,
        input_size: int,
        action_spec: TensorSpec,
        num_components: int,
        component_ctor: Callable[..., Network],
        mixture_ctor: Callable[..., Network] = CategoricalProjectionNetwork,
        name: str = "mix_proj_net",
    ) -> None:
        super().__init__(TensorSpec((input_size,)), (), name)
        index_spec = BoundedTensorSpec((), torch.int64, 0, num_components - 1)
        self._mixture = mixture_ctor(input_size, index_spec)
        self._components = component_ctor(input_size, action_spec, parallelism=num_components)
        self._num_components = num_components

    @property
    def num_components(self) -> int:
        return self._num_components

    def forward(
        self,
        inputs: Tensor,
        state: Any = {"mixture": (), "components": ()},  # noqa: B006
    ) -> tuple[td.Distribution, Any]:
        weights, _ = self._mixture(inputs)
        components, _ = self._components(inputs)
        return td.MixtureSameFamily(weights, components, validate_args=False), state


def make_projection_nets(
    input_size: int, action_spec: Any, discrete_ctor: Any, continuous_ctor: Any
) -> Any:
    """A projection network for each action of a nest of specs."""

    def make(spec: TensorSpec) -> Network:
        ctor = discrete_ctor if spec.is_discrete else continuous_ctor
        if ctor is None:
            kind = "discrete" if spec.is_discrete else "continuous"
            raise ValueError(f"no projection network is given for the {kind} action {spec}")
        return ctor(input_size, action_spec=spec)

    return nest.map_structure(make, action_spec)
