"""The network of phasic policy gradient: policy, value and auxiliary value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alf.config_util import configurable
from alf.layers import FC
from alf.nest import nest
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.network import Network, nested_modules
from alf.networks.projection_networks import (
    CategoricalProjectionNetwork,
    NormalProjectionNetwork,
    make_projection_nets,
)
from alf.utils._policy_state import detach

__all__ = ["DisjointPolicyValueNetwork"]


@configurable
class DisjointPolicyValueNetwork(Network):
    """A policy and two values of an observation (arXiv:2009.04416, sections 2.1 and 3.6).

    * Disjoint ("dual"): the policy and the auxiliary value share one encoder, the value has another
      of its own.
    * With ``is_sharing_encoder`` there is one encoder; the value does not train it.
    """

    def __init__(
        self,
        observation_spec: Any,
        action_spec: Any,
        encoding_network_ctor: Callable[..., Network] = EncodingNetwork,
        is_sharing_encoder: bool = False,
        discrete_projection_net_ctor: Callable[..., Network] = CategoricalProjectionNetwork,
        continuous_projection_net_ctor: Callable[..., Network] = NormalProjectionNetwork,
        name: str = "DisjointPolicyValueNetwork",
    ) -> None:
        """Build encoders and heads.

        Args:
            observation_spec: nest of TensorSpec.
            action_spec: nest of BoundedTensorSpec.
            encoding_network_ctor: called with ``input_tensor_spec``; its output is a vector.
            discrete_projection_net_ctor: makes the last part for each discrete action.
            continuous_projection_net_ctor: makes the last part for each continuous action.
        """
        encoder = encoding_network_ctor(input_tensor_spec=observation_spec)
        value_encoder = None
        state_spec = encoder.state_spec
        if not is_sharing_encoder:
            value_encoder = encoding_network_ctor(input_tensor_spec=observation_spec)
            if nest.flatten(state_spec):
                state_spec = (state_spec, value_encoder.state_spec)
        super().__init__(observation_spec, state_spec, name)
        self._encoder = encoder
        self._value_encoder = value_encoder
        size = encoder.output_spec.shape[0]
        self._policy_head = make_projection_nets(
            size, action_spec, discrete_projection_net_ctor, continuous_projection_net_ctor
        )
        self._policy_modules = nested_modules(self._policy_head)
        self._value_head = FC(size, 1)
        self._aux_head = FC(size, 1)

    def forward(
        self, observation: Any, state: Any = (), require_aux: bool = True
    ) -> tuple[tuple[Any, Any, Any], Any]:
        """The triple (nest of action distributions, value [B], auxiliary value [B]) and the state.

        Args:
            observation: [B, ...].
            require_aux: else the auxiliary value is ``()``.
        """
        if self._value_encoder is None:
            encoding, state = self._encoder(observation, state)
            value_encoding = detach(encoding)
        else:
            has_state = state != ()
            own, values = state if has_state else ((), ())
            encoding, own = self._encoder(observation, own)
            value_encoding, values = self._value_encoder(observation, values)
            state = (own, values) if has_state else ()
        distribution = nest.map_structure(lambda head: head(encoding)[0], self._policy_head)
        value = self._value_head(value_encoding).squeeze(-1)
        aux = self._aux_head(encoding).squeeze(-1) if require_aux else ()
        return (distribution, value, aux), state
