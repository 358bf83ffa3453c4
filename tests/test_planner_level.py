"""The planning level: known optima, objectives by hand numbers, phases, state, and learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch

import alf
from alf.algorithms.config import TrainerConfig
from alf.data_structures import Experience, StepType, TimeStep
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import (
    CEM,
    ICEM,
    MPPI,
    CategoricalCEM,
    Disagreement,
    Exploration,
    FixedEncoderNet,
    IdentityEncoder,
    KnownModel,
    LevelObservation,
    PlannerLevel,
    PlanObjective,
    PredictorFactory,
    ProbabilisticEnsemble,
    RewardNet,
    RewardPredictor,
    StaticPredictor,
    TrainingOptions,
    ValueNet,
    option,
)
from alf_layered.levels.exploration_phases import Phase, next_phase
from alf_layered.models.mixture import Mixture
from alf_layered.models.model import Model
from alf_layered.planners.plan import Plan

OBSERVATION = TensorSpec((2,))
ACTION = BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)
GOAL = torch.tensor([0.5, -0.3])
SMALL_CEM = CEM(n_samples=64, n_iterations=6, elite_ratio=0.1)

FIRST, MID, LAST = int(StepType.FIRST), int(StepType.MID), int(StepType.LAST)


def _step(
    observation: torch.Tensor,
    kind: int | list[int] = FIRST,
    *,
    input: Any = (),
    reward: Any = 0.0,
    discount: Any = 1.0,
    action: torch.Tensor | None = None,
    env_ids: list[int] | None = None,
) -> TimeStep:
    rows = len(observation)
    kinds = [kind] * rows if isinstance(kind, int) else kind
    return TimeStep(
        step_type=torch.tensor(kinds, dtype=torch.int32),
        reward=torch.as_tensor(reward).expand(rows).clone(),
        discount=torch.as_tensor(discount).expand(rows).clone(),
        observation=LevelObservation(observation=observation, input=input),
        prev_action=torch.zeros(rows, 2) if action is None else action,
        env_id=torch.tensor(env_ids or list(range(rows)), dtype=torch.int32),
    )


def _near(goal: torch.Tensor) -> Callable[..., torch.Tensor]:
    """The reward of a point that moves by its action: minus its squared distance to a goal."""
    return lambda state, context, action: -(state + action - goal).square().sum(-1)


def _known(
    reward: Callable[..., torch.Tensor] = _near(GOAL), **kwargs: Any
) -> Callable[..., StaticPredictor]:
    def make(observation_spec: Any, action_spec: Any) -> StaticPredictor:
        return StaticPredictor(
            KnownModel(lambda s, c, a: s + a), None, reward, IdentityEncoder((2,)), **kwargs
        )

    return make


def _planner(**kwargs: Any) -> PlannerLevel:
    """A level with a known model that always plans, unless said otherwise."""
    options: dict[str, Any] = {
        "predictor_factory": _known(),
        "planner": SMALL_CEM,
        "horizon": 2,
        "exploration": None,
        "training": None,
    }
    return PlannerLevel(OBSERVATION, ACTION, **(options | kwargs))


def _exploring(exploration: Exploration, **kwargs: Any) -> PlannerLevel:
    return _planner(exploration=exploration, **kwargs)


def _zeros(level: PlannerLevel, rows: int) -> Any:
    return level.get_initial_rollout_state(rows)


# Planning


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
    level = _planner(planner=planner)
    start = torch.tensor([[0.0, 0.0], [1.0, 0.5], [3.0, -0.3]])
    found = level.rollout_step(_step(start), _zeros(level, 3))
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
            found = level.predict_step(_step(torch.zeros(rows, 2)), _zeros(level, rows))
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
    state = _zeros(level, 3)
    for kind in (FIRST, MID, MID, MID):
        found = level.rollout_step(_step(position, kind), state)
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
    found = level.predict_step(_step(torch.zeros(2, 2), input=goals), _zeros(level, 2))
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
    level = _planner(planner=SameNoise(n_samples=32), horizon=3)
    position = torch.randn(5, 2)
    order = torch.tensor([3, 0, 4, 1, 2])
    plain = level.rollout_step(_step(position), _zeros(level, 5))
    moved = level.rollout_step(_step(position[order]), _zeros(level, 5))
    torch.testing.assert_close(moved.output, plain.output[order])
    torch.testing.assert_close(moved.state.plan.mean, plain.state.plan.mean[order])
    alone = level.rollout_step(_step(position[2:3]), _zeros(level, 1))
    torch.testing.assert_close(alone.output, plain.output[2:3])


def test_the_callback_sees_plans_predictions_and_scores_of_each_iteration() -> None:
    seen: list[Any] = []
    level = _planner(planner=CEM(n_samples=16, n_iterations=3), callback=seen.append)
    level.predict_step(_step(torch.zeros(2, 2), env_ids=[7, 4]), _zeros(level, 2))
    assert len(seen) == 3
    step = seen[0]
    assert step.env_id.tolist() == [7, 4]
    assert step.outlook.plans.shape == (2, 16, 2, 2)
    states = step.outlook.prospect.imagined.state
    assert states.shape == (3, 1, 2, 16, 1, 2)
    torch.testing.assert_close(states[-1, 0, :, :, 0], step.outlook.plans.sum(2))
    expected = _near(GOAL)(states[:-1, 0, :, :, 0], None, step.outlook.plans.permute(2, 0, 1, 3))
    torch.testing.assert_close(step.score, expected[0] + 0.99 * expected[1])


# Objective


def _lasting(*, value: float | None = None, ends: float = 0.0) -> StaticPredictor:
    """A decision lasts as many steps as its first entry says; the reward is the second."""
    return StaticPredictor(
        KnownModel(lambda s, c, a: s + a, lambda s, c, a: torch.full_like(a[..., 0], ends)),
        None if value is None else lambda s, c: torch.full_like(s[..., 0], value),
        lambda s, c, a: a[..., 1] + 0 * s[..., 0],
        IdentityEncoder((2,)),
        discount_func=lambda s, c, a: 0.5 ** a[..., 0] + 0 * s[..., 0],
    )


def _score(predictor: Any, plan: list[list[float]], **options: Any) -> float:
    objective = PlanObjective(**options)
    plans = torch.tensor([[plan]])
    outlook = objective.outlook(predictor, torch.zeros(1, 2), torch.zeros(1, 0), plans)
    return float(objective.score(outlook))


def test_later_rewards_are_discounted_by_the_duration_of_the_decisions_before() -> None:
    plan = [[2.0, 8.0], [1.0, 16.0], [3.0, 32.0]]  # steps, reward
    # 8 + 1/4 * 16 + 1/8 * 32 = 16, and 1/64 * V
    assert _score(_lasting(), plan) == 16.0
    assert _score(_lasting(value=640.0), plan) == 26.0
    assert _score(_lasting(value=640.0), plan, use_value_func=False) == 16.0
    assert _score(_lasting(value=640.0), plan, discounted=False) == 8 + 16 + 32 + 640


def test_what_comes_after_a_termination_counts_by_the_chance_to_be_alive() -> None:
    plan = [[2.0, 8.0], [1.0, 16.0], [3.0, 32.0]]
    # 8 + 1/4 * 1/2 * 16 + 1/8 * 1/4 * 32 = 11, and 1/64 * 1/8 * V
    assert _score(_lasting(ends=0.5), plan) == 11.0
    assert _score(_lasting(ends=0.5, value=512.0), plan) == 12.0
    assert _score(_lasting(ends=0.5), plan, use_term_prob=False) == 16.0
    assert _score(_lasting(ends=0.5), plan, discounted=False) == 8 + 16 / 2 + 32 / 4


def test_auxiliary_rewards_are_weighed_and_belong_to_each_plan() -> None:
    def first_entry(outlook: Any) -> torch.Tensor:
        return outlook.plans[..., 0].permute(2, 0, 1)[:, None, ..., None]

    objective = PlanObjective(aux_rewards=((10.0, first_entry),), discounted=False)
    plans = torch.tensor([[[[1.0, 5.0], [2.0, 6.0]], [[3.0, 5.0], [4.0, 7.0]]]])
    outlook = objective.outlook(_lasting(), torch.zeros(1, 2), torch.zeros(1, 0), plans)
    assert objective.score(outlook).tolist() == [[11 + 30, 12 + 70]]


class _Disagreeing(Model):
    """Two members that go `+-` the action's square: they disagree by how far it is from 0."""

    def __init__(self) -> None:
        super().__init__(n_models=2)

    def members(self, state: Any, context: Any, action: Any, *, loss_mode: bool = False) -> Mixture:
        sign = torch.tensor([1.0, -1.0]).reshape(2, *[1] * (action.ndim - 1))
        mean = (state + sign * action.square()).unsqueeze(-2)
        return Mixture(
            mean=mean,
            std=torch.ones_like(mean),
            log_weight=mean.new_zeros(mean.shape[:-1]),
            term_prob=mean.new_zeros(mean.shape[:-2]),
        )


def _disagreeing(observation_spec: Any = None, action_spec: Any = None) -> StaticPredictor:
    # the task prefers actions of 0
    return StaticPredictor(
        _Disagreeing(),
        None,
        lambda s, c, a: -a.square().sum(-1) + 0 * s.sum(-1),
        IdentityEncoder((2,)),
    )


def test_disagreement_reaches_the_score_of_each_plan_of_the_curious() -> None:
    objective = PlanObjective()
    plans = torch.tensor([[[[0.0, 0.0]], [[1.0, 0.0]], [[1.0, 2.0]]]]).expand(2, -1, -1, -1)
    state = torch.zeros(2, 2)
    outlook = objective.outlook(_disagreeing(), state, torch.zeros(2, 0), plans)
    score = objective.score(outlook, torch.tensor([True, False]))
    # variances of +-a^2 are a^4; their mean over two dimensions
    assert score.tolist() == [[0.0, 0.5, (1 + 16) / 2], [0.0, -1.0, -5.0]]


def test_curious_plans_look_for_disagreement_and_evaluation_for_the_task() -> None:
    torch.manual_seed(0)
    level = _exploring(
        Exploration(use_ensemble_disagreement=True),
        predictor_factory=_disagreeing,
        planner=ICEM(n_samples=64),
        horizon=1,
    )
    found = level.rollout_step(_step(torch.zeros(3, 2)), _zeros(level, 3))
    assert bool((found.output.abs() > 0.9).all())
    assert not bool(found.info.planned.any())
    evaluated = level.predict_step(_step(torch.zeros(3, 2)), level.get_initial_predict_state(3))
    assert bool((evaluated.output.abs() < 0.1).all())


def test_one_member_cannot_disagree() -> None:
    with pytest.raises(ValueError, match=r"use_ensemble_disagreement=True.*n_models=1"):
        _exploring(Exploration(use_ensemble_disagreement=True))
    objective = PlanObjective()
    outlook = objective.outlook(
        _lasting(), torch.zeros(1, 2), torch.zeros(1, 0), torch.zeros(1, 1, 1, 2)
    )
    with pytest.raises(ValueError, match="n_models must be at least 2"):
        Disagreement()(outlook)


# Phases


def _phases(options: Exploration, steps: int, rows: int, **kwargs: Any) -> list[Phase]:
    """The phases of one long episode."""
    phase = Phase(
        random=torch.zeros(rows, dtype=torch.bool),
        curious=torch.zeros(rows, dtype=torch.bool),
        action=torch.zeros(rows, 2),
    )
    found = []
    for t in range(steps):
        phase = next_phase(phase, torch.full((rows,), t == 0), ACTION, options, **kwargs)
        found.append(phase)
    return found


def test_phases_are_drawn_for_each_environment() -> None:
    torch.manual_seed(0)
    options = Exploration(
        alternate_with_noise=True, switch_random_prob=0.1, switch_planner_prob=0.3
    )
    random = torch.stack([p.random for p in _phases(options, 50, 4000)]).float()
    assert random.mean(1).sub(0.25).abs().max() < 0.04  # 0.1 / (0.1 + 0.3), from the first step on
    into = random[1:][random[:-1] == 0].mean()
    out = 1 - random[1:][random[:-1] == 1].mean()
    assert float(into) == pytest.approx(0.1, abs=0.01)
    assert float(out) == pytest.approx(0.3, abs=0.01)


def test_without_plans_everything_is_random_and_drawn_for_each_environment() -> None:
    for options, kwargs in (
        (Exploration(only_noise=True), {}),
        (Exploration(), {"may_plan": False}),
    ):
        found = _phases(options, 3, 10, **kwargs)
        assert all(bool(p.random.all()) for p in found)
        actions = torch.cat([p.action for p in found])
        assert len(actions.unique(dim=0)) == 30
        assert bool((actions.abs() <= 1).all())


def test_random_decisions_repeat_with_the_given_probability() -> None:
    torch.manual_seed(0)
    found = _phases(Exploration(only_noise=True, resample_random_action_prob=0.25), 40, 500)
    actions = torch.stack([p.action for p in found])
    changed = (actions[1:] != actions[:-1]).any(-1).float()
    assert float(changed.mean()) == pytest.approx(0.25, abs=0.02)
    assert float(changed.mean(1).std()) < 0.05  # not all environments at once


def test_with_resample_on_end_the_random_decision_lasts_as_long_as_the_episode() -> None:
    options = Exploration(only_noise=True, resample_on_end=True)
    found = _phases(options, 10, 20)
    assert all(torch.equal(p.action, found[0].action) for p in found)
    again = next_phase(found[-1], torch.arange(20) < 10, ACTION, options)
    changed = (again.action != found[0].action).all(-1)
    assert changed.tolist() == [True] * 10 + [False] * 10


def test_planning_is_for_disagreement_in_every_other_phase() -> None:
    torch.manual_seed(0)
    options = Exploration(
        alternate_with_noise=True,
        switch_random_prob=0.3,
        switch_planner_prob=0.5,
        use_ensemble_disagreement=True,
    )
    found = _phases(options, 60, 50)
    assert 0.3 < float(found[0].curious.float().mean()) < 0.7
    for row in range(50):
        phases: list[bool | None] = []
        for phase in found:
            kind = None if bool(phase.random[row]) else bool(phase.curious[row])
            if not phases or phases[-1] != kind:
                phases.append(kind)
        plans = [kind for kind in phases if kind is not None]
        assert all(a != b for a, b in pairwise(plans))


def test_modes_differ_between_environments_and_are_stored_with_the_decision() -> None:
    torch.manual_seed(0)
    level = _exploring(
        Exploration(alternate_with_noise=True, switch_random_prob=0.5, switch_planner_prob=0.5)
    )
    planned, outputs, state = [], [], _zeros(level, 40)
    for kind in (FIRST, MID, MID):
        found = level.rollout_step(_step(torch.zeros(40, 2), kind), state)
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
    level = _exploring(Exploration(), callback=seen.append)
    state = level.rollout_step(_step(torch.zeros(3, 2)), _zeros(level, 3)).state
    seen.clear()
    found = level.rollout_step(_step(torch.zeros(3, 2), [MID, LAST, MID]), state)
    assert found.info.planned.tolist() == [True, False, True]
    assert all(step.env_id.tolist() == [0, 2] for step in seen)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"switch_random_prob": 1.5}, "switch_random_prob is 1.5"),
        ({"no_planning_steps": -1}, "no_planning_steps is -1"),
        ({"only_noise": True, "use_ensemble_disagreement": True}, "only_noise=True"),
        ({"resample_on_end": True, "resample_random_action_prob": 0.5}, "resample_on_end=True"),
    ],
)
def test_bad_exploration_is_an_error(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Exploration(**arguments)


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
    level = _planner(horizon=4, initial_guess=[0.9, -0.9])
    state = _zeros(level, 3)._replace(plan=_encoded_plan(3, 4))
    found = level.rollout_step(_step(torch.zeros(3, 2), MID), state)
    torch.testing.assert_close(found.output, state.plan.mean[:, 1])
    torch.testing.assert_close(found.state.plan.mean[:, :3], state.plan.mean[:, 1:])
    torch.testing.assert_close(
        found.state.plan.mean[:, 3], torch.tensor([0.9, -0.9]).expand(3, 2), atol=1e-6, rtol=0
    )


def test_at_the_first_step_the_search_starts_anew() -> None:
    level = _planner(horizon=4, initial_guess=[0.9, -0.9], initial_sigma=1e-9)
    state = _zeros(level, 2)._replace(plan=_encoded_plan(2, 4))
    found = level.rollout_step(_step(torch.zeros(2, 2), [FIRST, MID]), state)
    expected = torch.stack([torch.tensor([0.9, -0.9]), state.plan.mean[1, 1]])
    torch.testing.assert_close(found.output, expected)


def test_without_shift_the_search_starts_from_the_last_plan() -> None:
    level = _planner(horizon=4, shift_initialization=False)
    state = _zeros(level, 3)._replace(plan=_encoded_plan(3, 4))
    found = level.rollout_step(_step(torch.zeros(3, 2), MID), state)
    torch.testing.assert_close(found.output, state.plan.mean[:, 0])


def test_the_plan_moves_on_during_random_phases() -> None:
    level = _exploring(Exploration(only_noise=True), horizon=4)
    state = _zeros(level, 2)._replace(plan=_encoded_plan(2, 4))
    mean = state.plan.mean
    for _ in range(2):
        state = level.rollout_step(_step(torch.zeros(2, 2), MID), state).state
    torch.testing.assert_close(state.plan.mean[:, :2], mean[:, 2:])


def _tensors(level: PlannerLevel) -> dict[str, torch.Tensor]:
    """Copies of all that a level keeps."""
    named = [*level.named_parameters(), *level.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in named}


def test_the_state_belongs_to_the_caller() -> None:
    level = _exploring(Exploration(alternate_with_noise=True), planner=ICEM(n_samples=32))
    state = level.rollout_step(_step(torch.zeros(4, 2)), _zeros(level, 4)).state
    kept = alf.nest.map_structure(torch.clone, state)
    before = _tensors(level)
    torch.manual_seed(3)
    expected = level.rollout_step(_step(torch.zeros(4, 2), MID), state)

    level.predict_step(_step(torch.ones(2, 2)), level.get_initial_predict_state(2))
    level.rollout_step(_step(torch.ones(4, 2), LAST), state)
    torch.manual_seed(3)
    found = level.rollout_step(_step(torch.zeros(4, 2), MID), state)
    for a, b in zip(alf.nest.flatten(found), alf.nest.flatten(expected), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(alf.nest.flatten(state), alf.nest.flatten(kept), strict=True):
        assert torch.equal(a, b)
    assert all(torch.equal(v, before[k]) for k, v in _tensors(level).items())


def test_the_states_are_those_of_their_specs() -> None:
    for planner in (SMALL_CEM, ICEM(n_samples=32)):
        level = _exploring(Exploration(), planner=planner, horizon=5)
        state = level.rollout_step(_step(torch.zeros(3, 2)), _zeros(level, 3)).state
        found = alf.nest.map_structure(lambda x: TensorSpec.from_tensor(x, from_dim=1), state)
        for spec, tensor in zip(
            alf.nest.flatten(level.rollout_state_spec), alf.nest.flatten(found), strict=True
        ):
            assert (tuple(spec.shape), spec.dtype) == (tuple(tensor.shape), tensor.dtype)


# Learning


def _learner(**kwargs: Any) -> PlannerLevel:
    """A level that learns a point's dynamics and reward."""
    options: dict[str, Any] = {
        "predictor_factory": PredictorFactory(
            partial_model=partial(ProbabilisticEnsemble, n_models=2),
            partial_val_func=partial(ValueNet, hidden=(16,)),
            partial_rew_func=partial(RewardNet, hidden=(32,)),
            partial_encoder=IdentityEncoder,
            partial_predictor=partial(RewardPredictor, n_steps=2),
        ),
        "planner": SMALL_CEM,
        "horizon": 2,
        "gamma": 0.9,
        "training": TrainingOptions(warm_up=20, mini_batch_size=64, replay_buffer_length=200),
        "optimizer": Adam(lr=3e-3),
        "config": TrainerConfig(root_dir="", mini_batch_length=2),
    }
    level = PlannerLevel(OBSERVATION, ACTION, **(options | kwargs))
    level.set_replay_buffer(4, 200)
    return level


def _live(level: PlannerLevel, steps: int, *, train: bool = True) -> list[float]:
    """Lets the level act on four points for which it is paid near `GOAL`; returns the rewards."""
    torch.manual_seed(0)
    position = torch.rand(4, 2) * 2 - 1
    step, state, rewards = _step(position), _zeros(level, 4), []
    for t in range(steps):
        decided = level.rollout_step(step, state)
        level.observe_for_replay(
            Experience(time_step=step, action=decided.output, rollout_info=decided.info)
        )
        state = decided.state
        if train:
            level.train_from_replay_buffer()
        reward = _near(GOAL)(position, None, decided.output)
        rewards.append(float(reward.mean()))
        position = (position + decided.output).clamp(-2, 2)
        kind = FIRST if t % 10 == 9 else MID
        if kind == FIRST:
            position = torch.rand(4, 2) * 2 - 1
        step = _step(position, kind, reward=reward, action=decided.output)
    return rewards


def test_warm_up_is_random_in_each_environment_and_then_plans_begin() -> None:
    seen: list[Any] = []
    level = _learner(callback=seen.append)
    _live(level, 5, train=False)  # 16 transitions: an episode's first record is none
    assert not seen
    stored = level._replay_buffer.gather_all()[0]
    assert not bool(stored.rollout_info.planned.any())
    assert len(stored.action.reshape(-1, 2).unique(dim=0)) == 20
    level = _learner(callback=seen.append)
    _live(level, 9, train=False)
    planned = level._replay_buffer.gather_all()[0].rollout_info.planned
    assert planned.sum(1).tolist() == [3] * 4  # the clock says 20 after the sixth record
    assert seen


def test_no_planning_steps_are_always_honoured() -> None:
    seen: list[Any] = []
    level = _learner(exploration=Exploration(no_planning_steps=32), callback=seen.append)
    _live(level, 9, train=False)
    assert not seen
    level.predict_step(_step(torch.zeros(2, 2)), level.get_initial_predict_state(2))
    assert seen


def test_learning_solves_a_simple_task() -> None:
    level = _learner()
    rewards = _live(level, 150)
    assert sum(rewards[-20:]) / 20 > -0.35
    assert sum(rewards[:5]) / 5 < -1.0


def test_training_lowers_the_losses_of_dynamics_and_reward() -> None:
    level = _learner(model_batch_size=32)
    level.train()
    _live(level, 60, train=False)
    batch, _ = level._replay_buffer.get_batch(64, 3)
    losses = []
    for _ in range(2):
        with torch.no_grad():
            losses.append(_loss(level, batch).extra)
        level.train_from_replay_buffer()
    assert float(losses[1].consistency) < float(losses[0].consistency) - 1
    assert float(losses[1].reward) < 0.5 * float(losses[0].reward)


def _loss(level: PlannerLevel, batch: Experience) -> Any:
    """The loss of sampled spans, as ALF's loop computes it."""
    flat = alf.nest.map_structure(lambda x: x.transpose(0, 1).flatten(0, 1), batch)
    info = level.train_step(flat.time_step, (), flat.rollout_info).info
    return level.calc_loss(
        alf.nest.map_structure(lambda x: x.unflatten(0, batch.step_type.shape[::-1]), info)
    )


def test_the_value_is_learned_from_planned_decisions_only() -> None:
    for value_from_planned in (True, False):
        level = _learner(value_from_planned=value_from_planned)
        _live(level, 30, train=False)
        batch, _ = level._replay_buffer.get_batch(64, 3)
        info = batch.rollout_info
        none = batch._replace(rollout_info=info._replace(planned=torch.zeros_like(info.planned)))
        assert (_loss(level, none).extra.value.item() == 0) == value_from_planned
        assert _loss(level, batch).extra.value.item() > 0


def test_the_actions_of_a_batch_are_the_decisions_that_led_on() -> None:
    level = _learner()
    _live(level, 30, train=False)
    batch, _ = level._replay_buffer.get_batch(16, 3)
    seen: list[Any] = []
    level._predictor.losses = lambda batch, model_batch: seen.append(batch) or _no_losses()
    _loss(level, batch)
    moves = seen[0].step_type[:, 1:] == MID
    torch.testing.assert_close(seen[0].action[:, :-1][moves], batch.action[:, :-1][moves])
    torch.testing.assert_close(seen[0].discount, 0.9 * batch.discount)
    torch.testing.assert_close(seen[0].observation, batch.observation.observation)


def _no_losses() -> Any:
    from alf_layered.predictors.predictor import PredictorLosses

    return PredictorLosses(*[torch.zeros(())] * 5)


def test_planning_changes_no_statistics() -> None:
    level = _learner()
    _live(level, 40)
    level.train()
    before = _tensors(level)
    level.rollout_step(_step(torch.full((3, 2), 5.0)), _zeros(level, 3))
    level.predict_step(_step(torch.full((3, 2), 5.0)), level.get_initial_predict_state(3))
    assert all(torch.equal(v, before[k]) for k, v in _tensors(level).items())


def test_the_predictor_is_told_the_environment_steps() -> None:
    level = _learner()
    _live(level, 25, train=False)
    # 3 episodes began in each of 4 environments
    assert int(level.predictor.model.n_total_env_steps) == 4 * (25 - 3)


def test_spans_are_as_long_as_the_targets_need() -> None:
    assert _learner().training_options.mini_batch_length == 3
    longer = TrainingOptions(mini_batch_length=7)
    assert _learner(training=longer).training_options.mini_batch_length == 7


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"action_spec": TensorSpec((2,))}, "one bounded action tensor"),
        ({"action_spec": {"a": ACTION}}, "one bounded action tensor"),
        ({"action_spec": option(3)}, "CEM.*needs a CategoricalCEM"),
        ({"planner": CategoricalCEM()}, "CategoricalCEM.*needs a planner of continuous actions"),
        ({"horizon": 0}, "horizon of level 'top' is 0"),
        ({"reward_spec": TensorSpec((2,))}, "plans for one reward"),
        ({"initial_guess": [0.0, 0.0, 0.0]}, "initial_guess of level 'top' has 3 numbers for 2"),
        ({"exploration": Exploration(no_planning_steps=5)}, "no_planning_steps=5.*training=None"),
        ({"training": TrainingOptions(priority_replay=True)}, "priority_replay=True"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, Any], message: str) -> None:
    options: dict[str, Any] = {
        "action_spec": ACTION,
        "predictor_factory": _known(),
        "planner": SMALL_CEM,
        "exploration": None,
        "training": None,
        "name": "top",
    }
    with pytest.raises(ValueError, match=message):
        PlannerLevel(OBSERVATION, **(options | arguments))
