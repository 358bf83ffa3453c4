"""Multi-layer perceptrons with relu whose Jacobian is computed in closed form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alf.config_util import configurable
from alf.networks.network import Network
from alf.tensor_specs import TensorSpec
from alf.utils.math_ops import identity


@configurable
class SimpleFC(nn.Linear):
    """A linear layer with activation that remembers its last output.

    Args:
        input_size: size of the input.
        output_size: size of the output.
        activation: applied last.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        activation: Callable[[Tensor], Tensor] = identity,
    ) -> None:
        super().__init__(input_size, output_size)
        self._activation = activation
        self._hidden_neurons: Tensor | None = None

    @property
    def hidden_neurons(self) -> Tensor | None:
        """The last output, detached; None before there was one."""
        return self._hidden_neurons

    def forward(self, inputs: Tensor) -> Tensor:
        y = self._activation(super().forward(inputs))
        self._hidden_neurons = y.detach()
        return y


@configurable
class ReluMLP(Network):
    """Linear layers with relu between them.

    Where relu is linear, the network is ``W_L D W_{L-1} ... D W_1 x + c`` with diagonal 0-1
    matrices D that tell which hidden neurons are active, so Jacobians are products of matrices.

    Args:
        input_tensor_spec: spec of x, of rank 1.
        output_size: size of the output; None for that of x.
        hidden_layers: sizes of the hidden layers.
        name: for printing.
    """

    def __init__(
        self,
        input_tensor_spec: TensorSpec,
        output_size: int | None = None,
        hidden_layers: Sequence[int] = (64, 64),
        name: str = "ReluMLP",
    ) -> None:
        if not isinstance(input_tensor_spec, TensorSpec) or input_tensor_spec.ndim != 1:
            raise ValueError(f"{name} takes one tensor of rank 1, got {input_tensor_spec}")
        super().__init__(input_tensor_spec, (), name)
        size = self._input_size = input_tensor_spec.shape[0]
        self._output_size = output_size or size
        layers: list[nn.Module] = []
        for hidden in hidden_layers:
            layers.append(SimpleFC(size, hidden, activation=torch.relu))
            size = hidden
        self._hidden = nn.ModuleList(layers)
        self._last = SimpleFC(size, self._output_size)

    def forward(
        self,
        inputs: Tensor,
        state: Any = (),
        requires_jac: bool = False,
        requires_jac_diag: bool = False,
    ) -> tuple[Any, Any]:
        """The output [B, out], or a pair of it and a Jacobian; without B for one input [in].

        Args:
            inputs: [B, in].
            state: passed through.
            requires_jac: return also the Jacobian [B, out, in].
            requires_jac_diag: return also its diagonal [B, in] instead.
        """
        output, active = self._run(inputs)
        if requires_jac:
            return (output, self._jacobian(active, None)), state
        if requires_jac_diag:
            return (output, self._diagonal(active)), state
        return output, state

    def compute_jac(self, inputs: Tensor, output_partial_idx: Any = None) -> Tensor:
        """The Jacobian [B, out, in] at ``inputs`` [B, in], for some outputs (indices) or all."""
        return self._jacobian(self._run(inputs)[1], output_partial_idx)

    def compute_jac_diag(self, inputs: Tensor) -> Tensor:
        """The diagonal [B, in] of the Jacobian at ``inputs``."""
        return self._diagonal(self._run(inputs)[1])

    def compute_vjp(
        self, inputs: Tensor, vec: Tensor, output_partial_idx: Any = None
    ) -> tuple[Tensor, Tensor]:
        """``vec`` [B, out], or one [out], times the Jacobian, [B, in], and the output [B, out].

        With ``output_partial_idx`` the Jacobian and ``vec`` are those of some outputs.
        """
        output, active = self._run(inputs)
        x = vec @ self._last_weight(output_partial_idx)
        for weight, is_active in reversed(self._weights(active)):
            x = (x * is_active) @ weight
        return x.expand(*output.shape[:-1], -1), output

    def compute_jvp(
        self, inputs: Tensor, vec: Tensor, output_partial_idx: Any = None
    ) -> tuple[Tensor, Tensor]:
        """The Jacobian times ``vec`` [B, in], or one [in]: [B, out], and the output [B, out].

        With ``output_partial_idx`` the Jacobian is that of some outputs.
        """
        output, active = self._run(inputs)
        x = vec
        for weight, is_active in self._weights(active):
            x = (x @ weight.T) * is_active
        x = x @ self._last_weight(output_partial_idx).T
        return x.expand(*output.shape[:-1], -1), output

    def _run(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The output, and for each hidden layer which neurons are active [B, size]."""
        if x.ndim not in (1, 2) or x.shape[-1] != self._input_size:
            raise ValueError(
                f"{self.name} takes [B, {self._input_size}] or [{self._input_size}], "
                f"got {list(x.shape)}"
            )
        active = []
        for layer in self._hidden:
            x = layer(x)
            active.append((x > 0).to(x.dtype))
        return self._last(x), active

    def _weights(self, active: list[Tensor]) -> list[tuple[Any, Tensor]]:
        """Weight and active neurons of each hidden layer."""
        return [(layer.weight, a) for layer, a in zip(self._hidden, active, strict=True)]

    def _last_weight(self, output_partial_idx: Any) -> Tensor:
        weight = self._last.weight
        return weight if output_partial_idx is None else weight[output_partial_idx]

    def _jacobian(self, active: list[Tensor], output_partial_idx: Any) -> Tensor:
        jacobian = self._last_weight(output_partial_idx)
        for weight, is_active in reversed(self._weights(active)):
            jacobian = (jacobian * is_active.unsqueeze(-2)) @ weight
        return jacobian

    def _diagonal(self, active: list[Tensor]) -> Tensor:
        if self._output_size != self._input_size:
            raise ValueError(
                f"{self.name}: the diagonal needs equal sizes, got {self._input_size} inputs and "
                f"{self._output_size} outputs"
            )
        if len(active) == 1:  # diag(W2 D W1) without the whole product
            ((weight, is_active),) = self._weights(active)
            return is_active @ (self._last.weight * weight.T).T
        return self._jacobian(active, None).diagonal(dim1=-2, dim2=-1)
