"""The RBF kernel between particles, and what it says of the direction in which they move.

Particles are `[N, D]`. A direction is a gradient: particles move against it. Kernels are constants
for the gradient, their widths included.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "Kernel",
    "gfsf_direction",
    "paired_rbf",
    "propagated",
    "rbf",
    "squares",
    "svgd_direction",
]


class Kernel(NamedTuple):
    """A kernel between two sets of particles.

    Fields:
        value: `[M, N]`, ``k(y_j, x_i)``.
        grad: `[M, N, D]`, its gradient by ``y_j``.
    """

    value: Tensor
    grad: Tensor


def squares(y: Tensor, x: Tensor) -> Tensor:
    """Squared distances `[M, N]` between `[M, D]` and `[N, D]`."""
    return (y.unsqueeze(1) - x.unsqueeze(0)).square().sum(-1)


@torch.no_grad()
def rbf(y: Tensor, x: Tensor, width: Tensor) -> Kernel:
    """``exp(-|y - x|^2 / width)``; a width of 0 (all particles at one place) counts as 1."""
    width = torch.where(width > 0, width, torch.ones_like(width))
    difference = y.unsqueeze(1) - x.unsqueeze(0)
    value = torch.exp(-difference.square().sum(-1) / width)
    return Kernel(value, (-2 / width) * difference * value.unsqueeze(-1))


@torch.no_grad()
def paired_rbf(y: Tensor, x: Tensor, width: Tensor) -> Kernel:
    """As `rbf`, of each row of ``y`` `[N, D]` with that of ``x`` alone: `[N]` and `[N, D]`."""
    width = torch.where(width > 0, width, torch.ones_like(width))
    difference = y - x
    value = torch.exp(-difference.square().sum(-1) / width)
    return Kernel(value, (-2 / width) * difference * value.unsqueeze(-1))


def svgd_direction(kernel: Kernel, loss_grad: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    """Stein variational gradient descent (Liu and Wang, arXiv:1608.04471, eq. 8).

    Args:
        kernel: between particles ``y`` and the particles ``x`` that move.
        loss_grad: `[M, D']`, gradient of the loss at ``y``.
        weight: of the force by which particles repel each other.

    Returns:
        the part of the loss `[N, D']` and that of the repulsion `[N, D]`, which is subtracted.
    """
    count = kernel.value.shape[0]
    return kernel.value.T @ loss_grad / count, weight * kernel.grad.sum(0) / count


def gfsf_direction(kernel: Kernel, weight: float, ridge: float) -> Tensor:
    """Repulsion `[N, D]` of GFSF, to be subtracted (Liu et al., arXiv:1807.01750, section 3.3).

    It estimates the gradient of the log density of the particles themselves, times -1.

    Args:
        kernel: of particles with themselves.
        weight: of the force by which particles repel each other.
        ridge: added to the kernel's diagonal, without which it is singular where particles meet.
    """
    value = kernel.value
    diagonal = ridge * torch.eye(len(value), dtype=value.dtype, device=value.device)
    return weight * torch.linalg.solve(value + diagonal, kernel.grad.sum(0))


def propagated(direction: Tensor, outputs: Tensor) -> Tensor:
    """The loss `[N]` whose gradient by ``outputs`` `[N, ...]` is ``direction``."""
    return (direction.detach() * outputs).reshape(len(outputs), -1).sum(-1)
