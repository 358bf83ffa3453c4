"""Auto-encoder with a code book (van den Oord et al., arXiv:1711.00937)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from alf.algorithms.algorithm import Algorithm
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, namedtuple
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.network import Network
from alf.tensor_specs import TensorSpec

__all__ = ["Vqvae", "VqvaeLossInfo"]

VqvaeLossInfo = namedtuple(
    "VqvaeLossInfo", ["quantization", "commitment", "reconstruction"], default_value=()
)
"""The three parts of equation 3, each [B], without their weights."""


@configurable
class Vqvae(Algorithm):
    """Encodes an input as the nearest of K vectors, and decodes that.

    The loss is equation 3 of the paper, as means over the elements: the code moves to the encoding,
    the encoding commits to the code, and the decoder reconstructs. The gradient of the
    reconstruction goes straight through from the code to the encoding.
    """

    def __init__(
        self,
        input_tensor_spec: TensorSpec,
        num_embeddings: int,
        embedding_dim: int,
        encoder_ctor: Callable[..., Network] = EncodingNetwork,
        decoder_ctor: Callable[..., Network] = EncodingNetwork,
        optimizer: torch.optim.Optimizer | None = None,
        commitment_loss_weight: float = 1.0,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "Vqvae",
    ) -> None:
        """Build the networks and the code book.

        Args:
            num_embeddings: K, size of the code book; it begins uniformly in ``+-1 / K``.
            embedding_dim: D, size of a code.
            encoder_ctor: called with ``input_tensor_spec``; the network's output is [B, D].
            decoder_ctor: called with the spec [D]; its output has the shape of the input.
            optimizer: must be without parameters; the algorithm uses its own copy.
            commitment_loss_weight: the paper's beta.

        Raises:
            ValueError: a network's output has another shape.
        """
        (optimizer,) = own_optimizers(optimizer)
        latent_spec = TensorSpec((embedding_dim,))
        encoder, decoder = encoder_ctor(input_tensor_spec), decoder_ctor(latent_spec)
        wanted = (
            ("encoder_ctor", encoder, latent_spec),
            ("decoder_ctor", decoder, input_tensor_spec),
        )
        for word, network, spec in wanted:
            shape = tuple(network.output_spec.shape)
            if shape != tuple(spec.shape):
                raise ValueError(f"{name}: {word} gives {shape}; allowed: {tuple(spec.shape)}")
        super().__init__(
            optimizer=optimizer, checkpoint=checkpoint, debug_summaries=debug_summaries, name=name
        )
        self._encoder, self._decoder = encoder, decoder
        codes = torch.empty(num_embeddings, embedding_dim)
        self._codes = nn.Parameter(codes.uniform_(-1 / num_embeddings, 1 / num_embeddings))
        self._commitment_loss_weight = commitment_loss_weight

    def _quantize(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encoding, its nearest code, and that code with the gradient of the encoding; [B, D]."""
        encoding, _ = self._encoder(inputs)
        index = torch.cdist(encoding.detach(), self._codes.detach()).argmin(-1)
        code = self._codes[index]
        return encoding, code, encoding + (code - encoding).detach()

    def predict_step(self, inputs: Tensor, state: Any = ()) -> AlgStep:
        """The reconstruction [B, ...]; the code [B, D] as info."""
        _, _, quantized = self._quantize(inputs)
        return AlgStep(output=self._decoder(quantized)[0], state=state, info=quantized)

    def train_step(self, inputs: Tensor, state: Any = ()) -> AlgStep:
        """The reconstruction [B, ...]; the loss [B] as info, with ``VqvaeLossInfo`` as extra."""
        encoding, code, quantized = self._quantize(inputs)
        output, _ = self._decoder(quantized)
        parts = VqvaeLossInfo(
            quantization=(code - encoding.detach()).square().mean(-1),
            commitment=(code.detach() - encoding).square().mean(-1),
            reconstruction=(output - inputs).square().flatten(1).mean(-1),
        )
        loss = (
            parts.quantization
            + self._commitment_loss_weight * parts.commitment
            + parts.reconstruction
        )
        return AlgStep(output=output, state=state, info=LossInfo(loss=loss, extra=parts))
