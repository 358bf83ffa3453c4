"""Plans between two searches: what a search starts from, what it finds, and time moving on.

Axis letters: B environments, K candidate plans, E kept plans, H horizon, A action. A discrete
action has no axis A in its plans, and its mean is the probability of each of A options.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Plan(NamedTuple):
    """What a search starts from; belongs into the state nest of whoever plans."""

    mean: Tensor
    """[B, H, A]"""
    std: Tensor
    """[B, H, A], deviation of the first iteration's samples"""
    elites: Tensor
    """[B, E, H, A], plans of the search before; E is 0 where a search keeps none"""
    known: Tensor
    """[B] int64, leading steps of `elites` that were planned; a search draws the others anew"""


class SearchResult(NamedTuple):
    """What a search has found."""

    plan: Tensor
    """[B, H, A], to execute"""
    mean: Tensor
    """[B, H, A], of the last search distribution"""
    std: Tensor
    """[B, H, A], of the last search distribution"""
    score: Tensor
    """[B], of the best plan that was scored, be it `plan` or not; -inf where no score was finite"""
    warm_start: Plan
    """where the next search starts once it is shifted: `mean`, the deviation of this start, and
    the best plans"""


class Bounds(NamedTuple):
    """A box of actions; None on both sides: no bounds."""

    low: Tensor | None = None
    """[A] or [H, A]"""
    high: Tensor | None = None
    """[A] or [H, A]"""

    @property
    def half_range(self) -> Tensor | None:
        """`[A]` or `[H, A]`, from the middle of the box to its sides; None without bounds."""
        if self.low is None or self.high is None:
            return None
        return (self.high - self.low) / 2

    def clamp(self, actions: Tensor) -> Tensor:
        """`actions [..., A]` at the nearest point of the box."""
        if self.low is None or self.high is None:
            return actions
        return torch.clamp(actions, self.low, self.high)


def shift(plan: Plan, decisions: Tensor, fill: Tensor | None = None) -> Plan:
    """`plan` after some of its decisions were executed: they are dropped and the rest moves up.

    Args:
        plan: usually `SearchResult.warm_start`.
        decisions: `[B]` int64, how many to drop, at least 0; at H and above nothing is left.
        fill: mean of the new last steps, broadcast to `[B, H, A]`; None: the last step's mean.
    """
    horizon = plan.mean.shape[1]
    steps_BH = decisions[:, None] + torch.arange(horizon, device=decisions.device)
    source_BH = steps_BH.clamp(max=horizon - 1)
    mean = torch.take_along_dim(plan.mean, source_BH[..., None], dim=1)
    if fill is not None:
        mean = torch.where((steps_BH < horizon)[..., None], mean, fill.to(mean.dtype))
    index = source_BH[:, None].reshape(len(source_BH), 1, horizon, *(1,) * (plan.elites.ndim - 3))
    return Plan(
        mean=mean,
        std=torch.take_along_dim(plan.std, source_BH[..., None], dim=1),
        elites=torch.take_along_dim(plan.elites, index, dim=2),
        known=(plan.known - decisions).clamp(min=0),
    )
