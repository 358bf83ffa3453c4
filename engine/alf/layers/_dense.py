"""Fully connected layers, alone and as n replicas computed at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alf.config_util import configurable
from alf.initializers import variance_scaling_init
from alf.utils.math_ops import identity

PUBLIC_MODULE = "alf.layers"  # under which these names are configured

Activation = Callable[[Tensor], Tensor]
Initializer = Callable[[Tensor], Any]


def set_opt_args(parameter: Tensor | None, opt_args: dict[str, Any] | None) -> None:
    """Note options for the optimizer (such as ``lr``, ``weight_decay``) on one parameter."""
    if parameter is not None and opt_args is not None:
        parameter.opt_args = opt_args  # type: ignore[attr-defined]


def init_kernel(
    weight: Tensor,
    kernel_initializer: Initializer | None,
    gain: float,
    activation: Activation,
    use_torch_init: bool = False,
    transposed: bool = False,
) -> None:
    """Fill the weights of one layer in the way its arguments ask for."""
    if use_torch_init:
        nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    elif kernel_initializer is None:
        variance_scaling_init(weight, gain=gain, nonlinearity=activation, transposed=transposed)
    else:
        with torch.no_grad():
            kernel_initializer(weight)


def init_bias(
    bias: Tensor | None,
    fan_in: int,
    value: float,
    initializer: Initializer | None = None,
    use_torch_init: bool = False,
) -> None:
    """Fill the bias of one layer; None is left alone."""
    if bias is None:
        return
    if use_torch_init:
        bound = 1.0 / math.sqrt(fan_in) if fan_in > 0 else 0.0
        nn.init.uniform_(bias, -bound, bound)
    elif initializer is not None:
        with torch.no_grad():
            initializer(bias)
    else:
        nn.init.constant_(bias, value)


class ParallelLayerNorm(nn.Module):
    """n layer normalisations of the last axis of [n, B, size], each with its own gain and bias."""

    def __init__(self, n: int, size: int, eps: float = 1e-5, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n, size))
        self.bias = nn.Parameter(torch.zeros(n, size)) if bias else None
        self._eps = eps

    def reset_parameters(self) -> None:
        """Gain 1, bias 0."""
        nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x, x.shape[-1:], eps=self._eps)
        weight = self.weight.unsqueeze(1)
        return x * weight if self.bias is None else torch.addcmul(self.bias.unsqueeze(1), x, weight)


@configurable
class FC(nn.Module):
    """Fully connected layer: linear, then normalisation, then activation.

    Args:
        input_size: size of the input's last axis.
        output_size: size of the output's last axis.
        activation: applied last; may work in place.
        use_bias: add a bias; batch normalisation, having one, replaces it. Without it layer
            normalisation has no bias either.
        use_bn: batch normalisation before the activation.
        use_ln: layer normalisation before the activation (and before batch normalisation).
        bn_ctor: called with ``num_features``.
        kernel_initializer: fills the weight [out, in]; None for
            :func:`~alf.initializers.variance_scaling_init` with ``activation``.
        kernel_init_gain: gain of that default.
        bias_init_value: initial bias.
        bias_initializer: fills the bias instead.
        use_torch_init: initialise as torch.nn.Linear does.
        weight_opt_args: options of the optimizer for the weight alone.
        bias_opt_args: the same for the bias.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        activation: Activation = identity,
        use_bias: bool = True,
        use_bn: bool = False,
        use_ln: bool = False,
        bn_ctor: Callable[..., nn.Module] = nn.BatchNorm1d,
        kernel_initializer: Initializer | None = None,
        kernel_init_gain: float = 1.0,
        bias_init_value: float = 0.0,
        bias_initializer: Initializer | None = None,
        use_torch_init: bool = False,
        weight_opt_args: dict[str, Any] | None = None,
        bias_opt_args: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._input_size, self._output_size = input_size, output_size
        self._activation = activation
        self._parallel_args = {
            "use_bn": use_bn,
            "use_ln": use_ln,
            "bn_ctor": bn_ctor,
            "kernel_initializer": kernel_initializer,
            "kernel_init_gain": kernel_init_gain,
            "bias_init_value": bias_init_value,
            "use_torch_init": use_torch_init,
            "bias_initializer": bias_initializer,
            "weight_opt_args": weight_opt_args,
            "bias_opt_args": bias_opt_args,
        }
        self._weight = nn.Parameter(torch.empty(output_size, input_size))
        use_bias = use_bias and not use_bn
        self._bias = nn.Parameter(torch.empty(output_size)) if use_bias else None
        set_opt_args(self._weight, weight_opt_args)
        set_opt_args(self._bias, bias_opt_args)
        self._ln = nn.LayerNorm(output_size, bias=use_bias) if use_ln else None
        self._bn = bn_ctor(output_size) if use_bn else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw initial parameters anew."""
        args = self._parallel_args
        torch_init = args["use_torch_init"]
        init_kernel(
            self._weight,
            args["kernel_initializer"],
            args["kernel_init_gain"],
            self._activation,
            torch_init,
        )
        init_bias(
            self._bias,
            self._input_size,
            args["bias_init_value"],
            args["bias_initializer"],
            torch_init,
        )
        norms: tuple[Any, ...] = (self._ln, self._bn)
        for norm in norms:
            if norm is not None:
                norm.reset_parameters()

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., input_size] to [..., output_size]; with batch normalisation one batch axis."""
        y = F.linear(inputs, self._weight, self._bias)
        if self._ln is not None:
            y = self._ln(y)
        if self._bn is not None:
            y = self._bn(y)
        return self._activation(y)

    def make_parallel(self, n: int) -> ParallelFC:
        """A layer of n independent replicas."""
        return ParallelFC(
            self._input_size,
            self._output_size,
            n,
            activation=self._activation,
            use_bias=self._bias is not None,
            **self._parallel_args,
        )

    def extra_repr(self) -> str:
        return f"{self._input_size} -> {self._output_size}, activation={_name(self._activation)}"

    @property
    def input_size(self) -> int:
        return self._input_size

    @property
    def output_size(self) -> int:
        return self._output_size

    @property
    def weight(self) -> nn.Parameter:
        return self._weight

    @property
    def bias(self) -> nn.Parameter | None:
        return self._bias


def _name(activation: Any) -> str:
    return getattr(activation, "__name__", type(activation).__name__)


@configurable
class ParallelFC(nn.Module):
    """n independent :class:`FC` layers computed by one batched matrix product.

    Arguments as for :class:`FC`; ``n`` is the number of replicas.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        n: int,
        activation: Activation = identity,
        use_bias: bool = True,
        use_bn: bool = False,
        use_ln: bool = False,
        bn_ctor: Callable[..., nn.Module] = nn.BatchNorm1d,
        kernel_initializer: Initializer | None = None,
        kernel_init_gain: float = 1.0,
        bias_init_value: float = 0.0,
        use_torch_init: bool = False,
        bias_initializer: Initializer | None = None,
        weight_opt_args: dict[str, Any] | None = None,
        bias_opt_args: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._input_size, self._output_size, self._n = input_size, output_size, n
        self._activation = activation
        self._kernel_initializer = kernel_initializer
        self._kernel_init_gain = kernel_init_gain
        self._bias_init_value = bias_init_value
        self._bias_initializer = bias_initializer
        self._use_torch_init = use_torch_init
        self._weight = nn.Parameter(torch.empty(n, output_size, input_size))
        self._bias = nn.Parameter(torch.empty(n, output_size)) if use_bias else None
        set_opt_args(self._weight, weight_opt_args)
        set_opt_args(self._bias, bias_opt_args)
        self._ln = ParallelLayerNorm(n, output_size, bias=use_bias) if use_ln else None
        self._bn = bn_ctor(n * output_size) if use_bn else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw initial parameters anew, for each replica on its own."""
        for i in range(self._n):
            init_kernel(
                self._weight.data[i],
                self._kernel_initializer,
                self._kernel_init_gain,
                self._activation,
                self._use_torch_init,
            )
            init_bias(
                None if self._bias is None else self._bias.data[i],
                self._input_size,
                self._bias_init_value,
                self._bias_initializer,
                self._use_torch_init,
            )
        norms: tuple[Any, ...] = (self._ln, self._bn)
        for norm in norms:
            if norm is not None:
                norm.reset_parameters()

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, n, input_size], or [B, input_size] shared by the replicas, to [B, n, output_size]."""
        if inputs.ndim == 2:
            x = inputs.expand(self._n, *inputs.shape)
        elif inputs.ndim == 3 and inputs.shape[1] == self._n:
            x = inputs.transpose(0, 1)
        else:
            raise ValueError(
                f"ParallelFC takes [B, {self._input_size}] or [B, {self._n}, {self._input_size}], "
                f"got {list(inputs.shape)}"
            )
        weight = self._weight.transpose(1, 2)
        if self._bias is None:
            y = torch.bmm(x, weight)
        else:
            y = torch.baddbmm(self._bias.unsqueeze(1), x, weight)
        if self._ln is not None:
            y = self._ln(y)
        if self._bn is not None:
            batched = self._bn(y.transpose(0, 1).flatten(1))
            y = batched.unflatten(1, (self._n, self._output_size)).transpose(0, 1)
        # The activation comes before the transpose: in place on a view it would cost copies of all
        # gradients in the backward pass.
        return self._activation(y).transpose(0, 1)

    def extra_repr(self) -> str:
        return (
            f"{self._input_size} -> {self._output_size}, n={self._n}, "
            f"activation={_name(self._activation)}"
        )

    @property
    def weight(self) -> nn.Parameter:
        """Weights [n, output_size, input_size]."""
        return self._weight

    @property
    def bias(self) -> nn.Parameter | None:
        """Biases [n, output_size]."""
        return self._bias
