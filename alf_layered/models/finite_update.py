"""Refuses updates that are not finite, for what learns by an optimizer of its own.

What a trainer's algorithm trains is checked by the engine, where that does it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn


def check_update(loss: torch.Tensor, norms: Mapping[str, torch.Tensor]) -> None:
    """To be called before the optimizer steps; one read of the device.

    Args:
        loss: a scalar.
        norms: of the gradients of each part, by its name.

    Raises:
        ValueError: one of them is not finite.
    """
    numbers = {"loss": loss.detach(), **{f"gradient norm of {k}": v for k, v in norms.items()}}
    values = torch.stack([x.to(loss) for x in numbers.values()])
    if bool(values.isfinite().all()):
        return
    bad = [f"the {k} is {v}" for k, v in zip(numbers, values.tolist(), strict=True) if v - v != 0]
    raise ValueError(f"the update is not made: {', '.join(bad)}; allowed: finite numbers")


def gradient_norm(parameters: Iterable[nn.Parameter]) -> torch.Tensor:
    """The norm of all gradients that there are, a scalar."""
    norms = [torch.linalg.vector_norm(p.grad) for p in parameters if p.grad is not None]
    return torch.linalg.vector_norm(torch.stack(norms))
