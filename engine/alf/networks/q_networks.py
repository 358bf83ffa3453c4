"""Q networks: the values of all discrete actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from alf.config_util import configurable
from alf.initializers import small_uniform_init
from alf.layers import make_parallel_spec
from alf.networks.encoding_networks import EncodingNetwork, LSTMEncodingNetwork
from alf.networks.network import NaiveParallelNetwork, Network
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.math_ops import identity

Activation = Callable[[Tensor], Tensor]
Initializer = Callable[[Tensor], Any]


def _num_actions(action_spec: Any, name: str) -> int:
    if (
        not isinstance(action_spec, BoundedTensorSpec)
        or not action_spec.is_discrete
        or action_spec.ndim != 0
        or action_spec.minimum != 0
    ):
        raise ValueError(f"{name}: the action must be a discrete scalar from 0, got {action_spec}")
    return int(action_spec.maximum) + 1


@configurable
class QNetworkBase(Network):
    """An encoding network whose last layer has one value for each action.

    Args:
        input_tensor_spec: nest of TensorSpec of the observations.
        action_spec: a discrete scalar from 0.
        encoding_network_ctor: called with ``input_tensor_spec``, the last layer's arguments, and
            ``encoder_kwargs``.
        use_naive_parallel_network: :meth:`make_parallel` calls copies one after another.
        name: for printing.
        encoder_kwargs: arguments of the encoding network.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        action_spec: BoundedTensorSpec,
        encoding_network_ctor: Callable[..., EncodingNetwork | LSTMEncodingNetwork],
        use_naive_parallel_network: bool = False,
        name: str = "QNetworkBase",
        **encoder_kwargs: Any,
    ) -> None:
        encoder = encoding_network_ctor(
            input_tensor_spec=input_tensor_spec,
            last_layer_size=_num_actions(action_spec, name),
            last_activation=identity,
            last_kernel_initializer=small_uniform_init(0.03),
            **encoder_kwargs,
        )
        super().__init__(input_tensor_spec, encoder.state_spec, name)
        self._encoding_net = encoder
        self._use_naive_parallel_network = use_naive_parallel_network

    @property
    def state_spec(self) -> Any:
        return self._state_spec

    def forward(self, observation: Any, state: Any = ()) -> tuple[Tensor, Any]:
        """Values [B, number of actions]."""
        return self._encoding_net(observation, state)

    def make_parallel(self, n: int) -> Network:
        """n independent networks; the values have shape [B, n, number of actions]."""
        if self._use_naive_parallel_network:
            return NaiveParallelNetwork(self, n)
        return ParallelQNetwork(self, n, f"parallel_{self.name}")


@configurable
class QNetwork(QNetworkBase):
    """Q values without memory.

    The arguments are those of :class:`QNetworkBase` and :class:`.EncodingNetwork`.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        action_spec: BoundedTensorSpec,
        input_preprocessors: Any = None,
        preprocessing_combiner: Callable[[Any], Any] | None = None,
        conv_layer_params: Sequence[Any] | None = None,
        fc_layer_params: Sequence[int] | None = None,
        activation: Activation = torch.relu_,
        kernel_initializer: Initializer | None = None,
        use_naive_parallel_network: bool = False,
        name: str = "QNetwork",
    ) -> None:
        super().__init__(
            input_tensor_spec,
            action_spec,
            EncodingNetwork,
            use_naive_parallel_network,
            name=name,
            input_preprocessors=input_preprocessors,
            preprocessing_combiner=preprocessing_combiner,
            conv_layer_params=conv_layer_params,
            fc_layer_params=fc_layer_params,
            activation=activation,
            kernel_initializer=kernel_initializer,
        )


@configurable
class QRNNNetwork(QNetworkBase):
    """Q values with LSTM cells before ``value_fc_layer_params``.

    The arguments are those of :class:`QNetwork` and :class:`.LSTMEncodingNetwork`.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        action_spec: BoundedTensorSpec,
        input_preprocessors: Any = None,
        preprocessing_combiner: Callable[[Any], Any] | None = None,
        conv_layer_params: Sequence[Any] | None = None,
        fc_layer_params: Sequence[int] | None = None,
        lstm_hidden_size: int | Sequence[int] = 100,
        value_fc_layer_params: Sequence[int] | None = None,
        activation: Activation = torch.relu_,
        kernel_initializer: Initializer | None = None,
        use_naive_parallel_network: bool = False,
        name: str = "QRNNNetwork",
    ) -> None:
        super().__init__(
            input_tensor_spec,
            action_spec,
            LSTMEncodingNetwork,
            use_naive_parallel_network,
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


class ParallelQNetwork(Network):
    """n independent networks like ``q_network``; values [B, n, number of actions]."""

    def __init__(self, q_network: QNetworkBase, n: int, name: str = "ParallelQNetwork") -> None:
        super().__init__(
            q_network.input_tensor_spec, make_parallel_spec(q_network.state_spec, n), name
        )
        encoder = q_network._encoding_net
        self._encoding_net = encoder.make_parallel(n, allow_non_parallel_input=True)
        self._output_spec = TensorSpec((n, *encoder.output_spec.shape))

    @property
    def state_spec(self) -> Any:
        return self._state_spec

    def forward(self, inputs: Any, state: Any = ()) -> tuple[Tensor, Any]:
        return self._encoding_net(inputs, state)
