"""Small data sets with known answers for ensembles of functions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from alf.tensor_specs import TensorSpec


class Labelled(TensorDataset):
    """Rows with classes, whose names it knows as the data sets of torchvision do."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        super().__init__(inputs, targets)
        self.classes = [str(c) for c in targets.unique().tolist()]


def loader(inputs: Tensor, targets: Tensor, batch_size: int | None = None) -> DataLoader:
    """Batches of all rows in order; None: one batch."""
    is_classes = not targets.is_floating_point()
    data = Labelled(inputs, targets) if is_classes else TensorDataset(inputs, targets)
    return DataLoader(data, batch_size=batch_size or len(inputs))


def line(rows: int = 20) -> tuple[Tensor, Tensor]:
    """x `[B, 1]` and y = 2 x - 1 plus standard normal noise `[B, 1]`."""
    x = torch.linspace(-1.5, 1.5, rows).unsqueeze(1)
    return x, 2 * x - 1 + torch.randn(rows, 1)


def posterior_of_line(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean `[2]` and covariance `[2, 2]` of (slope, intercept) given the data.

    Noise has a deviation of 1 and the prior is flat, so they are ``(X^T X)^-1 X^T y``
    and ``(X^T X)^-1``.
    """
    design = torch.cat([x, torch.ones_like(x)], dim=1)
    covariance = (design.T @ design).inverse()
    return (covariance @ design.T @ y).squeeze(1), covariance


def blobs(rows: int = 90) -> tuple[Tensor, Tensor]:
    """Three classes around points of a circle of radius 3, with deviation 0.5: `[B, 2]`, `[B]`."""
    classes = torch.arange(rows) % 3
    angle = classes * (2 * torch.pi / 3)
    centre = 3 * torch.stack([angle.cos(), angle.sin()], dim=1)
    return centre + 0.5 * torch.randn(rows, 2), classes


def between_blobs(rows: int = 60) -> tuple[Tensor, Tensor]:
    """Rows near the origin, as far from each blob: outliers whose classes mean nothing."""
    return 0.3 * torch.randn(rows, 2), torch.zeros(rows, dtype=torch.int64)


PLANE = TensorSpec((2,))
