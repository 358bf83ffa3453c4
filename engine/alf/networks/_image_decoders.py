"""Networks from vectors to images that find their own shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from alf.config_util import configurable
from alf.layers import FC, Conv2D, ConvTranspose2D
from alf.networks._image_networks import (
    Activation,
    Initializer,
    _conv_params,
    _pair,
    _same_padding,
    _start_of_decoder,
)
from alf.networks.containers import _Sequential
from alf.networks.network import Network
from alf.tensor_specs import TensorSpec
from alf.utils.math_ops import identity
from alf.utils.tensor_utils import append_coordinate, spatial_broadcast

PUBLIC_MODULE = "alf.networks.encoding_networks"  # under which these names are configured


@configurable
class AutoShapeImageDeconvNetwork(_Sequential):
    """Transposed convolutions from a vector to an image of a given shape.

    The size of the first feature map and the output padding of each layer follow from
    ``output_shape``.

    Args:
        input_size: size of the vector.
        transconv_layer_params: for each layer (filters, kernel_size, strides[, padding]).
        output_shape: (C, H, W) of the image; C must be the filters of the last layer.
        start_decoding_channels: channels of the first feature map.
        preprocess_fc_layer_params: sizes of layers before the one that makes the first feature map.
        activation: of all layers but the last.
        kernel_initializer: of all layers; None for variance scaling.
        output_activation: of the last layer.
        name: for printing.
    """

    def __init__(
        self,
        input_size: int,
        transconv_layer_params: Sequence[Any],
        output_shape: Sequence[int],
        start_decoding_channels: int,
        preprocess_fc_layer_params: Sequence[int] | None = None,
        activation: Activation = torch.relu_,
        kernel_initializer: Initializer | None = None,
        output_activation: Activation = torch.tanh,
        name: str = "AutoShapeImageDeconvNetwork",
    ) -> None:
        layers = _conv_params(transconv_layer_params, name)
        if not layers or len(output_shape) != 3 or layers[-1][0] != output_shape[0]:
            raise ValueError(
                f"{name}: output_shape must be (C, H, W) with C the filters of the last layer, got "
                f"{tuple(output_shape)} for layers {transconv_layer_params}"
            )
        size = (output_shape[1], output_shape[2])
        output_paddings = []
        for _, kernel, strides, padding in reversed(layers):
            axes = zip(size, _pair(kernel), _pair(strides), _pair(padding), strict=True)
            starts = [divmod(s + 2 * p - k, stride) for s, k, stride, p in axes]
            if any(start < 0 for start, _ in starts):
                raise ValueError(
                    f"{name}: an image {tuple(output_shape)} is too small for its layers "
                    f"{transconv_layer_params}"
                )
            output_paddings.append((starts[0][1], starts[1][1]))
            size = (starts[0][0] + 1, starts[1][0] + 1)
        nets = _start_of_decoder(
            input_size,
            preprocess_fc_layer_params,
            (start_decoding_channels, *size),
            activation,
            kernel_initializer,
        )
        channels = start_decoding_channels
        for i, (filters, kernel, strides, padding) in enumerate(layers):
            nets.append(
                ConvTranspose2D(
                    channels,
                    filters,
                    kernel,
                    activation=output_activation if i == len(layers) - 1 else activation,
                    strides=strides,
                    padding=padding,
                    output_padding=output_paddings[-1 - i],
                    kernel_initializer=kernel_initializer,
                )
            )
            channels = filters
        super().__init__(nets, input_tensor_spec=TensorSpec((input_size,)), name=name)


@configurable
def SpatialBroadcastDecodingNetwork(
    input_size: int,
    output_height: int,
    conv_layer_params: Sequence[Any],
    output_width: int | None = None,
    fc_layer_params: Sequence[int] | None = None,
    activation: Callable[[Tensor], Tensor] = torch.relu_,
    output_activation: Callable[[Tensor], Tensor] = identity,
    name: str = "SpatialBroadcastDecodingNetwork",
) -> Network:
    """Convolutions over a vector put at every pixel, with coordinates.

    Watters et al., arXiv:1901.07017.

    Args:
        input_size: size of the vector.
        output_height: height of the image.
        conv_layer_params: for each layer (filters, kernel_size, strides[, padding]); without
            padding a layer is padded by half its kernel.
        output_width: width of the image; None for ``output_height``.
        fc_layer_params: sizes of layers before.
        activation: of all layers but the last convolution.
        output_activation: of that.
        name: for printing.
    """
    nets: list[Any] = []
    size = input_size
    for output_size in fc_layer_params or ():
        nets.append(FC(size, output_size, activation=activation))
        size = output_size
    shape = (output_height, output_height if output_width is None else output_width)
    nets.append(lambda z: append_coordinate(spatial_broadcast(z, shape)))
    channels, layers = size + 2, _conv_params(conv_layer_params, name)
    for i, (filters, kernel, strides, padding) in enumerate(layers):
        has_padding = len(conv_layer_params[i]) == 4
        nets.append(
            Conv2D(
                channels,
                filters,
                kernel,
                activation=output_activation if i == len(layers) - 1 else activation,
                strides=strides,
                padding=padding if has_padding else _same_padding(kernel),
            )
        )
        channels = filters
    return _Sequential(nets, input_tensor_spec=TensorSpec((input_size,)), name=name)
