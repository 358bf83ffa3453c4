"""Critic networks: the value of (observation, action)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from alf.config_util import configurable
from alf.initializers import small_uniform_init
from alf.nest.utils import NestConcat
from alf.networks._critic_parts import encoder_if_needed, input_specs
from alf.networks._quantile_critic import CriticQuantileNetwork
from alf.networks.encoding_networks import EncodingNetwork, LSTMEncodingNetwork
from alf.networks.network import NaiveParallelNetwork, Network
from alf.tensor_specs import TensorSpec
from alf.utils.math_ops import identity

__all__ = ["CriticNetwork", "CriticQuantileNetwork", "CriticRNNNetwork"]

Activation = Callable[[Tensor], Tensor]
Initializer = Callable[[Tensor], Any]


@configurable
class CriticNetwork(EncodingNetwork):
    """Q(observation, action): both are encoded, combined, and encoded together.

    Args:
        input_tensor_spec: (observation_spec, action_spec).
        output_tensor_spec: spec of the value; its shape is that of the reward.
        observation_input_processors: input preprocessors of the observation.
        observation_input_processors_ctor: called with the observation's spec to make them instead.
        observation_preprocessing_combiner: combiner of a nested observation.
        observation_conv_layer_params: convolutions of the observation.
        observation_fc_layer_params: layers of the observation alone.
        action_input_processors: input preprocessors of the action.
        action_input_processors_ctor: called with the action's spec to make them instead.
        action_preprocessing_combiner: combiner of a nested action.
        action_fc_layer_params: layers of the action alone.
        observation_action_combiner: combines the two encodings; None for NestConcat.
        joint_fc_layer_params: layers after that.
        activation: of all layers but the last.
        kernel_initializer: of all layers but the last; None for variance scaling.
        use_fc_bn: batch normalisation in all layers but the last.
        use_fc_ln: layer normalisation in all layers but the last.
        last_use_fc_bn: batch normalisation in the last layer.
        last_use_fc_ln: layer normalisation in the last layer.
        last_layer_activation: of the last layer.
        use_naive_parallel_network: :meth:`make_parallel` calls copies one after another.
        name: for printing.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
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
        joint_fc_layer_params: Sequence[int] | None = None,
        activation: Activation = torch.relu_,
        kernel_initializer: Initializer | None = None,
        use_fc_bn: bool = False,
        use_fc_ln: bool = False,
        last_use_fc_bn: bool = False,
        last_use_fc_ln: bool = False,
        last_layer_activation: Activation = identity,
        use_naive_parallel_network: bool = False,
        name: str = "CriticNetwork",
    ) -> None:
        observation_spec, action_spec = input_specs(input_tensor_spec, name)
        encoders = [
            encoder_if_needed(
                observation_spec,
                input_preprocessors=observation_input_processors,
                input_preprocessors_ctor=observation_input_processors_ctor,
                preprocessing_combiner=observation_preprocessing_combiner,
                conv_layer_params=observation_conv_layer_params,
                fc_layer_params=observation_fc_layer_params,
                activation=activation,
                kernel_initializer=kernel_initializer,
                use_fc_bn=use_fc_bn,
                use_fc_ln=use_fc_ln,
                name=f"{name}.obs_encoder",
            ),
            encoder_if_needed(
                action_spec,
                input_preprocessors=action_input_processors,
                input_preprocessors_ctor=action_input_processors_ctor,
                preprocessing_combiner=action_preprocessing_combiner,
                fc_layer_params=action_fc_layer_params,
                activation=activation,
                kernel_initializer=kernel_initializer,
                use_fc_bn=use_fc_bn,
                use_fc_ln=use_fc_ln,
                name=f"{name}.action_encoder",
            ),
        ]
        super().__init__(
            input_tensor_spec,
            output_tensor_spec=output_tensor_spec,
            input_preprocessors=type(input_tensor_spec)(encoders),
            preprocessing_combiner=observation_action_combiner or NestConcat(),
            fc_layer_params=joint_fc_layer_params,
            activation=activation,
            kernel_initializer=kernel_initializer,
            use_fc_bn=use_fc_bn,
            use_fc_ln=use_fc_ln,
            last_layer_size=output_tensor_spec.numel,
            last_activation=last_layer_activation,
            last_kernel_initializer=small_uniform_init(0.003),
            last_use_fc_bn=last_use_fc_bn,
            last_use_fc_ln=last_use_fc_ln,
            name=name,
        )
        self._use_naive_parallel_network = use_naive_parallel_network

    def make_parallel(self, n: int) -> Network:  # type: ignore[override]
        """n independent critics; the values have shape [B, n, ...].

        Observation and action may each be [B, ...] or [B, n, ...].
        """
        if self._use_naive_parallel_network:
            return NaiveParallelNetwork(self, n)
        return super().make_parallel(n, allow_non_parallel_input=True)


@configurable
class CriticRNNNetwork(LSTMEncodingNetwork):
    """Q(observation, action) with LSTM cells before ``critic_fc_layer_params``.

    The other arguments are those of :class:`CriticNetwork` and :class:`.LSTMEncodingNetwork`.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        output_tensor_spec: TensorSpec = TensorSpec(()),
        observation_input_processors: Any = None,
        observation_preprocessing_combiner: Callable[[Any], Any] | None = None,
        observation_conv_layer_params: Sequence[Any] | None = None,
        observation_fc_layer_params: Sequence[int] | None = None,
        action_input_processors: Any = None,
        action_preprocessing_combiner: Callable[[Any], Any] | None = None,
        action_fc_layer_params: Sequence[int] | None = None,
        joint_fc_layer_params: Sequence[int] | None = None,
        lstm_hidden_size: int | Sequence[int] = 100,
        critic_fc_layer_params: Sequence[int] | None = None,
        activation: Activation = torch.relu_,
        kernel_initializer: Initializer | None = None,
        name: str = "CriticRNNNetwork",
    ) -> None:
        observation_spec, action_spec = input_specs(input_tensor_spec, name)
        encoders = [
            encoder_if_needed(
                observation_spec,
                input_preprocessors=observation_input_processors,
                preprocessing_combiner=observation_preprocessing_combiner,
                conv_layer_params=observation_conv_layer_params,
                fc_layer_params=observation_fc_layer_params,
                activation=activation,
                kernel_initializer=kernel_initializer,
                name=f"{name}.obs_encoder",
            ),
            encoder_if_needed(
                action_spec,
                input_preprocessors=action_input_processors,
                preprocessing_combiner=action_preprocessing_combiner,
                fc_layer_params=action_fc_layer_params,
                activation=activation,
                kernel_initializer=kernel_initializer,
                name=f"{name}.action_encoder",
            ),
        ]
        super().__init__(
            input_tensor_spec,
            output_tensor_spec=output_tensor_spec,
            input_preprocessors=type(input_tensor_spec)(encoders),
            preprocessing_combiner=NestConcat(),
            pre_fc_layer_params=joint_fc_layer_params,
            hidden_size=lstm_hidden_size,
            post_fc_layer_params=critic_fc_layer_params,
            activation=activation,
            kernel_initializer=kernel_initializer,
            last_layer_size=output_tensor_spec.numel,
            last_activation=identity,
            last_kernel_initializer=small_uniform_init(0.003),
            name=name,
        )

    def make_parallel(self, n: int) -> Network:  # type: ignore[override]
        """n independent critics; the values have shape [B, n, ...]."""
        return super().make_parallel(n, allow_non_parallel_input=True)
