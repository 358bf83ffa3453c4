"""Configured optimizers made private to the algorithm that got them."""

from __future__ import annotations

import copy

import torch

__all__ = ["own_optimizers"]


def own_optimizers(*optimizers: torch.optim.Optimizer | None) -> list:
    """Copies of optimizers that hold no parameters yet; None stays None.

    An optimizer that comes from ``alf.config`` is one object for every instance of a class, and two
    algorithms that fill the same object would train each other's parameters. One object given
    twice in the same call (one optimizer for actor and critic) stays one object.

    Raises:
        ValueError: an optimizer already holds parameters.
    """
    for optimizer in optimizers:
        held = sum(len(group["params"]) for group in getattr(optimizer, "param_groups", ()))
        if held:
            raise ValueError(
                f"The optimizer {getattr(optimizer, 'name', type(optimizer).__name__)!r} already "
                f"holds {held} parameters of something else. Give an optimizer without parameters, "
                "e.g. alf.optimizers.Adam(lr=1e-3), or one of its own to each algorithm."
            )
    return list(copy.deepcopy(optimizers))
