"""The cross-entropy method for discrete actions: a distribution over N options at each step.

Plans are `[B, K, H]` int64, means `[B, H, N]` probabilities, deviations those of the options'
indicators.

Axis letters: B environments, K candidate plans, E elites, H horizon, N options.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from alf_layered.allowed import BELOW_1, UNIT, check_fields
from alf_layered.planners.elites import equal_weights, moments
from alf_layered.planners.plan import Bounds, Plan
from alf_layered.planners.search import Noise, SearchOptions, first_plan


@dataclass(frozen=True, kw_only=True)
class CategoricalCEM(SearchOptions):
    """Independent categorical distributions, fitted to the elites' frequencies.

    The plan of return mode "mean" takes the likeliest option at each step.

    Attributes:
        momentum: share of the old probabilities in the new ones.
        exploration: share of the uniform distribution in what is sampled, so that an option which
            no elite takes is not lost.
    """

    return_mode: Literal["mean", "best", "random"] = "best"
    momentum: float = 0.1
    exploration: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, momentum=BELOW_1, exploration=UNIT)

    def noise(self, bounds: Bounds) -> Noise:
        if bounds.low is not None:
            raise ValueError(f"CategoricalCEM takes no bounds, low is {bounds.low}")
        return torch.rand

    def point(self, mean: Tensor, bounds: Bounds) -> Tensor:
        return mean.argmax(dim=-1)

    def sample(self, mean: Tensor, std: Tensor, noise: Tensor, bounds: Bounds) -> Tensor:
        likely = mean.lerp(torch.full_like(mean, 1 / mean.shape[-1]), self.exploration)
        cumulative = likely.cumsum(dim=-1)
        # Ends at 1 exactly, with the last option that is possible: noise stays below it.
        cumulative = cumulative / cumulative[..., -1:]
        quantile_BHK = noise.transpose(1, 2).contiguous()
        options_BHK = torch.searchsorted(cumulative, quantile_BHK, right=True)
        return options_BHK.clamp(max=mean.shape[-1] - 1).transpose(1, 2).contiguous()

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
        taken = torch.nn.functional.one_hot(elites, mean.shape[-1]).to(mean.dtype)
        frequency, _ = moments(mean, std, taken, weights)
        mean = frequency.lerp(mean, self.momentum)
        return mean, indicator_std(mean)


def indicator_std(mean: Tensor) -> Tensor:
    """Deviation of the options' indicators, of their probabilities `[B, H, N]`."""
    return (mean * (1 - mean)).clamp(min=0).sqrt()


def uniform_plan(batch_size: int, horizon: int, n_options: int, *, options: CategoricalCEM) -> Plan:
    """A first plan to which all options are equally likely."""
    mean = torch.full((batch_size, horizon, n_options), 1 / n_options)
    return first_plan(mean, indicator_std(mean), options=options)
