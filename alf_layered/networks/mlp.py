"""A multilayer perceptron whose input comes in parts that broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn


def side_by_side(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Parts `[*L, width]`, whose axes L broadcast, as one `[*L, sum of widths]`.

    Parts are narrow and layers wide: to repeat a part that many rows share costs less than to add
    its product to every row's.
    """
    present = [part for part in parts if part.shape[-1] > 0]
    rows = torch.broadcast_shapes(*(part.shape[:-1] for part in present))
    return torch.cat([part.expand(*rows, -1) for part in present], dim=-1)


ROWS_IN_CACHE = 512
"""Rows of a block on a CPU: the activations of all layers then stay in its cache."""


class MLP(nn.Module):
    """ReLU between the layers.

    Args:
        widths: dimensions of the parts of the input; 0 for a part that is not there.
        hidden: units of the hidden layers.
        out: dimensions of the output.
    """

    def __init__(self, widths: Sequence[int], hidden: Sequence[int], out: int) -> None:
        super().__init__()
        sizes = [sum(widths), *hidden, out]
        layers: list[nn.Module] = []
        for i, o in pairwise(sizes):
            layers += [nn.Linear(i, o), nn.ReLU(inplace=True)]
        self._layers = nn.Sequential(*layers[:-1])

    @property
    def last(self) -> nn.Linear:
        """The layer that makes the output."""
        layer = self._layers[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, *parts: torch.Tensor) -> torch.Tensor:
        """Outputs `[*L, out]` for parts `[*L, width]`, whose axes L broadcast."""
        x = side_by_side(parts)
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or x.device.type != "cpu":
            return self._layers(x)
        outputs = self._in_blocks(x.reshape(-1, x.shape[-1]))
        return outputs.reshape(*x.shape[:-1], outputs.shape[-1])

    def _in_blocks(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs `[R, out]` for rows `[R, I]`, without gradients.

        A few rows at a time, in memory that every block uses anew: it stays in a CPU's cache. A
        batched product of one batch takes a few percent less time than a plain one.
        """
        x = x.unsqueeze(0)
        rows = max(min(ROWS_IN_CACHE, x.shape[1]), 1)
        *hidden, last = [
            (layer.bias, layer.weight.t().unsqueeze(0), x.new_empty(1, rows, layer.out_features))
            for layer in self._layers
            if isinstance(layer, nn.Linear)
        ]
        outputs = x.new_empty(1, x.shape[1], last[-1].shape[-1])
        for h, out in zip(x.split(rows, dim=1), outputs.split(rows, dim=1), strict=True):
            n = h.shape[1]
            for bias, weight, buffer in hidden:
                own = buffer if n == rows else buffer[:, :n]
                h = torch.baddbmm(bias, h, weight, out=own).clamp_min_(0)
            torch.baddbmm(last[0], h, last[1], out=out)
        return outputs.squeeze(0)
