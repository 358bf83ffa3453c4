"""A decoder trained to give a target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from alf.algorithms.algorithm import Algorithm
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo
from alf.networks.network import Network

__all__ = ["DecodingAlgorithm"]


@configurable
class DecodingAlgorithm(Algorithm):
    """Decodes an input; the loss compares the result with a target.

    Args:
        decoder: from the input to the prediction.
        loss: called with prediction and target; it must keep the batch axis. What it gives is
            summed over all other axes.
        loss_weight: factor of the loss.
    """

    def __init__(
        self,
        decoder: Network,
        loss: Callable[[Tensor, Tensor], Tensor] = nn.MSELoss(reduction="none"),
        loss_weight: float = 1.0,
        name: str = "DecodingAlgorithm",
    ) -> None:
        super().__init__(train_state_spec=decoder.state_spec, name=name)
        self._decoder = decoder
        self._loss = loss
        self._loss_weight = loss_weight

    def train_step(
        self, inputs: tuple[Tensor, Tensor], state: Any = (), rollout_info: Any = None
    ) -> AlgStep:
        """Decode.

        Args:
            inputs: pair of the decoder's input [B, ...] and the target [B, ...].
            state: of the decoder.

        Returns:
            The prediction as output; the loss [B] as info.

        Raises:
            ValueError: prediction and target have different shapes, or the loss is a scalar.
        """
        x, target = inputs
        prediction, state = self._decoder(x, state)
        if prediction.shape != target.shape:
            raise ValueError(
                f"{self.name} predicts {tuple(prediction.shape)}; its target has the shape "
                f"{tuple(target.shape)}."
            )
        loss = self._loss(prediction, target)
        if loss.ndim == 0:
            raise ValueError(f"{self.name}: the loss must keep the batch axis, it gives a scalar.")
        loss = loss.reshape(loss.shape[0], -1).sum(1)
        return AlgStep(output=prediction, state=state, info=LossInfo(loss=self._loss_weight * loss))
