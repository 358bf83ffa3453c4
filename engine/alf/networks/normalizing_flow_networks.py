"""Normalising flows: networks that are invertible transforms of their input."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.transforms import Transform

from alf.config_util import configurable
from alf.nest import nest
from alf.nest.utils import NestConcat
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.network import Network
from alf.tensor_specs import TensorSpec
from alf.utils.math_ops import clipped_exp, identity
from alf.utils.tensor_utils import BatchSquash

Activation = Callable[[Tensor], Tensor]


class NormalizingFlowNetwork(Network, abc.ABC):
    """Base of invertible networks ``y = f(x)``, or ``y = f(x; z)`` for conditional inputs z.

    Args:
        input_tensor_spec: spec of x and y, of rank 1.
        conditional_input_tensor_spec: nest of specs of z; None for none. With it the inputs of
            :meth:`forward` and :meth:`inverse` are pairs (x, z) and (y, z).
        use_transform_cache: transforms remember their last x and y, so that they invert their own
            output exactly and at no cost.
        name: for printing.
    """

    def __init__(
        self,
        input_tensor_spec: TensorSpec,
        conditional_input_tensor_spec: Any = None,
        use_transform_cache: bool = True,
        name: str = "NormalizingFlowNetwork",
    ) -> None:
        if not isinstance(input_tensor_spec, TensorSpec) or input_tensor_spec.ndim != 1:
            raise ValueError(f"{name}: x must be one tensor of rank 1, got {input_tensor_spec}")
        spec: Any = input_tensor_spec
        if conditional_input_tensor_spec is not None:
            spec = (input_tensor_spec, conditional_input_tensor_spec)
        super().__init__(spec, (), name)
        self._is_conditional = conditional_input_tensor_spec is not None
        self._cache_size = 1 if use_transform_cache else 0

    @property
    def use_conditional_inputs(self) -> bool:
        """Does the flow depend on conditional inputs z?"""
        return self._is_conditional

    @abc.abstractmethod
    def make_invertible_transform(self, conditional_inputs: Any = None) -> Transform:
        """f as a transform of :mod:`torch.distributions`, for z = ``conditional_inputs``."""

    def forward(self, xz: Any, state: Any = ()) -> tuple[Tensor, Any]:
        """y for x, or for (x, z)."""
        x, z = self._split(xz)
        transform: Any = self.make_invertible_transform(z)
        return transform(x), state

    def inverse(self, yz: Any, state: Any = ()) -> tuple[Tensor, Any]:
        """x for y, or for (y, z)."""
        y, z = self._split(yz)
        transform: Any = self.make_invertible_transform(z).inv
        return transform(y), state

    def _split(self, xz: Any) -> tuple[Tensor, Any]:
        return xz if self._is_conditional else (xz, None)


@configurable
class RealNVPNetwork(NormalizingFlowNetwork):
    """Affine coupling layers (Dinh et al., arXiv:1605.08803, eq. 4-9).

    Each layer leaves a part a of x as it is and maps the rest b to ``b * s(a, z) + t(a, z)``. The
    parts change roles from layer to layer.

    Args:
        input_tensor_spec: spec of x and y, of rank 1.
        conditional_input_tensor_spec: nest of specs of z; None for none.
        input_preprocessors: of the networks that give s and t; for the nest (a, z), or for a.
        preprocessing_combiner: makes one tensor of (a, z); None for NestConcat.
        conv_layer_params: convolutions of those networks.
        fc_layer_params: sizes of their hidden layers.
        activation: of their hidden layers.
        transform_scale_nonlinear: makes the positive s of their output.
        sub_dim: size of a in the first layer; None for half, rounded down. With 0 the first layer
            maps all of x by numbers that depend on z alone, and the second none of it.
        mask_mode: a are the first elements ("contiguous"), evenly spread ones from the first on
            ("distributed"), or random ones, drawn when the network is made ("random").
        num_layers: number of coupling layers; with one, a part of x is never transformed.
        use_transform_cache: see :class:`NormalizingFlowNetwork`.
        name: for printing.
    """

    _masks: Tensor

    def __init__(
        self,
        input_tensor_spec: TensorSpec,
        conditional_input_tensor_spec: Any = None,
        input_preprocessors: Any = None,
        preprocessing_combiner: Callable[[Any], Any] | None = None,
        conv_layer_params: Sequence[Any] | None = None,
        fc_layer_params: Sequence[int] | None = None,
        activation: Activation = torch.relu_,
        transform_scale_nonlinear: Activation = functools.partial(
            clipped_exp, clip_value_min=-10, clip_value_max=2
        ),
        sub_dim: int | None = None,
        mask_mode: str = "contiguous",
        num_layers: int = 2,
        use_transform_cache: bool = True,
        name: str = "RealNVPNetwork",
    ) -> None:
        super().__init__(
            input_tensor_spec, conditional_input_tensor_spec, use_transform_cache, name
        )
        size = input_tensor_spec.shape[0]
        mask = _first_mask(size, sub_dim, mask_mode, name)
        masks = torch.stack([mask if i % 2 == 0 else ~mask for i in range(num_layers)])
        self.register_buffer("_masks", masks, persistent=mask_mode == "random")
        if nest.is_nested(self.input_tensor_spec) and preprocessing_combiner is None:
            preprocessing_combiner = NestConcat()
        self._scale_transform = transform_scale_nonlinear
        self._nets = nn.ModuleList(
            EncodingNetwork(
                self.input_tensor_spec,
                input_preprocessors=input_preprocessors,
                preprocessing_combiner=preprocessing_combiner,
                conv_layer_params=conv_layer_params,
                fc_layer_params=fc_layer_params,
                activation=activation,
                last_layer_size=2 * size,
                last_activation=identity,
                name=f"{name}.coupling{i}",
            )
            for i in range(num_layers)
        )

    def make_invertible_transform(self, conditional_inputs: Any = None) -> Transform:
        if self._is_conditional != (conditional_inputs is not None):
            raise ValueError(
                f"{self.name}: conditional inputs are "
                f"{'needed' if self._is_conditional else 'not expected'}"
            )
        return _RealNVPTransform(self, conditional_inputs, self._cache_size)

    def _scale_and_shift(self, i: int, x: Tensor, z: Any) -> tuple[Tensor, Tensor]:
        """s and t of layer i, 1 and 0 for the part of x that stays."""
        mask = self._masks[i]
        inputs: Any = x * mask
        if z is not None:
            # z belongs to rows, which may have several axes; samples have more axes in front
            spec = self.input_tensor_spec[1]
            batch = x.shape[:-1]
            z = nest.map_structure(
                lambda c, s: c.expand(*batch, *c.shape[c.ndim - s.ndim :]), z, spec
            )
            inputs = (inputs, z)
        squash = BatchSquash(x.ndim - 1)
        raw, _ = self._nets[i](nest.map_structure(squash.flatten, inputs))
        scale, shift = squash.unflatten(raw).chunk(2, dim=-1)
        return torch.where(mask, 1.0, self._scale_transform(scale)), shift * ~mask


def _first_mask(size: int, sub_dim: int | None, mask_mode: str, name: str) -> Tensor:
    """Which elements the first layer keeps, bool [size]."""
    if mask_mode not in ("contiguous", "distributed", "random"):
        raise ValueError(
            f'{name}: mask_mode must be "contiguous", "distributed" or "random", got {mask_mode!r}'
        )
    sub_dim = size // 2 if sub_dim is None else sub_dim
    if not 0 <= sub_dim < size:
        raise ValueError(f"{name}: sub_dim must be within 0..{size - 1}, got {sub_dim}")
    order = torch.arange(size)
    if mask_mode == "random":
        order = torch.randperm(size)
    elif mask_mode == "distributed" and sub_dim:
        order = order[:: size // sub_dim]
    return torch.zeros(size, dtype=torch.bool).index_fill_(0, order[:sub_dim], True)


class _RealNVPTransform(Transform):
    """The transform of a :class:`RealNVPNetwork` for some conditional inputs."""

    domain = constraints.real_vector  # type: ignore[assignment]
    codomain = constraints.real_vector  # type: ignore[assignment]
    bijective = True

    def __init__(self, network: RealNVPNetwork, z: Any, cache_size: int) -> None:
        super().__init__(cache_size)
        self._network, self._z = network, z

    @property
    def params(self) -> Any:
        """What the transform of a row depends on, () for nothing."""
        return () if self._z is None else self._z

    def with_params(self, params: Any) -> _RealNVPTransform:
        """The same transform for other conditional inputs."""
        return _RealNVPTransform(self._network, params, self._cache_size)

    def with_cache(self, cache_size: int = 1) -> _RealNVPTransform:
        return _RealNVPTransform(self._network, self._z, cache_size)

    def _couplings(self) -> range:
        return range(len(self._network._nets))

    def _call(self, x: Tensor) -> Tensor:
        for i in self._couplings():
            scale, shift = self._network._scale_and_shift(i, x, self._z)
            x = x * scale + shift
        return x

    def _inverse(self, y: Tensor) -> Tensor:
        # what a layer keeps is the same in its input and output, so s and t can be had from either
        for i in reversed(self._couplings()):
            scale, shift = self._network._scale_and_shift(i, y, self._z)
            y = (y - shift) / scale
        return y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        total = x.new_zeros(x.shape[:-1])
        for i in self._couplings():
            scale, shift = self._network._scale_and_shift(i, x, self._z)
            x = x * scale + shift
            total = total + scale.log().sum(-1)
        return total
