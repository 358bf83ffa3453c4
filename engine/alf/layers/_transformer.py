"""Attention blocks: the transformer block, and image features guided by language."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from alf.config_util import configurable
from alf.layers._dense import FC, Activation

PUBLIC_MODULE = "alf.layers"  # under which these names are configured


@configurable
class TransformerBlock(nn.Module):
    """One layer of a transformer: attention, then two fully connected layers, both residual.

    Layer normalisation stands before each part (Xiong et al., arXiv:2002.04745, figure 1b).
    The score of memory slot m for query n is that of Transformer-XL (Dai et al., arXiv:1901.02860,
    section 3.3): ``(q_n + u) . k_m + (q_n + v) . p``, with p the encoding of the position, one for
    all heads.

    Args:
        d_model: size of the vectors.
        num_heads: number of attention heads.
        memory_size: largest number M of memory slots.
        d_k: size of keys and queries of one head; None for ``d_model // num_heads``.
        d_v: size of values of one head; None for ``d_model // num_heads``.
        d_ff: size of the hidden layer of the second part; None for ``4 * d_model``.
        dropout: share of both parts' outputs dropped in training.
        activation: of the hidden layer.
        positional_encoding: "none", "abs" (a learned vector for each slot) or "rel" (for each
            distance from a slot to the query; the N queries belong to the first N slots).
        add_positional_encoding: each head's result tells also the positions that it attended to:
            their mean encoding, beside that of the values.
        scale_attention_score: divide scores by ``sqrt(d_k)``.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        memory_size: int,
        d_k: int | None = None,
        d_v: int | None = None,
        d_ff: int | None = None,
        dropout: float = 0.0,
        activation: Activation = torch.relu_,
        positional_encoding: str = "abs",
        add_positional_encoding: bool = True,
        scale_attention_score: bool = True,
    ) -> None:
        super().__init__()
        if positional_encoding not in ("none", "abs", "rel"):
            raise ValueError(
                f'positional_encoding must be "none", "abs" or "rel", got {positional_encoding!r}'
            )
        self._heads, self._memory_size = num_heads, memory_size
        self._d_k, self._d_v = d_k or d_model // num_heads, d_v or d_model // num_heads
        self._scale = self._d_k**-0.5 if scale_attention_score else 1.0
        self._kind, self._tell_positions = positional_encoding, False
        keys, values = num_heads * self._d_k, num_heads * self._d_v
        self._norm1, self._norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self._query = FC(d_model, keys, use_bias=False)
        self._key = FC(d_model, keys, use_bias=False)
        self._value = FC(d_model, values, use_bias=False)
        self._content_bias = nn.Parameter(torch.empty(num_heads, self._d_k))
        self._position = self._position_bias = None
        attended = values
        if positional_encoding != "none":
            slots = memory_size if positional_encoding == "abs" else 2 * memory_size - 1
            self._position = nn.Parameter(torch.empty(slots, self._d_k))
            self._position_bias = nn.Parameter(torch.empty(num_heads, self._d_k))
            self._tell_positions = add_positional_encoding
            attended += keys if add_positional_encoding else 0
        self._merge = FC(attended, d_model, use_bias=False)
        d_ff = d_ff or 4 * d_model
        self._mlp = nn.Sequential(
            FC(d_model, d_ff, activation=activation), FC(d_ff, d_model), nn.Dropout(dropout)
        )
        self._dropout = nn.Dropout(dropout)
        self._reset_positions()

    def reset_parameters(self) -> None:
        """Draw initial parameters anew."""
        for part in self.modules():
            if isinstance(part, FC | nn.LayerNorm):
                part.reset_parameters()
        self._reset_positions()

    def _reset_positions(self) -> None:
        nn.init.zeros_(self._content_bias)
        if self._position is not None and self._position_bias is not None:
            nn.init.normal_(self._position, std=1 / math.sqrt(self._position.shape[1]))
            nn.init.zeros_(self._position_bias)

    def forward(
        self, memory: Tensor, query: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Let each query look at the memory.

        Args:
            memory: [B, M, d_model], with M at most ``memory_size``.
            query: [B, N, d_model], or [B, d_model] for N = 1, with N at most M; None for the memory
                itself.
            mask: bool, [B, M] or [B, N, M]: True where a slot must not be looked at. A query that
                may look at none gets no attention's result.

        Returns:
            As ``query``, or ``memory`` if that is None.
        """
        source = memory if query is None else query
        x = source.unsqueeze(1) if source.ndim == 2 else source
        if not x.shape[1] <= memory.shape[1] <= self._memory_size:
            raise ValueError(
                f"TransformerBlock: the memory may have up to {self._memory_size} slots, and no "
                f"more queries than slots; got {memory.shape[1]} slots, {x.shape[1]} queries"
            )
        slots = self._norm1(memory)
        queries = slots if query is None else self._norm1(x)
        x = x + self._dropout(self._attend(queries, slots, mask))
        x = x + self._mlp(self._norm2(x))
        return x.squeeze(1) if source.ndim == 2 else x

    def _attend(self, queries: Tensor, slots: Tensor, mask: Tensor | None) -> Tensor:
        """The attention's result [B, N, d_model]; h is the axis of heads."""
        q = self._query(queries).unflatten(-1, (self._heads, self._d_k))
        k = self._key(slots).unflatten(-1, (self._heads, self._d_k))
        v = self._value(slots).unflatten(-1, (self._heads, self._d_v))
        score = torch.einsum("bnhd,bmhd->bhnm", q + self._content_bias, k)
        places = self._places(q.shape[1], k.shape[1])
        if places is not None:
            score = score + torch.einsum("bnhd,nmd->bhnm", q + self._position_bias, places)
        weights = _masked_softmax(score * self._scale, mask)
        result = torch.einsum("bhnm,bmhd->bnhd", weights, v)
        if places is not None and self._tell_positions:
            seen = torch.einsum("bhnm,nmd->bnhd", weights, places)
            result = torch.cat([result, seen], dim=-1)
        return self._merge(result.flatten(2))

    def _places(self, num_queries: int, num_slots: int) -> Tensor | None:
        """The encoding [N, M, d_k] of the place of each slot, seen from each query."""
        if self._position is None:
            return None
        if self._kind == "abs":
            return self._position[:num_slots].expand(num_queries, -1, -1)
        slots = torch.arange(num_slots, device=self._position.device)
        return self._position[slots[:num_queries, None] - slots + self._memory_size - 1]


def _masked_softmax(score: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax over the slots that are not masked, 0 for all where all are."""
    if mask is None:
        return score.softmax(dim=-1)
    masked = (mask.unsqueeze(1) if mask.ndim == 2 else mask).bool().unsqueeze(1)
    # -inf in a whole row would make NaN, in the gradient too
    weights = score.masked_fill(masked, torch.finfo(score.dtype).min).softmax(dim=-1)
    return weights.masked_fill(masked, 0.0)


@configurable
class GFT(nn.Module):
    """Guided feature transformation (Yu et al., arXiv:1805.08329, section 4.2).

    Each transformation is an affine map of the channels, the same for all pixels, followed by relu;
    its coefficients are a linear function of a sentence's embedding. The input is a pair
    (image [B, C, H, W], sentence [B, L]), the output an image of the same shape.

    Args:
        num_transformations: number of transformations after one another.
        image_channels: C.
        language_dim: L.
    """

    def __init__(self, num_transformations: int, image_channels: int, language_dim: int) -> None:
        super().__init__()
        self._n, self._channels = num_transformations, image_channels
        size = image_channels * (image_channels + 1)
        self._maps = nn.ModuleList(FC(language_dim, size) for _ in range(num_transformations))

    def reset_parameters(self) -> None:
        """Draw initial parameters anew."""
        for part in self._maps:
            assert isinstance(part, FC)
            part.reset_parameters()

    def forward(self, input: tuple[Tensor, Tensor]) -> Tensor:
        image, sentence = input
        c = self._channels
        x = image.flatten(2)
        for part in self._maps:
            coefficients = part(sentence).unflatten(-1, (c, c + 1))
            x = torch.relu(torch.baddbmm(coefficients[..., c:], coefficients[..., :c], x))
        return x.reshape(image.shape)
