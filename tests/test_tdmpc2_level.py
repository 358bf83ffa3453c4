"""TD-MPC2 as a level: goals and hindsight, any input and place in a hierarchy, update ratio."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

import alf
from alf.algorithms.config import TrainerConfig
from alf.data_structures import Experience, StepType, TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import (
    MPPI,
    Goal,
    HierarchyAgent,
    LevelObservation,
    PlanningSettings,
    RandomLevel,
    TDMPC2Level,
    TDMPC2Settings,
    TrainingOptions,
    model_of_size,
    option,
)
from tests.runs import checkpoint, train

FIRST, MID, LAST = (int(k) for k in (StepType.FIRST, StepType.MID, StepType.LAST))
ACTION = BoundedTensorSpec((1,), minimum=-1.0, maximum=1.0)
SETTINGS = TDMPC2Settings(
    model=model_of_size("small"),
    planning=PlanningSettings(mppi=MPPI(n_samples=32, n_iterations=1)),
)
MAZE = {"achieved": TensorSpec((2,)), "desired": TensorSpec((2,)), "speed": TensorSpec((1,))}


def _level(observation: Any = MAZE, input_spec: Any = (), **options: Any) -> TDMPC2Level:
    torch.manual_seed(0)
    options.setdefault("settings", SETTINGS)
    options.setdefault("training", TrainingOptions(mini_batch_size=8, warm_up=0))
    return TDMPC2Level(observation, ACTION, input_spec, name="tdmpc2", **options)


def _goal_level(**options: Any) -> TDMPC2Level:
    goal = Goal(radius=0.3, achieved="achieved", hindsight=1.0)
    return _level(goal=goal, desired_goal="desired", **options)


def _record(kind: int, where: float, environments: int = 1) -> TimeStep:
    """A time step of a level in `MAZE` at `(where + 100 e, 0)`, with a goal far away."""
    at = torch.tensor([[where + 100.0 * e, 0.0] for e in range(environments)])
    return TimeStep(
        step_type=torch.full((environments,), kind, dtype=torch.int32),
        reward=torch.full((environments,), 7.0 if kind == FIRST else -1.0),
        discount=torch.ones(environments),
        observation=LevelObservation(
            observation={
                "achieved": at,
                "desired": torch.full((environments, 2), -50.0),
                "speed": at[:, :1],
            }
        ),
        prev_action=torch.zeros(environments, 1),
        env_id=torch.arange(environments, dtype=torch.int32),
        env_info={
            "time_discount": torch.full((environments,), 0.5),
            "steps": torch.ones(environments, dtype=torch.int64),
        },
    )


def _fill(level: TDMPC2Level, kinds: list[int], environments: int = 2) -> None:
    level.set_replay_buffer(environments, 64, False)
    for p, kind in enumerate(kinds):
        step = _record(kind, float(p), environments)
        step = step if kind == FIRST else level.arrive(step)
        level.observe_for_replay(Experience(time_step=step, action=torch.zeros(environments, 1)))


def test_goals_in_hindsight_are_those_of_the_rest_of_the_episode_and_rewards_follow() -> None:
    level = _goal_level()
    kinds = [FIRST, MID, MID, MID, MID, LAST, FIRST, MID, LAST, FIRST, MID, MID, MID, MID]
    _fill(level, kinds)
    torch.manual_seed(0)
    batch, info = level._replay_buffer.get_batch(3000, 4)
    steps, _ = level.preprocess_experience(
        batch.time_step, (), info._replace(replay_buffer=level._replay_buffer)
    )
    assert steps.observation.input.shape == (3000, 4, 2)
    assert set(steps.observation.observation) == {"achieved", "speed"}
    goals = steps.observation.input[..., 0]
    seen: dict[int, set[tuple[int, ...]]] = {}
    for env, position, span in zip(
        info.env_ids.tolist(), info.positions.tolist(), goals.tolist(), strict=True
    ):
        own = tuple(-50 if goal == -50 else int(goal) - 100 * env for goal in span)
        seen.setdefault(position, set()).add(own)
    # Every later step of the episode serves; the records of the next episode keep their goals.
    ends = [5] * 6 + [8] * 3 + [13] * 5
    for position in range(11):
        own = min(4, ends[position] - position + 1)
        later = range(position + 1, ends[position] + 1) if own > 1 else [-50]
        assert seen[position] == {(goal,) * own + (-50,) * (4 - own) for goal in later}
    assert set(seen) == set(range(11))
    # Rewards and discounts of every step of the span, the next episode's included.
    where = steps.observation.observation["achieved"][..., 0]
    reached = (where - goals).abs() <= 0.3
    starts = steps.step_type == FIRST
    expected = torch.where(reached, 0.0, -1.0)
    assert torch.equal(steps.reward[~starts], expected[~starts])
    assert torch.equal(steps.discount[~starts], torch.where(reached, 0.0, 0.5)[~starts])
    assert (steps.reward[starts] == 7).all()


def test_spans_are_as_long_as_the_horizon_and_episodes_may_be_shorter() -> None:
    level = _goal_level()
    assert level.training_options is not None
    assert level.training_options.mini_batch_length == 4
    _fill(level, [FIRST, LAST, FIRST, LAST, FIRST])
    batch, _ = level._replay_buffer.get_batch(50, 4)
    seen = level._seen(batch.time_step, ())
    info = level.train_step(seen, (), ()).info
    info = type(info)(*(_time_first(x) for x in info))
    spans = level.algorithm.spans(info)
    kinds = batch.time_step.step_type[:, :3].T
    assert torch.equal(spans.is_transition, kinds != LAST)
    assert bool(spans.is_transition.any(dim=0).all())
    loss = level.calc_loss(info)
    assert bool(loss.loss.isfinite())


def _time_first(x: Any) -> Any:
    return alf.nest.map_structure(lambda leaf: leaf.transpose(0, 1), x)


def test_arriving_is_paid_by_the_goal_of_the_environment() -> None:
    level = _goal_level()
    step = _record(MID, -50.0, 2)
    step = step._replace(reward=torch.full((2,), 3.0))
    step.observation.observation["desired"] = torch.tensor([[-50.0, 0.2], [9.0, 9.0]])
    arrived = level.arrive(step)
    assert arrived.reward.tolist() == [0, -1]
    assert arrived.discount.tolist() == [0, 0.5]
    assert arrived.observation is step.observation
    assert arrived.env_info is step.env_info
    assert level.returns_control(step, torch.ones(2, dtype=torch.int64)).tolist() == [True, False]


def test_where_the_environments_end_counts_it_is_kept_for_hindsight() -> None:
    level = _level(
        goal=Goal(radius=0.3, achieved="achieved", env_termination=True), desired_goal="desired"
    )
    step = _record(LAST, 3.0, 2)._replace(discount=torch.tensor([0.0, 0.5]))
    arrived = level.arrive(step)
    assert arrived.discount.tolist() == [0, 0.5]
    assert arrived.env_info["discount"].tolist() == [0, 0.5]
    assert arrived.observation is step.observation


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"goal_based": True}, "gets no input from above"),
        ({"desired_goal": "aim"}, "'aim'"),
        ({"desired_goal": "desired", "input_spec": ACTION}, "an input from above as well"),
        (
            {"desired_goal": "desired", "goal": Goal(radius=1.0, achieved="speed")},
            "must be tensors of the same shape",
        ),
        ({"training": TrainingOptions(priority_replay=True)}, "gives no priorities"),
    ],
)
def test_contradictions_are_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _level(**arguments)


def test_inputs_are_encoded_with_the_observation_or_as_goals() -> None:
    together = _level(TensorSpec((3,)), option(4))
    assert together.algorithm.world_model.goal_encoder is None
    apart = _level(TensorSpec((3,)), option(4), goal_based=True)
    assert apart.algorithm.world_model.goal_encoder is not None


def _agent(top: Any, joint: Any, **options: Any) -> HierarchyAgent:
    torch.manual_seed(0)
    agent = HierarchyAgent(
        TensorSpec((2,)),
        ACTION,
        levels=[
            partial(RandomLevel, name="top") if top is None else top,
            partial(TDMPC2Level, name="low", control_interval=3, settings=SETTINGS, **options),
        ],
        joints=[joint],
        config=TrainerConfig(root_dir=""),
    )
    for level in agent.levels:
        if level.training_options is not None:
            level.set_replay_buffer(3, 100, False)
    return agent


def _environment_step(t: int, kinds: list[int]) -> TimeStep:
    batch = len(kinds)
    kind = torch.tensor(kinds, dtype=torch.int32)
    return TimeStep(
        step_type=kind,
        reward=torch.where(kind == FIRST, 0.0, 1.0),
        discount=torch.ones(batch),
        observation=torch.full((batch, 2), float(t)),
        prev_action=torch.zeros(batch, 1),
        env_id=torch.arange(batch, dtype=torch.int32),
        env_info={},
    )


@pytest.mark.parametrize(
    ("joint", "options"),
    [
        (option(4), {}),
        (BoundedTensorSpec((2,), minimum=-3.0, maximum=3.0), {"goal": Goal(radius=0.3)}),
    ],
)
def test_it_learns_below_another_level_as_soon_as_transitions_are_there(
    joint: Any, options: dict[str, Any]
) -> None:
    training = TrainingOptions(mini_batch_size=4, updates_per_transition=0.5, warm_up=6)
    agent = _agent(None, joint, training=training, **options)
    state = agent.get_initial_rollout_state(3)
    low = agent.levels[1]
    for t in range(14):
        # Environment 1 ends its episode at step 6; the others go on.
        kinds = [FIRST if t == 0 else MID] * 3
        kinds[1] = {6: LAST, 7: FIRST}.get(t, kinds[1])
        step = agent.rollout_step(_environment_step(t, kinds), state)
        state = step.state
        assert step.output.shape == (3, 1)
        agent.observe_for_replay(
            Experience(
                time_step=_environment_step(t, kinds), action=step.output, rollout_info=step.info
            )
        )
        agent.train_from_replay_buffer()
    transitions = int(low._update_clock.transitions)
    assert transitions == 13 * 3 - 1
    assert int(low.algorithm._updates) == (transitions - 6) // 2


def test_it_decides_for_a_level_below() -> None:
    top = partial(
        TDMPC2Level,
        name="high",
        settings=SETTINGS,
        training=TrainingOptions(mini_batch_size=4, warm_up=0),
    )
    agent = _agent(top, BoundedTensorSpec((2,), minimum=-3.0, maximum=3.0), goal_based=True)
    state = agent.get_initial_rollout_state(3)
    decisions = []
    for t in range(7):
        step = agent.rollout_step(_environment_step(t, [FIRST if t == 0 else MID] * 3), state)
        state = step.state
        decisions.append(state[0].decision)
    same = [torch.equal(a, b) for a, b in pairwise(decisions)]
    assert same == [True, True, False, True, True, False]


def test_the_goal_maze_configuration_runs(tmp_path: Path) -> None:
    train(
        tmp_path,
        "alf_configs/tdmpc2_goal_maze2d_conf.py",
        TrainerConfig__num_env_steps=2100,
        TrainerConfig__evaluate=False,
    )
    model = checkpoint(tmp_path)["algorithm"]
    assert int(model["level_0_tdmpc2._algorithm._updates"]) > 10
