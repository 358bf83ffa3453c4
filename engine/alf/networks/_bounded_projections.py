"""Projections to distributions that live on the action's range: beta and truncated ones."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.distributions as td
import torch.nn.functional as F
from torch import Tensor

from alf.config_util import configurable
from alf.layers import FC
from alf.networks._projection_parts import (
    CONCENTRATION_LIMITS,
    MAX_TRUNCATED_SCALE,
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
    AffineTransformedDistribution,
    DiagMultivariateBeta,
)
from alf.utils.distributions import TruncatedDistribution, TruncatedNormal
from alf.utils.math_ops import identity

PUBLIC_MODULE = "alf.networks.projection_networks"  # under which these names are configured


@configurable
class BetaProjectionNetwork(Network):
    """Beta distributions scaled to the action's range.

    Args:
        input_size: size of the encoding.
        action_spec: bounded, continuous and of rank 1.
        parallelism: as for :class:`NormalProjectionNetwork`.
        activation: makes the concentrations positive.
        min_concentration: added to them, which then are kept in [0.01, 1e6].
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
        check_continuous(action_spec, name, bounded=True)
        self._layer = fc_ctor(parallelism)(
            input_size,
            2 * action_spec.shape[0],
            activation=activation,
            kernel_init_gain=projection_output_init_gain,
            bias_init_value=bias_init_value,
        )
        self._min_concentration, self._grad_clip = min_concentration, grad_clip
        self._range = ActionRange(action_spec)

    def forward(self, inputs: Tensor, state: Any = ()) -> tuple[td.Distribution, Any]:
        concentration = self._layer(inputs) + self._min_concentration
        concentration = concentration.clamp(*CONCENTRATION_LIMITS)
        if self._grad_clip is not None and concentration.requires_grad:
            concentration.register_hook(functools.partial(_clip_norm, max_norm=self._grad_clip))
        base = DiagMultivariateBeta(*concentration.chunk(2, dim=-1))
        width = self._range.high - self._range.low
        dist = AffineTransformedDistribution(base, self._range.low, width)
        return self._range.fix(dist), state

    def make_parallel(self, n: int) -> Network:
        """n independent replicas: inputs [B, n, input_size] or [B, input_size]."""
        return with_parallelism(self, n)


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
        check_continuous(action_spec, name, bounded=True)
        size = action_spec.shape[0]
        self._loc_layer = FC(
            input_size, size, activation=activation, kernel_init_gain=projection_output_init_gain
        )
        self._spread = Spread(
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
        self._range = ActionRange(action_spec)

    def forward(self, inputs: Tensor, state: Any = ()) -> tuple[td.Distribution, Any]:
        loc = self._loc_transform(self._loc_layer(inputs))
        loc = self._range.middle + self._range.half_width * loc
        scale = scale_of(self._scale_transform, self._spread(inputs))
        if self._min_scale is not None or self._max_scale is not None:
            scale = scale.clamp(self._min_scale, self._max_scale)
        scale = torch.minimum(scale.expand_as(loc), MAX_TRUNCATED_SCALE * self._range.half_width)
        dist = self._dist_ctor(
            loc=loc, scale=scale, lower_bound=self._range.low, upper_bound=self._range.high
        )
        return self._range.fix(dist), state
