"""N networks of linear layers, LayerNorm and Mish as one batched module.

Axis letters: N members, L any axes of rows, R those flattened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alf_layered.networks.mish import mish

Members = Tensor | slice | None


class NormedEnsemble(nn.Module):
    """Linear, LayerNorm and Mish in each hidden layer; the output is linear.

    Weights start from a truncated normal distribution of deviation 0.02, biases at 0
    (arXiv 2310.16828, appendix on implementation).

    Args:
        widths: dimensions of the parts of the input.
        hidden: units of the hidden layers, at least one.
        out: dimensions of the output; None: the last hidden layer is the output.
        n_members: N.
        zero_output: whether the output layer starts at 0.
        output_norm: applied to the output after a LayerNorm; None: the output is linear.
    """

    def __init__(
        self,
        widths: Sequence[int],
        hidden: Sequence[int],
        out: int | None,
        *,
        n_members: int = 1,
        zero_output: bool = False,
        output_norm: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        if not hidden:
            raise ValueError("hidden is empty: a NormedEnsemble has at least one hidden layer")
        self.n_members = n_members
        self.widths = tuple(widths)
        self._output_norm = output_norm
        self._has_output = out is not None
        sizes = [sum(widths), *hidden, *([] if out is None else [out])]
        self.weights = nn.ParameterList(
            nn.Parameter(_truncated_normal(n_members, i, o)) for i, o in pairwise(sizes)
        )
        self.biases = nn.ParameterList(
            nn.Parameter(torch.zeros(n_members, 1, o)) for o in sizes[1:]
        )
        normed = [*hidden, *([] if output_norm is None or out is None else [out])]
        self.gains = nn.ParameterList(nn.Parameter(torch.ones(n_members, 1, o)) for o in normed)
        self.shifts = nn.ParameterList(nn.Parameter(torch.zeros(n_members, 1, o)) for o in normed)
        if zero_output:
            nn.init.zeros_(self.weights[-1])

    def forward(
        self,
        *parts: Tensor,
        members: Members = None,
        dropout: float = 0.0,
        frozen: bool = False,
        extra: Tensor | None = None,
    ) -> Tensor:
        """Outputs `[N, *L, out]` for parts `[*L, width]`, whose axes L broadcast.

        Args:
            members: which ones to evaluate, a slice or indices `[N']`; None: all.
            dropout: probability that a unit of the first layer is dropped.
            frozen: whether gradients pass to the inputs alone.
            extra: `[N or 1, *L, h]`, broadcast, added in the first layer before its LayerNorm.
        """

        def of(parameters: nn.ParameterList, i: int) -> Tensor:
            chosen = parameters[i].detach() if frozen else parameters[i]
            return chosen if members is None else chosen[members]

        x, rows = self._first(parts, of(self.weights, 0), of(self.biases, 0), extra)
        if dropout > 0:
            x = F.dropout(x, dropout)
        last = len(self.weights) - 1
        for i in range(len(self.weights)):
            if i > 0:
                x = torch.baddbmm(of(self.biases, i), x, of(self.weights, i))
            if i < last or not self._has_output:
                x = mish(_layer_norm(x, of(self.gains, i), of(self.shifts, i)))
            elif self._output_norm is not None:
                x = self._output_norm(_layer_norm(x, of(self.gains, i), of(self.shifts, i)))
        return x.reshape(len(x), *rows, x.shape[-1])

    def _first(
        self, parts: Sequence[Tensor], weight: Tensor, bias: Tensor, extra: Tensor | None
    ) -> tuple[Tensor, tuple[int, ...]]:
        """The first layer's product `[N, R, h]`, and L.

        A part which many rows share is multiplied once, not once for each of them.
        """
        rows = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
        members = len(weight)
        shared = None if extra is None else extra
        wide, wide_weight = [], []
        for part, part_weight in zip(parts, weight.split(self.widths, dim=1), strict=True):
            if part.shape[-1] == 0:
                continue
            if part.shape[:-1] == rows:
                wide.append(part)
                wide_weight.append(part_weight)
                continue
            product = torch.bmm(_rows(part).expand(members, -1, -1), part_weight)
            product = product.reshape(members, *part.shape[:-1], product.shape[-1])
            shared = product if shared is None else shared + product
        if len(wide) == sum(width > 0 for width in self.widths):
            wide_weight = [weight]
        start = bias
        if shared is not None:
            shared = shared + bias.reshape(members, *(1,) * len(rows), -1)
            start = shared.expand(members, *rows, -1).reshape(members, -1, shared.shape[-1])
        if not wide:
            return start, tuple(rows)
        x = _rows(wide[0] if len(wide) == 1 else torch.cat(wide, dim=-1))
        w = wide_weight[0] if len(wide_weight) == 1 else torch.cat(wide_weight, dim=1)
        return torch.baddbmm(start, x.expand(members, -1, -1), w), tuple(rows)


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def _layer_norm(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """LayerNorm of `[N, R, h]` with a gain and a shift `[N, 1, h]` of each member."""
    if len(gain) == 1:
        return F.layer_norm(x, x.shape[-1:], gain.flatten(), shift.flatten())
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:]), gain)


def _truncated_normal(*shape: int) -> Tensor:
    """Normal of deviation 0.02, cut at two deviations."""
    return nn.init.trunc_normal_(torch.empty(shape), std=0.02, a=-0.04, b=0.04)
