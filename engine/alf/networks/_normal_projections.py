"""Projections to bell-shaped distributions of continuous actions: normal and Cauchy."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributions as td
import torch.nn.functional as F
from torch import Tensor

from alf.config_util import configurable
from alf.networks._projection_parts import (
    ActionRange,
    Activation,
    Spread,
    check_continuous,
    fc_ctor,
    scale_of,
    with_parallelism,
)
from alf.networks.network import Network
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.dist_utils import (
    AffineTransform,
    DiagMultivariateCauchy,
    DiagMultivariateNormal,
    StableTanh,
    transformed_distribution,
)
from alf.utils.math_ops import identity

PUBLIC_MODULE = "alf.networks.projection_networks"  # under which these names are configured


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
        squash_mean: squash the mean into the action's range by tanh, if the spec has one; ignored
            with ``scale_distribution``.
        mean_transform: instead of that squashing, applied to the mean.
        state_dependent_std: compute the standard deviation from the encoding; else it is a
            parameter.
        std_transform: applied to the standard deviation, must give positive numbers; the result
            is kept in [1e-10, 1e10].
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
        # A plain TensorSpec, as of what a dynamics model predicts, has no range to squash into.
        squash_mean = (
            squash_mean
            and mean_transform is None
            and not scale_distribution
            and isinstance(action_spec, BoundedTensorSpec)
        )
        check_continuous(action_spec, name, bounded=squash_mean or scale_distribution)
        size = action_spec.shape[0]
        self._mean_layer = fc_ctor(parallelism)(
            input_size, size, activation=activation, kernel_init_gain=projection_output_init_gain
        )
        self._spread = Spread(
            state_dependent_std,
            input_size,
            size,
            parallelism,
            projection_output_init_gain,
            std_bias_initializer_value,
        )
        self._std_transform = std_transform
        self._mean_transform = mean_transform
        self._range = None
        if squash_mean or scale_distribution:
            assert isinstance(action_spec, BoundedTensorSpec)
            self._range = ActionRange(action_spec)
        self._squash_mean, self._scale_distribution = squash_mean, scale_distribution
        self._squash = dist_squashing_transform

    def forward(self, inputs: Tensor, state: Any = ()) -> tuple[td.Distribution, Any]:
        mean = self._mean_layer(inputs)
        return self._make(mean, scale_of(self._std_transform, self._spread(inputs))), state

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
            return dist if self._range is None else self._range.fix(dist)
        transforms = [self._squash]
        if not self._range.is_unit:
            transforms.append(AffineTransform(self._range.middle, self._range.half_width))
        return transformed_distribution(dist, transforms + self._range.fixing())

    def make_parallel(self, n: int) -> Network:
        """n independent replicas: inputs [B, n, input_size] or [B, input_size]."""
        return with_parallelism(self, n)


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
        inverse = self._inverse_floor + scale_of(self._inverse_transform, self._spread(inputs))
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
