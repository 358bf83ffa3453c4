"""Actor networks that give actions themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from alf.config_util import configurable
from alf.initializers import small_uniform_init
from alf.layers import FC
from alf.nest import nest
from alf.networks._projection_parts import check_continuous
from alf.networks.encoding_networks import EncodingNetwork, LSTMEncodingNetwork
from alf.networks.network import Network, nested_modules
from alf.utils.math_ops import identity
from alf.utils.spec_utils import scale_to_spec

Activation = Callable[[Tensor], Tensor]
Initializer = Callable[[Tensor], Any]


@configurable
class ActorNetworkBase(Network):
    """An encoding network, then a layer for each action.

    Args:
        input_tensor_spec: nest of TensorSpec of the observations.
        action_spec: nest of continuous TensorSpec of rank 1.
        encoding_network_ctor: called with ``input_tensor_spec`` and ``encoder_kwargs``.
        squashing_func: maps the layer's output to [-1, 1], from where it is scaled to the action's
            bounds; None for neither.
        name: for printing.
        encoder_kwargs: arguments of the encoding network.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        action_spec: Any,
        encoding_network_ctor: Callable[..., Network] = EncodingNetwork,
        squashing_func: Activation | None = torch.tanh,
        name: str = "ActorNetworkBase",
        **encoder_kwargs: Any,
    ) -> None:
        encoder = encoding_network_ctor(input_tensor_spec=input_tensor_spec, **encoder_kwargs)
        super().__init__(input_tensor_spec, encoder.state_spec, name)
        for spec in nest.flatten(action_spec):
            check_continuous(spec, name, bounded=True)
        size = encoder.output_spec.shape[0]
        self._encoding_net = encoder
        self._action_spec, self._squashing_func = action_spec, squashing_func
        self._action_layers = nest.map_structure(
            lambda spec: FC(
                size,
                spec.shape[0],
                activation=squashing_func or identity,
                kernel_initializer=small_uniform_init(0.003),
            ),
            action_spec,
        )
        self._action_modules = nested_modules(self._action_layers)

    @property
    def state_spec(self) -> Any:
        return self._state_spec

    def forward(self, observation: Any, state: Any = ()) -> tuple[Any, Any]:
        encoding, state = self._encoding_net(observation, state)
        if self._squashing_func is None:
            return nest.map_structure(lambda layer: layer(encoding), self._action_layers), state
        actions = nest.map_structure(
            lambda layer, spec: scale_to_spec(layer(encoding), spec),
            self._action_layers,
            self._action_spec,
        )
        return actions, state


@configurable
class ActorNetwork(ActorNetworkBase):
    """Actions without memory.

    The arguments are those of :class:`ActorNetworkBase` and :class:`.EncodingNetwork`.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        action_spec: Any,
        input_preprocessors: Any = None,
        preprocessing_combiner: Callable[[Any], Any] | None = None,
        conv_layer_params: Sequence[Any] | None = None,
        fc_layer_params: Sequence[int] | None = None,
        activation: Activation = torch.relu_,
        squashing_func: Activation | None = torch.tanh,
        kernel_initializer: Initializer | None = None,
        name: str = "ActorNetwork",
    ) -> None:
        super().__init__(
            input_tensor_spec,
            action_spec,
            EncodingNetwork,
            squashing_func,
            name=name,
            input_preprocessors=input_preprocessors,
            preprocessing_combiner=preprocessing_combiner,
            conv_layer_params=conv_layer_params,
            fc_layer_params=fc_layer_params,
            activation=activation,
            kernel_initializer=kernel_initializer,
        )


@configurable
class ActorRNNNetwork(ActorNetworkBase):
    """Actions with LSTM cells between the encoding and ``actor_fc_layer_params``.

    The arguments are those of :class:`ActorNetwork` and :class:`.LSTMEncodingNetwork`.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        action_spec: Any,
        input_preprocessors: Any = None,
        preprocessing_combiner: Callable[[Any], Any] | None = None,
        conv_layer_params: Sequence[Any] | None = None,
        fc_layer_params: Sequence[int] | None = None,
        lstm_hidden_size: int | Sequence[int] = 100,
        actor_fc_layer_params: Sequence[int] | None = None,
        activation: Activation = torch.relu_,
        squashing_func: Activation | None = torch.tanh,
        kernel_initializer: Initializer | None = None,
        name: str = "ActorRNNNetwork",
    ) -> None:
        super().__init__(
            input_tensor_spec,
            action_spec,
            LSTMEncodingNetwork,
            squashing_func,
            name=name,
            input_preprocessors=input_preprocessors,
            preprocessing_combiner=preprocessing_combiner,
            conv_layer_params=conv_layer_params,
            pre_fc_layer_params=fc_layer_params,
            hidden_size=lstm_hidden_size,
            post_fc_layer_params=actor_fc_layer_params,
            activation=activation,
            kernel_initializer=kernel_initializer,
        )
