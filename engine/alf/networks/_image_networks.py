"""Networks between images and vectors: convolutions, and the way back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alf.config_util import configurable
from alf.layers import FC, Conv2D, Conv2DBatchEnsemble, ConvTranspose2D, Reshape
from alf.networks._ensemble_members import BesideMembers
from alf.networks.containers import _Sequential
from alf.tensor_specs import TensorSpec

PUBLIC_MODULE = "alf.networks.encoding_networks"  # under which these names are configured

Activation = Callable[[Tensor], Tensor]
Initializer = Callable[[Tensor], Any]


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _conv_params(params: Sequence[Any], name: str) -> list[tuple[int, Any, Any, Any]]:
    """(filters, kernel_size, strides, padding) of each layer; padding may be left out."""
    layers = []
    for layer in params:
        if not isinstance(layer, list | tuple) or len(layer) not in (3, 4):
            raise ValueError(
                f"{name}: a layer is (filters, kernel_size, strides[, padding]), got {layer}"
            )
        layers.append((*layer, 0) if len(layer) == 3 else tuple(layer))
    return layers


def _same_padding(kernel: Any) -> tuple[int, int]:
    height, width = _pair(kernel)
    return (height - 1) // 2, (width - 1) // 2


@configurable
class ImageEncodingNetwork(_Sequential):
    """Convolutions from images [B, C, H, W] to feature maps, or to a vector.

    Args:
        input_channels: C.
        input_size: one number, or (H, W).
        conv_layer_params: for each layer (filters, kernel_size, strides[, padding]).
        use_batch_ensemble: the layers are :class:`alf.layers.Conv2DBatchEnsemble`. The input may be
            a pair of images and their members [B]; the output is such a pair.
        ensemble_size: number of members.
        same_padding: pad each layer by half its kernel instead of ``padding``.
        activation: of all layers.
        kernel_initializer: of all layers; None for variance scaling.
        flatten_output: give a vector.
        name: for printing.
    """

    def __init__(
        self,
        input_channels: int,
        input_size: Any,
        conv_layer_params: Sequence[Any],
        use_batch_ensemble: bool = False,
        ensemble_size: int = 10,
        same_padding: bool = False,
        activation: Activation = torch.relu_,
        kernel_initializer: Initializer | None = None,
        flatten_output: bool = False,
        name: str = "ImageEncodingNetwork",
    ) -> None:
        make_layer: Any = Conv2D
        if use_batch_ensemble:
            make_layer = functools.partial(Conv2DBatchEnsemble, ensemble_size=ensemble_size)
        nets: list[Any] = []
        channels = input_channels
        for filters, kernel, strides, padding in _conv_params(conv_layer_params, name):
            nets.append(
                make_layer(
                    channels,
                    filters,
                    kernel,
                    activation=activation,
                    strides=strides,
                    padding=_same_padding(kernel) if same_padding else padding,
                    kernel_initializer=kernel_initializer,
                )
            )
            channels = filters
        if flatten_output:
            flatten = Reshape(-1)
            nets.append(BesideMembers(flatten) if use_batch_ensemble else flatten)
        spec = TensorSpec((input_channels, *_pair(input_size)))
        super().__init__(nets, input_tensor_spec=spec, name=name)


@configurable
class ImageDecodingNetwork(_Sequential):
    """Transposed convolutions from a vector to an image.

    Args:
        input_size: size of the vector.
        transconv_layer_params: for each layer (filters, kernel_size, strides[, padding]).
        start_decoding_size: one number, or (H, W), of the first feature map.
        start_decoding_channels: its channels.
        same_padding: pad each layer by half its kernel instead of ``padding``.
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
        start_decoding_size: Any,
        start_decoding_channels: int,
        same_padding: bool = False,
        preprocess_fc_layer_params: Sequence[int] | None = None,
        activation: Activation = torch.relu_,
        kernel_initializer: Initializer | None = None,
        output_activation: Activation = torch.tanh,
        name: str = "ImageDecodingNetwork",
    ) -> None:
        nets = _start_of_decoder(
            input_size,
            preprocess_fc_layer_params,
            (start_decoding_channels, *_pair(start_decoding_size)),
            activation,
            kernel_initializer,
        )
        channels = start_decoding_channels
        layers = _conv_params(transconv_layer_params, name)
        for i, (filters, kernel, strides, padding) in enumerate(layers):
            nets.append(
                ConvTranspose2D(
                    channels,
                    filters,
                    kernel,
                    activation=output_activation if i == len(layers) - 1 else activation,
                    strides=strides,
                    padding=_same_padding(kernel) if same_padding else padding,
                    kernel_initializer=kernel_initializer,
                )
            )
            channels = filters
        super().__init__(nets, input_tensor_spec=TensorSpec((input_size,)), name=name)


@configurable
class ImageDecodingNetworkV2(_Sequential):
    """Upsampling and convolution in turn, from a vector to an image without checkerboard patterns.

    Args:
        upsample_conv_layer_params: each an upsampling factor (a number), or a convolution
            (filters, kernel_size, strides[, padding]).
        upsampling_mode: mode of torch.nn.Upsample.

    The other arguments are those of :class:`ImageDecodingNetwork`.
    """

    def __init__(
        self,
        input_size: int,
        upsample_conv_layer_params: Sequence[Any],
        start_decoding_size: Any,
        start_decoding_channels: int,
        preprocess_fc_layer_params: Sequence[int] | None = None,
        upsampling_mode: str = "nearest",
        same_padding: bool = False,
        activation: Activation = torch.relu_,
        kernel_initializer: Initializer | None = None,
        output_activation: Activation = torch.tanh,
        name: str = "ImageDecodingNetworkV2",
    ) -> None:
        nets = _start_of_decoder(
            input_size,
            preprocess_fc_layer_params,
            (start_decoding_channels, *_pair(start_decoding_size)),
            activation,
            kernel_initializer,
        )
        channels = start_decoding_channels
        layers = list(upsample_conv_layer_params)
        convolutions = [i for i, layer in enumerate(layers) if isinstance(layer, list | tuple)]
        for i, layer in enumerate(layers):
            if i not in convolutions:
                nets.append(nn.Upsample(scale_factor=layer, mode=upsampling_mode))
                continue
            filters, kernel, strides, padding = _conv_params([layer], name)[0]
            nets.append(
                Conv2D(
                    channels,
                    filters,
                    kernel,
                    activation=output_activation if i == convolutions[-1] else activation,
                    strides=strides,
                    padding=_same_padding(kernel) if same_padding else padding,
                    kernel_initializer=kernel_initializer,
                )
            )
            channels = filters
        super().__init__(nets, input_tensor_spec=TensorSpec((input_size,)), name=name)


def _start_of_decoder(
    input_size: int,
    fc_layer_params: Sequence[int] | None,
    start_shape: tuple[int, int, int],
    activation: Activation,
    kernel_initializer: Initializer | None,
) -> list[Any]:
    """Layers from a vector to the first feature map of ``start_shape``."""
    nets: list[Any] = []
    size = input_size
    start_size = start_shape[0] * start_shape[1] * start_shape[2]
    for output_size in [*(fc_layer_params or ()), start_size]:
        nets.append(
            FC(size, output_size, activation=activation, kernel_initializer=kernel_initializer)
        )
        size = output_size
    return [*nets, Reshape(start_shape)]
