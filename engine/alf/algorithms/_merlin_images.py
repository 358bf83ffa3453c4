"""Image networks of MERLIN (Wayne et al., arXiv:1803.10760, sections 2.1.1 and 2.2.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from alf.config_util import configurable
from alf.layers import FC, BottleneckBlock, Conv2D
from alf.networks.network import Network
from alf.tensor_specs import TensorSpec

PUBLIC_MODULE = "alf.algorithms.merlin_algorithm"  # under which these names are configured

_FILTERS = (64, 32, 64)
_STRIDES = (2, 1, 2, 1, 2, 1)


@configurable
class ResnetEncodingNetwork(Network):
    """Six bottleneck blocks, which halve the image three times, then one layer.

    Args:
        input_tensor_spec: spec of an image [C, H, W].
        output_size: size of the output.
        output_activation: of the output.
        use_fc_bn: batch normalization in the last layer.
        norm_layer: applied to the output.
    """

    def __init__(
        self,
        input_tensor_spec: TensorSpec,
        output_size: int = 500,
        output_activation: Callable[[Tensor], Tensor] = torch.tanh,
        use_fc_bn: bool = False,
        norm_layer: nn.Module | None = None,
        name: str = "ResnetEncodingNetwork",
    ) -> None:
        super().__init__(input_tensor_spec, (), name)
        layers: list[nn.Module] = []
        shape = tuple(input_tensor_spec.shape)
        for stride in _STRIDES:
            block = BottleneckBlock(shape[0], kernel_size=3, filters=_FILTERS, stride=stride)
            shape = block.calc_output_shape(shape)
            layers.append(block)
        size = shape[0] * shape[1] * shape[2]
        last = FC(size, output_size, activation=output_activation, use_bn=use_fc_bn)
        layers += [nn.Flatten(), last]
        if norm_layer is not None:
            layers.append(norm_layer)
        self._model = nn.Sequential(*layers)

    def forward(self, observation: Tensor, state: Any = ()) -> tuple[Tensor, Any]:
        """From [B, C, H, W] to [B, output_size]."""
        return self._model(observation), state


@configurable
class ResnetDecodingNetwork(Network):
    """Two layers, six transposed bottleneck blocks, which double the image three times, a sigmoid.

    Args:
        input_tensor_spec: spec of a vector.
        output_tensor_spec: spec of an image [C, H, W]; H and W are multiples of 8.

    Raises:
        ValueError: they are not.
    """

    def __init__(
        self,
        input_tensor_spec: TensorSpec,
        output_tensor_spec: TensorSpec = TensorSpec((3, 64, 64)),
        name: str = "ResnetDecodingNetwork",
    ) -> None:
        super().__init__(input_tensor_spec, (), name)
        channels, height, width = output_tensor_spec.shape
        if height % 8 or width % 8:
            raise ValueError(f"{name} needs multiples of 8 pixels, got {height} x {width}.")
        width_of_map = _FILTERS[-1]
        self._model = nn.Sequential(
            FC(input_tensor_spec.shape[0], 500, activation=torch.relu_),
            FC(500, height * width, activation=torch.relu_),
            nn.Unflatten(1, (width_of_map, height // 8, width // 8)),
            *(
                BottleneckBlock(
                    width_of_map, kernel_size=3, filters=_FILTERS, stride=stride, transpose=True
                )
                for stride in reversed(_STRIDES)
            ),
            Conv2D(width_of_map, channels, 1, activation=torch.sigmoid),
        )

    def forward(self, observation: Tensor, state: Any = ()) -> tuple[Tensor, Any]:
        """From [B, D] to [B, C, H, W]."""
        return self._model(observation), state
