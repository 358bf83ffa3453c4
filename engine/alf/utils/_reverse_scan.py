"""Linear recurrences backwards in time, in a number of steps logarithmic in their length."""

from __future__ import annotations

import torch
from torch.nn.functional import pad


def reverse_linear_scan(inputs: torch.Tensor, decays: torch.Tensor) -> torch.Tensor:
    """Solve `y[t] = inputs[t] + decays[t] * y[t + 1]` with `y[T] = 0`, for tensors [T, ...].

    Doubling (Hillis and Steele, 1986): after k rounds `y[t]` has the terms of 2^k steps. Nothing is
    divided, so small decays lose no precision.
    """
    inputs, decays = torch.broadcast_tensors(inputs, decays)
    length, step = inputs.shape[0], 1
    while step < length:
        inputs = inputs + decays * _advanced(inputs, step)
        decays = decays * _advanced(decays, step)
        step *= 2
    return inputs


def _advanced(x: torch.Tensor, step: int) -> torch.Tensor:
    """`x[t + step]`, zero past the end."""
    return pad(x[step:], [0, 0] * (x.dim() - 1) + [0, step])
