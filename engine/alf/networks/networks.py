"""Small networks: recurrent cells, delay, pooling over time, residue, noisy layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alf.config_util import configurable
from alf.layers import FC
from alf.layers._compose import to_float32
from alf.nest import nest
from alf.networks.network import Network, wrap_as_network
from alf.tensor_specs import TensorSpec
from alf.utils._exe_mode import is_eval
from alf.utils.math_ops import identity


@configurable
class LSTMCell(Network):
    """One step of a long short-term memory; its state is (hidden, cell)."""

    def __init__(self, input_size: int, hidden_size: int, name: str = "LSTMCell") -> None:
        spec = TensorSpec((hidden_size,))
        super().__init__(TensorSpec((input_size,)), (spec, spec), name)
        self._cell = nn.LSTMCell(input_size, hidden_size)

    def forward(self, input: Tensor, state: Any) -> tuple[Tensor, Any]:
        hidden, cell = self._cell(input, tuple(state))
        return hidden, (hidden, cell)


@configurable
class GRUCell(Network):
    """One step of a gated recurrent unit; its state is the hidden vector."""

    def __init__(self, input_size: int, hidden_size: int, name: str = "GRUCell") -> None:
        super().__init__(TensorSpec((input_size,)), TensorSpec((hidden_size,)), name)
        self._cell = nn.GRUCell(input_size, hidden_size)

    def forward(self, input: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self._cell(input, state)
        return hidden, hidden


@configurable
class Residue(Network):
    """``activation(x + block(x))``."""

    def __init__(
        self,
        block: Any,
        input_tensor_spec: Any = None,
        activation: Callable[[Tensor], Tensor] = torch.relu_,
        name: str = "Residue",
    ) -> None:
        block = wrap_as_network(block, input_tensor_spec)
        super().__init__(block.input_tensor_spec, block.state_spec, name)
        self._block, self._activation = block, activation

    def forward(self, x: Tensor, state: Any = ()) -> tuple[Tensor, Any]:
        y, state = self._block(x, state)
        return self._activation(x + y), state


@configurable
class Delay(Network):
    """The input of ``delay`` steps ago; zeros in the first steps. Without delay it has no state."""

    def __init__(self, input_tensor_spec: Any, delay: int = 1, name: str = "Delay") -> None:
        if delay < 0:
            raise ValueError(f"delay must be at least 0, got {delay}")
        state_spec = input_tensor_spec if delay == 1 else (input_tensor_spec,) * delay
        super().__init__(input_tensor_spec, state_spec, name)
        self._delay = delay

    def forward(self, input: Any, state: Any) -> tuple[Any, Any]:
        if self._delay == 0:
            return input, state
        if self._delay == 1:
            return state, input
        return state[0], (*state[1:], input)


@configurable
class TemporalPool(Network):
    """The last ``stack_size`` inputs, or pools of inputs, along a new axis after the batch.

    Args:
        input_size: size of the input vector, or shape of the input.
        stack_size: number of entries of the output, oldest first.
        pooling_size: number of steps in one entry.
        dtype: of the input.
        mode: an entry is the first of its ``pooling_size`` inputs ("skip"), their "avg", or "max".
        name: for printing.
    """

    def __init__(
        self,
        input_size: int | tuple[int, ...],
        stack_size: int,
        pooling_size: int = 1,
        dtype: torch.dtype = torch.float32,
        mode: str = "skip",
        name: str = "TemporalPool",
    ) -> None:
        if mode not in ("skip", "avg", "max"):
            raise ValueError(f'mode must be "skip", "avg" or "max", got {mode!r}')
        shape = (input_size,) if isinstance(input_size, int) else tuple(input_size)
        step_spec = TensorSpec((), torch.int64)
        pool_spec = () if pooling_size == 1 else TensorSpec(shape, dtype)
        stack_spec = TensorSpec((stack_size, *shape), dtype)
        super().__init__(TensorSpec(shape, dtype), (stack_spec, pool_spec, step_spec), name)
        self._pooling_size, self._mode = pooling_size, mode

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        stack, pool, step = state
        position = step % self._pooling_size
        pool = self._pool(pool, x, _like(position, x))
        pushed = torch.cat([stack[:, 1:], pool.unsqueeze(1)], dim=1)
        is_start = _like(position, stack) == 0
        if self._mode == "skip":
            output = torch.where(is_start, pushed, stack)
        else:
            is_full = _like(position, stack) == self._pooling_size - 1
            output = torch.where(is_full, pushed, stack)
        return output, (output, () if self._pooling_size == 1 else pool, step + 1)

    def _pool(self, pool: Any, x: Tensor, position: Tensor) -> Tensor:
        if self._pooling_size == 1 or self._mode == "skip":
            return x
        if self._mode == "max":
            return torch.where(position == 0, x, torch.maximum(pool, x))
        share = x / self._pooling_size
        return torch.where(position == 0, share, pool + share)


def _like(position: Tensor, x: Tensor) -> Tensor:
    """``position`` [B] shaped to combine with ``x`` [B, ...]."""
    return position.reshape(position.shape + (1,) * (x.ndim - 1))


@configurable
class NoisyFC(Network):
    """Fully connected layer with learned noise (Fortunato et al., arXiv:1706.10295).

    The noise is factorised as in eq. 10-11 and is part of the state, so that each row keeps its
    own; at each step a row draws new noise with probability ``new_noise_prob``, and always where
    its state is zero. There is no noise in evaluation, that is of the module or of the training
    (:func:`alf.utils.common.is_eval`).

    Args:
        std_init: initial standard deviation of the weights is ``std_init / sqrt(input_size)``, that
            of the bias ``std_init / sqrt(output_size)``.
        new_noise_prob: chance of new noise in each step.

    The other arguments are those of :class:`~alf.layers.FC`.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        std_init: float = 0.5,
        new_noise_prob: float = 0.01,
        activation: Callable[[Tensor], Tensor] = identity,
        use_bn: bool = False,
        use_ln: bool = False,
        bn_ctor: Callable[..., nn.Module] = nn.BatchNorm1d,
        kernel_initializer: Callable[[Tensor], Any] | None = None,
        kernel_init_gain: float = 1.0,
        bias_init_value: float = 0.0,
        bias_initializer: Callable[[Tensor], Any] | None = None,
        weight_opt_args: dict[str, Any] | None = None,
        bias_opt_args: dict[str, Any] | None = None,
    ) -> None:
        state_spec = (TensorSpec((input_size,)), TensorSpec((output_size,)))
        super().__init__(TensorSpec((input_size,)), state_spec, "NoisyFC")
        self._fc = FC(
            input_size,
            output_size,
            activation=activation,
            use_bn=use_bn,
            use_ln=use_ln,
            bn_ctor=bn_ctor,
            kernel_initializer=kernel_initializer,
            kernel_init_gain=kernel_init_gain,
            bias_init_value=bias_init_value,
            bias_initializer=bias_initializer,
            weight_opt_args=weight_opt_args,
            bias_opt_args=bias_opt_args,
        )
        self._std_init, self._new_noise_prob = std_init, new_noise_prob
        self._weight_std = nn.Parameter(torch.empty(output_size, input_size))
        self._bias_std = nn.Parameter(torch.empty(output_size))
        self._reset_std()

    def reset_parameters(self) -> None:
        """Draw initial parameters anew."""
        self._fc.reset_parameters()
        self._reset_std()

    def _reset_std(self) -> None:
        output_size, input_size = self._weight_std.shape
        nn.init.constant_(self._weight_std, self._std_init / math.sqrt(input_size))
        nn.init.constant_(self._bias_std, self._std_init / math.sqrt(output_size))

    def forward(self, input: Tensor, state: Any) -> tuple[Tensor, Any]:
        if not self.training or is_eval():
            return self._fc(input), state
        noise_in, noise_out = self._renew(*state)
        fc = self._fc
        y = F.linear(input, fc.weight, fc.bias)
        noise = F.linear(input * noise_in, self._weight_std) * noise_out
        y = y + noise + self._bias_std * noise_out
        for norm in (fc._ln, fc._bn):
            y = y if norm is None else norm(y)
        return fc._activation(y), (noise_in, noise_out)

    def _renew(self, noise_in: Tensor, noise_out: Tensor) -> tuple[Tensor, Tensor]:
        batch = noise_in.shape[:1]
        renew = torch.rand(batch, device=noise_in.device) < self._new_noise_prob
        renew = (renew | (noise_in == 0).all(dim=1)).unsqueeze(1)
        return (
            torch.where(renew, _signed_sqrt_noise(noise_in), noise_in),
            torch.where(renew, _signed_sqrt_noise(noise_out), noise_out),
        )

    @property
    def input_size(self) -> int:
        return self._fc.input_size

    @property
    def output_size(self) -> int:
        return self._fc.output_size

    @property
    def weight(self) -> nn.Parameter:
        return self._fc.weight

    @property
    def bias(self) -> nn.Parameter | None:
        return self._fc.bias


def _signed_sqrt_noise(like: Tensor) -> Tensor:
    noise = torch.randn_like(like)
    return noise.sign() * noise.abs().sqrt()


class AMPWrapper(Network):
    """Calls ``net`` with automatic mixed precision on or off."""

    def __init__(self, enabled: bool, net: Network) -> None:
        super().__init__(net.input_tensor_spec, net.state_spec, name=f"amp_{net.name}")
        self._enabled, self._net = enabled, net

    def forward(self, input: Any, state: Any = ()) -> tuple[Any, Any]:
        device = nest.flatten(input)[0].device.type
        if not self._enabled:
            input = nest.map_structure(to_float32, input)
        with torch.autocast(device, enabled=self._enabled):
            return self._net(input, state)
