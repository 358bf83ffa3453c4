"""Optimizers of plans by sampling."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from alf.data_structures import TimeStep
from alf.optimizers.traj_optimizers import CEMOptimizer, RandomOptimizer

TARGETS = torch.tensor([[0.5, -0.5], [-0.25, 0.75], [0.0, 3.0]])
TIME_STEP = TimeStep(step_type=torch.ones(3, dtype=torch.int32), observation=TARGETS)


def _cost(time_step: TimeStep, solutions: Tensor) -> Tensor:
    return (solutions - time_step.observation.unsqueeze(1)).square().sum(-1)


def test_random_shooting_takes_the_best_of_its_samples() -> None:
    seen = []

    def cost(time_step: TimeStep, solutions: Tensor) -> Tensor:
        seen.append(solutions)
        return _cost(time_step, solutions)

    optimizer = RandomOptimizer(2, 500, cost, upper_bound=1.0, lower_bound=torch.tensor([-1.0, 0]))
    solution = optimizer.obtain_solution(TIME_STEP)
    (population,) = seen
    assert population.shape == (3, 500, 2)
    assert population.abs().max() <= 1
    assert population[..., 1].min() >= 0
    best = _cost(TIME_STEP, population).min(dim=1).values
    torch.testing.assert_close(_cost(TIME_STEP, solution.unsqueeze(1))[:, 0], best)


def test_cem_converges_within_the_bounds() -> None:
    optimizer = CEMOptimizer(2, 200, _cost, 1.0, -1.0, elite_size=20, max_iter_num=20, epsilon=1e-6)
    solution = optimizer.obtain_solution(TIME_STEP)
    torch.testing.assert_close(solution, TARGETS.clamp(-1, 1), atol=2e-2, rtol=0)


@pytest.mark.parametrize("observation", [TARGETS, {"a": TARGETS, "b": torch.zeros(3)}])
def test_observations_are_any_nest(observation: object) -> None:
    def cost(given: object, solutions: Tensor) -> Tensor:
        assert given is observation
        return (solutions - TARGETS.unsqueeze(1)).square().sum(-1)

    for optimizer in (
        RandomOptimizer(2, 3000, cost, 1.0, -1.0),
        CEMOptimizer(2, 200, cost, 1.0, -1.0, elite_size=20, max_iter_num=20, epsilon=1e-6),
    ):
        solution = optimizer.obtain_solution(observation)
        torch.testing.assert_close(solution, TARGETS.clamp(-1, 1), atol=0.15, rtol=0)


def test_cem_stops_where_all_variances_are_small() -> None:
    calls = []

    def cost(time_step: TimeStep, solutions: Tensor) -> Tensor:
        calls.append(1)
        return _cost(time_step, solutions)

    CEMOptimizer(2, 200, cost, 1.0, -1.0, elite_size=5, max_iter_num=50).obtain_solution(TIME_STEP)
    assert 0 < len(calls) < 15
    middle = CEMOptimizer(2, 50, cost, 2.0, -1.0, max_iter_num=0).obtain_solution(TIME_STEP)
    assert torch.equal(middle, torch.full((3, 2), 0.5))


def test_rows_do_not_influence_each_other() -> None:
    optimizer = CEMOptimizer(2, 50, _cost, 1.0, -1.0, elite_size=5)
    torch.manual_seed(0)
    solution = optimizer.obtain_solution(TIME_STEP)
    torch.manual_seed(0)
    changed = TARGETS.clone()
    changed[1] = -1
    other = optimizer.obtain_solution(TIME_STEP._replace(observation=changed))
    assert torch.equal(solution[[0, 2]], other[[0, 2]])
    assert not torch.equal(solution[1], other[1])


def test_a_narrow_start_stays_as_it_is() -> None:
    optimizer = CEMOptimizer(2, 50, _cost, 1.0, -1.0, elite_size=5)
    mean, var = torch.full((3, 1, 2), 0.125), torch.full((3, 1, 2), 1e-4)
    solution = optimizer.obtain_solution(TIME_STEP, init_mean=mean, init_var=var)
    assert torch.equal(solution, mean[:, 0])
    with pytest.raises(ValueError, match=r"init_mean must have the shape \[3, 1, 2\]"):
        optimizer.obtain_solution(TIME_STEP, init_mean=mean[:, 0])
    optimizer.reset()


def test_a_cost_that_is_no_number_never_wins() -> None:
    def cost(time_step: TimeStep, solutions: Tensor) -> Tensor:
        costs = _cost(time_step, solutions)
        return torch.where(solutions[..., 0] > 0, torch.nan, costs)

    optimizer = RandomOptimizer(2, 100, cost, 1.0, -1.0)
    assert optimizer.obtain_solution(TIME_STEP)[:, 0].max() <= 0


def test_contradictory_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="elite_size must be within"):
        CEMOptimizer(2, 10, _cost, 1.0, -1.0)
    with pytest.raises(ValueError, match="lower_bound must be below upper_bound"):
        RandomOptimizer(2, 10, _cost, -1.0, 1.0)
    with pytest.raises(ValueError, match="cost_func must return"):
        RandomOptimizer(2, 10, lambda t, s: s, 1.0, -1.0).obtain_solution(TIME_STEP)
