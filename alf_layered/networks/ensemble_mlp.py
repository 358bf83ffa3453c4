"""N multilayer perceptrons as one batched module.

Axis letters: N members, R rows, H steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn


class EnsembleMLP(nn.Module):
    """N networks with ReLU between the layers, each with its own random start.

    The input comes in parts (state, context, action) so that a part which many rows share is
    multiplied with its rows of the first matrix once.

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
        x = self.first(parts)
        rows = x.shape[1:-1]
        x = x.flatten(1, -2)
        for weight, bias in zip(self.weights[1:], self.biases[1:], strict=True):
            x = torch.baddbmm(bias, torch.relu(x), weight)
        return x.unflatten(1, rows)

    def first(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """The first layer `[N, *L, h]` before its ReLU."""
        total: torch.Tensor | None = None
        for part, weight in zip(parts, self.first_weights(), strict=True):
            if weight.shape[1] == 0:
                continue
            product = torch.matmul(part.flatten(1, -2), weight).unflatten(1, part.shape[1:-1])
            total = product if total is None else total + product
        assert total is not None, "every part of the input has width 0"
        return total + self.biases[0].reshape(self.n_members, *[1] * (total.ndim - 2), -1)

    def first_weights(self) -> tuple[torch.Tensor, ...]:
        """The rows `[N, width, h]` of the first matrix that belong to each part."""
        return self.weights[0].split(self.widths, dim=1)

    def hidden_steps(
        self, known: torch.Tensor, state_weight: torch.Tensor
    ) -> Callable[[int, torch.Tensor], torch.Tensor]:
        """The hidden layers at each of H steps for which all inputs but the state are known.

        Args:
            known: `[H, N, R, h]`, the first layer without the state's part; it is overwritten, so
                that nothing is allocated or copied inside the loop over the steps. No gradients.
            state_weight: `[N, S, h]`, the first matrix' rows for the state.

        Returns:
            A function of the step and the states `[N, R, S]` that returns the last hidden layer
            `[N, R, h']`, which the next call overwrites.
        """
        layers = [
            (weight, bias, known.new_empty(*known.shape[1:3], weight.shape[-1]))
            for weight, bias in zip(self.weights[1:-1], self.biases[1:-1], strict=True)
        ]

        def hidden(step: int, state: torch.Tensor) -> torch.Tensor:
            x = known[step].baddbmm_(state, state_weight).relu_()
            for weight, bias, out in layers:
                x = torch.baddbmm(bias, x, weight, out=out).relu_()
            return x

        return hidden


def _uniform(shape: tuple[int, ...], *, fan_in: int) -> nn.Parameter:
    """Uniform within one over the square root of the fan-in, as torch's linear layers start."""
    bound = max(fan_in, 1) ** -0.5
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
