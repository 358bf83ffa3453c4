"""Scalars as probabilities of bins, even in the logarithm (arXiv 2310.16828, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from alf_layered.networks.constant_buffers import register_constant


def symlog(x: Tensor) -> Tensor:
    """`sign(x) log(1 + |x|)`."""
    return torch.sign(x) * torch.log1p(x.abs())


def symexp(x: Tensor) -> Tensor:
    """The inverse of `symlog`."""
    return torch.sign(x) * torch.expm1(x.abs())


class TwoHot(nn.Module):
    """Bins between `vmin` and `vmax` (both of `symlog`), shared by nothing but their owner.

    Axis letters: M bins.
    """

    bins: Tensor

    def __init__(self, num_bins: int = 101, vmin: float = -10.0, vmax: float = 10.0) -> None:
        super().__init__()
        if num_bins < 2 or not vmin < vmax:
            raise ValueError(
                f"two-hot values need at least 2 bins and vmin < vmax, got num_bins={num_bins}, "
                f"vmin={vmin}, vmax={vmax}"
            )
        self._low, self._high = vmin, vmax
        self._width = (vmax - vmin) / (num_bins - 1)
        register_constant(self, "bins", torch.linspace(vmin, vmax, num_bins))

    def place(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """The lower of the two bins `[...]`, int64, and the share of the upper one, in [0, 1]."""
        at = (symlog(value).clamp(self._low, self._high) - self._low) / self._width
        lower = at.floor().clamp(max=len(self.bins) - 2)
        return lower.long(), at - lower

    def encode(self, value: Tensor) -> Tensor:
        """Probabilities `[..., M]` of values `[...]`."""
        lower, share = self.place(value)
        probabilities = value.new_zeros(*value.shape, len(self.bins))
        probabilities.scatter_(-1, lower[..., None], (1 - share)[..., None])
        return probabilities.scatter_(-1, lower[..., None] + 1, share[..., None])

    def decode(self, logits: Tensor) -> Tensor:
        """Values `[...]` of logits `[..., M]`."""
        return symexp(torch.softmax(logits.float(), dim=-1) @ self.bins)

    def cross_entropy(self, logits: Tensor, value: Tensor) -> Tensor:
        """`[...]` of logits `[*N, ..., M]` against values `[...]`, which are placed only once."""
        lower, share = self.place(value)
        likelihood = torch.log_softmax(logits.float(), dim=-1)
        index = torch.stack([lower, lower + 1], dim=-1).expand(*likelihood.shape[:-1], 2)
        found = likelihood.gather(-1, index)
        return -torch.lerp(found[..., 0], found[..., 1], share)
