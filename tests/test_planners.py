"""Searches: what every planner keeps to, known optima, warm starts and their noise."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from alf_layered.planners.categorical_cem import CategoricalCEM, indicator_std, uniform_plan
from alf_layered.planners.cem import CEM
from alf_layered.planners.coloured_noise import coloured_noise
from alf_layered.planners.elites import refit_with_momentum
from alf_layered.planners.icem import ICEM
from alf_layered.planners.mppi import MPPI
from alf_layered.planners.plan import Bounds, Plan, SearchResult, shift
from alf_layered.planners.search import Score, SearchOptions, first_plan, search
from alf_layered.planners.truncated_normal import truncated_normal

SMALL: dict[str, Any] = {"n_samples": 40, "elite_ratio": 0.2, "n_iterations": 3}
CONTINUOUS: list[SearchOptions] = [
    CEM(**SMALL),
    CEM(**SMALL, clip=True, momentum=0.3, return_mode="random"),
    CEM(**SMALL, return_mode="best"),
    ICEM(**SMALL),
    ICEM(**SMALL, return_mode="random"),
    MPPI(**SMALL),
    MPPI(**SMALL, return_mode="best"),
    MPPI(**SMALL, return_mode="mean"),
]
PLANNERS = [*CONTINUOUS, CategoricalCEM(**SMALL), CategoricalCEM(**SMALL, return_mode="random")]
N_OPTIONS = 4


def _name(options: SearchOptions) -> str:
    clip = "-clip" if getattr(options, "clip", False) else ""
    return f"{type(options).__name__}-{options.return_mode}{clip}"


continuous = pytest.mark.parametrize("options", CONTINUOUS, ids=_name)
every = pytest.mark.parametrize("options", PLANNERS, ids=_name)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _start(options: SearchOptions, batch: int, horizon: int = 5, actions: int = 2) -> Plan:
    if isinstance(options, CategoricalCEM):
        return uniform_plan(batch, horizon, N_OPTIONS, options=options)
    return first_plan(torch.zeros(batch, horizon, actions), 0.5, options=options)


def _box(options: SearchOptions, actions: int = 2) -> dict[str, Any]:
    if isinstance(options, CategoricalCEM):
        return {}
    return {"low": -torch.ones(actions), "high": torch.ones(actions)}


def _towards(target_B: Tensor) -> Score:
    """Best where every entry of environment b's plan is `target_B[b]`."""

    def score(plans: Tensor) -> Tensor:
        distance = plans - target_B.reshape(-1, *(1,) * (plans.ndim - 1))
        return -distance.square().flatten(2).sum(dim=2)

    return score


def _leaves(result: SearchResult) -> list[Tensor]:
    return [*result[:4], *result.warm_start]


# Contracts of every planner


@every
@pytest.mark.parametrize("horizon", [1, 2, 5])
@pytest.mark.parametrize("actions", [1, 3])
def test_shapes_are_kept_and_a_search_starts_where_one_ended(
    options: SearchOptions, horizon: int, actions: int
) -> None:
    seen = []

    def score(plans: Tensor) -> Tensor:
        seen.append(plans.shape)
        return _towards(torch.ones(3))(plans)

    start = _start(options, 3, horizon, actions)
    result = search(score, start, options=options, generator=_generator(), **_box(options, actions))
    assert [s[1] for s in seen] == list(options.populations())
    assert {(s[0], *s[2:]) for s in seen} == {result.plan.shape}
    assert result.mean.shape == result.std.shape == start.mean.shape
    assert result.score.shape == (3,)
    for before, after in zip(start, result.warm_start, strict=True):
        assert (before.shape, before.dtype) == (after.shape, after.dtype)
    assert all(leaf.isfinite().all() for leaf in _leaves(result))
    moved = shift(result.warm_start, torch.tensor([0, 1, horizon]))
    again = search(score, moved, options=options, generator=_generator(), **_box(options, actions))
    assert again.plan.shape == result.plan.shape


@every
def test_same_generator_same_result_and_the_start_stays_as_it_is(options: SearchOptions) -> None:
    start = _start(options, 2)
    before = [leaf.clone() for leaf in start]
    results = [
        search(
            _towards(torch.tensor([0.3, 1.0])),
            start,
            options=options,
            generator=_generator(seed),
            **_box(options),
        )
        for seed in (7, 7, 8)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*map(_leaves, results[:2]), strict=True))
    assert not torch.equal(results[0].warm_start.mean, results[2].warm_start.mean)
    assert all(torch.equal(a, b) for a, b in zip(before, start, strict=True))


@every
def test_torchs_own_generator_is_used_where_none_is_given(options: SearchOptions) -> None:
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(search(_towards(torch.ones(2)), _start(options, 2), options=options))
    assert all(torch.equal(a, b) for a, b in zip(*map(_leaves, results), strict=True))


@every
def test_double_precision_stays(options: SearchOptions) -> None:
    start = _start(options, 2)
    start = start._replace(mean=start.mean.double(), std=start.std.double())
    if not isinstance(options, CategoricalCEM):
        start = start._replace(elites=start.elites.double())
    score = _towards(torch.ones(2))
    result = search(score, start, options=options, generator=_generator(), **_box(options))
    assert result.plan.dtype == start.elites.dtype
    assert {leaf.dtype for leaf in result[1:4]} == {torch.float64}
    assert [leaf.dtype for leaf in result.warm_start] == [leaf.dtype for leaf in start]


@every
def test_environments_are_searched_independently(options: SearchOptions) -> None:
    """Permuting environments permutes results; changing one changes no other."""
    batch = 5
    order = torch.tensor([3, 0, 4, 1, 2])
    target = torch.linspace(-0.8, 2.6, batch)
    start = _start(options, batch)._replace(known=torch.tensor([0, 1, 2, 5, 3]))
    start = start._replace(mean=start.mean + 0.01 * torch.arange(5.0)[:, None, None])

    def run(rows: Tensor, goals: Tensor) -> list[Tensor]:
        def noise(shape: tuple[int, ...], /, *, generator: Any, device: Any) -> Tensor:
            return options.noise(Bounds(*_box(options).values()))(
                (batch, *shape[1:]), generator=_generator(), device=device
            )[rows]

        rows_of = Plan(*(leaf[rows] for leaf in start))
        return _leaves(
            search(_towards(goals[rows]), rows_of, options=options, noise=noise, **_box(options))
        )

    straight = run(torch.arange(batch), target)
    for a, b in zip(straight, run(order, target), strict=True):
        torch.testing.assert_close(a[order], b)
    other_goal = target.clone()
    other_goal[2] = math.nan
    kept = torch.tensor([0, 1, 3, 4])
    for a, b in zip(straight, run(torch.arange(batch), other_goal), strict=True):
        assert torch.equal(a[kept], b[kept])


@every
@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_lose(options: SearchOptions, broken: float) -> None:
    """All scores are negative, so that a NaN read as 0 would win."""
    limit = 1 if isinstance(options, CategoricalCEM) else 0.1

    def score(plans: Tensor) -> Tensor:
        good = plans.double().flatten(2).mean(dim=2) - 100
        return torch.where(
            plans[:, :, 0].double().reshape(*good.shape, -1)[..., 0] > limit, broken, good
        )

    start = _start(options, 2)
    result = search(score, start, options=options, generator=_generator(), **_box(options))
    first = result.plan.double().reshape(2, -1)[:, 0]
    assert result.score.isfinite().all()
    assert (result.score < -90).all()
    if options.return_mode != "random" or isinstance(options, MPPI):
        assert (first <= limit).all()
    assert (result.warm_start.elites.isfinite()).all()


def test_a_score_too_large_for_the_plans_precision_loses() -> None:
    def score(plans: Tensor) -> Tensor:
        return (plans[:, :, 0, 0] > 0).double() * 1e300 - 1

    options = CEM(**SMALL, return_mode="best")
    result = search(score, _start(options, 2), options=options, generator=_generator())
    assert (result.plan[:, 0, 0] <= 0).all()


@every
@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_scores_that_all_lose_leave_the_distribution_where_it_was(
    options: SearchOptions, broken: float
) -> None:
    start = _start(options, 2)
    result = search(
        lambda plans: torch.full(plans.shape[:2], broken),
        start,
        options=options,
        generator=_generator(),
        **_box(options),
    )
    torch.testing.assert_close(result.mean, start.mean)
    assert all(leaf.isfinite().all() for leaf in [result.plan, result.std, *result.warm_start])
    assert (result.score == -math.inf).all()
    assert (result.warm_start.known == 0).all()


@continuous
@settings(max_examples=25, deadline=None)
@given(
    mean=st.floats(-1e6, 1e6),
    std=st.sampled_from([0.0, 1e-20, 1e-3, 1.0, 1e4, 1e12]),
    low=st.floats(-10, 10),
    width=st.sampled_from([0.0, 1e-6, 1.0, 100.0]),
    horizon=st.integers(1, 4),
    target=st.floats(-30, 30),
    seed=st.integers(0, 99),
)
def test_bounds_hold_wherever_the_search_starts(
    options: SearchOptions,
    mean: float,
    std: float,
    low: float,
    width: float,
    horizon: int,
    target: float,
    seed: int,
) -> None:
    low_A, high_A = torch.tensor([low, -1.0]), torch.tensor([low + width, 1.0])
    start = first_plan(torch.full((2, horizon, 2), mean), std, options=options)
    elites = torch.full_like(start.elites, 1e3)  # planned under other bounds
    start = start._replace(elites=elites, known=torch.tensor([0, horizon]))

    def score(plans: Tensor) -> Tensor:
        assert plans.isfinite().all()
        assert ((plans >= low_A) & (plans <= high_A)).all()
        return _towards(torch.full((2,), target))(plans)

    candidates = torch.full((2, 3, horizon, 2), -1e3)
    result = search(
        score,
        start,
        options=options,
        low=low_A,
        high=high_A,
        generator=_generator(seed),
        candidates=candidates,
    )
    assert ((result.plan >= low_A) & (result.plan <= high_A)).all()
    assert all(leaf.isfinite().all() for leaf in _leaves(result))


@every
def test_candidates_are_scored_in_every_iteration_and_can_win(options: SearchOptions) -> None:
    discrete = isinstance(options, CategoricalCEM)
    secret = torch.tensor([3, 1, 0, 2, 1]) if discrete else torch.linspace(-0.9, 0.9, 10)
    secret = secret.reshape(5) if discrete else secret.reshape(5, 2)
    found = []

    def score(plans: Tensor) -> Tensor:
        same = (plans == secret).flatten(2).all(dim=2)
        found.append(same.sum(dim=1).tolist())
        return same.float()

    candidates = secret.expand(2, 1, *secret.shape)
    result = search(
        score,
        _start(options, 2),
        options=options,
        generator=_generator(),
        candidates=candidates,
        **_box(options),
    )
    assert len(found) == 3
    assert all(count >= 1 for counts in found for count in counts)
    if options.return_mode == "best":
        assert torch.equal(result.plan, candidates[:, 0])
    assert (result.score == 1).all()


@every
def test_a_broken_candidate_spoils_nothing(options: SearchOptions) -> None:
    if isinstance(options, CategoricalCEM):
        pytest.skip("whole numbers are never NaN")
    score = _towards(torch.ones(2))

    def few(plans: Tensor) -> Tensor:  # fewer usable scores than elites
        return torch.where(torch.arange(plans.shape[1]) < 6, score(plans), math.nan)

    result = search(
        few,
        _start(options, 2),
        options=options,
        generator=_generator(),
        candidates=torch.full((2, 4, 5, 2), math.nan),
        **_box(options),
    )
    assert all(leaf.isfinite().all() for leaf in [result.plan, result.mean, result.std])


@continuous
def test_the_score_is_that_of_the_best_plan_scored(options: SearchOptions) -> None:
    best = torch.full((2,), -math.inf)

    def score(plans: Tensor) -> Tensor:
        nonlocal best
        scores = _towards(torch.tensor([0.4, -0.2]))(plans)
        best = torch.maximum(best, scores.amax(dim=1))
        return scores

    start = _start(options, 2)
    result = search(score, start, options=options, generator=_generator(), **_box(options))
    assert torch.equal(result.score, best)
    if options.return_mode == "best":
        torch.testing.assert_close(score(result.plan[:, None])[:, 0], best)


# Known optima


@pytest.mark.parametrize(
    "options", [CEM(n_iterations=12), MPPI(n_iterations=12), ICEM()], ids=_name
)
def test_the_nearer_of_two_optima_is_found(options: SearchOptions) -> None:
    """min((x - 1)^2, (x + 1)^2) from 1.5 and -1.5, without bounds."""
    options = type(options)(
        n_iterations=12,
        n_samples=60,
        elite_ratio=0.15,
        return_mode="best",
        **({"min_std": 0.0, "temperature": 50.0} if isinstance(options, MPPI) else {}),
    )

    def score(plans: Tensor) -> Tensor:
        return -torch.minimum((plans - 1) ** 2, (plans + 1) ** 2).flatten(2).sum(dim=2)

    start = first_plan(torch.tensor([1.5, -1.5]).reshape(2, 1, 1), 0.5, options=options)
    result = search(score, start, options=options, generator=_generator())
    torch.testing.assert_close(result.plan.flatten(), torch.tensor([1.0, -1.0]), atol=2e-3, rtol=0)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_cem_finds_the_one_optimum_within_the_bounds(clip: bool, seed: int) -> None:
    options = CEM(n_iterations=10, n_samples=60, clip=clip)
    start = first_plan(torch.tensor([1.5, -1.5]).reshape(2, 1, 1), 1.0, options=options)

    def score(plans: Tensor) -> Tensor:
        return -torch.minimum((plans - 1) ** 2, (plans + 1) ** 2).flatten(2).sum(dim=2)

    result = search(
        score,
        start,
        options=options,
        low=torch.tensor([0.0]),
        high=torch.tensor([1.6]),
        generator=_generator(seed),
    )
    torch.testing.assert_close(result.plan.flatten(), torch.ones(2), atol=2e-3, rtol=0)


def test_an_optimum_at_the_bounds_is_found() -> None:
    options = ICEM(n_samples=256, n_iterations=10, decay=1.0)
    start = first_plan(torch.zeros(2, 5, 2), 1.0, options=options)
    score = _towards(torch.tensor([5.0, -5.0]))
    result = search(score, start, options=options, generator=_generator(), **_box(options))
    expected = torch.tensor([1.0, -1.0]).reshape(2, 1, 1).expand(2, 5, 2)
    torch.testing.assert_close(result.plan, expected, atol=0.02, rtol=0)


def test_categorical_cem_finds_the_best_sequence_of_options() -> None:
    """4 ** 8 sequences; a reward needs two right options in a row."""
    secret_BH = torch.randint(4, (6, 8), generator=_generator(1))
    options = CategoricalCEM(n_samples=400, elite_ratio=0.05, n_iterations=12)

    def score(plans: Tensor) -> Tensor:
        right = plans == secret_BH[:, None]
        return (right[:, :, 1:] & right[:, :, :-1]).float().sum(dim=2)

    for mode in ("best", "mean"):
        mode_options = CategoricalCEM(
            n_samples=options.n_samples,
            elite_ratio=options.elite_ratio,
            n_iterations=options.n_iterations,
            return_mode=mode,
        )
        start = uniform_plan(6, 8, 4, options=mode_options)
        result = search(score, start, options=mode_options, generator=_generator())
        assert torch.equal(result.plan, secret_BH)
        torch.testing.assert_close(result.mean.sum(dim=-1), torch.ones(6, 8))


def test_impossible_options_are_never_drawn_without_exploration() -> None:
    options = CategoricalCEM(n_samples=500, exploration=0.0)
    mean = torch.tensor([0.0, 0.3, 0.0, 0.7, 0.0]).expand(2, 3, 5)
    drawn = options.sample(
        mean, indicator_std(mean), torch.rand(2, 500, 3, generator=_generator()), Bounds()
    )
    assert set(drawn.unique().tolist()) == {1, 3}
    assert abs((drawn == 3).double().mean() - 0.7) < 0.03
    edge = torch.tensor([0.0, 1 - 2**-24]).reshape(1, 2, 1).expand(2, 2, 3)
    assert set(options.sample(mean, mean, edge, Bounds()).unique().tolist()) == {1, 3}


def _glide(target_BA: Tensor) -> Score:
    """Negative summed squared distances of a point with inertia: smooth pushes are best."""

    def score(plans: Tensor) -> Tensor:
        positions = 0.01 * plans.cumsum(dim=2).cumsum(dim=2)
        return -(positions - target_BA[:, None, None]).square().sum(dim=(2, 3))

    return score


@pytest.mark.parametrize("seed", range(3))
def test_icem_beats_cem_at_equal_samples_where_actions_should_be_smooth(seed: int) -> None:
    angle = torch.linspace(0, 6, 32)
    target = 2 * torch.stack([angle.cos(), angle.sin()], dim=-1)
    icem = ICEM(n_samples=64, elite_ratio=8 / 64, n_iterations=4, beta=2.0)
    samples = sum(icem.populations())
    losses = {}
    for options in (
        icem,
        CEM(n_samples=samples // 4 + 1, elite_ratio=0.16, n_iterations=4, clip=True, momentum=0.1),
        CEM(n_samples=samples // 4 + 1, elite_ratio=0.16, n_iterations=4, return_mode="best"),
    ):
        start = first_plan(torch.zeros(32, 30, 2), 0.5, options=options)
        result = search(
            _glide(target), start, options=options, generator=_generator(seed), **_box(options)
        )
        losses[_name(options)] = -_glide(target)(result.plan[:, None])[:, 0]
    ours = losses.pop("ICEM-best")
    for other in losses.values():
        assert (ours < other).all()
        assert ours.mean() < 0.85 * other.mean()


# iCEM's parts


def test_icem_shrinks_its_population_down_to_twice_the_elites() -> None:
    options = ICEM(n_samples=100, decay=2.0, elite_ratio=0.1, n_iterations=5)
    assert options.populations() == (100, 50, 25, 20, 20)
    assert (options.n_elites, options.n_kept) == (10, 3)


def test_icem_scores_kept_elites_again_and_the_mean_at_last() -> None:
    options = ICEM(n_samples=20, elite_ratio=0.2, keep_fraction=0.5, n_iterations=3)
    score, seen = _towards(torch.tensor([0.2, 0.7])), []

    def record(plans: Tensor) -> Tensor:
        seen.append(plans.clone())
        return score(plans)

    start = _start(options, 2)
    result = search(record, start, options=options, generator=_generator(), **_box(options))
    for before, after in itertools.pairwise(seen):
        index = score(before).topk(2, dim=1).indices
        for b in range(2):
            assert torch.equal(after[b, :2], before[b, index[b]])
    index = score(seen[-1]).topk(2, dim=1).indices
    for b in range(2):
        assert torch.equal(result.warm_start.elites[b], seen[-1][b, index[b]])
    assert result.warm_start.known.tolist() == [5, 5]

    mean, std = start.mean, start.std
    for plans in seen[:-1]:
        elites = torch.stack([plans[b, score(plans)[b].topk(4).indices] for b in range(2)])
        mean, std = refit_with_momentum(
            mean, std, elites, torch.full((2, 4), 0.25), momentum=0.1, floor=0.0
        )
    torch.testing.assert_close(seen[-1][:, -1], mean)


def test_icem_carries_elites_into_the_next_search_with_new_last_actions() -> None:
    options = ICEM(n_samples=20, elite_ratio=0.2, keep_fraction=0.5, n_iterations=1)
    elites = torch.arange(30.0).reshape(3, 2, 5, 1) / 100
    known = torch.tensor([5, 5, 0])
    start = Plan(torch.zeros(3, 5, 1), torch.full((3, 5, 1), 0.3), elites, known)
    moved = shift(start, torch.tensor([0, 2, 0]))
    seen = []

    def record(plans: Tensor) -> Tensor:
        seen.append(plans.clone())
        return plans.sum(dim=(2, 3))

    search(record, moved, options=options, generator=_generator(), **_box(options, 1))
    first = seen[0][:, :2]
    assert torch.equal(first[0], elites[0])
    assert torch.equal(first[1, :, :3], elites[1, :, 2:])
    assert not torch.isin(first[1, :, 3:], elites).any()  # drawn anew
    assert not torch.isin(first[2], elites).any()


# MPPI's parts


def test_mppi_weights_elites_by_their_advantage() -> None:
    options = MPPI(temperature=0.5)
    weights = options.weights(torch.tensor([[4.0, 2.0, 0.0], [1e5, -1e5, -math.inf]]))
    parts = [1.0, math.exp(-1), math.exp(-2)]
    expected = torch.tensor([[p / sum(parts) for p in parts], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(weights, expected)
    mean, std = options.refit(
        torch.zeros(2, 1, 1),
        torch.ones(2, 1, 1),
        torch.tensor([1.0, 2.0, 4.0]).expand(2, 3)[..., None, None],
        weights,
    )
    hand = sum(p * x for p, x in zip(parts, [1, 2, 4], strict=True)) / sum(parts)
    variance = sum(p * (x - hand) ** 2 for p, x in zip(parts, [1, 2, 4], strict=True)) / sum(parts)
    torch.testing.assert_close(mean.flatten(), torch.tensor([hand, 1.0]))
    torch.testing.assert_close(std.flatten(), torch.tensor([variance**0.5, options.min_std]))


def test_mppi_draws_elites_in_proportion_to_their_weights() -> None:
    options = MPPI()
    rows = 40_000
    weights = torch.tensor([0.5, 0.0, 0.3, 0.2]).expand(rows, 4)
    elites = torch.arange(4.0).reshape(1, 4, 1, 1).expand(rows, 4, 1, 1)
    noise = torch.randn(rows, 1, 1, 1, generator=_generator())
    nothing = torch.zeros(rows, 1, 1)
    drawn = options.draw(nothing, nothing, elites, weights, noise, Bounds()).flatten()
    for elite, weight in enumerate([0.5, 0.0, 0.3, 0.2]):
        share = (drawn == elite).double().mean()
        assert abs(share - weight) < 5 * (weight * (1 - weight) / rows) ** 0.5 + 1e-9


def test_mppi_keeps_its_deviation_in_its_bounds() -> None:
    options = MPPI(n_samples=64, min_std=0.2, max_std=0.3)
    start = first_plan(torch.zeros(2, 4, 1), 1.0, options=options)
    result = search(_towards(torch.zeros(2)), start, options=options, generator=_generator())
    assert ((result.std >= 0.2) & (result.std <= 0.3)).all()
    torch.testing.assert_close(result.warm_start.std, start.std)


@pytest.mark.parametrize("options", [CEM(n_samples=64), ICEM(n_samples=64), MPPI(n_samples=64)])
def test_a_search_knows_no_unit_of_actions(options: Any) -> None:
    """A thousand times the range gives a thousand times the plan: defaults serve any range."""
    found = []
    for unit in (1.0, 1000.0):
        start = first_plan(torch.zeros(2, 4, 1), unit, options=options)
        near = _towards(torch.tensor([0.3, -0.7]))

        def score(plans: torch.Tensor, unit: float = unit, near: Any = near) -> torch.Tensor:
            return near(plans / unit)

        bound = torch.full((1,), unit)
        result = search(
            score, start, options=options, low=-bound, high=bound, generator=_generator()
        )
        found.append((result.plan / unit, result.std / unit))
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=1e-3)


# CEM's parts


def test_momentum_and_floor_by_hand() -> None:
    mean, std = torch.full((1, 1, 1), 2.0), torch.full((1, 1, 1), 8.0)
    elites = torch.tensor([1.0, 3.0, 5.0]).reshape(1, 3, 1, 1)
    third = torch.full((1, 3), 1 / 3)
    # elites: mean 3, unbiased deviation 2
    found = refit_with_momentum(mean, std, elites, third, momentum=0.25, floor=0.0)
    torch.testing.assert_close(torch.cat(found).flatten(), torch.tensor([2.75, 3.5]))
    _, floored = refit_with_momentum(mean, std, elites, third, momentum=0.0, floor=6.0)
    assert floored.item() == 6
    one = torch.tensor([[1.0, 0.0, 0.0]])
    found = refit_with_momentum(mean, std, elites, one, momentum=0.0, floor=0.0)
    torch.testing.assert_close(torch.cat(found).flatten(), torch.tensor([1.0, 8.0]))


def test_truncated_normal_has_the_moments_of_its_density() -> None:
    uniform = (torch.arange(200_000) + 0.5)[:, None] / 200_000
    bounds = Bounds(torch.tensor([-1.0]), torch.tensor([0.5]))
    drawn = truncated_normal(torch.tensor([0.2]), torch.tensor([0.7]), uniform, bounds).double()
    grid = torch.linspace(-1, 0.5, 20_001, dtype=torch.float64)
    density = torch.exp(-0.5 * ((grid - 0.2) / 0.7) ** 2)
    mean = (grid * density).sum() / density.sum()
    std = (((grid - mean) ** 2 * density).sum() / density.sum()).sqrt()
    assert abs(drawn.mean() - mean) < 1e-3
    assert abs(drawn.std() - std) < 1e-3


def test_truncated_normal_may_have_one_infinite_side() -> None:
    uniform = torch.tensor([[0.0], [0.5], [1.0]])
    bounds = Bounds(torch.tensor([0.0]), torch.tensor([math.inf]))
    drawn = truncated_normal(torch.tensor([0.0]), torch.tensor([1.0]), uniform, bounds).flatten()
    assert drawn[0] == 0
    assert abs(drawn[1] - 0.6745) < 1e-3
    assert 3.5 < drawn[2] < 6


# Coloured noise


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("horizon", [1, 2, 3, 15, 16])
def test_coloured_noise_has_variance_one_at_each_step(horizon: int, beta: float) -> None:
    noise = coloured_noise((20_000, horizon, 2), beta=beta, generator=_generator())
    assert noise.shape == (20_000, horizon, 2)
    torch.testing.assert_close(noise.var(dim=0), torch.ones(horizon, 2), atol=0.06, rtol=0)
    torch.testing.assert_close(noise.mean(dim=0), torch.zeros(horizon, 2), atol=0.05, rtol=0)
    between_actions = (noise[..., 0] * noise[..., 1]).mean()
    assert abs(between_actions) < 0.06


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("horizon", [63, 64])
def test_power_of_coloured_noise_falls_with_its_exponent(horizon: int, beta: float) -> None:
    noise = coloured_noise((4000, horizon, 1), beta=beta, generator=_generator()).double()
    power = torch.fft.rfft(noise[..., 0]).abs().square().mean(dim=0)[1:]
    x, y = torch.fft.rfftfreq(horizon, dtype=torch.float64)[1:].log(), power.log()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    assert abs(slope + beta) < 0.03


def test_white_noise_is_the_special_case_of_exponent_zero() -> None:
    noise = coloured_noise((50_000, 6, 1), beta=0.0, generator=_generator())[..., 0]
    torch.testing.assert_close(noise.T.cov(), torch.eye(6), atol=0.03, rtol=0)


# Time moves on


def test_shift_by_hand() -> None:
    steps = torch.arange(3.0)
    plan = Plan(
        mean=(10 * torch.arange(4.0)[:, None] + steps)[..., None],
        std=(1 + 10 * torch.arange(4.0)[:, None] + steps)[..., None],
        elites=(100 + 10 * torch.arange(4.0)[:, None] + steps)[:, None, :, None],
        known=torch.tensor([3, 3, 2, 3]),
    )
    decisions = torch.tensor([0, 1, 2, 7])
    moved = shift(plan, decisions, torch.tensor([-1.0]))
    assert moved.mean[..., 0].tolist() == [[0, 1, 2], [11, 12, -1], [22, -1, -1], [-1, -1, -1]]
    assert moved.std[..., 0].tolist() == [[1, 2, 3], [12, 13, 13], [23, 23, 23], [33, 33, 33]]
    assert moved.elites[:2, 0, :, 0].tolist() == [[100, 101, 102], [111, 112, 112]]
    assert moved.known.tolist() == [3, 2, 0, 0]
    held = shift(plan, decisions)
    assert held.mean[..., 0].tolist() == [[0, 1, 2], [11, 12, 12], [22, 22, 22], [32, 32, 32]]


@settings(max_examples=30, deadline=None)
@given(
    decisions=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    horizon=st.integers(1, 5),
    kept=st.integers(0, 2),
)
def test_shift_equals_shifting_row_by_row_and_step_by_step(
    decisions: list[int], horizon: int, kept: int
) -> None:
    batch = len(decisions)
    values = torch.arange(float(batch * horizon * 2)).reshape(batch, horizon, 2)
    elites = values[:, None].repeat(1, kept, 1, 1)
    plan = Plan(values, values + 0.5, elites, torch.full((batch,), horizon))
    fill = torch.tensor([-1.0, -2.0])
    moved = shift(plan, torch.tensor(decisions), fill)
    for b, n in enumerate(decisions):
        rows = [*values[b].tolist(), *[fill.tolist()] * n][n:]
        assert moved.mean[b].tolist() == rows
        left = max(horizon - n, 0)
        assert moved.known[b] == left
        assert torch.equal(moved.elites[b, :, :left], elites[b, :, n:])
    once = plan
    for step in range(max(decisions)):
        once = shift(once, (torch.tensor(decisions) > step).long(), fill)
    assert torch.equal(once.mean, moved.mean)
    assert torch.equal(once.known, moved.known)


# Mistakes of the caller


@pytest.mark.parametrize(
    ("planner", "settings_", "text"),
    [
        (CEM, {"n_iterations": 0}, "CEM.n_iterations is 0; allowed"),
        (CEM, {"n_samples": 8, "elite_ratio": 0.2}, "give 1 elites"),
        (CEM, {"elite_ratio": 1.5}, "CEM.elite_ratio is 1.5; allowed"),
        (CEM, {"momentum": 1.0}, "CEM.momentum is 1.0; allowed"),
        (CEM, {"return_mode": "median"}, "'mean', 'best', 'random'"),
        (CEM, {"sigma_floor": -1.0}, "sigma_floor"),
        (ICEM, {"decay": 0.9}, "ICEM.decay is 0.9; allowed"),
        (ICEM, {"beta": -1.0}, "beta"),
        (ICEM, {"keep_fraction": 1.1}, "keep_fraction"),
        (MPPI, {"temperature": 0.0}, "temperature"),
        (MPPI, {"max_std": 0.01}, "at least min_std 0.05"),
        (CategoricalCEM, {"exploration": 2.0}, "exploration"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    planner: type[SearchOptions], settings_: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        planner(**settings_)


def test_inputs_that_do_not_fit_are_refused_by_name() -> None:
    cem, icem = CEM(**SMALL), ICEM(**SMALL)
    score, start = _towards(torch.zeros(2)), _start(CEM(**SMALL), 2)
    one, two = torch.ones(1), torch.ones(2)
    with pytest.raises(ValueError, match="give both bounds or neither"):
        search(score, start, options=cem, low=-two)
    with pytest.raises(ValueError, match=r"low has the shape \(1,\)"):
        search(score, start, options=cem, low=-one, high=one)
    with pytest.raises(ValueError, match="ICEM keeps 3"):
        search(score, start, options=icem)
    with pytest.raises(ValueError, match=r"score returned the shape \(2,\)"):
        search(lambda plans: torch.zeros(2), start, options=cem)
    with pytest.raises(ValueError, match="candidates have the shape"):
        search(score, start, options=cem, candidates=torch.zeros(2, 1, 4, 2))
    with pytest.raises(ValueError, match="has places for 40"):
        search(score, start, options=cem, candidates=torch.zeros(2, 41, 5, 2))
    categorical = CategoricalCEM(**SMALL)
    with pytest.raises(ValueError, match="takes no bounds"):
        search(
            score,
            _start(categorical, 2),
            options=categorical,
            low=torch.zeros(4),
            high=torch.ones(4),
        )
