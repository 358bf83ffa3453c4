"""An encoder as the representation learner of an agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from alf.algorithms.algorithm import Algorithm
from alf.algorithms.config import TrainerConfig
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep, time_step_spec
from alf.nest import nest
from alf.nest.utils import get_nested_field
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.network import Network
from alf.tensor_specs import TensorSpec

__all__ = ["EncodingAlgorithm"]


@configurable
class EncodingAlgorithm(Algorithm):
    """Outputs the encoding of an observation; parts of the encoder's output can be its losses.

    The encoder is trained by the losses of whoever uses the encoding, and by those.
    """

    def __init__(
        self,
        observation_spec: Any,
        action_spec: Any,
        reward_spec: TensorSpec = TensorSpec(()),
        encoder_cls: Callable[..., Network] = EncodingNetwork,
        time_step_as_input: bool = False,
        output_fields: Any = None,
        loss_fields: Any = None,
        loss_weights: Any = None,
        optimizer: torch.optim.Optimizer | None = None,
        config: TrainerConfig | None = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "EncodingAlgorithm",
    ) -> None:
        """Build the encoder.

        Args:
            encoder_cls: called with the spec of its input.
            time_step_as_input: encode the whole TimeStep instead of the observation.
            output_fields: nest of dotted names of the parts of the encoder's output which are the
                encoding; None is all of it.
            loss_fields: nest of dotted names of the parts [B] which are losses.
            loss_weights: nest of numbers like ``loss_fields``; None is all ones.
            optimizer: must be without parameters; the algorithm uses its own copy.

        Raises:
            ValueError: there are weights but no losses, or a loss is not one number for a row.
        """
        if loss_weights is not None and loss_fields is None:
            raise ValueError(f"{name} has loss_weights={loss_weights}, but no loss_fields.")
        (optimizer,) = own_optimizers(optimizer)
        input_spec = observation_spec
        if time_step_as_input:
            input_spec = time_step_spec(observation_spec, action_spec, reward_spec)
        encoder = encoder_cls(input_spec)
        super().__init__(
            train_state_spec=encoder.state_spec,
            optimizer=optimizer,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._encoder = encoder
        self._time_step_as_input = time_step_as_input
        self._output_fields = output_fields
        self._loss_fields = loss_fields
        if loss_weights is None and loss_fields is not None:
            loss_weights = nest.map_structure(lambda _: 1.0, loss_fields)
        self._loss_weights = loss_weights
        self._output_spec = self._output_of(encoder.output_spec)
        if loss_fields is not None:
            for spec in nest.flatten(get_nested_field(encoder.output_spec, loss_fields)):
                if spec.ndim:
                    raise ValueError(
                        f"{name} takes losses that are one number for each row; loss_fields "
                        f"{loss_fields} has one of shape {tuple(spec.shape)}."
                    )

    @property
    def output_spec(self) -> Any:
        """Spec of the encoding."""
        return self._output_spec

    def _output_of(self, encoded: Any) -> Any:
        if self._output_fields is None:
            return encoded
        return get_nested_field(encoded, self._output_fields)

    def predict_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        encoded, state = self._encode(inputs, state)
        return AlgStep(output=self._output_of(encoded), state=state)

    def rollout_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        """The encoding; its losses are needed where the training is on-policy."""
        if self.on_policy:
            return self.train_step(inputs, state)
        return self.predict_step(inputs, state)

    def train_step(self, inputs: TimeStep, state: Any, rollout_info: Any = None) -> AlgStep:
        encoded, state = self._encode(inputs, state)
        return AlgStep(output=self._output_of(encoded), state=state, info=self._losses(encoded))

    def _encode(self, inputs: TimeStep, state: Any) -> tuple[Any, Any]:
        if not self._time_step_as_input:
            return self._encoder(inputs.observation, state)
        # The encoder was made for what is documented of a time step, nothing else of it.
        return self._encoder(inputs._replace(untransformed=(), env_info=()), state)

    def _losses(self, encoded: Any) -> LossInfo:
        if self._loss_fields is None:
            return LossInfo()
        losses = get_nested_field(encoded, self._loss_fields)
        weighted = nest.map_structure(lambda x, w: x * w, losses, self._loss_weights)
        parts: list[Tensor] = nest.flatten(weighted)
        return LossInfo(loss=torch.stack(parts).sum(0), extra=losses)
