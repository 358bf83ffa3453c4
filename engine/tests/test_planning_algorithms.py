"""Planners: they find the cheapest plan, row by row, and start from the plan of the step before."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from alf.algorithms.planning_algorithm import (
    CEMPlanAlgorithm,
    PlanAlgorithm,
    PlannerState,
    RandomShootingAlgorithm,
)
from alf.data_structures import StepType, TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

OBSERVATION = TensorSpec((2,))
ACTION = BoundedTensorSpec((2,), minimum=[-1.0, 0.0], maximum=[1.0, 4.0])
PLANNERS = {
    "random shooting": (RandomShootingAlgorithm, {"population_size": 4000}, 0.35),
    "CEM": (CEMPlanAlgorithm, {"population_size": 200, "elite_size": 20, "epsilon": 0.0}, 0.05),
}


def _distance(observation: Tensor, plans: Tensor) -> Tensor:
    """The best action at every step is the observation."""
    return (plans - observation[:, None, None]).square().sum((-1, -2))


def _planner(name: str, cost: Any = _distance, **options: Any) -> Any:
    cls, settings, _ = PLANNERS[name]
    horizon = {"planning_horizon": 2}
    planner = cls(OBSERVATION, ACTION, **{**settings, **horizon, **options})
    planner.set_action_sequence_cost_func(cost)
    return planner


def _step(observation: Tensor, step_type: int = StepType.MID) -> TimeStep:
    types = torch.full((len(observation),), step_type, dtype=torch.int32)
    return TimeStep(step_type=types, observation=observation)


_NESTED: Any = [ACTION, ACTION]
GOALS = torch.tensor([[0.3, 1.0], [-0.6, 3.0], [0.0, 2.0]])


@pytest.mark.parametrize("name", PLANNERS)
def test_each_row_gets_the_first_action_of_its_own_best_plan(name: str) -> None:
    torch.manual_seed(0)
    planner = _planner(name)
    state = planner.get_initial_predict_state(3)
    action, _ = planner.predict_plan(_step(GOALS, StepType.FIRST), state, 0.0)
    torch.testing.assert_close(action, GOALS, atol=PLANNERS[name][2], rtol=0)


@pytest.mark.parametrize("name", PLANNERS)
def test_the_cost_function_sees_plans_within_the_bounds(name: str) -> None:
    seen: list[Tensor] = []

    def cost(observation: Tensor, plans: Tensor) -> Tensor:
        seen.append(plans)
        return _distance(observation, plans)

    planner = _planner(name, cost, population_size=64, lower_bound=torch.tensor([-0.5, 1.0]))
    state = planner.get_initial_predict_state(3)
    planner.predict_plan(_step(GOALS), state, 0.0)
    for plans in seen:
        assert plans.shape == (3, 64, 2, 2)
        assert (plans >= torch.tensor([-0.5, 1.0])).all()
        assert (plans <= torch.tensor([1.0, 4.0])).all()
    assert len(seen) == (5 if name == "CEM" else 1)


@pytest.mark.parametrize("name", PLANNERS)
def test_a_share_of_the_rows_acts_at_random(name: str) -> None:
    torch.manual_seed(0)
    planner = _planner(name, population_size=20, planning_horizon=1)
    rows = GOALS[:1].expand(2000, 2)
    state = planner.get_initial_predict_state(2000)
    greedy = planner.predict_plan(_step(rows), state, 0.0)[0]
    some = planner.predict_plan(_step(rows), state, 0.25)[0]
    # uniform actions lie this far from the goal in the second dimension; planned ones seldom do
    far = [float(((x[:, 1] - 1.0).abs() > 1.5).float().mean()) for x in (greedy, some)]
    assert far[0] < 0.01
    assert far[1] == pytest.approx(0.25 * 1.5 / 4, abs=0.03)


def test_a_plan_goes_on_where_the_last_one_was() -> None:
    """Without iterations the plan is what the search starts from."""
    planner = _planner("CEM", planning_horizon=3, max_iter_num=0)
    plan = torch.arange(12.0).reshape(2, 3, 2) / 10
    step = _step(GOALS[:2])
    step.step_type[1] = StepType.FIRST
    action, state = planner.predict_plan(step, PlannerState(prev_plan=plan), 0.0)
    middle = [0.0, 2.0]
    torch.testing.assert_close(action, torch.tensor([[0.0, 0.1], middle]))
    shifted = torch.tensor([[[0.2, 0.3], [0.4, 0.5], [0.2, 0.3]], [middle] * 3])
    torch.testing.assert_close(state.prev_plan, shifted)


def test_the_next_search_profits_from_the_last() -> None:
    torch.manual_seed(0)
    planner = _planner("CEM", max_iter_num=1, scalar_var=0.05)
    state = planner.get_initial_predict_state(3)
    errors, step = [], _step(GOALS, StepType.FIRST)
    for _ in range(8):
        action, state = planner.predict_plan(step, state, 0.0)
        errors.append(float((action - GOALS).abs().max()))
        step = _step(GOALS)
    assert errors[-1] < 0.15 < errors[0]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PlanAlgorithm(OBSERVATION, _NESTED), "one continuous action of rank 1"),
        (
            lambda: PlanAlgorithm(OBSERVATION, BoundedTensorSpec((), torch.int64, 0, 2)),
            "one continuous action of rank 1",
        ),
        (
            lambda: PlanAlgorithm(OBSERVATION, BoundedTensorSpec((2,), minimum=-math.inf)),
            r"the lower bound of actions is \[-inf, -inf\]",
        ),
        (lambda: _planner("random shooting", upper_bound=-1.0), "must be below upper_bound"),
        (lambda: _planner("CEM", population_size=5), "elite_size must be within"),
        (
            lambda: RandomShootingAlgorithm(OBSERVATION, ACTION, 9).predict_plan(
                _step(GOALS), PlannerState(), 0.0
            ),
            "cannot plan before set_action_sequence_cost_func",
        ),
    ],
)
def test_what_cannot_be_planned_is_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
