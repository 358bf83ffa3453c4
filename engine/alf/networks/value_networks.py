"""Value networks: the value of an observation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from alf.config_util import configurable
from alf.initializers import small_uniform_init
from alf.layers import make_parallel_spec
from alf.networks.encoding_networks import EncodingNetwork, LSTMEncodingNetwork
from alf.networks.network import Network
from alf.tensor_specs import TensorSpec
from alf.utils.math_ops import identity

Activation = Callable[[Tensor], Tensor]
Initializer = Callable[[Tensor], Any]


@configurable
class ValueNetworkBase(Network):
    """An encoding network whose last layer gives values.

    Args:
        input_tensor_spec: nest of TensorSpec of the observations.
        output_tensor_spec: spec of the value; its shape is that of the reward.
        encoding_network_ctor: called with ``input_tensor_spec``, the last layer's arguments, and
            ``encoder_kwargs``.
        name: for printing.
        encoder_kwargs: arguments of the encoding network.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        output_tensor_spec: TensorSpec,
        encoding_network_ctor: Callable[..., EncodingNetwork | LSTMEncodingNetwork],
        name: str = "ValueNetworkBase",
        **encoder_kwargs: Any,
    ) -> None:
        encoder = encoding_network_ctor(
            input_tensor_spec=input_tensor_spec,
            last_layer_size=output_tensor_spec.numel,
            last_activation=identity,
            last_kernel_initializer=small_uniform_init(0.03),
            **encoder_kwargs,
        )
        super().__init__(input_tensor_spec, encoder.state_spec, name)
        self._encoding_net = encoder
        self._output_spec = TensorSpec(output_tensor_spec.shape)

    @property
    def state_spec(self) -> Any:
        return self._state_spec

    def forward(self, observation: Any, state: Any = ()) -> tuple[Tensor, Any]:
        value, state = self._encoding_net(observation, state)
        return value.reshape(value.shape[0], *self._output_spec.shape), state

    def make_parallel(self, n: int) -> Network:
        """n independent networks; the values have shape [B, n, ...]."""
        return ParallelValueNetwork(self, n, f"parallel_{self.name}")


@configurable
class ValueNetwork(ValueNetworkBase):
    """Values without memory.

    The arguments are those of :class:`ValueNetworkBase` and :class:`.EncodingNetwork`.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        output_tensor_spec: TensorSpec = TensorSpec(()),
        input_preprocessors: Any = None,
        input_preprocessors_ctor: Callable[[Any], Any] | None = None,
        preprocessing_combiner: Callable[[Any], Any] | None = None,
        conv_layer_params: Sequence[Any] | None = None,
        fc_layer_params: Sequence[int] | None = None,
        activation: Activation = torch.relu_,
        kernel_initializer: Initializer | None = None,
        use_fc_bn: bool = False,
        use_fc_ln: bool = False,
        name: str = "ValueNetwork",
    ) -> None:
        super().__init__(
            input_tensor_spec,
            output_tensor_spec,
            EncodingNetwork,
            name=name,
            input_preprocessors=input_preprocessors,
            input_preprocessors_ctor=input_preprocessors_ctor,
            preprocessing_combiner=preprocessing_combiner,
            conv_layer_params=conv_layer_params,
            fc_layer_params=fc_layer_params,
            activation=activation,
            kernel_initializer=kernel_initializer,
            use_fc_bn=use_fc_bn,
            use_fc_ln=use_fc_ln,
        )


@configurable
class ValueRNNNetwork(ValueNetworkBase):
    """Values with LSTM cells before ``value_fc_layer_params``.

    The arguments are those of :class:`ValueNetwork` and :class:`.LSTMEncodingNetwork`.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        output_tensor_spec: TensorSpec = TensorSpec(()),
        input_preprocessors: Any = None,
        preprocessing_combiner: Callable[[Any], Any] | None = None,
        conv_layer_params: Sequence[Any] | None = None,
        fc_layer_params: Sequence[int] | None = None,
        lstm_hidden_size: int | Sequence[int] = 100,
        value_fc_layer_params: Sequence[int] | None = None,
        activation: Activation = torch.relu_,
        kernel_initializer: Initializer | None = None,
        name: str = "ValueRNNNetwork",
    ) -> None:
        super().__init__(
            input_tensor_spec,
            output_tensor_spec,
            LSTMEncodingNetwork,
            name=name,
            input_preprocessors=input_preprocessors,
            preprocessing_combiner=preprocessing_combiner,
            conv_layer_params=conv_layer_params,
            pre_fc_layer_params=fc_layer_params,
            hidden_size=lstm_hidden_size,
            post_fc_layer_params=value_fc_layer_params,
            activation=activation,
            kernel_initializer=kernel_initializer,
        )


class ParallelValueNetwork(Network):
    """n independent networks like ``value_network``; values [B, n, ...]."""

    def __init__(
        self, value_network: ValueNetworkBase, n: int, name: str = "ParallelValueNetwork"
    ) -> None:
        super().__init__(
            value_network.input_tensor_spec, make_parallel_spec(value_network.state_spec, n), name
        )
        encoder = value_network._encoding_net
        self._encoding_net = encoder.make_parallel(n, allow_non_parallel_input=True)
        self._output_spec = TensorSpec((n, *value_network.output_spec.shape))

    @property
    def state_spec(self) -> Any:
        return self._state_spec

    def forward(self, observation: Any, state: Any = ()) -> tuple[Tensor, Any]:
        value, state = self._encoding_net(observation, state)
        return value.reshape(value.shape[0], *self._output_spec.shape), state
