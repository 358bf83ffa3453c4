"""Noise whose power falls with its frequency along the horizon, unit variance at each step."""

from __future__ import annotations

import torch
from torch import Tensor


def coloured_noise(
    shape: tuple[int, ...],
    /,
    *,
    beta: float,
    generator: torch.Generator | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Gaussian noise of power `f ** -beta` along the last axis but one, independent elsewhere.

    Each Fourier coefficient is normal with the deviation `f ** (-beta / 2)` (Timmer and König,
    1995). A horizon is short, so its mean may differ from 0: frequency 0 gets the power of the
    lowest one. beta 0 is white noise.

    Args:
        shape: `[..., H, A]`, any H >= 1.
        beta: at least 0.
        generator: of the random numbers.
        device: of the noise.
    """
    *rows, horizon, actions = shape
    frequency = torch.fft.rfftfreq(horizon, device=device)
    if horizon > 1:
        frequency[0] = frequency[1]
    else:
        frequency[0] = 1
    deviation = frequency ** (-beta / 2)
    # These coefficients are real, the others complex: power in one part instead of two.
    real = torch.zeros_like(deviation, dtype=torch.bool)
    real[0] = True
    real[-1] |= horizon % 2 == 0
    share = torch.where(real, 0.5, 1.0)
    deviation = deviation / (share * deviation.square()).sum().sqrt()  # variance 1 at each step

    parts = torch.randn((*rows, len(deviation), actions, 2), generator=generator, device=device)
    parts = parts * torch.where(
        real[:, None], torch.tensor([1.0, 0.0], device=device), 0.5**0.5
    ).mul(deviation[:, None])[:, None]
    return torch.fft.irfft(torch.view_as_complex(parts), n=horizon, dim=-2) * horizon * 0.5**0.5
