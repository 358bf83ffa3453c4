"""A multilayer perceptron whose input comes in parts that broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F


class SplitMLP(nn.Module):
    """ReLU between the layers; equal to a network on the concatenated parts.

    A part that many rows share is multiplied with its columns of the first matrix once: with
    states `[H, N, B, K, S]`, contexts `[1, 1, B, 1, C]` and plans `[H, 1, B, K, A]` no input is
    ever repeated.
    """

    def __init__(self, widths: Sequence[int], hidden: Sequence[int], out: int) -> None:
        super().__init__()
        self.widths = tuple(widths)
        sizes = [sum(widths), *hidden, out]
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(sizes))

    def forward(self, *parts: torch.Tensor) -> torch.Tensor:
        """Outputs `[*L, out]` for parts `[*L, width]`, whose axes L broadcast."""
        first, *others = self.layers
        bias: torch.Tensor | None = first.bias
        weights = first.weight.split(self.widths, dim=1)
        x: torch.Tensor | None = None
        for part, weight in zip(parts, weights, strict=True):
            if weight.shape[1] > 0:
                product = F.linear(part, weight, bias)
                x, bias = product if x is None else _add(x, product), None
        assert x is not None, "every part of the input has width 0"
        for layer in others:
            x = layer(F.relu_(x))
        return x


def _add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`x + y`, in place where `x` has the result's shape: the rows may be many."""
    fits = torch.broadcast_shapes(x.shape, y.shape) == x.shape
    return x.add_(y) if fits else x + y
