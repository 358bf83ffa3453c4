"""Projections to distributions of discrete actions."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch.distributions as td
from torch import Tensor, nn

from alf.config_util import configurable
from alf.layers import FC, ParallelFC
from alf.networks.network import Network
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.dist_utils import (
    OneHotCategoricalGumbelSoftmax,
    OneHotCategoricalStraightThrough,
)

PUBLIC_MODULE = "alf.networks.projection_networks"  # under which these names are configured


def _check_discrete(spec: Any, name: str) -> int:
    """The number of values of a discrete action that counts from 0."""
    if not isinstance(spec, BoundedTensorSpec) or not spec.is_discrete or spec.ndim > 1:
        raise ValueError(f"{name}: the action must be discrete and of rank 0 or 1, got {spec}")
    low, high = spec.minimum.reshape(-1), spec.maximum.reshape(-1)
    if (low != 0).any() or (high != high[0]).any():
        raise ValueError(f"{name}: all parts of the action must have values 0..n, got {spec}")
    return int(high[0]) + 1


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
    """One-hot categories, with gradients but in mode "plain".

    Args:
        input_size: size of the encoding.
        action_spec: discrete scalar, values from 0.
        logits_init_output_factor: gain of the layer's initial weights.
        mode: "st" for straight-through gradients; "gumbel" for relaxed samples with those of
            Gumbel-softmax; "st-gumbel" for the same made one-hot in the forward pass; "plain" for
            no gradients.
        gumbel_temperature: temperature of Gumbel-softmax.
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
        if mode not in ("st", "gumbel", "st-gumbel", "plain"):
            raise ValueError(
                f'{name}: mode must be "st", "gumbel", "st-gumbel" or "plain", got {mode!r}'
            )
        self._layer = FC(input_size, num_values, kernel_init_gain=logits_init_output_factor)
        self._mode, self._temperature = mode, gumbel_temperature

    def forward(self, inputs: Tensor, state: Any = ()) -> tuple[td.Distribution, Any]:
        logits = self._layer(inputs)
        if self._mode == "st":
            return OneHotCategoricalStraightThrough(logits=logits), state
        if self._mode == "plain":
            return td.OneHotCategorical(logits=logits, validate_args=False), state
        dist = OneHotCategoricalGumbelSoftmax(
            hard_sample=self._mode == "st-gumbel", tau=self._temperature, logits=logits
        )
        return dist, state
