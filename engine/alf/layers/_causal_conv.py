"""Convolution over time that does not look ahead."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alf.config_util import configurable
from alf.layers._dense import Activation, Initializer, init_bias, init_kernel

PUBLIC_MODULE = "alf.layers"  # under which these names are configured


@configurable
class CausalConv1D(nn.Module):
    """Causal dilated convolution (WaveNet, van den Oord et al., arXiv:1609.03499, section 2.1).

    Maps [B, in_channels, T] to [B, out_channels, T]: the output at t depends on inputs up to t.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: number of time steps that one output sees.
        dilation: distance between those.
        hide_current: the output at t depends on inputs before t only; with ``dilation=1``.
        activation: applied last; may work in place.
        use_bias: None for: if there is no batch normalisation.
        use_bn: batch normalisation before the activation.
        kernel_initializer: fills the weight [out, in, kernel]; None for variance scaling.
        kernel_init_gain: gain of that default.
        bias_init_value: initial bias.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        dilation: int = 1,
        hide_current: bool = False,
        activation: Activation = torch.relu_,
        use_bias: bool | None = None,
        use_bn: bool = False,
        kernel_initializer: Initializer | None = None,
        kernel_init_gain: float = 1.0,
        bias_init_value: float = 0.0,
    ) -> None:
        super().__init__()
        if hide_current and dilation != 1:
            raise ValueError(f"CausalConv1D: hide_current=True needs dilation=1, got {dilation}")
        use_bias = not use_bn if use_bias is None else use_bias
        self._dilation, self._hide_current = dilation, hide_current
        self._past = (kernel_size - 1) * dilation + (1 if hide_current else 0)
        self._activation = activation
        self._kernel_initializer, self._kernel_init_gain = kernel_initializer, kernel_init_gain
        self._bias_init_value = bias_init_value
        self._weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size))
        self._bias = nn.Parameter(torch.empty(out_channels)) if use_bias else None
        self._bn = nn.BatchNorm1d(out_channels) if use_bn else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw initial parameters anew."""
        init_kernel(
            self._weight, self._kernel_initializer, self._kernel_init_gain, self._activation
        )
        init_bias(self._bias, self._weight[0].numel(), self._bias_init_value)
        if self._bn is not None:
            self._bn.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        steps = x.shape[2]
        padded = F.pad(x, (self._past, 0))[:, :, : steps + self._past - int(self._hide_current)]
        y = F.conv1d(padded, self._weight, self._bias, dilation=self._dilation)
        if self._bn is not None:
            y = self._bn(y)
        return self._activation(y)

    @property
    def weight(self) -> nn.Parameter:
        return self._weight

    @property
    def bias(self) -> nn.Parameter | None:
        return self._bias
