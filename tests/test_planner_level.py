"""The planning level: known optima, phases, the state that belongs to the caller, mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

import alf
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import (
    CEM,
    ICEM,
    MPPI,
    CategoricalCEM,
    Exploration,
    FixedEncoderNet,
    IdentityEncoder,
    KnownModel,
    PlannerLevel,
    StaticPredictor,
    TrainingOptions,
    option,
)
from alf_layered.planners.plan import Plan
from tests.planning_points import (
    ACTION,
    FIRST,
    GOAL,
    LAST,
    MID,
    OBSERVATION,
    SMALL_CEM,
    disagreeing,
    exploring_level,
    known_predictor,
    near,
    planning_level,
    step_of,
    tensors_of,
    zero_state,
)

# Planning


def test_a_predictor_begins_with_the_discount_of_its_level() -> None:
    level = planning_level(gamma=0.5)
    assert level.predictor.mean_discount == 0.5
    level = planning_level(predictor_factory=known_predictor(gamma=0.75), gamma=0.5)
    assert level.predictor.mean_discount == 0.75


def test_a_predictor_factory_has_to_make_a_predictor() -> None:
    with pytest.raises(TypeError, match="predictor_factory of level 'PlannerLevel' made a functio"):
        planning_level(predictor_factory=lambda *_: known_predictor())


@pytest.mark.parametrize(
    "planner",
    [
        SMALL_CEM,
        CEM(n_samples=64, elite_ratio=0.1, clip=True, return_mode="best"),
        ICEM(n_samples=64),
        MPPI(n_samples=256, elite_ratio=0.1, min_std=0.01, temperature=20, return_mode="mean"),
    ],
    ids=lambda p: type(p).__name__,
)
def test_planning_with_a_known_model_finds_the_optimum(planner: Any) -> None:
    torch.manual_seed(0)
    level = planning_level(planner=planner)
    start = torch.tensor([[0.0, 0.0], [1.0, 0.5], [3.0, -0.3]])
    found = level.rollout_step(step_of(start), zero_state(level, 3))
    best = torch.tensor([[0.5, -0.3], [-0.5, -0.8], [-1.0, 0.0]])
    torch.testing.assert_close(found.output, best, atol=0.1, rtol=0)
    assert found.info.planned.tolist() == [True] * 3


def test_it_works_for_any_number_of_rows_and_with_one_dimensional_and_scalar_actions() -> None:
    for shape in ((), (1,), (2, 1)):
        spec = BoundedTensorSpec(shape, minimum=0.0, maximum=1.0)
        width = spec.numel

        def make(observation_spec: Any, action_spec: Any, width: int = width) -> StaticPredictor:
            def best_at_a_quarter(
                state: torch.Tensor, context: torch.Tensor, action: torch.Tensor
            ) -> torch.Tensor:
                return -(action - 0.25).square().sum(-1) + 0 * state.sum(-1)

            return StaticPredictor(
                KnownModel(
                    lambda s, c, a: s + 0 * a.sum(-1, keepdim=True), action_space=action_spec
                ),
                None,
                best_at_a_quarter,
                IdentityEncoder((2,)),
                action_spec=action_spec,
            )

        level = PlannerLevel(
            OBSERVATION,
            spec,
            predictor_factory=make,
            planner=SMALL_CEM,
            horizon=1,
            exploration=None,
            training=None,
        )
        for rows in (1, 3):
            found = level.predict_step(step_of(torch.zeros(rows, 2)), zero_state(level, rows))
            assert found.output.shape == (rows, *shape)
            torch.testing.assert_close(
                found.output, torch.full((rows, *shape), 0.25), atol=0.05, rtol=0
            )


def test_discrete_actions_are_planned_by_their_index() -> None:
    torch.manual_seed(0)
    moves = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]])
    spec = BoundedTensorSpec((), torch.int64, minimum=3, maximum=6)

    def make(observation_spec: Any, action_spec: Any) -> StaticPredictor:
        return StaticPredictor(
            KnownModel(lambda s, c, a: s + a @ moves, action_space=action_spec),
            None,
            lambda s, c, a: -(s + a @ moves - torch.tensor([-2.0, 2.0])).square().sum(-1),
            IdentityEncoder((2,)),
            action_spec=action_spec,
        )

    level = PlannerLevel(
        OBSERVATION,
        spec,
        predictor_factory=make,
        planner=CategoricalCEM(n_samples=64),
        horizon=4,
        exploration=None,
        training=None,
    )
    position = torch.tensor([[0.0, 0.0], [-2.0, -2.0], [2.0, 2.0]])  # 4 moves away
    state = zero_state(level, 3)
    for kind in (FIRST, MID, MID, MID):
        found = level.rollout_step(step_of(position, kind), state)
        assert found.output.dtype == torch.int64
        position, state = position + moves[found.output - 3], found.state
    assert position.tolist() == [[-2.0, 2.0]] * 3


def test_an_input_from_above_is_part_of_what_the_predictor_sees() -> None:
    def make(observation_spec: Any, action_spec: Any) -> StaticPredictor:
        return StaticPredictor(
            KnownModel(lambda s, c, a: s + a),
            None,
            lambda state, goal, action: -(state + action - goal).square().sum(-1),
            FixedEncoderNet((4,), [0, 1], [2, 3]),
            observation_spec=observation_spec,
        )

    level = PlannerLevel(
        OBSERVATION,
        ACTION,
        input_spec=ACTION,
        predictor_factory=make,
        planner=SMALL_CEM,
        horizon=2,
        exploration=None,
        training=None,
    )
    goals = torch.tensor([[0.5, 0.0], [-0.3, 0.8]])
    found = level.predict_step(step_of(torch.zeros(2, 2), input=goals), zero_state(level, 2))
    torch.testing.assert_close(found.output, goals, atol=0.05, rtol=0)


@dataclass(frozen=True, kw_only=True)
class SameNoise(CEM):
    """Every environment gets the same noise."""

    def noise(self, bounds: Any) -> Any:
        source = super().noise(bounds)

        def same(shape: tuple[int, ...], *, generator: Any, device: Any) -> torch.Tensor:
            fixed = torch.Generator().manual_seed(0)
            return source(shape[1:], generator=fixed, device=device).expand(shape)

        return same


def test_permuting_the_environments_permutes_the_plans() -> None:
    level = planning_level(planner=SameNoise(n_samples=32), horizon=3)
    position = torch.randn(5, 2)
    order = torch.tensor([3, 0, 4, 1, 2])
    plain = level.rollout_step(step_of(position), zero_state(level, 5))
    moved = level.rollout_step(step_of(position[order]), zero_state(level, 5))
    torch.testing.assert_close(moved.output, plain.output[order])
    torch.testing.assert_close(moved.state.plan.mean, plain.state.plan.mean[order])
    alone = level.rollout_step(step_of(position[2:3]), zero_state(level, 1))
    torch.testing.assert_close(alone.output, plain.output[2:3])


def test_the_callback_sees_plans_predictions_and_scores_of_each_iteration() -> None:
    seen: list[Any] = []
    level = planning_level(planner=CEM(n_samples=16, n_iterations=3), callback=seen.append)
    level.predict_step(step_of(torch.zeros(2, 2), env_ids=[7, 4]), zero_state(level, 2))
    assert len(seen) == 3
    step = seen[0]
    assert step.env_id.tolist() == [7, 4]
    plans, states = step.rollout.plans, step.rollout.trajectories.state
    assert plans.shape == (2, 16, 2, 2)
    assert states.shape == (2, 16, 1, 1, 3, 2)
    torch.testing.assert_close(states[:, :, 0, 0, -1], plans.sum(2))
    expected = near(GOAL)(states[:, :, 0, 0, :-1], None, plans)
    torch.testing.assert_close(step.score, expected[..., 0] + 0.99 * expected[..., 1])
    with pytest.warns(DeprecationWarning, match="outlook is rollout now"):
        assert step.outlook is step.rollout


# Exploring


def test_curious_plans_look_for_disagreement_and_evaluation_for_the_task() -> None:
    torch.manual_seed(0)
    level = exploring_level(
        Exploration(use_ensemble_disagreement=True),
        predictor_factory=disagreeing,
        planner=ICEM(n_samples=64),
        horizon=1,
    )
    found = level.rollout_step(step_of(torch.zeros(3, 2)), zero_state(level, 3))
    assert bool((found.output.abs() > 0.9).all())
    assert not bool(found.info.planned.any())
    evaluated = level.predict_step(step_of(torch.zeros(3, 2)), level.get_initial_predict_state(3))
    assert bool((evaluated.output.abs() < 0.1).all())


def test_modes_differ_between_environments_and_are_stored_with_the_decision() -> None:
    torch.manual_seed(0)
    level = exploring_level(
        Exploration(alternate_with_noise=True, switch_random_prob=0.5, switch_planner_prob=0.5)
    )
    planned, outputs, state = [], [], zero_state(level, 40)
    for kind in (FIRST, MID, MID):
        found = level.rollout_step(step_of(torch.zeros(40, 2), kind), state)
        state = found.state
        planned.append(found.info.planned)
        outputs.append(found.output)
    for mask, output in zip(planned, outputs, strict=True):
        assert 8 < int(mask.sum()) < 32
        near = (output - GOAL).norm(dim=-1) < 0.2
        assert bool(near[mask].all())
        assert int(near[~mask].sum()) < 6
    assert not torch.equal(planned[0], planned[1])


def test_nothing_is_planned_at_the_end_of_an_episode() -> None:
    seen: list[Any] = []
    level = exploring_level(Exploration(), callback=seen.append)
    state = level.rollout_step(step_of(torch.zeros(3, 2)), zero_state(level, 3)).state
    seen.clear()
    found = level.rollout_step(step_of(torch.zeros(3, 2), [MID, LAST, MID]), state)
    assert found.info.planned.tolist() == [True, False, True]
    assert all(step.env_id.tolist() == [0, 2] for step in seen)


# State


def _encoded_plan(rows: int, horizon: int) -> Plan:
    """Means that tell their place: 0.1 * step + 0.01 * environment."""
    place = 0.1 * torch.arange(horizon)[None, :, None] + 0.01 * torch.arange(rows)[:, None, None]
    mean = place.expand(rows, horizon, 2).contiguous()
    return Plan(
        mean=mean,
        std=torch.full_like(mean, 1e-9),
        elites=mean[:, None][:, :0],
        known=torch.zeros(rows, dtype=torch.int64),
    )


def test_a_search_starts_from_the_plan_moved_on_by_one_decision() -> None:
    level = planning_level(horizon=4, initial_guess=[0.9, -0.9])
    state = zero_state(level, 3)._replace(plan=_encoded_plan(3, 4))
    found = level.rollout_step(step_of(torch.zeros(3, 2), MID), state)
    torch.testing.assert_close(found.output, state.plan.mean[:, 1])
    torch.testing.assert_close(found.state.plan.mean[:, :3], state.plan.mean[:, 1:])
    torch.testing.assert_close(
        found.state.plan.mean[:, 3], torch.tensor([0.9, -0.9]).expand(3, 2), atol=1e-6, rtol=0
    )


def test_at_the_first_step_the_search_starts_anew() -> None:
    level = planning_level(horizon=4, initial_guess=[0.9, -0.9], initial_sigma=1e-9)
    state = zero_state(level, 2)._replace(plan=_encoded_plan(2, 4))
    found = level.rollout_step(step_of(torch.zeros(2, 2), [FIRST, MID]), state)
    expected = torch.stack([torch.tensor([0.9, -0.9]), state.plan.mean[1, 1]])
    torch.testing.assert_close(found.output, expected)


def test_without_shift_the_search_starts_from_the_last_plan() -> None:
    level = planning_level(horizon=4, shift_initialization=False)
    state = zero_state(level, 3)._replace(plan=_encoded_plan(3, 4))
    found = level.rollout_step(step_of(torch.zeros(3, 2), MID), state)
    torch.testing.assert_close(found.output, state.plan.mean[:, 0])


def test_the_plan_moves_on_during_random_phases() -> None:
    level = exploring_level(Exploration(only_noise=True), horizon=4)
    state = zero_state(level, 2)._replace(plan=_encoded_plan(2, 4))
    mean = state.plan.mean
    for _ in range(2):
        state = level.rollout_step(step_of(torch.zeros(2, 2), MID), state).state
    torch.testing.assert_close(state.plan.mean[:, :2], mean[:, 2:])


def test_the_state_belongs_to_the_caller() -> None:
    level = exploring_level(Exploration(alternate_with_noise=True), planner=ICEM(n_samples=32))
    state = level.rollout_step(step_of(torch.zeros(4, 2)), zero_state(level, 4)).state
    kept = alf.nest.map_structure(torch.clone, state)
    before = tensors_of(level)
    torch.manual_seed(3)
    expected = level.rollout_step(step_of(torch.zeros(4, 2), MID), state)

    level.predict_step(step_of(torch.ones(2, 2)), level.get_initial_predict_state(2))
    level.rollout_step(step_of(torch.ones(4, 2), LAST), state)
    torch.manual_seed(3)
    found = level.rollout_step(step_of(torch.zeros(4, 2), MID), state)
    for a, b in zip(alf.nest.flatten(found), alf.nest.flatten(expected), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(alf.nest.flatten(state), alf.nest.flatten(kept), strict=True):
        assert torch.equal(a, b)
    assert all(torch.equal(v, before[k]) for k, v in tensors_of(level).items())


def test_the_states_are_those_of_their_specs() -> None:
    for planner in (SMALL_CEM, ICEM(n_samples=32)):
        level = exploring_level(Exploration(), planner=planner, horizon=5)
        state = level.rollout_step(step_of(torch.zeros(3, 2)), zero_state(level, 3)).state
        found = alf.nest.map_structure(lambda x: TensorSpec.from_tensor(x, from_dim=1), state)
        for spec, tensor in zip(
            alf.nest.flatten(level.rollout_state_spec), alf.nest.flatten(found), strict=True
        ):
            assert (tuple(spec.shape), spec.dtype) == (tuple(tensor.shape), tensor.dtype)


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"action_spec": TensorSpec((2,))}, "one action tensor with finite bounds"),
        ({"action_spec": {"a": ACTION}}, "one action tensor with finite bounds"),
        ({"action_spec": option(3)}, "CEM.*needs a CategoricalCEM"),
        ({"planner": CategoricalCEM()}, "CategoricalCEM.*needs a planner of continuous actions"),
        ({"horizon": 0}, "horizon of 'top' is 0"),
        ({"reward_spec": TensorSpec((2,))}, "plans for one reward"),
        ({"initial_guess": [0.0, 0.0, 0.0]}, "initial_guess of level 'top' has 3 numbers for 2"),
        ({"exploration": Exploration(no_planning_steps=5)}, "no_planning_steps=5.*training=None"),
        ({"training": TrainingOptions(priority_replay=True)}, "priority_replay=True"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, Any], message: str) -> None:
    options: dict[str, Any] = {
        "action_spec": ACTION,
        "predictor_factory": known_predictor(),
        "planner": SMALL_CEM,
        "exploration": None,
        "training": None,
        "name": "top",
    }
    with pytest.raises(ValueError, match=message):
        PlannerLevel(OBSERVATION, **(options | arguments))
