"""Actor networks that give action distributions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor

from alf.config_util import configurable
from alf.layers import make_parallel_spec
from alf.nest import nest
from alf.networks._projection_parts import ActionRange, check_continuous
from alf.networks.encoding_networks import EncodingNetwork, LSTMEncodingNetwork
from alf.networks.network import Network, nested_modules
from alf.networks.normalizing_flow_networks import RealNVPNetwork
from alf.networks.projection_networks import (
    CategoricalProjectionNetwork,
    NormalProjectionNetwork,
    make_projection_nets,
)
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.dist_utils import (
    AffineTransform,
    DiagMultivariateNormal,
    StableTanh,
    transformed_distribution,
)

Activation = Callable[[Tensor], Tensor]
Initializer = Callable[[Tensor], Any]


@configurable
class ActorDistributionNetworkBase(Network):
    """An encoding network, then a projection network for each action.

    Args:
        input_tensor_spec: nest of TensorSpec of the observations.
        action_spec: nest of TensorSpec of the actions.
        encoding_network_ctor: called with ``input_tensor_spec`` and ``encoder_kwargs``.
        discrete_projection_net_ctor: called with the encoding's size and one discrete
            ``action_spec``.
        continuous_projection_net_ctor: the same for a continuous one.
        name: for printing.
        encoder_kwargs: arguments of the encoding network.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        action_spec: Any,
        encoding_network_ctor: Callable[..., EncodingNetwork | LSTMEncodingNetwork],
        discrete_projection_net_ctor: Callable[..., Network],
        continuous_projection_net_ctor: Callable[..., Network],
        name: str = "ActorDistributionNetworkBase",
        **encoder_kwargs: Any,
    ) -> None:
        encoder = encoding_network_ctor(input_tensor_spec=input_tensor_spec, **encoder_kwargs)
        super().__init__(input_tensor_spec, encoder.state_spec, name)
        self._action_spec = action_spec
        self._encoding_net = encoder
        self._projection_net = make_projection_nets(
            encoder.output_spec.shape[0],
            action_spec,
            discrete_projection_net_ctor,
            continuous_projection_net_ctor,
        )
        self._projection_modules = nested_modules(self._projection_net)

    @property
    def state_spec(self) -> Any:
        return self._state_spec

    def forward(self, observation: Any, state: Any = ()) -> tuple[Any, Any]:
        encoding, state = self._encoding_net(observation, state)
        return _project(self._projection_net, encoding), state

    def make_parallel(self, n: int) -> Network:
        """n independent actors; the batch shape of the distributions is [B, n]."""
        return ParallelActorDistributionNetwork(self, n, f"parallel_{self.name}")


def _project(projection_net: Any, encoding: Tensor) -> Any:
    if isinstance(projection_net, Network):
        return projection_net(encoding)[0]
    return nest.map_structure(lambda net: net(encoding)[0], projection_net)


@configurable
class ActorDistributionNetwork(ActorDistributionNetworkBase):
    """Action distributions without memory.

    Args:
        input_tensor_spec: nest of TensorSpec of the observations.
        action_spec: nest of TensorSpec of the actions.
        discrete_projection_net_ctor: makes the last part for each discrete action.
        continuous_projection_net_ctor: makes the last part for each continuous action.
        name: for printing.

    The other arguments are those of :class:`.EncodingNetwork`.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        action_spec: Any,
        input_preprocessors: Any = None,
        input_preprocessors_ctor: Callable[[Any], Any] | None = None,
        preprocessing_combiner: Callable[[Any], Any] | None = None,
        conv_layer_params: Sequence[Any] | None = None,
        fc_layer_params: Sequence[int] | None = None,
        activation: Activation = torch.relu_,
        kernel_initializer: Initializer | None = None,
        use_fc_bn: bool = False,
        use_fc_ln: bool = False,
        discrete_projection_net_ctor: Callable[..., Network] = CategoricalProjectionNetwork,
        continuous_projection_net_ctor: Callable[..., Network] = NormalProjectionNetwork,
        name: str = "ActorDistributionNetwork",
    ) -> None:
        super().__init__(
            input_tensor_spec,
            action_spec,
            EncodingNetwork,
            discrete_projection_net_ctor,
            continuous_projection_net_ctor,
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
class ActorDistributionRNNNetwork(ActorDistributionNetworkBase):
    """Action distributions with LSTM cells between the encoding and ``actor_fc_layer_params``.

    The arguments are those of :class:`ActorDistributionNetwork` and :class:`.LSTMEncodingNetwork`.
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
        kernel_initializer: Initializer | None = None,
        discrete_projection_net_ctor: Callable[..., Network] = CategoricalProjectionNetwork,
        continuous_projection_net_ctor: Callable[..., Network] = NormalProjectionNetwork,
        name: str = "ActorRNNDistributionNetwork",
    ) -> None:
        super().__init__(
            input_tensor_spec,
            action_spec,
            LSTMEncodingNetwork,
            discrete_projection_net_ctor,
            continuous_projection_net_ctor,
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


class ParallelActorDistributionNetwork(Network):
    """n independent actors like ``actor_network``; batch shape [B, n]."""

    def __init__(
        self,
        actor_network: ActorDistributionNetworkBase,
        n: int,
        name: str = "ParallelActorDistributionNetwork",
    ) -> None:
        super().__init__(
            actor_network.input_tensor_spec, make_parallel_spec(actor_network.state_spec, n), name
        )
        encoder = actor_network._encoding_net
        self._encoding_net = encoder.make_parallel(n, allow_non_parallel_input=True)
        self._projection_net = nest.map_structure(
            lambda net: net.make_parallel(n), actor_network._projection_net
        )
        self._projection_modules = nested_modules(self._projection_net)

    @property
    def state_spec(self) -> Any:
        return self._state_spec

    def forward(self, observation: Any, state: Any = ()) -> tuple[Any, Any]:
        encoding, state = self._encoding_net(observation, state)
        return _project(self._projection_net, encoding), state


@configurable
class UnitNormalActorDistributionNetwork(Network):
    """Standard normal distributions whatever the input.

    Args:
        input_tensor_spec: nest of TensorSpec of the inputs, of which only the batch size matters.
        action_spec: one continuous TensorSpec of rank 1.
        name: for printing.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        action_spec: TensorSpec,
        name: str = "UnitNormalActorDistributionNetwork",
    ) -> None:
        super().__init__(input_tensor_spec, (), name)
        if not isinstance(action_spec, TensorSpec) or action_spec.is_discrete:
            raise ValueError(f"{name}: the action must be one continuous tensor, got {action_spec}")
        self._shape = tuple(action_spec.shape)

    def forward(self, inputs: Any, state: Any = ()) -> tuple[DiagMultivariateNormal, Any]:
        first = nest.flatten(inputs)[0]
        shape = (first.shape[0], *self._shape)
        zeros = torch.zeros(shape, device=first.device)
        return DiagMultivariateNormal(zeros, torch.ones_like(zeros)), state


@configurable
class LatentActorDistributionNetwork(Network):
    """A simple distribution pushed through a normalising flow.

    Haarnoja et al., arXiv:1804.02808, section 4: latent actions of a prior policy become actions by
    an invertible map that may depend on the observation.

    Args:
        input_tensor_spec: nest of TensorSpec of the observations.
        action_spec: one continuous TensorSpec of rank 1; bounded if scaled.
        prior_actor_distribution_network_ctor: makes the network of the latent distribution, called
            with ``input_tensor_spec`` and ``action_spec``.
        normalizing_flow_network_ctor: makes the flow, called with ``input_tensor_spec`` (that of
            the action) and ``conditional_input_tensor_spec``.
        conditional_flow: the flow depends on the observation.
        scale_distribution: squash the samples by ``dist_squashing_transform``, then scale and shift
            them into the action's range.
        dist_squashing_transform: an invertible transform from all numbers to (-1, 1).
        name: for printing.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        action_spec: TensorSpec,
        prior_actor_distribution_network_ctor: Callable[
            ..., Network
        ] = UnitNormalActorDistributionNetwork,
        normalizing_flow_network_ctor: Callable[..., Any] = RealNVPNetwork,
        conditional_flow: bool = True,
        scale_distribution: bool = False,
        dist_squashing_transform: td.Transform = StableTanh(),
        name: str = "LatentActorDistributionNetwork",
    ) -> None:
        super().__init__(input_tensor_spec, (), name)
        check_continuous(action_spec, name, bounded=scale_distribution)
        self._prior = prior_actor_distribution_network_ctor(
            input_tensor_spec=input_tensor_spec, action_spec=action_spec
        )
        if self._prior.state_spec != ():
            raise ValueError(f"{name}: the network of the latent distribution must have no state")
        self._flow = normalizing_flow_network_ctor(
            input_tensor_spec=TensorSpec(action_spec.shape),
            conditional_input_tensor_spec=input_tensor_spec if conditional_flow else None,
        )
        self._range = None
        if scale_distribution:
            assert isinstance(action_spec, BoundedTensorSpec)
            self._range = ActionRange(action_spec)
        self._squash = dist_squashing_transform

    def forward(self, inputs: Any, state: Any = ()) -> tuple[td.Distribution, Any]:
        latent, _ = self._prior(inputs)
        z = inputs if self._flow.use_conditional_inputs else None
        transforms = [self._flow.make_invertible_transform(z)]
        if self._range is not None:
            transforms.append(self._squash)
            if not self._range.is_unit:
                transforms.append(AffineTransform(self._range.middle, self._range.half_width))
            transforms.extend(self._range.fixing())
        return transformed_distribution(latent, transforms), state
