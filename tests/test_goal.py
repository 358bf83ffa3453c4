"""Goal-reaching rewards and hindsight, with data that encode where they lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from alf.data_structures import Experience, StepType, TimeStep
from alf.experience_replayers.replay_buffer import ReplayBuffer
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.dist_utils import extract_spec
from alf_layered import AlgorithmLevel, Goal, LevelObservation, NegativeDistance, ShortestPath
from alf_layered.hierarchy.replay import LevelReplayBuffer

FIRST, MID, LAST = (int(k) for k in (StepType.FIRST, StepType.MID, StepType.LAST))


def _step(kind: Any, where: Any, goal: Any, time_discount: Any = 1.0) -> TimeStep:
    """A time step at points `(where, 0)` with goals `(goal, 0)`; any batch shape."""

    def point(x: Any) -> torch.Tensor:
        x = torch.as_tensor(x, dtype=torch.float32)
        return torch.stack([x, torch.zeros_like(x)], dim=-1)

    where = torch.as_tensor(where, dtype=torch.float32)
    return TimeStep(
        step_type=torch.as_tensor(kind, dtype=torch.int32),
        reward=torch.full_like(where, -7.0),
        discount=torch.full_like(where, 0.5),
        observation=LevelObservation(observation=point(where), input=point(goal)),
        prev_action=torch.zeros(*where.shape, 1),
        env_id=torch.arange(where.shape[0], dtype=torch.int32),
        env_info={
            "time_discount": torch.as_tensor(time_discount, dtype=torch.float32).expand(
                where.shape
            ),
            "steps": torch.ones_like(where, dtype=torch.int64),
        },
    )


def test_rewards_by_hand() -> None:
    achieved, desired = (
        torch.tensor([[0.0, 0.0], [3.0, 4.0]]),
        torch.tensor([[0.3, 0.4], [0.0, 0.0]]),
    )
    assert ShortestPath(0.5)(achieved, desired).tolist() == [0, -1]
    assert ShortestPath(0.4, offset=1.0)(achieved, desired).tolist() == [0, 0]
    assert NegativeDistance(2.0, 1.0)(achieved, desired).tolist() == pytest.approx([-3, -12])


def test_arriving_ends_the_task_and_the_environments_end_does_not() -> None:
    step = _step([MID, LAST], where=[1.0, 5.0], goal=[1.2, 1.0], time_discount=0.81)
    arrived = Goal(radius=0.3).arrive(step._replace(discount=torch.tensor([1.0, 0.0])))
    assert arrived.reward.tolist() == [0, -1]
    assert arrived.discount.tolist() == pytest.approx([0, 0.81])


def test_the_environments_end_can_end_the_task_too() -> None:
    step = _step(
        [MID, LAST, LAST, MID], where=[1.0, 5.0, 1.1, 5.0], goal=[1.2] * 4, time_discount=0.81
    )
    step = step._replace(discount=torch.tensor([0.81, 0.0, 0.0, 0.81]))
    arrived = Goal(radius=0.3, env_termination=True).arrive(step)
    assert arrived.reward.tolist() == [0, -1, 0, -1]
    assert arrived.discount.tolist() == pytest.approx([0, 0, 0, 0.81])
    # Another goal, in hindsight: the first decision did not end the environment's task.
    elsewhere = arrived.observation._replace(input=torch.full((4, 2), 9.0))
    judged = Goal(radius=0.3, env_termination=True)._judged(arrived._replace(observation=elsewhere))
    assert judged.discount.tolist() == pytest.approx([0.81, 0, 0, 0.81])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"radius": 0.0}, "a number above 0"), ({"radius": 1.0, "hindsight": 2}, r"in \[0, 1\]")],
)
def test_bad_goals_are_errors(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Goal(**arguments)


def test_a_goal_needs_an_input_of_the_achieved_goals_shape() -> None:
    with pytest.raises(ValueError, match=r"level 'reach'.*same shape"):
        AlgorithmLevel(
            TensorSpec((3,)),
            BoundedTensorSpec((1,), minimum=-1.0, maximum=1.0),
            BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0),
            goal=Goal(radius=0.1),
            name="reach",
        )


def _filled_buffer(
    kinds: list[int], environments: int = 2, arrive: Callable[[TimeStep], TimeStep] = lambda x: x
) -> LevelReplayBuffer:
    """Record p of environment e lies at point 100 e + p, as `arrive` changes it."""
    example = Experience(time_step=arrive(_step([FIRST], [0.0], [0.0])), action=torch.zeros(1, 1))
    stock = ReplayBuffer(extract_spec(example, from_dim=1), environments, max_length=64)
    buffer = LevelReplayBuffer.in_place_of(stock, prioritized=False, name="level")
    env = torch.arange(environments)
    for p, kind in enumerate(kinds):
        step = _step([kind] * environments, 100.0 * env + p, [-50.0] * environments)
        record = Experience(time_step=arrive(step), action=torch.zeros(environments, 1))
        buffer.add_batch(record, env)
    return buffer


def test_every_relabelled_goal_was_reached_later_in_the_same_episode() -> None:
    kinds = [FIRST, MID, MID, LAST, FIRST, MID, LAST, FIRST, MID, MID, MID]
    ends = {0: 3, 1: 3, 2: 3, 4: 6, 5: 6, 7: 10, 8: 10, 9: 10}
    buffer = _filled_buffer(kinds)
    torch.manual_seed(0)
    batch, info = buffer.get_batch(4000, 2)
    steps = Goal(radius=0.3, hindsight=1.0).relabel(
        batch.time_step, info._replace(replay_buffer=buffer)
    )
    goals = steps.observation.input[:, :, 0]
    assert torch.equal(goals[:, 0], goals[:, 1])
    seen: dict[int, set[int]] = {}
    for env, position, goal in zip(
        info.env_ids.tolist(), info.positions.tolist(), goals[:, 0].tolist(), strict=True
    ):
        if position in ends:
            seen.setdefault(position, set()).add(int(goal) - 100 * env)
        else:  # the span begins with the last record of an episode: nothing comes later
            assert goal == -50
    assert seen == {p: set(range(p + 1, end + 1)) for p, end in ends.items()}


@pytest.mark.parametrize("length", [2, 3, 4, 6])
def test_all_records_that_a_span_has_of_its_episode_get_one_later_goal(length: int) -> None:
    kinds = [FIRST, *[MID] * 5, LAST, FIRST, MID, LAST, FIRST, MID, MID, MID]
    ends = [6] * 7 + [9] * 3 + [13] * 4
    buffer = _filled_buffer(kinds)
    torch.manual_seed(0)
    batch, info = buffer.get_batch(4000, length)
    steps = Goal(radius=0.3, hindsight=1.0).relabel(
        batch.time_step, info._replace(replay_buffer=buffer)
    )
    seen: dict[int, set[int]] = {}
    for env, first, goals in zip(
        info.env_ids.tolist(),
        info.positions.tolist(),
        steps.observation.input[:, :, 0].tolist(),
        strict=True,
    ):
        end = ends[first]
        own = [int(goal) for goal in goals[: end - first + 1]]
        assert goals[end - first + 1 :] == [-50.0] * (length - len(own))  # the next episode's
        if first == end:
            assert own == [-50]
            continue
        goal = own[0] - 100 * env
        assert own == own[:1] * len(own)
        assert first < goal <= end
        seen.setdefault(first, set()).add(goal)
    starts = [p for p in range(len(kinds) - length + 1) if p != ends[p]]
    assert seen == {p: set(range(p + 1, ends[p] + 1)) for p in starts}


def test_relabelled_rewards_are_those_of_the_new_goal() -> None:
    buffer = _filled_buffer([FIRST, MID, MID, LAST])
    torch.manual_seed(0)
    batch, info = buffer.get_batch(500, 2)
    steps = Goal(radius=0.3, hindsight=1.0).relabel(
        batch.time_step, info._replace(replay_buffer=buffer)
    )
    where, goal = steps.observation.observation[..., 0], steps.observation.input[..., 0]
    starts = steps.step_type == FIRST
    expected = torch.where((where - goal).abs() <= 0.3, 0.0, -1.0)
    assert torch.equal(steps.reward[~starts], expected[~starts])
    assert (steps.reward[starts] == -7).all()
    assert torch.equal(steps.discount[~starts], torch.where(expected == 0, 0.0, 1.0)[~starts])
    assert (expected[:, 1] == 0).any()


def test_in_hindsight_the_environments_end_is_told_from_the_old_goals() -> None:
    """The environment ends where an episode does; records 1 and 3 reach the old goal as well."""
    goal = Goal(radius=0.3, hindsight=1.0, env_termination=True)

    def arrive(step: TimeStep) -> TimeStep:
        seen = step.observation
        at_old_goal = (seen.observation[:, :1] % 2 == 1).expand_as(seen.input)
        old = torch.where(at_old_goal, seen.observation, seen.input)
        return goal.arrive(
            step._replace(
                observation=seen._replace(input=old),
                discount=torch.where(step.is_last(), 0.0, 1.0),
            )
        )

    buffer = _filled_buffer([FIRST, MID, MID, LAST, FIRST, MID, MID], arrive=arrive)
    torch.manual_seed(0)
    batch, info = buffer.get_batch(500, 2)
    steps = goal.relabel(batch.time_step, info._replace(replay_buffer=buffer))
    where, new = steps.observation.observation[:, 1, 0], steps.observation.input[:, 1, 0]
    arrivals = steps.step_type[:, 1] != FIRST
    ended = (where == new) | (steps.step_type[:, 1] == LAST)
    assert torch.equal(steps.discount[:, 1][arrivals], torch.where(ended, 0.0, 1.0)[arrivals])
    assert ((where % 2 == 1) & ~ended & arrivals).any()


def test_the_share_of_hindsight_is_kept() -> None:
    buffer = _filled_buffer([FIRST] + [MID] * 20)
    torch.manual_seed(0)
    batch, info = buffer.get_batch(4000, 2)
    steps = Goal(radius=0.3, hindsight=0.25).relabel(
        batch.time_step, info._replace(replay_buffer=buffer)
    )
    share = (steps.observation.input[:, 0, 0] != -50).float().mean()
    assert float(share) == pytest.approx(0.25, abs=0.03)


def test_reaching_the_goal_returns_control() -> None:
    level = AlgorithmLevel(
        TensorSpec((2,)),
        BoundedTensorSpec((1,), minimum=-1.0, maximum=1.0),
        BoundedTensorSpec((2,), minimum=-9.0, maximum=9.0),
        goal=Goal(radius=0.3),
        control_interval=3,
    )
    step = _step([MID] * 4, where=[0.0, 1.0, 2.0, 1.1], goal=[1.0] * 4)
    returns = level.returns_control(step, torch.tensor([1, 2, 3, 1]))
    assert returns.tolist() == [False, True, True, True]
