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
    coefficients = torch.randn((*rows, actions, horizon), generator=generator, device=device)
    waves = _waves(horizon, beta, device=device)
    return torch.matmul(coefficients, waves).transpose(-1, -2).contiguous()


def _waves(horizon: int, beta: float, *, device: torch.device | None) -> Tensor:
    """`[H, H]`, what a coefficient of deviation 1 contributes to each step, one row for each.

    The inverse transform as a matrix: at the horizons of plans a product with it takes a third of
    the time of many short transforms.
    """
    power = torch.fft.rfftfreq(horizon, device=device).clamp(min=1 / horizon) ** -beta
    # The first coefficient, and with an even horizon the last, is real and occurs once; the others
    # stand for two frequencies, the negative one included, and have two parts.
    n_imaginary = (horizon - 1) // 2
    parts = torch.full_like(power, 1.0)
    parts[1 : 1 + n_imaginary] = 2.0
    power = power / (parts * power).sum()
    amplitude = torch.diag((power / parts).sqrt()).to(torch.complex64)
    coefficients = torch.cat([amplitude, 1j * amplitude[1 : 1 + n_imaginary]])
    return torch.fft.irfft(coefficients, n=horizon, norm="forward")
