"""A critic of quantiles of the return."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from alf.config_util import configurable
from alf.initializers import small_uniform_init
from alf.nest.utils import NestConcat
from alf.networks._critic_parts import encoder_if_needed, input_specs
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.network import NaiveParallelNetwork, Network
from alf.tensor_specs import TensorSpec
from alf.utils.math_ops import identity

PUBLIC_MODULE = "alf.networks.critic_networks"  # under which these names are configured

Activation = Callable[[Tensor], Tensor]
Initializer = Callable[[Tensor], Any]


class _Quantiles(Network):
    """The product of encodings, of one critic or of replicas."""

    _obs_act: Any
    _embedding: Any
    _tau: Any
    _joint: Any

    def _values(self, inputs: Any) -> Tensor:
        """Values [B, N, ...], of replicas [B, N, n, ...]."""
        obs_act, tau = inputs
        encoding = self._obs_act(obs_act)[0].unsqueeze(1)
        embedded = self._embedding(tau)
        if isinstance(embedded, tuple):  # of a network
            embedded = embedded[0]
        quantiles = self._tau(embedded.flatten(0, 1))[0].unflatten(0, tau.shape)
        values = self._joint((encoding * quantiles).flatten(0, 1))[0]
        return values.unflatten(0, tau.shape)


@configurable
class CriticQuantileNetwork(_Quantiles):
    """Values of quantiles of the return of (observation, action).

    Implicit quantile networks (Dabney et al., arXiv:1806.06923, section 3): the encoding of
    observation and action is multiplied with an embedding of each quantile fraction tau. The inputs
    are ``((observation, action), tau)`` with tau [B, N], the values [B, N, ...].

    Args:
        input_tensor_spec: (observation_spec, action_spec).
        tau_spec: spec of tau, of shape (N,).
        output_tensor_spec: spec of the value; its shape is that of the reward.
        observation_input_processors: see :class:`.CriticNetwork`, as for the next nine.
        obs_act_activation: of the layers before the product.
        tau_embedding_dim: number of cosines of a tau.
        tau_input_processors: embeds tau [B, N] as [B, N, tau_embedding_dim] instead of cosines.
        tau_fc_layer_params: sizes of the layers after the embedding; None: one of the embedding's
            size. The encoding of observation and action ends with a layer of the last size.
        tau_activation: of those layers.
        obs_act_tau_joint_fc_layer_params: sizes of the layers after the product, which have ReLU.
        use_fc_bn: batch normalisation in all layers but the last.
        use_fc_ln: layer normalisation in all layers but the last.
        kernel_initializer: of all layers but the last; None for variance scaling.
        last_kernel_initializer: of the last layer; None for small uniform numbers.
        use_naive_parallel_network: :meth:`make_parallel` calls copies one after another.
        name: for printing.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        tau_spec: TensorSpec,
        output_tensor_spec: TensorSpec = TensorSpec(()),
        observation_input_processors: Any = None,
        observation_input_processors_ctor: Callable[[Any], Any] | None = None,
        observation_preprocessing_combiner: Callable[[Any], Any] | None = None,
        observation_conv_layer_params: Sequence[Any] | None = None,
        observation_fc_layer_params: Sequence[int] | None = None,
        action_input_processors: Any = None,
        action_input_processors_ctor: Callable[[Any], Any] | None = None,
        action_preprocessing_combiner: Callable[[Any], Any] | None = None,
        action_fc_layer_params: Sequence[int] | None = None,
        observation_action_combiner: Callable[[Any], Any] | None = None,
        obs_act_joint_fc_layer_params: Sequence[int] | None = None,
        obs_act_activation: Activation = torch.relu_,
        tau_embedding_dim: int = 64,
        tau_input_processors: Any = None,
        tau_fc_layer_params: Sequence[int] | None = None,
        tau_activation: Activation = torch.sigmoid,
        obs_act_tau_joint_fc_layer_params: Sequence[int] | None = None,
        use_fc_bn: bool = False,
        use_fc_ln: bool = True,
        kernel_initializer: Initializer | None = None,
        last_kernel_initializer: Initializer | None = None,
        use_naive_parallel_network: bool = False,
        name: str = "CriticQuantileNetwork",
    ) -> None:
        super().__init__((input_tensor_spec, tau_spec), (), name)
        observation_spec, action_spec = input_specs(input_tensor_spec, name)
        if tau_spec.ndim != 1:
            raise ValueError(f"{name}: tau must have shape [N], got {tau_spec}")
        layers: dict[str, Any] = {
            "kernel_initializer": kernel_initializer,
            "use_fc_bn": use_fc_bn,
            "use_fc_ln": use_fc_ln,
        }
        encoders = [
            encoder_if_needed(
                observation_spec,
                input_preprocessors=observation_input_processors,
                input_preprocessors_ctor=observation_input_processors_ctor,
                preprocessing_combiner=observation_preprocessing_combiner,
                conv_layer_params=observation_conv_layer_params,
                fc_layer_params=observation_fc_layer_params,
                activation=obs_act_activation,
                name=f"{name}.obs_encoder",
                **layers,
            ),
            encoder_if_needed(
                action_spec,
                input_preprocessors=action_input_processors,
                input_preprocessors_ctor=action_input_processors_ctor,
                preprocessing_combiner=action_preprocessing_combiner,
                fc_layer_params=action_fc_layer_params,
                activation=obs_act_activation,
                name=f"{name}.action_encoder",
                **layers,
            ),
        ]
        tau_layers = tuple(tau_fc_layer_params or (tau_embedding_dim,))
        self._obs_act = EncodingNetwork(
            input_tensor_spec,
            input_preprocessors=type(input_tensor_spec)(encoders),
            preprocessing_combiner=observation_action_combiner or NestConcat(),
            fc_layer_params=(*(obs_act_joint_fc_layer_params or ()), tau_layers[-1]),
            activation=obs_act_activation,
            name=f"{name}.obs_act_encoder",
            **layers,
        )
        self._embedding = tau_input_processors or _Cosines(tau_embedding_dim)
        self._tau = EncodingNetwork(
            TensorSpec((tau_embedding_dim,)),
            fc_layer_params=tau_layers,
            activation=tau_activation,
            name=f"{name}.tau_encoder",
            **layers,
        )
        spec = self._obs_act.output_spec
        self._joint = EncodingNetwork(
            spec,
            output_tensor_spec=output_tensor_spec,
            fc_layer_params=obs_act_tau_joint_fc_layer_params,
            last_layer_size=output_tensor_spec.numel,
            last_activation=identity,
            last_kernel_initializer=last_kernel_initializer or small_uniform_init(0.003),
            name=f"{name}.joint",
            **layers,
        )
        self._use_naive_parallel_network = use_naive_parallel_network

    def forward(self, inputs: Any, state: Any = ()) -> tuple[Tensor, Any]:
        return self._values(inputs), state

    def make_parallel(self, n: int) -> Network:
        """n independent critics that see the same tau; the values have shape [B, n, N, ...]."""
        if self._use_naive_parallel_network:
            return NaiveParallelNetwork(self, n)
        return _ParallelQuantiles(self, n)


class _ParallelQuantiles(_Quantiles):
    """n critics like ``single``."""

    def __init__(self, single: CriticQuantileNetwork, n: int) -> None:
        super().__init__(single.input_tensor_spec, (), f"parallel_{single.name}")
        self._obs_act = single._obs_act.make_parallel(n, allow_non_parallel_input=True)
        self._embedding = single._embedding
        self._tau = single._tau.make_parallel(n, allow_non_parallel_input=True)
        self._joint = single._joint.make_parallel(n)

    def forward(self, inputs: Any, state: Any = ()) -> tuple[Tensor, Any]:
        return self._values(inputs).transpose(1, 2), state


class _Cosines(torch.nn.Module):
    """``cos(pi i tau)`` for i = 1..n; equation (4) begins with 0, where it is constant."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self._n = n

    def forward(self, tau: Tensor) -> Tensor:
        i = torch.arange(1, self._n + 1, dtype=tau.dtype, device=tau.device)
        return torch.cos(torch.pi * i * tau.unsqueeze(-1))
