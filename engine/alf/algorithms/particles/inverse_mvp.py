"""A network that solves for the inverse of a generator's Jacobian (GPVI, Ratzlaff et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from alf.algorithms.algorithm import Algorithm
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep
from alf.layers import FC
from alf.networks.encoding_networks import EncodingNetwork
from alf.optimizers import Adam
from alf.tensor_specs import TensorSpec
from alf.utils.math_ops import identity

PUBLIC_MODULE = "alf.algorithms.generator"  # under which these names are configured


@configurable
class InverseMVPAlgorithm(Algorithm):
    """Predicts products of a matrix, which depends on z, with vectors.

    Both inputs go through a linear layer each; the results side by side go through hidden layers of
    ``2 * hidden_size``. Whoever owns it trains it, by `update_with_gradient()`.

    Args:
        input_dim: K, size of z.
        output_dim: D, size of the vectors and products; at least K.
        hidden_size: size of what each linear layer gives.
        num_hidden_layers: number of hidden layers.
        activation: of the hidden layers.
        optimizer: must be without parameters; the algorithm uses its own copy. None is Adam with a
            learning rate of 1e-3.
        name: used in summary tags and messages.

    Raises:
        ValueError: K is larger than D.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        hidden_size: int = 100,
        num_hidden_layers: int = 1,
        activation: Callable[[Tensor], Tensor] = torch.relu_,
        optimizer: torch.optim.Optimizer | None = None,
        name: str = "InverseMVPAlgorithm",
    ) -> None:
        if input_dim > output_dim:
            raise ValueError(
                f"{name}: input_dim must be at most output_dim, got {input_dim} and {output_dim}"
            )
        (optimizer,) = own_optimizers(Adam(lr=1e-3) if optimizer is None else optimizer)
        super().__init__(train_state_spec=(), optimizer=optimizer, name=name)
        self._input_dim, self._output_dim = input_dim, output_dim
        self._z_layer: nn.Module = FC(input_dim, hidden_size)
        self._vec_layer: nn.Module = FC(output_dim, hidden_size)
        self._net = EncodingNetwork(
            TensorSpec((2 * hidden_size,)),
            fc_layer_params=(2 * hidden_size,) * num_hidden_layers,
            activation=activation,
            last_layer_size=output_dim,
            last_activation=identity,
            name=f"{name}.net",
        )

    def predict_step(self, inputs: tuple[Tensor, Tensor], state: Any = None) -> AlgStep:
        """The products `[M, D]`, and the first K numbers of each z `[M, K]`.

        Args:
            inputs: z, `[M, K]` or longer rows, of which the first K numbers count; and vectors
                `[M, D]`, or longer rows of which the first D count, or `[M, N, D]`: N vectors for
                each z, the results then having M * N rows.
            state: not used.
        """
        z, vec = inputs
        z, vec = z[..., : self._input_dim], vec[..., : self._output_dim]
        encoded_z = self._z_layer(z)
        if vec.ndim == 3:
            count = vec.shape[1]
            encoded_z = encoded_z.repeat_interleave(count, dim=0)
            z = z.repeat_interleave(count, dim=0)
            vec = vec.flatten(0, 1)
        product, _ = self._net(torch.cat([encoded_z, self._vec_layer(vec)], dim=-1))
        return AlgStep(output=(product, z), state=(), info=())
