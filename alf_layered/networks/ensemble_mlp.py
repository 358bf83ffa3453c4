"""N multilayer perceptrons as one batched module.

Axis letters: N members, R rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn

from alf_layered.networks.mlp import side_by_side

# To repeat a part of so few dimensions costs less than to add its product to every row's.
_NARROW = 16


class EnsembleMLP(nn.Module):
    """N networks with ReLU between the layers, each with its own random start.

    Args:
        widths: dimensions of the parts of the input; 0 for a part that is not there.
        hidden: units of the hidden layers, at least one layer.
        out: dimensions of the output.
        n_members: N.
    """

    def __init__(
        self, widths: Sequence[int], hidden: Sequence[int], out: int, *, n_members: int = 1
    ) -> None:
        super().__init__()
        if not hidden:
            raise ValueError("hidden is empty: an EnsembleMLP has at least one hidden layer")
        self.n_members = n_members
        self.widths = tuple(widths)
        sizes = [sum(widths), *hidden, out]
        shapes = list(pairwise(sizes))
        self.weights = nn.ParameterList(_uniform((n_members, i, o), fan_in=i) for i, o in shapes)
        self.biases = nn.ParameterList(_uniform((n_members, 1, o), fan_in=i) for i, o in shapes)

    def forward(self, *parts: torch.Tensor) -> torch.Tensor:
        """Outputs `[N, *L, out]` for parts `[N or 1, *L, width]`, whose axes L broadcast."""
        rows = torch.broadcast_shapes(*(part.shape[1:-1] for part in parts))
        if any(part.shape[1:-1] != rows and part.shape[-1] > _NARROW for part in parts):
            x = self._shared_first(parts, rows)
        else:
            x = side_by_side(parts).flatten(1, -2).expand(self.n_members, -1, -1)
            x = torch.baddbmm(self.biases[0], x, self.weights[0])
        # Without gradients nobody else reads the layer before.
        relu = torch.relu if torch.is_grad_enabled() else torch.relu_
        for weight, bias in zip(self.weights[1:], self.biases[1:], strict=True):
            x = torch.baddbmm(bias, relu(x), weight)
        return x.unflatten(1, rows)

    def _shared_first(self, parts: Sequence[torch.Tensor], rows: torch.Size) -> torch.Tensor:
        """The first layer `[N, R, h]`; a part that many rows share is multiplied once."""
        total = self.biases[0].unflatten(1, (1,) * len(rows))
        for part, weight in zip(parts, self.weights[0].split(self.widths, dim=1), strict=True):
            if part.shape[-1] == 0:
                continue
            flat = part.flatten(1, -2).expand(self.n_members, -1, -1)
            product = torch.bmm(flat, weight)
            total = total + product.unflatten(1, part.shape[1:-1])
        return total.expand(-1, *rows, -1).flatten(1, -2)

    def hidden_layers(
        self, first: torch.Tensor
    ) -> Callable[[int], Callable[[torch.Tensor], torch.Tensor]]:
        """The hidden layers for many calls with inputs of the same shape. No gradients.

        Args:
            first: `[N, I, h]`, the first layer; an input of ones stands for its bias.

        Returns:
            A function that for a number of rows R returns a function of inputs `[N, R, I]`, whose
            value is the last hidden layer `[N, R, h']`. Its next call overwrites it: nothing is
            allocated in a call, so that the activations stay in a CPU's cache.
        """
        weights, biases = list(self.weights)[1:-1], list(self.biases)[1:-1]

        def for_rows(rows: int) -> Callable[[torch.Tensor], torch.Tensor]:
            start = first.new_empty(self.n_members, rows, first.shape[-1])
            layers = [
                (w, b, w.new_empty(self.n_members, rows, w.shape[-1]))
                for w, b in zip(weights, biases, strict=True)
            ]

            def hidden(x: torch.Tensor) -> torch.Tensor:
                x = torch.bmm(x, first, out=start).clamp_min_(0)
                for weight, bias, out in layers:
                    x = torch.baddbmm(bias, x, weight, out=out).clamp_min_(0)
                return x

            return hidden

        return for_rows


def _uniform(shape: tuple[int, ...], *, fan_in: int) -> nn.Parameter:
    """Uniform within one over the square root of the fan-in, as torch's linear layers start."""
    bound = max(fan_in, 1) ** -0.5
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
