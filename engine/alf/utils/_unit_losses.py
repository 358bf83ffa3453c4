"""Losses of single numbers and of sets of quantiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from alf.config_util import configurable

PUBLIC_MODULE = "alf.utils.losses"  # under which these names are configured


@configurable
def element_wise_huber_loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Huber loss with delta 1 of each element: `huber_function(x - y)`."""
    return F.smooth_l1_loss(y, x, reduction="none")


@configurable
def element_wise_squared_loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Squared error of each element."""
    return F.mse_loss(y, x, reduction="none")


@configurable
def huber_function(x: torch.Tensor, delta: float = 1.0) -> torch.Tensor:
    """`x**2 / 2` where `|x| <= delta`, else `delta * (|x| - delta / 2)`."""
    size = x.abs()
    return torch.where(size <= delta, 0.5 * x * x, delta * (size - 0.5 * delta))


@configurable
def iqn_huber_loss(
    value: torch.Tensor,
    target: torch.Tensor,
    tau_hat: Any = (),
    next_delta_tau: Any = (),
    fixed_tau: Any = (),
    sum_over_quantiles: bool = True,
    loss_fn: Callable = huber_function,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantile regression loss between two sets of quantiles.

    Dabney et al. 2018, "Distributional Reinforcement Learning with Quantile Regression", equation
    (10), and "Implicit Quantile Networks", equation (3):
    `sum_i mean_j |tau_i - 1(u_ij < 0)| * loss_fn(u_ij)` with `u_ij = target_j - value_i`.

    Args:
        value: [..., N] estimated quantiles.
        target: [..., M] quantiles (or samples) of the target.
        tau_hat: [..., N], the fraction each quantile of `value` stands for.
        next_delta_tau: [..., M], the weight of each quantile of the target in the mean over j; `()`
            for weights of one.
        fixed_tau: [N], needed without `tau_hat`.
        sum_over_quantiles: sum over i as in the papers; otherwise average.
        loss_fn: loss of each u.

    Returns the loss [...], and the differences u [..., N, M].

    Raises:
        ValueError: if neither `tau_hat` nor `fixed_tau` is given.
    """
    if isinstance(tau_hat, torch.Tensor):
        tau = tau_hat
    elif isinstance(fixed_tau, torch.Tensor):
        tau = fixed_tau
    else:
        raise ValueError("iqn_huber_loss: tau_hat or fixed_tau is needed, got neither")
    error = target.unsqueeze(-2) - value.unsqueeze(-1)  # [..., N, M]
    weight = (tau.unsqueeze(-1) - (error.detach() < 0).to(value.dtype)).abs()
    loss = weight * loss_fn(error)
    if isinstance(next_delta_tau, torch.Tensor):
        loss = loss * next_delta_tau.unsqueeze(-2)
    loss = loss.mean(dim=-1)
    return (loss.sum(dim=-1) if sum_over_quantiles else loss.mean(dim=-1)), error


@configurable
def multi_quantile_huber_loss(
    quantiles: torch.Tensor, target: torch.Tensor, delta: float = 0.1
) -> torch.Tensor:
    """Regression of N quantiles, `quantiles[..., k]` standing for the fraction (k + 0.5) / N.

    Dabney et al. 2018, equation (10), divided by `delta` so that `delta` -> 0 is the loss without
    Huber's smoothing.

    Args:
        quantiles: [B, N].
        target: [B], or [B, M] for several targets.
        delta: width of the quadratic part; 0 for none.

    Returns [B], averaged over quantiles and targets.
    """
    if target.dim() == quantiles.dim() - 1:
        target = target.unsqueeze(-1)
    error = target.unsqueeze(-2) - quantiles.unsqueeze(-1)
    size = error.abs() if delta == 0 else huber_function(error, delta) / delta
    weight = (_middles(quantiles).unsqueeze(-1) - (error.detach() < 0).to(size.dtype)).abs()
    return (weight * size).mean(dim=(-2, -1))


def _middles(quantiles: torch.Tensor) -> torch.Tensor:
    n = quantiles.shape[-1]
    return (torch.arange(n, device=quantiles.device, dtype=quantiles.dtype) + 0.5) / n
