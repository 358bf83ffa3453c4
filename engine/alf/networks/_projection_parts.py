"""What continuous projection networks share: the action's range, the spread, replicas."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor, nn

from alf.layers import FC, ParallelFC
from alf.networks.network import Network
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils._dist_classes import transformed_distribution
from alf.utils._transforms import FixedPart
from alf.utils.spec_utils import has_finite_bounds

Activation = Callable[[Tensor], Tensor]

# Where observations are far from 1, softplus gives exactly 0 and an exponential infinity: then log
# probabilities are not finite, and one such row makes all parameters NaN. Between these limits
# densities, samples and their gradients are finite in float32.
SCALE_LIMITS = (1e-10, 1e10)
# Below the lower one both gamma variables of a beta sample may round to 0, which makes it 1/2
# (0.2 of the samples at 1e-3); above the upper one the gradient is NaN.
CONCENTRATION_LIMITS = (1e-2, 1e6)
# In halves of the interval's width; a wider truncated distribution is uniform to all its digits.
MAX_TRUNCATED_SCALE = 1e4


def check_continuous(spec: Any, name: str, bounded: bool) -> None:
    """Raises ``ValueError`` unless ``spec`` is of a continuous vector, with limits if asked."""
    if not isinstance(spec, TensorSpec) or spec.is_discrete or spec.ndim != 1:
        raise ValueError(f"{name}: the action must be continuous and of rank 1, got {spec}")
    if bounded and not (isinstance(spec, BoundedTensorSpec) and has_finite_bounds(spec)):
        raise ValueError(f"{name}: the action must have finite bounds, got {spec}")


class ActionRange(nn.Module):
    """Middle and half width of a bounded action, moving with the network between devices.

    A dimension whose bounds are equal has one value. For densities it counts as 2 wide, because
    there are none of width 0; ``fixing`` then gives it that value.
    """

    low: Tensor
    high: Tensor
    middle: Tensor
    half_width: Tensor
    is_fixed: Tensor

    def __init__(self, spec: BoundedTensorSpec) -> None:
        super().__init__()
        low = torch.as_tensor(spec.minimum, dtype=spec.dtype).expand(spec.shape)
        high = torch.as_tensor(spec.maximum, dtype=spec.dtype).expand(spec.shape)
        is_fixed = low == high
        self._has_fixed = bool(is_fixed.any())
        low, high = torch.where(is_fixed, low - 1, low), torch.where(is_fixed, high + 1, high)
        self.is_unit = bool((low == -1).all() and (high == 1).all())
        device = torch.empty(()).device
        self.register_buffer("low", low.to(device).clone(), persistent=False)
        self.register_buffer("high", high.to(device).clone(), persistent=False)
        self.register_buffer("middle", (0.5 * (low + high)).to(device), persistent=False)
        self.register_buffer("half_width", (0.5 * (high - low)).to(device), persistent=False)
        self.register_buffer("is_fixed", is_fixed.to(device), persistent=False)

    def fixing(self) -> list[td.Transform]:
        """The transform that gives fixed dimensions their value, if there are some."""
        return [FixedPart(self.is_fixed, self.middle)] if self._has_fixed else []

    def fix(self, dist: td.Distribution) -> td.Distribution:
        """``dist`` with that transform, itself without."""
        return transformed_distribution(dist, self.fixing()) if self._has_fixed else dist


def scale_of(transform: Activation, raw: Tensor) -> Tensor:
    """``transform(raw)`` within ``SCALE_LIMITS``, and its gradient finite."""
    if transform is torch.exp:  # which has no finite gradient where it overflows
        low, high = map(math.log, SCALE_LIMITS)
        return raw.clamp(low, high).exp()
    return transform(raw).clamp(*SCALE_LIMITS)


def fc_ctor(parallelism: int | None) -> Callable[..., Any]:
    """Makes a fully connected layer, or ``parallelism`` replicas of one."""
    return FC if parallelism is None else functools.partial(ParallelFC, n=parallelism)


class Spread(nn.Module):
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
            self._layer = fc_ctor(parallelism)(
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


def with_parallelism(network: Network, n: int) -> Network:
    """A copy of a network that takes ``parallelism``, with ``n`` replicas."""
    if network.saved_args.get("parallelism") is not None:
        raise ValueError(f"{network.name} is parallel already")
    return network.copy(parallelism=n, name=f"parallel_{network.name}")
