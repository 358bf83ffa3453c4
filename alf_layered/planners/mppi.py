"""Model predictive path integral control (Williams et al., 2015) with elites, as TD-MPC2 plans."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from alf_layered.allowed import AT_LEAST_0, POSITIVE, check_fields
from alf_layered.planners.elites import gaussian, moments
from alf_layered.planners.plan import Bounds
from alf_layered.planners.search import Noise, SearchOptions, require, take


@dataclass(frozen=True, kw_only=True)
class MPPI(SearchOptions):
    """A normal distribution fitted to the elites, the better ones counting more.

    An elite's weight is `exp(temperature * (score - best score))` (Hansen et al., 2024, arXiv
    2310.16828, section 3.2). "random" is an elite drawn by weight. Candidates are usually plans of
    a policy.

    Attributes:
        temperature: of the weights, per unit of score; larger counts the best more.
        min_std: least deviation that is fitted, in units of half the range of each action: the
            paper's actions lie in [-1, 1]. As it is where there are no bounds.
        max_std: largest one, likewise.
    """

    n_samples: int = 512
    elite_ratio: float = 0.125
    return_mode: Literal["mean", "best", "random"] = "random"
    temperature: float = 0.5
    min_std: float = 0.05
    max_std: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, temperature=POSITIVE, min_std=AT_LEAST_0, max_std=POSITIVE)
        require(self, "max_std", self.max_std >= self.min_std, f"at least min_std {self.min_std}")

    def noise(self, bounds: Bounds) -> Noise:
        return torch.randn

    def sample(self, mean: Tensor, std: Tensor, noise: Tensor, bounds: Bounds) -> Tensor:
        return gaussian(mean, std, noise, bounds)

    def weights(self, score: Tensor) -> Tensor:
        valid = score > -math.inf
        advantage = torch.where(valid, score - score[:, :1], 0.0)  # elites come best first
        weight = torch.where(valid, (self.temperature * advantage).exp(), 0.0)
        return weight / weight.sum(dim=1, keepdim=True).clamp(min=1)  # the best has weight 1

    def refit(
        self,
        mean: Tensor,
        std: Tensor,
        elites: Tensor,
        weights: Tensor,
        bounds: Bounds = Bounds(),
    ) -> tuple[Tensor, Tensor]:
        found, variance = moments(mean, std, elites, weights)
        unit = bounds.half_range
        if unit is None:
            return found, variance.sqrt().clamp(self.min_std, self.max_std)
        return found, variance.sqrt().clamp(self.min_std * unit, self.max_std * unit)

    def draw(
        self,
        mean: Tensor,
        std: Tensor,
        elites: Tensor,
        weights: Tensor,
        noise: Tensor,
        bounds: Bounds,
    ) -> Tensor:
        cumulative = weights.cumsum(dim=1)
        quantile = torch.special.ndtr(noise.flatten(1)[:, :1]) * cumulative[:, -1:]
        chosen = (cumulative < quantile).sum(dim=1, keepdim=True)
        drawn = take(elites, chosen)[:, 0]
        return torch.where((weights.sum(dim=1) > 0)[:, None, None], drawn, bounds.clamp(mean))
