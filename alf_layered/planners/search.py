"""The loop of every planner: sample plans, score them, fit the search distribution to the best.

A planner is a frozen set of options with a few hooks; `search` has no other state than what goes
in and comes out. It knows nothing of models: whoever scores does.

Axis letters: B environments, K candidate plans, E elites, H horizon, A action.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from alf_layered.allowed import AT_LEAST_1, SHARE, check_fields
from alf_layered.planners.plan import Bounds, Plan, SearchResult

Score = Callable[[Tensor], Tensor]
"""Of plans `[B, K, H, A]`: `[B, K]`, higher is better; what is not finite loses."""


class Noise(Protocol):
    """A source of noise `[B, K, H, A]`, `torch.randn` for one."""

    def __call__(
        self, shape: tuple[int, ...], /, *, generator: torch.Generator | None, device: torch.device
    ) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What all planners have in common; the planners fill in the hooks.

    Attributes:
        n_iterations: how often plans are sampled, scored and the distribution fitted to the best.
        n_samples: K, plans that are scored per iteration, kept ones and candidates included.
        elite_ratio: proportion of the samples that the distribution is fitted to.
        return_mode: the plan to execute: the last distribution's "mean", the "best" plan of all
            iterations, or a "random" one of the last distribution.
    """

    n_iterations: int = 6
    n_samples: int = 256
    elite_ratio: float = 0.2
    return_mode: Literal["mean", "best", "random"] = "mean"

    scores_mean: ClassVar[bool] = False
    """whether the mean is among the plans of the last iteration"""

    def __post_init__(self) -> None:
        check_fields(self, n_iterations=AT_LEAST_1, n_samples=AT_LEAST_1, elite_ratio=SHARE)
        if self.n_elites < 2:
            raise ValueError(
                f"n_samples {self.n_samples} and elite_ratio {self.elite_ratio} give "
                f"{self.n_elites} elites, there must be at least 2"
            )

    @property
    def n_elites(self) -> int:
        """Plans that the distribution is fitted to."""
        return int(self.n_samples * self.elite_ratio + 1e-6)  # 0.29 * 100 is 28.999999999999996

    @property
    def n_kept(self) -> int:
        """The best plans that are samples of the next iteration and of the next search again."""
        return 0

    def populations(self) -> tuple[int, ...]:
        """K of each iteration."""
        return (self.n_samples,) * self.n_iterations

    def noise(self, bounds: Bounds) -> Noise:
        """The source of the noise that `sample` takes."""
        raise NotImplementedError

    def point(self, mean: Tensor, bounds: Bounds) -> Tensor:
        """The plan `[B, H, A]` that stands for a distribution."""
        return bounds.clamp(mean)

    def sample(self, mean: Tensor, std: Tensor, noise: Tensor, bounds: Bounds) -> Tensor:
        """Plans `[B, K, H, A]` within the bounds, a new tensor.

        Args:
            mean: `[B, H, A]`.
            std: `[B, H, A]`.
            noise: `[B, K, H, A]`, from the source `noise`.
            bounds: of the actions.
        """
        raise NotImplementedError

    def weights(self, score: Tensor) -> Tensor:
        """Of elites `[B, E]`, from their scores: sum 1; 0 where a score is -inf, if need be all."""
        raise NotImplementedError

    def refit(
        self,
        mean: Tensor,
        std: Tensor,
        elites: Tensor,
        weights: Tensor,
        bounds: Bounds = Bounds(),
    ) -> tuple[Tensor, Tensor]:
        """The next mean and deviation `[B, H, A]`; unchanged where all weights are 0.

        Args:
            mean: `[B, H, A]`, before.
            std: `[B, H, A]`, before.
            elites: `[B, E, H, A]`.
            weights: `[B, E]`.
            bounds: of the actions.
        """
        raise NotImplementedError

    def draw(
        self,
        mean: Tensor,
        std: Tensor,
        elites: Tensor,
        weights: Tensor,
        noise: Tensor,
        bounds: Bounds,
    ) -> Tensor:
        """The "random" plan `[B, H, A]` of the last distribution; noise is `[B, 1, H, A]`."""
        return self.sample(mean, std, noise, bounds)[:, 0]


def require(options: SearchOptions, name: str, fine: bool, allowed: str) -> None:
    """Raises where an option's value is not allowed."""
    if not fine:
        raise ValueError(
            f"{name} of {type(options).__name__} is {getattr(options, name)!r}, "
            f"it must be {allowed}"
        )


def first_plan(mean: Tensor, std: Tensor | float, *, options: SearchOptions) -> Plan:
    """Where the first search of an episode starts.

    Args:
        mean: `[B, H, A]`, the initial guess.
        std: broadcast to `[B, H, A]`; half the range of the actions is a good choice.
        options: of the searches that will follow.
    """
    plan = options.point(mean, Bounds())
    return Plan(
        mean=mean,
        std=torch.zeros_like(mean) + std,
        elites=plan[:, None].repeat_interleave(options.n_kept, dim=1),
        known=torch.zeros(len(mean), dtype=torch.int64, device=mean.device),
    )


@torch.no_grad()
def search(
    score: Score,
    start: Plan,
    *,
    options: SearchOptions,
    low: Tensor | None = None,
    high: Tensor | None = None,
    generator: torch.Generator | None = None,
    candidates: Tensor | None = None,
    noise: Noise | None = None,
) -> SearchResult:
    """Looks for plans of high score, in each environment by itself.

    Args:
        score: called once per iteration; may keep the plans that it gets, must not change them.
        start: `first_plan`, or the last search's `warm_start`, shifted.
        options: the planner.
        low: `[A]`; None together with `high`: no bounds.
        high: `[A]`.
        generator: of all random numbers, on the device of `start`; None: torch's own.
        candidates: `[B, P, H, A]`, plans that are among the samples of every iteration.
        noise: instead of the planner's own source; gives `[B, K of all iterations + 1, H, A]`,
            for `CategoricalCEM` without A.
    """
    bounds = _bounds(low, high, start.mean, options)
    mean, std = bounds.clamp(start.mean), start.std
    plan = options.point(mean, bounds)
    populations = options.populations()
    _check(options, start, plan, candidates)
    if candidates is not None:
        candidates = bounds.clamp(candidates)
    drawn = (noise or options.noise(bounds))(
        (len(plan), sum(populations) + 1, *plan.shape[1:]), generator=generator, device=plan.device
    ).to(mean.dtype)
    *noise_by_iteration, last_noise = drawn.split((*populations, 1), dim=1)

    best, best_score = plan, torch.full_like(mean[:, 0, 0], -math.inf)
    elites = weights = elite_score = torch.empty(0)
    for i, iteration_noise in enumerate(noise_by_iteration):
        plans = options.sample(mean, std, iteration_noise, bounds)
        kept = options.n_kept
        if kept:
            plans[:, :kept] = elites[:, :kept] if i else _moved_on(start, plans, kept, bounds)
        if candidates is not None:
            plans[:, kept : kept + candidates.shape[1]] = candidates
        if options.scores_mean and i == len(populations) - 1:
            plans[:, -1] = options.point(mean, bounds)

        elite_score, index = _scores(score, plans, mean.dtype).topk(options.n_elites, dim=1)
        elites = take(plans, index)
        weights = options.weights(elite_score)
        mean, std = options.refit(mean, std, elites, weights, bounds)
        better = elite_score[:, 0] > best_score
        best = torch.where(_as(better, best), elites[:, 0], best)
        best_score = torch.maximum(elite_score[:, 0], best_score)

    if options.return_mode == "best":
        plan = best
    elif options.return_mode == "mean":
        plan = options.point(mean, bounds)
    else:
        plan = options.draw(mean, std, elites, weights, last_noise, bounds)
    return SearchResult(
        plan=plan,
        mean=mean,
        std=std,
        score=best_score,
        warm_start=_warm_start(start, mean, elites, elite_score, options.n_kept),
    )


def take(plans: Tensor, index: Tensor) -> Tensor:
    """`plans [B, K, ...]` at `index [B, E]`: `[B, E, ...]`."""
    return plans.gather(1, _as(index, plans).expand(-1, -1, *plans.shape[2:]))


def _as(values: Tensor, like: Tensor) -> Tensor:
    """`values` with trailing axes of length one, as many axes as `like`."""
    return values.reshape(values.shape + (1,) * (like.ndim - values.ndim))


def _scores(score: Score, plans: Tensor, dtype: torch.dtype) -> Tensor:
    """`[B, K]`, -inf where a score is not finite: one broken rollout must not win."""
    scores = score(plans)
    if scores.shape != plans.shape[:2]:
        raise ValueError(
            f"score returned the shape {tuple(scores.shape)} for plans of shape "
            f"{tuple(plans.shape)}, it must be {tuple(plans.shape[:2])}"
        )
    return scores.to(dtype).nan_to_num(-math.inf, posinf=-math.inf, neginf=-math.inf)


def _moved_on(start: Plan, plans: Tensor, kept: int, bounds: Bounds) -> Tensor:
    """The elites of the last search `[B, kept, H, A]`, from fresh plans where they end."""
    steps = torch.arange(plans.shape[2], device=plans.device)
    planned = _as((steps < start.known[:, None])[:, None], plans)
    return torch.where(planned, bounds.clamp(start.elites), plans[:, :kept])


def _warm_start(start: Plan, mean: Tensor, elites: Tensor, elite_score: Tensor, kept: int) -> Plan:
    if kept == 0:
        return start._replace(mean=mean)
    usable = elite_score[:, kept - 1] > -math.inf
    known = usable.to(start.known.dtype) * mean.shape[1]
    return Plan(mean=mean, std=start.std, elites=elites[:, :kept], known=known)


def _bounds(
    low: Tensor | None, high: Tensor | None, mean: Tensor, options: SearchOptions
) -> Bounds:
    if low is None and high is None:
        return Bounds()
    if low is None or high is None:
        raise ValueError(f"low is {low} and high is {high}, give both bounds or neither")
    for name, bound in (("low", low), ("high", high)):
        if bound.shape != mean.shape[-1:]:
            raise ValueError(
                f"{name} has the shape {tuple(bound.shape)}, {type(options).__name__} searches "
                f"actions of shape {tuple(mean.shape[-1:])}"
            )
    # Along the horizon too: broadcasting an axis of few actions takes several times as long.
    low, high = (b.to(mean).expand(mean.shape[1:]).contiguous() for b in (low, high))
    return Bounds(low, high)


def _check(options: SearchOptions, start: Plan, plan: Tensor, candidates: Tensor | None) -> None:
    expected = (len(plan), options.n_kept, *plan.shape[1:])
    if start.elites.shape != expected:
        raise ValueError(
            f"elites of the start have the shape {tuple(start.elites.shape)}, "
            f"{type(options).__name__} keeps {options.n_kept}: {expected}; begin with "
            "first_plan(mean, std, options=options)"
        )
    if candidates is None:
        return
    if candidates.shape != (len(plan), candidates.shape[1], *plan.shape[1:]):
        raise ValueError(
            f"candidates have the shape {tuple(candidates.shape)}, they must be "
            f"{(len(plan), 'P', *plan.shape[1:])}"
        )
    places = min(options.populations()) - options.n_kept - options.scores_mean
    if candidates.shape[1] > places:
        raise ValueError(
            f"there are {candidates.shape[1]} candidates, {type(options).__name__} with n_samples "
            f"{options.n_samples} has places for {places}"
        )
