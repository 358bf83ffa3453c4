"""Convolution layers for images [B, C, H, W], alone and as n replicas computed as groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alf.config_util import configurable
from alf.layers._dense import (
    Activation,
    Initializer,
    init_bias,
    init_kernel,
    set_opt_args,
)

PUBLIC_MODULE = "alf.layers"  # under which these names are configured

Size = int | tuple[int, int]


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


class _ConvBase(nn.Module):
    """What the four convolutions share: parameters, normalisation, activation.

    ``_n`` replicas (1 for a single layer) hold ``_channels`` output channels each.
    """

    def __init__(
        self,
        weight_shape: tuple[int, ...],
        channels: int,
        n: int | None,
        activation: Activation,
        use_bias: bool | None,
        use_bn: bool,
        use_ln: bool,
        bn_ctor: Callable[..., nn.Module],
        transposed: bool,
        init: dict[str, Any],
    ) -> None:
        super().__init__()
        self._channels, self._n, self._activation = channels, n, activation
        self._transposed, self._init = transposed, init
        use_bias = not use_bn if use_bias is None else use_bias
        replicas = () if n is None else (n,)
        self._weight = nn.Parameter(torch.empty(*replicas, *weight_shape))
        self._bias = nn.Parameter(torch.empty(*replicas, channels)) if use_bias else None
        set_opt_args(self._weight, init.get("weight_opt_args"))
        total = channels * (n or 1)
        self._ln = nn.GroupNorm(n or 1, total) if use_ln else None
        self._bn = bn_ctor(total) if use_bn else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw initial parameters anew, for each replica on its own."""
        weights = [self._weight.data] if self._n is None else list(self._weight.data)
        for weight in weights:
            init_kernel(
                weight,
                self._init["kernel_initializer"],
                self._init["kernel_init_gain"],
                self._activation,
                self._init.get("use_torch_init", False),
                self._transposed,
            )
        init_bias(
            self._bias,
            weights[0][0].numel(),
            self._init["bias_init_value"],
            use_torch_init=self._init.get("use_torch_init", False),
        )
        norms: tuple[Any, ...] = (self._ln, self._bn)
        for norm in norms:
            if norm is not None:
                norm.reset_parameters()

    def _finish(self, y: Tensor) -> Tensor:
        """Normalise and activate ``y`` [B, n * channels, H, W]; replicas get their axis."""
        if self._ln is not None:
            y = self._ln(y)
        if self._bn is not None:
            y = self._bn(y)
        y = self._activation(y)
        if self._n is None:
            return y
        return y.reshape(y.shape[0], self._n, self._channels, *y.shape[2:])

    def _squash(self, img: Tensor) -> tuple[Tensor, int]:
        """Images with the replicas in their channels, and how many replicas they have: 1 or n."""
        if img.ndim == 4:
            return img, 1
        if img.ndim == 5 and self._n is not None and img.shape[1] == self._n:
            return img.reshape(img.shape[0], -1, *img.shape[3:]), self._n
        raise ValueError(
            f"{type(self).__name__} takes [B, C, H, W] or [B, {self._n}, C, H, W], "
            f"got {list(img.shape)}"
        )

    def _flat_bias(self) -> Tensor | None:
        return None if self._bias is None else self._bias.reshape(-1)

    @property
    def weight(self) -> nn.Parameter:
        return self._weight

    @property
    def bias(self) -> nn.Parameter | None:
        return self._bias


@configurable
class Conv2D(_ConvBase):
    """Convolution, then normalisation, then activation.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: one number or (height, width).
        activation: applied last; may work in place.
        strides: one number or (vertical, horizontal).
        padding: zeros on each side, one number or (vertical, horizontal).
        use_bias: None for: if there is no batch normalisation.
        use_bn: batch normalisation before the activation.
        use_ln: normalisation over all of an image before the activation.
        weight_opt_args: options of the optimizer for the weight alone.
        bn_ctor: called with ``num_features``.
        kernel_initializer: fills the weight [out, in, h, w]; None for variance scaling.
        kernel_init_gain: gain of that default.
        bias_init_value: initial bias.
        use_torch_init: initialise as torch.nn.Conv2d does.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        activation: Activation = torch.relu_,
        strides: Size = 1,
        padding: Size = 0,
        use_bias: bool | None = None,
        use_bn: bool = False,
        use_ln: bool = False,
        weight_opt_args: dict[str, Any] | None = None,
        bn_ctor: Callable[..., nn.Module] = nn.BatchNorm2d,
        kernel_initializer: Initializer | None = None,
        kernel_init_gain: float = 1.0,
        bias_init_value: float = 0.0,
        use_torch_init: bool = False,
    ) -> None:
        self._parallel_args = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "kernel_size": kernel_size,
            "activation": activation,
            "strides": strides,
            "padding": padding,
            "use_bias": use_bias,
            "use_bn": use_bn,
            "use_ln": use_ln,
            "weight_opt_args": weight_opt_args,
            "bn_ctor": bn_ctor,
            "kernel_initializer": kernel_initializer,
            "kernel_init_gain": kernel_init_gain,
            "bias_init_value": bias_init_value,
            "use_torch_init": use_torch_init,
        }
        super().__init__(
            (out_channels, in_channels, *_pair(kernel_size)),
            out_channels,
            None,
            activation,
            use_bias,
            use_bn,
            use_ln,
            bn_ctor,
            False,
            self._parallel_args,
        )
        self._strides, self._padding = _pair(strides), _pair(padding)

    def forward(self, img: Tensor) -> Tensor:
        """[B, in_channels, H, W] to [B, out_channels, H', W']."""
        y = F.conv2d(img, self._weight, self._bias, self._strides, self._padding)
        return self._finish(y)

    def make_parallel(self, n: int) -> ParallelConv2D:
        """A layer of n independent replicas."""
        return ParallelConv2D(n=n, **self._parallel_args)


@configurable
class ParallelConv2D(_ConvBase):
    """n independent :class:`Conv2D` layers computed as one grouped convolution."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        n: int,
        activation: Activation = torch.relu_,
        strides: Size = 1,
        padding: Size = 0,
        use_bias: bool | None = None,
        use_bn: bool = False,
        use_ln: bool = False,
        weight_opt_args: dict[str, Any] | None = None,
        bn_ctor: Callable[..., nn.Module] = nn.BatchNorm2d,
        kernel_initializer: Initializer | None = None,
        kernel_init_gain: float = 1.0,
        bias_init_value: float = 0.0,
        use_torch_init: bool = False,
    ) -> None:
        super().__init__(
            (out_channels, in_channels, *_pair(kernel_size)),
            out_channels,
            n,
            activation,
            use_bias,
            use_bn,
            use_ln,
            bn_ctor,
            False,
            {
                "weight_opt_args": weight_opt_args,
                "kernel_initializer": kernel_initializer,
                "kernel_init_gain": kernel_init_gain,
                "bias_init_value": bias_init_value,
                "use_torch_init": use_torch_init,
            },
        )
        self._strides, self._padding = _pair(strides), _pair(padding)

    def forward(self, img: Tensor) -> Tensor:
        """[B, n, in_channels, H, W], or [B, in_channels, H, W] shared, to [B, n, out, H', W']."""
        img, groups = self._squash(img)
        y = F.conv2d(
            img,
            self._weight.flatten(0, 1),
            self._flat_bias(),
            self._strides,
            self._padding,
            groups=groups,
        )
        return self._finish(y)


@configurable
class ConvTranspose2D(_ConvBase):
    """Transposed convolution, then normalisation, then activation.

    Arguments as for :class:`Conv2D`; ``output_padding`` is added to one side of the output.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        activation: Activation = torch.relu_,
        strides: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        use_bias: bool | None = None,
        use_bn: bool = False,
        bn_ctor: Callable[..., nn.Module] = nn.BatchNorm2d,
        kernel_initializer: Initializer | None = None,
        kernel_init_gain: float = 1.0,
        bias_init_value: float = 0.0,
    ) -> None:
        self._parallel_args = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "kernel_size": kernel_size,
            "activation": activation,
            "strides": strides,
            "padding": padding,
            "output_padding": output_padding,
            "use_bias": use_bias,
            "use_bn": use_bn,
            "bn_ctor": bn_ctor,
            "kernel_initializer": kernel_initializer,
            "kernel_init_gain": kernel_init_gain,
            "bias_init_value": bias_init_value,
        }
        super().__init__(
            (in_channels, out_channels, *_pair(kernel_size)),
            out_channels,
            None,
            activation,
            use_bias,
            use_bn,
            False,
            bn_ctor,
            True,
            self._parallel_args,
        )
        self._strides, self._padding = _pair(strides), _pair(padding)
        self._output_padding = _pair(output_padding)

    def forward(self, img: Tensor) -> Tensor:
        """[B, in_channels, H, W] to [B, out_channels, H', W']."""
        y = F.conv_transpose2d(
            img, self._weight, self._bias, self._strides, self._padding, self._output_padding
        )
        return self._finish(y)

    def make_parallel(self, n: int) -> ParallelConvTranspose2D:
        """A layer of n independent replicas."""
        return ParallelConvTranspose2D(n=n, **self._parallel_args)


@configurable
class ParallelConvTranspose2D(_ConvBase):
    """n independent :class:`ConvTranspose2D` layers computed as one grouped convolution."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        n: int,
        activation: Activation = torch.relu_,
        strides: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        use_bias: bool | None = None,
        use_bn: bool = False,
        bn_ctor: Callable[..., nn.Module] = nn.BatchNorm2d,
        kernel_initializer: Initializer | None = None,
        kernel_init_gain: float = 1.0,
        bias_init_value: float = 0.0,
    ) -> None:
        super().__init__(
            (in_channels, out_channels, *_pair(kernel_size)),
            out_channels,
            n,
            activation,
            use_bias,
            use_bn,
            False,
            bn_ctor,
            True,
            {
                "kernel_initializer": kernel_initializer,
                "kernel_init_gain": kernel_init_gain,
                "bias_init_value": bias_init_value,
            },
        )
        self._strides, self._padding = _pair(strides), _pair(padding)
        self._output_padding = _pair(output_padding)

    def forward(self, img: Tensor) -> Tensor:
        """[B, n, in_channels, H, W], or [B, in_channels, H, W] shared, to [B, n, out, H', W']."""
        img, groups = self._squash(img)
        if groups == 1:
            weight = self._weight.transpose(0, 1).flatten(1, 2)
        else:
            weight = self._weight.flatten(0, 1)
        y = F.conv_transpose2d(
            img,
            weight,
            self._flat_bias(),
            self._strides,
            self._padding,
            self._output_padding,
            groups=groups,
        )
        return self._finish(y)
