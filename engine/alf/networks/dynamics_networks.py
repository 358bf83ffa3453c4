"""Networks that predict what follows an action."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from alf.config_util import configurable
from alf.initializers import small_uniform_init
from alf.layers import make_parallel_spec
from alf.nest.utils import NestConcat
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.network import Network
from alf.networks.projection_networks import NormalProjectionNetwork
from alf.tensor_specs import TensorSpec
from alf.utils.math_ops import identity


@configurable
class DynamicsNetwork(Network):
    """A prediction from (observation, action): a vector, or a distribution of vectors.

    Args:
        input_tensor_spec: (observation_spec, action_spec), each one tensor of rank 1.
        output_tensor_spec: spec of the prediction, of rank 1.
        joint_fc_layer_params: sizes of the layers after both are concatenated.
        activation: of those layers.
        kernel_initializer: of those layers; None for variance scaling.
        prob: predict a distribution.
        continuous_projection_net_ctor: makes its last part, called with the size of the encoding
            and ``output_tensor_spec``.
        name: for printing.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        output_tensor_spec: TensorSpec,
        joint_fc_layer_params: Sequence[int] | None = None,
        activation: Callable[[Tensor], Tensor] = torch.relu_,
        kernel_initializer: Callable[[Tensor], Any] | None = None,
        prob: bool = False,
        continuous_projection_net_ctor: Callable[..., Network] = NormalProjectionNetwork,
        name: str = "DynamicsNetwork",
    ) -> None:
        super().__init__(input_tensor_spec, (), name)
        if not isinstance(input_tensor_spec, list | tuple) or len(input_tensor_spec) != 2:
            raise ValueError(
                f"{name}: input_tensor_spec must be (observation_spec, action_spec), "
                f"got {input_tensor_spec}"
            )
        last: dict[str, Any] = {}
        if not prob:
            last["last_layer_size"] = output_tensor_spec.numel
            last["last_activation"] = identity
            last["last_kernel_initializer"] = small_uniform_init(0.03)
        self._joint_encoder = EncodingNetwork(
            input_tensor_spec,
            preprocessing_combiner=NestConcat(),
            fc_layer_params=joint_fc_layer_params,
            activation=activation,
            kernel_initializer=kernel_initializer,
            name=f"{name}.joint_encoder",
            **last,
        )
        self._projection_net: Any = None
        if prob:
            size = self._joint_encoder.output_spec.shape[0]
            self._projection_net = continuous_projection_net_ctor(size, output_tensor_spec)

    def forward(self, inputs: Any, state: Any = ()) -> tuple[Any, Any]:
        encoding, _ = self._joint_encoder(inputs)
        if self._projection_net is None:
            return encoding, state
        return self._projection_net(encoding)[0], state

    def make_parallel(self, n: int) -> Network:
        """n independent predictors; inputs and outputs have a replica axis after the batch."""
        return ParallelDynamicsNetwork(self, n, name=f"parallel_{self.name}")


@configurable
class ParallelDynamicsNetwork(Network):
    """n independent networks like ``dynamics_network`` as one.

    Inputs are [B, ...], shared by the replicas, or [B, n, ...]; outputs [B, n, ...].
    """

    def __init__(
        self, dynamics_network: DynamicsNetwork, n: int, name: str = "ParallelDynamicsNetwork"
    ) -> None:
        super().__init__(make_parallel_spec(dynamics_network.input_tensor_spec, n), (), name)
        self._joint_encoder = dynamics_network._joint_encoder.make_parallel(n)
        self._projection_net: Any = None
        if dynamics_network._projection_net is not None:
            self._projection_net = dynamics_network._projection_net.make_parallel(n)

    def forward(self, inputs: Any, state: Any = ()) -> tuple[Any, Any]:
        encoding, _ = self._joint_encoder(inputs)
        if self._projection_net is None:
            return encoding, state
        return self._projection_net(encoding)[0], state
