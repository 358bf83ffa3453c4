"""Residual blocks of image networks (He et al., arXiv:1512.03385)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alf.config_util import configurable
from alf.layers._compose import reset_parameters
from alf.layers._conv import Size, _pair
from alf.layers._dense import Activation, set_opt_args

PUBLIC_MODULE = "alf.layers"  # under which these names are configured


def _conv(
    in_channels: int, out_channels: int, kernel: Size, stride: Size, transpose: bool, bias: bool
) -> nn.Conv2d | nn.ConvTranspose2d:
    """A convolution to 1 / stride of the size, or a transposed one to stride times the size."""
    kernels, strides = _pair(kernel), _pair(stride)
    padding = ((kernels[0] - 1) // 2, (kernels[1] - 1) // 2)
    if not transpose:
        return nn.Conv2d(in_channels, out_channels, kernels, strides, padding, bias=bias)
    extra = tuple(max(0, s + 2 * p - k) for k, s, p in zip(kernels, strides, padding, strict=True))
    return nn.ConvTranspose2d(
        in_channels, out_channels, kernels, strides, padding, (extra[0], extra[1]), bias=bias
    )


class _Residue(nn.Module):
    """``activation(core(x) + shortcut(x))``."""

    def __init__(self, core: nn.Module, shortcut: nn.Module, activation: Activation) -> None:
        super().__init__()
        self._core, self._shortcut, self._activation = core, shortcut, activation

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, in_channels, H, W] to [B, channels, H', W']."""
        return self._activation(self._core(inputs) + self._shortcut(inputs))

    def reset_parameters(self) -> None:
        """Draw initial parameters anew."""
        reset_parameters(self._core)
        reset_parameters(self._shortcut)


@configurable
class ResidueBlock(_Residue):
    """Two convolutions and a shortcut, the building block of ResNet-18 and -34.

    The shortcut is the identity, or a convolution of kernel size 1 where shapes differ.

    Args:
        in_channels: channels of the input.
        channels: channels of the output.
        kernel_size: of both convolutions; odd numbers keep the size.
        stride: of the first convolution.
        transpose: use transposed convolutions, which enlarge the image by ``stride``.
        activation: between the convolutions and after the sum.
        with_batch_normalization: after each convolution.
        weight_opt_args: options of the optimizer for the weights of the convolutions.
        bn_ctor: called with ``num_features``.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel_size: Size,
        stride: Size,
        transpose: bool = False,
        activation: Activation = nn.ReLU(inplace=True),
        with_batch_normalization: bool = True,
        weight_opt_args: dict[str, Any] | None = None,
        bn_ctor: Callable[..., nn.Module] = nn.BatchNorm2d,
    ) -> None:
        use_bn = with_batch_normalization

        def conv(inputs: int, kernel: Size, strides: Size) -> list[nn.Module]:
            layer = _conv(inputs, channels, kernel, strides, transpose, bias=not use_bn)
            set_opt_args(layer.weight, weight_opt_args)
            return [layer, bn_ctor(channels)] if use_bn else [layer]

        core = [*conv(in_channels, kernel_size, stride), _Activation(activation)]
        core += conv(channels, kernel_size, 1)
        shortcut: list[nn.Module] = []
        if in_channels != channels or _pair(stride) != (1, 1):
            shortcut = conv(in_channels, 1, stride)
        super().__init__(nn.Sequential(*core), nn.Sequential(*shortcut), activation)


class _Activation(nn.Module):
    """A function as a module."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self._activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self._activation(x)


@configurable
class BottleneckBlock(_Residue):
    """Three convolutions (1, kernel, 1) and a shortcut, the building block of ResNet-50.

    Args:
        in_channels: channels of the input.
        kernel_size: of the second convolution; odd numbers keep the size.
        filters: channels of the three convolutions.
        stride: of the second convolution, or of the first one as in the paper if not ``v1_5``.
        transpose: use transposed convolutions, which enlarge the image by ``stride``.
        v1_5: see ``stride``.
        with_batch_normalization: after each convolution.
        bn_ctor: called with ``num_features``.
    """

    def __init__(
        self,
        in_channels: int,
        kernel_size: Size,
        filters: Sequence[int],
        stride: Size,
        transpose: bool = False,
        v1_5: bool = True,
        with_batch_normalization: bool = True,
        bn_ctor: Callable[..., nn.Module] = nn.BatchNorm2d,
    ) -> None:
        if len(filters) != 3:
            raise ValueError(f"filters must be three numbers of channels, got {filters}")
        use_bn = with_batch_normalization

        def conv(inputs: int, channels: int, kernel: Size, strides: Size) -> list[nn.Module]:
            layer = _conv(inputs, channels, kernel, strides, transpose, bias=not use_bn)
            return [layer, bn_ctor(channels)] if use_bn else [layer]

        narrow, wide, last = filters
        first_stride, second_stride = (1, stride) if v1_5 else (stride, 1)
        core = [
            *conv(in_channels, narrow, 1, first_stride),
            nn.ReLU(inplace=True),
            *conv(narrow, wide, kernel_size, second_stride),
            nn.ReLU(inplace=True),
            *conv(wide, last, 1, 1),
        ]
        shortcut: list[nn.Module] = []
        if in_channels != last or _pair(stride) != (1, 1):
            shortcut = conv(in_channels, last, 1, stride)
        super().__init__(nn.Sequential(*core), nn.Sequential(*shortcut), torch.relu_)

    def calc_output_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of the output for one input of ``input_shape`` (C, H, W)."""
        modes = [(part, part.training) for part in self.modules()]
        self.eval()  # a trial must not move the statistics of batch normalisation
        with torch.no_grad():
            shape = self(torch.zeros(1, *input_shape)).shape[1:]
        for part, mode in modes:
            part.training = mode
        return tuple(shape)
