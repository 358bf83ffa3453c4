"""The cross-entropy method (Rubinstein, 1999; Botev et al., 2013)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from alf_layered.allowed import AT_LEAST_0, BELOW_1, check_fields
from alf_layered.planners.elites import equal_weights, gaussian, refit_with_momentum
from alf_layered.planners.plan import Bounds
from alf_layered.planners.search import Noise, SearchOptions
from alf_layered.planners.truncated_normal import truncated_normal


@dataclass(frozen=True, kw_only=True)
class CEM(SearchOptions):
    """Independent normal distributions, fitted to the elites.

    Attributes:
        momentum: share of the old mean and deviation in the new ones.
        sigma_floor: least deviation.
        clip: put samples at the bounds that lie beyond them; else, where there are bounds, the
            distribution is truncated. The noise is then uniform in [0, 1], not normal.
    """

    momentum: float = 0.0
    sigma_floor: float = 0.0
    clip: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, momentum=BELOW_1, sigma_floor=AT_LEAST_0)

    def noise(self, bounds: Bounds) -> Noise:
        return torch.rand if self._truncates(bounds) else torch.randn

    def sample(self, mean: Tensor, std: Tensor, noise: Tensor, bounds: Bounds) -> Tensor:
        if self._truncates(bounds):
            return truncated_normal(mean[:, None], std[:, None], noise, bounds)
        return gaussian(mean, std, noise, bounds)

    def weights(self, score: Tensor) -> Tensor:
        return equal_weights(score)

    def refit(
        self,
        mean: Tensor,
        std: Tensor,
        elites: Tensor,
        weights: Tensor,
        bounds: Bounds = Bounds(),
    ) -> tuple[Tensor, Tensor]:
        return refit_with_momentum(
            mean, std, elites, weights, momentum=self.momentum, floor=self.sigma_floor
        )

    def _truncates(self, bounds: Bounds) -> bool:
        return bounds.low is not None and not self.clip
