"""Mixtures of Gaussians over the next state, one for each ensemble member.

Axis letters: N members, L any axes of rows, M modes, S state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch


class Mixture(NamedTuple):
    """What N members predict for rows L.

    Fields:
        mean: `[N, *L, M, S]`, of the next state.
        std: `[N, *L, M, S]`, deviations; axes may have length 1.
        log_weight: `[N, *L, M]`, of the modes; normalised.
        term_prob: `[N, *L]`, probability that the environment terminates.
    """

    mean: torch.Tensor
    std: torch.Tensor
    log_weight: torch.Tensor
    term_prob: torch.Tensor

    @property
    def overall_mean(self) -> torch.Tensor:
        """`[N, *L, S]`, over the modes."""
        return (self.log_weight.exp().unsqueeze(-1) * self.mean).sum(-2)


def log_density(
    mixture: Mixture,
    next_state: torch.Tensor,
    transform: Callable[[torch.Tensor], torch.Tensor] | None = None,
    origin: torch.Tensor | None = None,
) -> torch.Tensor:
    """Logarithm of the density `[N, *L]` that each member gives the next state.

    Args:
        mixture: of the members.
        next_state: `[*L, S]`.
        transform: applied to next state and means, as seen from `origin`, but not to deviations:
            the density is that of the transformed change.
        origin: `[*L, S]`, the state; needed with `transform`.
    """
    x, mean = next_state.unsqueeze(-2), mixture.mean
    if transform is not None:
        if origin is None:
            raise ValueError("a transform needs the state as origin: it acts on changes")
        x = transform(x - origin.unsqueeze(-2))
        mean = transform(mean - origin.unsqueeze(-2))
    z = (x - mean) / mixture.std
    log_std = mixture.std.log().expand_as(z)
    per_mode = -(0.5 * z.square() + log_std + 0.5 * math.log(2 * math.pi)).sum(-1)
    return torch.logsumexp(mixture.log_weight + per_mode, dim=-1)


def beta_nll(
    mixture: Mixture, next_state: torch.Tensor, *, beta: float, unit: torch.Tensor
) -> torch.Tensor:
    """The beta-NLL `[N, *L]` of Gaussians, mixtures of one mode (Seitzer et al., 2022,
    arXiv 2203.09168): in each dimension minus the log density times `(std / unit)^(2 beta)`,
    which is taken as constant.

    The gradient of the likelihood pulls a mean the less the larger the deviation is, so that what
    is not fitted yet, a wall's edge perhaps, is explained as noise and stays so. With `beta` 1 all
    means are pulled alike, as by squared errors.

    Args:
        mixture: of the members.
        next_state: `[*L, S]`.
        beta: from 0, the likelihood, to 1.
        unit: `[S]`, of the deviations.
    """
    mean, std = mixture.mean.squeeze(-2), mixture.std.squeeze(-2)
    z = (next_state - mean) / std
    nll = 0.5 * z.square() + std.log() + 0.5 * math.log(2 * math.pi)
    return ((std / unit).detach() ** (2 * beta) * nll).sum(-1)


def draw(mixture: Mixture, generator: torch.Generator | None = None) -> torch.Tensor:
    """One next state `[N, *L, S]` of each member."""
    mean, std = mixture.mean, mixture.std.expand_as(mixture.mean)
    if mean.shape[-2] == 1:
        mean, std = mean.squeeze(-2), std.squeeze(-2)
    else:
        mode = _draw_mode(mixture.log_weight, generator)[..., None, None]
        mode = mode.expand(*mean.shape[:-2], 1, mean.shape[-1])
        mean, std = mean.gather(-2, mode).squeeze(-2), std.gather(-2, mode).squeeze(-2)
    noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
    return mean + std * noise


def _draw_mode(log_weight: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """The index `[...]` of a mode: where a uniform number falls among the weights' sums."""
    edges = log_weight.exp().cumsum(-1)[..., :-1]
    shape = (*log_weight.shape[:-1], 1)
    level = torch.rand(shape, generator=generator, device=edges.device, dtype=edges.dtype)
    return (level > edges).sum(-1)
