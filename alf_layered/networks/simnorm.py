"""SimNorm: a vector as groups of probabilities (Hansen et al., 2024, arXiv 2310.16828)."""

from __future__ import annotations

import torch
from torch import Tensor


def simnorm(x: Tensor, group: int = 8) -> Tensor:
    """Softmax over each `group` of neighbouring features of `[..., S]`, equation 5 of the paper."""
    return torch.softmax(x.unflatten(-1, (-1, group)), dim=-1).flatten(-2)
