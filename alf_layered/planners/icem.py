"""iCEM, the improved cross-entropy method (Pinneri et al., 2020, arXiv 2008.06389)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor

from alf_layered.allowed import AT_LEAST_0, AT_LEAST_1, BELOW_1, UNIT, check_fields
from alf_layered.planners.coloured_noise import coloured_noise
from alf_layered.planners.elites import equal_weights, gaussian, refit_with_momentum
from alf_layered.planners.plan import Bounds
from alf_layered.planners.search import Noise, SearchOptions


@dataclass(frozen=True, kw_only=True)
class ICEM(SearchOptions):
    """CEM with coloured noise, a shrinking population and a memory of its elites.

    Samples beyond the bounds are put at the bounds, and the mean is a sample of the last iteration.
    Kept elites are scored again: a score may be random.

    Attributes:
        beta: exponent of the noise's power along the horizon; 0 is white, larger is smoother.
        decay: gamma, the population of iteration i is `n_samples * decay ** -i`, though at least
            twice the elites.
        keep_fraction: xi, proportion of the elites that are samples of the next iteration and, once
            shifted, of the next search.
        momentum: alpha, share of the old mean and deviation in the new ones.
        sigma_floor: least deviation.
    """

    elite_ratio: float = 0.1
    return_mode: Literal["mean", "best", "random"] = "best"
    beta: float = 1.0
    decay: float = 1.25
    keep_fraction: float = 0.3
    momentum: float = 0.1
    sigma_floor: float = 0.0

    scores_mean: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(
            self,
            beta=AT_LEAST_0,
            decay=AT_LEAST_1,
            keep_fraction=UNIT,
            momentum=BELOW_1,
            sigma_floor=AT_LEAST_0,
        )

    @property
    def n_kept(self) -> int:
        return math.ceil(self.keep_fraction * self.n_elites - 1e-6)

    def populations(self) -> tuple[int, ...]:
        least = min(2 * self.n_elites, self.n_samples)
        return tuple(
            max(int(self.n_samples * self.decay**-i), least) for i in range(self.n_iterations)
        )

    def noise(self, bounds: Bounds) -> Noise:
        return partial(coloured_noise, beta=self.beta)

    def sample(self, mean: Tensor, std: Tensor, noise: Tensor, bounds: Bounds) -> Tensor:
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
