"""Networks whose weights are given from outside, such as by a hypernetwork, for n groups at once.

The parameters of a network are one vector ``theta`` for each group: those of its first layer, then
those of the second, and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alf.config_util import configurable
from alf.layers import ParamConv2D, ParamFC
from alf.layers._param_layers import check_theta
from alf.networks.network import Network
from alf.tensor_specs import TensorSpec

Activation = Callable[[Tensor], Tensor]
Initializer = Callable[[Tensor], Any]


def _total_length(layers: Any) -> int:
    return sum(layer.param_length for layer in layers)


def _share_out(layers: Any, theta: Tensor, reinitialize: bool) -> None:
    """Give each layer its part of ``theta`` [n_groups, sum of their lengths]."""
    lengths = [layer.param_length for layer in layers]
    for layer, part in zip(layers, theta.split(lengths, dim=1), strict=True):
        layer.set_parameters(part, reinitialize)


@configurable
class ParamConvNet(Network):
    """Convolutions with given weights.

    Args:
        input_channels: channels of the image.
        input_size: one number, or (H, W).
        conv_layer_params: for each layer (filters, kernel_size, strides[, padding[,
            pooling_kernel]]).
        same_padding: pad each layer by half its kernel instead of ``padding``.
        activation: of all layers.
        use_bias: layers have biases.
        use_ln: layer normalisation before each activation.
        n_groups: number of groups before :meth:`set_parameters` brings another one; None for 1.
        kernel_initializer: of initial weights; None for variance scaling.
        flatten_output: return vectors instead of images.
        name: for printing.
    """

    def __init__(
        self,
        input_channels: int,
        input_size: int | tuple[int, int],
        conv_layer_params: Sequence[Any],
        same_padding: bool = False,
        activation: Activation = torch.relu_,
        use_bias: bool = False,
        use_ln: bool = False,
        n_groups: int | None = None,
        kernel_initializer: Initializer | None = None,
        flatten_output: bool = False,
        name: str = "ParamConvNet",
    ) -> None:
        size = (input_size, input_size) if isinstance(input_size, int) else tuple(input_size)
        super().__init__(TensorSpec((input_channels, *size)), (), name)
        layers: list[Any] = []
        channels = input_channels
        for params in conv_layer_params:
            if not 3 <= len(params) <= 5:
                raise ValueError(
                    f"{name}: a layer is (filters, kernel_size, strides[, padding[, "
                    f"pooling_kernel]]), got {params}"
                )
            defaults: list[Any] = [0, None]
            filters, kernel, strides, padding, pooling = [*params, *defaults[len(params) - 3 :]]
            if same_padding:
                padding = _half(kernel)
            layers.append(
                ParamConv2D(
                    channels,
                    filters,
                    kernel,
                    activation=activation,
                    strides=strides,
                    pooling_kernel=pooling,
                    padding=padding,
                    use_bias=use_bias,
                    use_ln=use_ln,
                    n_groups=n_groups,
                    kernel_initializer=kernel_initializer,
                )
            )
            channels = filters
        self._layers = nn.ModuleList(layers)
        self._flatten_output = flatten_output

    @property
    def param_length(self) -> int:
        """Length of ``theta`` of one group."""
        return _total_length(self._layers)

    def set_parameters(self, theta: Tensor, reinitialize: bool = False) -> None:
        """As :meth:`.ParamFC.set_parameters`, for all layers."""
        theta = check_theta(theta, self.param_length, self.name)
        self._output_spec = None
        _share_out(self._layers, theta, reinitialize)

    def forward(self, inputs: Tensor, state: Any = ()) -> tuple[Tensor, Any]:
        """[B, C, H, W], or [B, n, C, H, W], to [B, n, C', H', W'] (without n if n = 1)."""
        x = inputs
        for layer in self._layers:
            x = layer(x, keep_group_dim=layer is self._layers[-1])
        if self._flatten_output:
            x = x.flatten(-3)
        return x, state


def _half(kernel: Any) -> Any:
    if isinstance(kernel, int):
        return (kernel - 1) // 2
    return tuple((k - 1) // 2 for k in kernel)


@configurable
class ParamNetwork(Network):
    """Convolutions, then fully connected layers, with given weights.

    Args:
        input_tensor_spec: one tensor; an image [C, H, W] with convolutions, else a vector.
        conv_layer_params: see :class:`ParamConvNet`.
        fc_layer_params: for each layer its size, or (size, use_bias).
        use_conv_bias: convolutions have biases.
        use_conv_ln: layer normalisation in convolutions.
        use_fc_bias: fully connected layers have biases.
        use_fc_ln: layer normalisation in fully connected layers.
        n_groups: number of groups before :meth:`set_parameters` brings another one; None for 1.
        activation: of all layers but the last one.
        kernel_initializer: of initial weights; None for variance scaling.
        last_layer_size: size of one more layer, needs ``last_activation``.
        last_activation: of that layer.
        last_use_bias: that layer has a bias.
        last_use_ln: layer normalisation in that layer.
        name: for printing.
    """

    def __init__(
        self,
        input_tensor_spec: TensorSpec,
        conv_layer_params: Sequence[Any] | None = None,
        fc_layer_params: Sequence[Any] | None = None,
        use_conv_bias: bool = False,
        use_conv_ln: bool = False,
        use_fc_bias: bool = True,
        use_fc_ln: bool = False,
        n_groups: int | None = None,
        activation: Activation = torch.relu_,
        kernel_initializer: Initializer | None = None,
        last_layer_size: int | None = None,
        last_activation: Activation | None = None,
        last_use_bias: bool = True,
        last_use_ln: bool = False,
        name: str = "ParamNetwork",
    ) -> None:
        super().__init__(input_tensor_spec, (), name)
        if (last_layer_size is None) != (last_activation is None):
            raise ValueError(
                f"{name}: last_layer_size and last_activation must be given together, got "
                f"{last_layer_size} and {last_activation}"
            )
        parts: list[Any] = []
        size = input_tensor_spec.numel
        if conv_layer_params:
            parts.append(
                ParamConvNet(
                    input_tensor_spec.shape[0],
                    tuple(input_tensor_spec.shape[1:]),
                    conv_layer_params,
                    activation=activation,
                    use_bias=use_conv_bias,
                    use_ln=use_conv_ln,
                    n_groups=n_groups,
                    kernel_initializer=kernel_initializer,
                    flatten_output=True,
                )
            )
            size = parts[0].output_spec.shape[-1]
        elif input_tensor_spec.ndim != 1:
            raise ValueError(
                f"{name}: without convolutions x must have rank 1, got {input_tensor_spec}"
            )
        layers: list[Any] = [
            (*params, activation, use_fc_ln)
            if isinstance(params, list | tuple)
            else (params, use_fc_bias, activation, use_fc_ln)
            for params in fc_layer_params or ()
        ]
        if last_layer_size is not None:
            layers.append((last_layer_size, last_use_bias, last_activation, last_use_ln))
        for output_size, use_bias, layer_activation, use_ln in layers:
            parts.append(
                ParamFC(
                    size,
                    output_size,
                    activation=layer_activation,
                    use_bias=use_bias,
                    use_ln=use_ln,
                    n_groups=n_groups,
                    kernel_initializer=kernel_initializer,
                )
            )
            size = output_size
        self._parts = nn.ModuleList(parts)

    @property
    def param_length(self) -> int:
        """Length of ``theta`` of one group."""
        return _total_length(self._parts)

    def set_parameters(self, theta: Tensor, reinitialize: bool = False) -> None:
        """As :meth:`.ParamFC.set_parameters`, for all layers."""
        theta = check_theta(theta, self.param_length, self.name)
        self._output_spec = None
        _share_out(self._parts, theta, reinitialize)

    def forward(self, inputs: Tensor, state: Any = ()) -> tuple[Tensor, Any]:
        """[B, ...], or [B, n, ...], to [B, n, size] ([B, size] if n = 1)."""
        x = inputs
        for part in self._parts:
            x = part(x)[0] if isinstance(part, Network) else part(x)
        return x, state
