"""Three classes in the plane, and outliers between them: data for ensembles of networks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import alf


def _rows(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Points `[count, 2]` around three of a circle of radius 3, and their classes `[count]`."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.arange(count) % 3
    angle = classes * (2 * torch.pi / 3)
    centre = 3 * torch.stack([angle.cos(), angle.sin()], dim=1)
    return centre + 0.5 * torch.randn(count, 2, generator=generator), classes


@alf.configurable
def blobs(batch_size: int = 32, rows: int = 192) -> tuple[DataLoader, DataLoader]:
    """Loaders of training and test data, each with as many rows."""
    return (
        DataLoader(TensorDataset(*_rows(rows, seed=0)), batch_size=batch_size),
        DataLoader(TensorDataset(*_rows(rows, seed=1)), batch_size=rows),
    )


@alf.configurable
def between_blobs(rows: int = 192) -> tuple[DataLoader, DataLoader]:
    """Loaders of points near the origin, as far from each class."""
    loaders = []
    for seed in (2, 3):
        points = 0.3 * torch.randn(rows, 2, generator=torch.Generator().manual_seed(seed))
        data = TensorDataset(points, torch.zeros(rows, dtype=torch.int64))
        loaders.append(DataLoader(data, batch_size=rows))
    return loaders[0], loaders[1]
