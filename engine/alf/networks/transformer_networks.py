"""Networks with attention: over the parts of an observation and over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alf.config_util import configurable
from alf.layers import FC, TransformerBlock
from alf.nest import nest
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.memory import FIFOMemory
from alf.networks.preprocessor_networks import PreprocessorNetwork
from alf.tensor_specs import TensorSpec


class _AsTokens(nn.Module):
    """A nest of [B, D] and [B, N, D] (or images [B, D, H, W]) as one sequence [B, M, D]."""

    def forward(self, inputs: Any) -> Any:
        if isinstance(nest.flatten(inputs)[0], TensorSpec):
            return _sequence_spec(nest.flatten(inputs))
        return torch.cat([_tokens(x) for x in nest.flatten(inputs)], dim=1)


def _tokens(x: Tensor) -> Tensor:
    if x.ndim == 2:
        return x.unsqueeze(1)
    return x if x.ndim == 3 else x.flatten(2).transpose(1, 2)


def _sequence_spec(specs: list[TensorSpec]) -> TensorSpec:
    samples = [_tokens(spec.zeros((1,))) for spec in specs]
    sizes = {sample.shape[2] for sample in samples}
    if len(sizes) != 1:
        raise ValueError(f"all parts of the input must have vectors of one size, got {specs}")
    return TensorSpec((sum(sample.shape[1] for sample in samples), sizes.pop()))


@configurable
class TransformerNetwork(PreprocessorNetwork):
    """A transformer over the parts of an observation, then one over time with a memory.

    A sequence is made of ``core_size`` learned vectors ("core") and of the input's parts, each
    [B, d] (one vector) or [B, N, d] (N vectors), or [B, d, H, W] (H W vectors). It passes through
    ``num_prememory_layers`` blocks, then ``num_memory_layers`` blocks in which it also looks at
    the core of earlier steps (Dai et al., arXiv:1901.02860). The first block of either kind knows
    the places in the sequence; later ones get them from its output.

    Args:
        input_tensor_spec: nest of specs of the inputs.
        num_prememory_layers: number of blocks without memory.
        num_attention_heads: of each block.
        d_ff: size of the hidden layer of each block; None for four times the vectors' size.
        core_size: number of core vectors.
        use_core_embedding: the core are learned vectors, else zeros.
        memory_size: number of vectors in the memory: the cores of the last
            ``memory_size / core_size`` steps.
        num_memory_layers: number of blocks with memory.
        return_core_only: return the core [B, core_size * d], else the sequence [B, M, d].
        centralized_memory: all layers share one memory of their common input; else each has one of
            its own.
        input_preprocessors: nest of networks or None, one for each input, to make the vectors.
        name: for printing.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        num_prememory_layers: int,
        num_attention_heads: int,
        d_ff: int | None = None,
        core_size: int = 1,
        use_core_embedding: bool = True,
        memory_size: int = 0,
        num_memory_layers: int = 0,
        return_core_only: bool = True,
        centralized_memory: bool = True,
        input_preprocessors: Any = None,
        name: str = "TransformerNetwork",
    ) -> None:
        if (memory_size > 0) != (num_memory_layers > 0):
            raise ValueError(
                f"{name}: memory_size and num_memory_layers must both be 0 or both be positive, "
                f"got {memory_size} and {num_memory_layers}"
            )
        super().__init__(input_tensor_spec, input_preprocessors, _AsTokens(), name)
        num_tokens, d_model = _sequence_spec([self._processed_input_tensor_spec]).shape
        length = core_size + num_tokens
        self._core_size, self._d_model = core_size, d_model
        self._return_core_only = return_core_only
        self._core_embedding = None
        if use_core_embedding:
            self._core_embedding = nn.Parameter(torch.empty(core_size, d_model))
            nn.init.normal_(self._core_embedding, std=d_model**-0.5)
        self._prememory_layers = _blocks(
            num_prememory_layers, d_model, num_attention_heads, length, d_ff
        )
        self._memory_layers = _blocks(
            num_memory_layers, d_model, num_attention_heads, memory_size + length, d_ff
        )
        num_memories = min(num_memory_layers, 1) if centralized_memory else num_memory_layers
        self._memories = [
            FIFOMemory(d_model, memory_size, f"{name}.memory{i}") for i in range(num_memories)
        ]
        self._state_spec = [memory.state_spec for memory in self._memories] or ()

    @property
    def state_spec(self) -> Any:
        """A list of the states of the memories; () without memory."""
        return self._state_spec

    def forward(self, inputs: Any, state: Any = ()) -> tuple[Tensor, Any]:  # type: ignore[override]
        tokens = _tokens(super().forward(inputs)[0])
        batch = tokens.shape[0]
        if self._core_embedding is None:
            core = tokens.new_zeros(batch, self._core_size, self._d_model)
        else:
            core = self._core_embedding.expand(batch, -1, -1)
        x = torch.cat([core, tokens], dim=1)
        for layer in self._prememory_layers:
            x = layer(x)
        x, state = self._through_memory(x, state)
        if self._return_core_only:
            x = x[:, : self._core_size].flatten(1)
        return x, state

    def _through_memory(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Pass ``x`` [B, M, d] through the layers with memory, which then remember its core."""
        if not self._memories:
            return x, state
        new_state: list[Any] = []
        now = x.new_zeros(x.shape[:2], dtype=torch.bool)
        past = mask = None
        for i, layer in enumerate(self._memory_layers):
            if i < len(self._memories):
                memory = self._memories[i]
                memory.from_states(state[i])
                past = memory.memory()
                mask = torch.cat([~memory.mask(), now], dim=1)
                memory.write(x[:, : self._core_size])
                new_state.append(memory.states)
            assert past is not None
            x = layer(torch.cat([past, x], dim=1), x, mask)
        return x, new_state


def _blocks(
    n: int, d_model: int, num_heads: int, num_slots: int, d_ff: int | None
) -> nn.ModuleList:
    """``n`` blocks, of which the first knows the places of the slots."""
    return nn.ModuleList(
        TransformerBlock(
            d_model,
            num_heads,
            num_slots,
            d_ff=d_ff,
            positional_encoding="none" if i else "abs",
        )
        for i in range(n)
    )


@configurable
class SocialAttentionNetwork(PreprocessorNetwork):
    """How the first of several entities ("ego") sees the others.

    Each entity is encoded by the same layers; the ego's encoding looks at all of them, itself
    included, and what it finds is the result (Leurent and Mercat, arXiv:1911.12250, section 3.2).

    Args:
        input_tensor_spec: nest of specs of the inputs.
        input_preprocessors: nest of networks or None, one for each input.
        preprocessing_combiner: makes one tensor [N, features] of the entities, the ego first.
        fc_layer_params: sizes of the layers that encode an entity.
        activation: of those layers.
        kernel_initializer: of those layers; None for variance scaling.
        use_fc_bn: batch normalisation in those layers.
        num_of_heads: number of attention heads; divides the size of the encoding.
        last_layer_size: size of one more layer after the attention.
        last_activation: of that layer; must be given with ``last_layer_size``.
        last_kernel_initializer: of that layer; None for variance scaling.
        name: for printing.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        input_preprocessors: Any = None,
        preprocessing_combiner: Callable[[Any], Any] | None = None,
        fc_layer_params: Sequence[int] = (128, 128),
        activation: Callable[[Tensor], Tensor] = torch.relu_,
        kernel_initializer: Callable[[Tensor], Any] | None = None,
        use_fc_bn: bool = False,
        num_of_heads: int = 1,
        last_layer_size: int | None = None,
        last_activation: Callable[[Tensor], Tensor] | None = None,
        last_kernel_initializer: Callable[[Tensor], Any] | None = None,
        name: str = "SocialAttentionNetwork",
    ) -> None:
        super().__init__(input_tensor_spec, input_preprocessors, preprocessing_combiner, name)
        spec = self._processed_input_tensor_spec
        if spec.ndim != 2:
            raise ValueError(f"{name} takes entities [N, features], got {spec}")
        self._encoder = EncodingNetwork(
            TensorSpec(spec.shape[1:]),
            fc_layer_params=fc_layer_params,
            activation=activation,
            kernel_initializer=kernel_initializer,
            use_fc_bn=use_fc_bn,
            name=f"{name}.encoder",
        )
        size = self._encoder.output_spec.shape[0]
        if size % num_of_heads:
            raise ValueError(f"{name}: {num_of_heads} heads do not divide {size} features")
        self._heads = num_of_heads
        self._query, self._key, self._value = (FC(size, size, use_bias=False) for _ in range(3))
        self._last = EncodingNetwork(
            TensorSpec((size,)),
            last_layer_size=last_layer_size,
            last_activation=last_activation,
            last_kernel_initializer=last_kernel_initializer,
            name=f"{name}.last",
        )

    def forward(self, inputs: Any, state: Any = ()) -> tuple[Tensor, Any]:  # type: ignore[override]
        entities = super().forward(inputs)[0]
        batch, n = entities.shape[:2]
        x = self._encoder(entities.flatten(0, 1))[0].unflatten(0, (batch, n))
        split = (self._heads, -1)
        query = self._query(x[:, :1]).unflatten(-1, split)
        key, value = (net(x).unflatten(-1, split) for net in (self._key, self._value))
        seen = nn.functional.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        )
        return self._last(seen.squeeze(2).flatten(1))[0], state
