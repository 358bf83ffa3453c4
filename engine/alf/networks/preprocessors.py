"""Preprocessors of single inputs: embeddings of indices and of fractions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from alf.config_util import configurable
from alf.layers import Cast
from alf.networks.containers import Sequential
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.network import Network
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.math_ops import identity


@configurable
class EmbeddingPreprocessor(Network):
    """Maps an input to a vector: a table for discrete inputs, an encoding network for others.

    Args:
        input_tensor_spec: spec of the input; if discrete, a scalar with bounds.
        embedding_dim: size of the vector.
        conv_layer_params: convolutions for images, see :class:`.EncodingNetwork`.
        fc_layer_params: hidden layers. This and the next two arguments are for inputs without a
            table.
        activation: activation of the hidden layers.
        last_activation: activation of the last layer.
        name: for printing.
    """

    def __init__(
        self,
        input_tensor_spec: TensorSpec,
        embedding_dim: int,
        conv_layer_params: Any = None,
        fc_layer_params: Any = None,
        activation: Callable[[Tensor], Tensor] = torch.relu_,
        last_activation: Callable[[Tensor], Tensor] = identity,
        name: str = "EmbeddingPreproc",
    ) -> None:
        super().__init__(input_tensor_spec, (), name)
        if not isinstance(input_tensor_spec, TensorSpec):
            raise ValueError(f"{name} takes one tensor, got {input_tensor_spec}")
        spec = input_tensor_spec
        layers: list[Any] = []
        if spec.is_discrete and conv_layer_params is None:
            layers.append(_IndexEmbedding(_num_indices(spec, name), embedding_dim))
        else:
            if spec.dtype != torch.float32:
                layers.append(Cast())
            encoder = EncodingNetwork(
                TensorSpec(spec.shape),
                conv_layer_params=conv_layer_params,
                fc_layer_params=fc_layer_params,
                activation=activation,
                last_layer_size=embedding_dim,
                last_activation=last_activation,
                name=f"{name}.encoder",
            )
            layers.append(encoder)
        self._net = Sequential(*layers, input_tensor_spec=input_tensor_spec, name=f"{name}.net")

    def forward(self, inputs: Tensor, state: Any = ()) -> tuple[Tensor, Any]:
        return self._net(inputs)[0], state


def _num_indices(spec: TensorSpec, name: str) -> int:
    if not isinstance(spec, BoundedTensorSpec) or spec.ndim != 0 or spec.minimum != 0:
        raise ValueError(
            f"{name}: a discrete input must be a scalar BoundedTensorSpec from 0, got {spec}"
        )
    return int(spec.maximum) + 1


class _IndexEmbedding(nn.Module):
    """A table of vectors looked up by index."""

    def __init__(self, num_indices: int, embedding_dim: int) -> None:
        super().__init__()
        self._table = nn.Embedding(num_indices, embedding_dim)

    def forward(self, index: Tensor) -> Tensor:
        return self._table(index.long())


@configurable
class CosineEmbeddingPreprocessor(Network):
    """Fractions tau in [0, 1] to ``cos(pi i tau)``, i = 1..embedding_dim.

    Dabney et al., arXiv:1806.06923, eq. 4, before the linear layer; the paper's i begin at 0, where
    the cosine tells nothing.

    Args:
        input_tensor_spec: spec of tau, of any shape.
        embedding_dim: size of the new last axis.
        name: for printing.
    """

    _frequencies: Tensor

    def __init__(
        self,
        input_tensor_spec: TensorSpec,
        embedding_dim: int,
        name: str = "CosineEmbeddingNetwork",
    ) -> None:
        super().__init__(input_tensor_spec, (), name)
        self._embedding_dim = embedding_dim
        frequencies = math.pi * torch.arange(1, embedding_dim + 1, dtype=torch.float32)
        self.register_buffer("_frequencies", frequencies, persistent=False)

    def forward(self, tau: Tensor, state: Any = ()) -> tuple[Tensor, Any]:
        return torch.cos(tau.unsqueeze(-1) * self._frequencies), state

    def make_parallel(self, n: int) -> Network:
        """A network like this one: it has no parameters and takes a replica axis as it is."""
        spec = TensorSpec((n, *self._input_tensor_spec.shape), self._input_tensor_spec.dtype)
        return CosineEmbeddingPreprocessor(spec, self._embedding_dim, f"parallel_{self.name}")
