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
        return self._layers(side_by_side(parts))
