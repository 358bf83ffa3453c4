"""Layers whose weights are given from outside, such as by a hypernetwork, for n groups at once.

All parameters of one layer are one vector ``theta`` for each group: the weight, then the bias, then
those of the normalisation.
"""

from __future__ import annotations

import abc
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alf.config_util import configurable
from alf.layers._conv import Size, _pair
from alf.layers._dense import Activation, Initializer, init_kernel
from alf.norm_layers import ParamLayerNorm, ParamLayerNorm1d, ParamLayerNorm2d

PUBLIC_MODULE = "alf.layers"  # under which these names are configured


class _ParamLayer(nn.Module, abc.ABC):
    """A layer with ``n_groups`` sets of weights that :meth:`set_parameters` gives it."""

    _norm_ctor: type[ParamLayerNorm]

    def __init__(
        self,
        weight_shape: tuple[int, ...],
        activation: Activation,
        use_bias: bool,
        use_ln: bool,
        n_groups: int | None,
        init: dict[str, Any],
    ) -> None:
        super().__init__()
        self._weight_shape, self._activation, self._init = weight_shape, activation, init
        self._use_bias = use_bias
        self._groups = n_groups or 1
        self._norm = self._norm_ctor(self._groups, weight_shape[0]) if use_ln else None
        self.set_parameters(torch.empty(self._groups, self.param_length), reinitialize=True)

    @property
    def weight(self) -> Tensor:
        """Weights [n_groups, out, in, ...]."""
        return self._weight

    @property
    def bias(self) -> Tensor | None:
        """Biases [n_groups, out]."""
        return self._bias

    @property
    def weight_length(self) -> int:
        """Number of weights in one group."""
        return torch.Size(self._weight_shape).numel()

    @property
    def bias_length(self) -> int:
        """Number of biases in one group."""
        return self._weight_shape[0] if self._use_bias else 0

    @property
    def param_length(self) -> int:
        """Length of ``theta`` of one group."""
        norm = 0 if self._norm is None else self._norm.param_length
        return self.weight_length + self.bias_length + norm

    def set_parameters(self, theta: Tensor, reinitialize: bool = False) -> None:
        """Use ``theta`` [n_groups, param_length] from now on; gradients flow into it.

        Args:
            theta: one vector [param_length] is one group. Another number of groups than before is
                taken over.
            reinitialize: first fill ``theta`` in place with initial values, as the layer's
                arguments ask for.
        """
        theta = check_theta(theta, self.param_length, type(self).__name__)
        groups = theta.shape[0]
        sizes = [self.weight_length, self.bias_length, 0]
        sizes[2] = self.param_length - sum(sizes)
        if reinitialize:
            with torch.no_grad():
                weights, bias, _ = theta.detach().split(sizes, dim=1)
                for row in weights:
                    weight = torch.empty(self._weight_shape, device=row.device)
                    init_kernel(
                        weight,
                        self._init["kernel_initializer"],
                        self._init["kernel_init_gain"],
                        self._activation,
                    )
                    row.copy_(weight.flatten())
                bias.fill_(self._init["bias_init_value"])
        weight, bias, norm = theta.split(sizes, dim=1)
        self._groups = groups
        self._weight = weight.reshape(groups, *self._weight_shape)
        self._bias = bias if self._use_bias else None
        if self._norm is not None:
            self._norm.set_parameters(norm, reinitialize)


def check_theta(theta: Tensor, length: int, name: str) -> Tensor:
    """``theta`` as [groups, length].

    Raises:
        ValueError: if it has another length.
    """
    given = theta
    if theta.ndim == 1:
        theta = theta.unsqueeze(0)
    if theta.ndim != 2 or theta.shape[1] != length:
        raise ValueError(f"{name}: theta must have shape [n, {length}], got {list(given.shape)}")
    return theta


@configurable
class ParamFC(_ParamLayer):
    """Fully connected layer with given weights.

    Args:
        input_size: size of the input's last axis.
        output_size: size of the output's last axis.
        activation: applied last.
        use_bias: ``theta`` has a bias.
        use_ln: layer normalisation before the activation; ``theta`` has its gain and bias.
        n_groups: number of groups; None for what :meth:`set_parameters` brings.
        kernel_initializer: fills the initial weight of one group; None for variance scaling.
        kernel_init_gain: gain of that default.
        bias_init_value: initial bias.
    """

    _norm_ctor = ParamLayerNorm1d

    def __init__(
        self,
        input_size: int,
        output_size: int,
        activation: Activation = torch.relu_,
        use_bias: bool = True,
        use_ln: bool = False,
        n_groups: int | None = None,
        kernel_initializer: Initializer | None = None,
        kernel_init_gain: float = 1.0,
        bias_init_value: float = 0.0,
    ) -> None:
        init = {
            "kernel_initializer": kernel_initializer,
            "kernel_init_gain": kernel_init_gain,
            "bias_init_value": bias_init_value,
        }
        super().__init__((output_size, input_size), activation, use_bias, use_ln, n_groups, init)

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, in], shared by the groups, or [B, n, in] to [B, n, out]; to [B, out] if n = 1."""
        n, size = self._groups, self._weight_shape[1]
        if inputs.shape[-1] != size or inputs.ndim not in (2, 3):
            raise ValueError(f"ParamFC takes [B, {size}] or [B, {n}, {size}], got {inputs.shape}")
        if inputs.ndim == 3 and inputs.shape[1] != n:
            raise ValueError(f"ParamFC has {n} groups, its input {inputs.shape[1]}")
        if inputs.ndim == 2:
            x = inputs.expand(n, *inputs.shape)
        else:
            x = inputs.transpose(0, 1)
        weight = self._weight.transpose(1, 2)
        y = torch.bmm(x, weight)
        if self._bias is not None:
            y = y + self._bias.unsqueeze(1)
        y = y.transpose(0, 1)
        if self._norm is not None:
            y = self._norm(y)
        y = self._activation(y)
        return y.squeeze(1) if n == 1 and inputs.ndim == 2 else y


@configurable
class ParamConv2D(_ParamLayer):
    """Convolution with given weights, then pooling.

    Args:
        pooling_kernel: size of max pooling after the activation; None for none.
        use_ln: normalisation over all of an image before the activation.

    The other arguments are those of :class:`.Conv2D` and :class:`ParamFC`.
    """

    _norm_ctor = ParamLayerNorm2d

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        activation: Activation = torch.relu_,
        strides: Size = 1,
        pooling_kernel: Size | None = None,
        padding: Size = 0,
        use_bias: bool = False,
        use_ln: bool = False,
        n_groups: int | None = None,
        kernel_initializer: Initializer | None = None,
        kernel_init_gain: float = 1.0,
        bias_init_value: float = 0.0,
    ) -> None:
        init = {
            "kernel_initializer": kernel_initializer,
            "kernel_init_gain": kernel_init_gain,
            "bias_init_value": bias_init_value,
        }
        shape = (out_channels, in_channels, *_pair(kernel_size))
        super().__init__(shape, activation, use_bias, use_ln, n_groups, init)
        self._strides, self._padding = _pair(strides), _pair(padding)
        self._pooling_kernel = pooling_kernel

    def forward(self, img: Tensor, keep_group_dim: bool = True) -> Tensor:
        """Images to feature maps [B, n, out, H, W], or [B, out, H, W] if n = 1.

        Args:
            img: [B, in, H, W], shared by the groups, [B, n, in, H, W] or [B, n * in, H, W].
            keep_group_dim: False to return [B, n * out, H, W].
        """
        n, channels = self._groups, self._weight_shape[1]
        if img.ndim == 5:
            img = img.flatten(1, 2)
        if img.ndim != 4 or img.shape[1] not in (channels, n * channels):
            raise ValueError(
                f"ParamConv2D takes [B, {channels}, H, W] or [B, {n}, {channels}, H, W], "
                f"got {list(img.shape)}"
            )
        y = F.conv2d(
            img,
            self._weight.flatten(0, 1),
            None if self._bias is None else self._bias.flatten(),
            self._strides,
            self._padding,
            groups=img.shape[1] // channels,
        )
        if self._norm is not None:
            y = self._norm(y, keep_group_dim=False)
        y = self._activation(y)
        if self._pooling_kernel is not None:
            y = F.max_pool2d(y, self._pooling_kernel)
        return y.unflatten(1, (n, -1)) if keep_group_dim and n > 1 else y
