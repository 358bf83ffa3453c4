"""The hierarchy against a slow per-environment twin, by hand numbers, and its invariances."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alf.data_structures import TimeStep
from alf_layered.hierarchy.rows import take_rows
from tests.scripted import FACTORS, reset_where_first, scripted_agent, time_step
from tests.slow_hierarchy import FIRST, LAST, MID, Record, SlowHierarchy


def _script(
    rng: random.Random, levels: int, steps: int
) -> list[tuple[int, float, float, list[float]]]:
    """One environment's steps: kind, reward, discount, observation row."""
    script, kind = [], LAST
    for t in range(steps):
        kind = FIRST if kind == LAST else (LAST if rng.random() < 0.15 else MID)
        reward = 0.0 if kind == FIRST else rng.uniform(-1, 1)
        terminates = kind == LAST and rng.random() < 0.5
        discount = 0.0 if terminates else (1.0 if kind == FIRST else rng.choice([1.0, 0.5]))
        flags = [float(rng.random() < 0.3) for _ in range(levels)]
        script.append((kind, reward, discount, [float(t + 1), *flags]))
    return script


def _run(agent: Any, scripts: list[Any]) -> tuple[list[list[float]], list[list[list[Record]]]]:
    """Actions `[T][B]` and records `[level][B]` of the vectorised hierarchy."""
    batch = len(scripts)
    initial = agent.get_initial_rollout_state(batch)
    state = initial
    levels = len(agent.levels)
    records: list[list[list[Record]]] = [[[] for _ in range(batch)] for _ in range(levels)]
    actions = []
    for rows in zip(*scripts, strict=True):
        step = time_step(*(list(column) for column in zip(*rows, strict=True)))
        state = reset_where_first(step, state, initial)
        result = agent.rollout_step(step, state)
        state = result.state
        actions.append(result.output[:, 1].tolist())
        for i, of_level in enumerate(result.info):
            for record in (of_level.closing, of_level.deciding):
                if record != ():
                    _append(records[i], record)
    return actions, records


def _append(records: list[list[Record]], record: Any) -> None:
    rows = take_rows(record.mask, record._replace(mask=()))
    step: TimeStep = rows.time_step
    for r, env in enumerate(step.env_id.tolist()):
        above = step.observation.input
        records[env].append(
            Record(
                kind=int(step.step_type[r]),
                reward=float(step.reward[r]),
                discount=float(step.discount[r]),
                number=float(step.observation.observation[r, 0]),
                input=0.0 if isinstance(above, tuple) else float(above[r, 1]),
                previous=float(step.prev_action[r, 1]),
                decision=float(rows.action[r, 1]),
                steps=int(step.env_info["steps"][r]),
            )
        )


def _assert_same(found: list[Record], expected: list[Record]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert vars(one) == pytest.approx(vars(other), abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    below=st.lists(st.none() | st.integers(1, 4), max_size=4),
    batch=st.integers(1, 17),
    seed=st.integers(0, 10_000),
)
def test_every_record_equals_that_of_the_slow_twin(
    below: list[int | None], batch: int, seed: int
) -> None:
    intervals = [None, *below]
    rng = random.Random(seed)
    scripts = [_script(rng, len(intervals), 24) for _ in range(batch)]
    actions, records = _run(scripted_agent(intervals), scripts)
    for b, script in enumerate(scripts):
        twin = SlowHierarchy(intervals, list(FACTORS[: len(intervals)]))
        expected = [twin.step(*row) for row in script]
        assert [at_t[b] for at_t in actions] == pytest.approx(expected)
        for i, level in enumerate(twin.levels):
            _assert_same(records[i][b], level.records)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), batch=st.integers(2, 9))
def test_permuting_environments_permutes_results(seed: int, batch: int) -> None:
    rng = random.Random(seed)
    scripts = [_script(rng, 3, 20) for _ in range(batch)]
    order = list(range(batch))
    rng.shuffle(order)
    actions, records = _run(scripted_agent([None, 2, 3]), scripts)
    permuted, permuted_records = _run(scripted_agent([None, 2, 3]), [scripts[b] for b in order])
    assert permuted == [[at_t[b] for b in order] for at_t in actions]
    assert permuted_records == [[level[b] for b in order] for level in records]


def _plain(length: int, *, last: int | None = None, discount: float = 1.0) -> list[Any]:
    """Reward t at step t, no level asked to return control."""
    return [
        (
            FIRST if t == 0 else (LAST if t == last else MID),
            float(t),
            discount if t == last else 1.0,
            [float(t), 0.0, 0.0, 0.0],
        )
        for t in range(length)
    ]


def test_reward_and_discount_of_a_decision_by_hand() -> None:
    _, records = _run(scripted_agent([None, 3, None]), [_plain(7, last=6)])
    # The bottom level never returns control: levels 0 and 1 decide once and close at LAST.
    assert [r.kind for r in records[0][0]] == [FIRST, LAST]
    # gamma = 0.5: 1 + 2/2 + 3/4 + 4/8 + 5/16 + 6/32 = 3.75; gamma^5 once ALF has its own factor
    assert records[0][0][1].reward == pytest.approx(1 + 1 + 0.75 + 0.5 + 0.3125 + 0.1875)
    assert records[0][0][1].discount == pytest.approx(0.5**5)
    assert records[0][0][1].steps == 6


def test_a_joint_closes_the_episode_with_the_old_input_and_opens_one_with_the_new() -> None:
    script = [(kind, r, d, row[:3]) for kind, r, d, row in _plain(6, last=5)]
    _, records = _run(scripted_agent([None, 2]), [script])
    bottom = records[1][0]
    assert [r.kind for r in bottom] == [FIRST, MID, LAST, FIRST, MID, LAST, FIRST, LAST]
    assert [r.number for r in bottom] == [0, 1, 2, 2, 3, 4, 4, 5]
    assert [r.input for r in bottom] == [0, 0, 0, 2, 2, 2, 4, 4]
    assert [r.reward for r in bottom] == [0, 1, 2, 0, 3, 4, 0, 5]
    assert [r.discount for r in bottom] == [1, 1, 1, 1, 1, 1, 1, 1]
    top = records[0][0]
    assert [r.kind for r in top] == [FIRST, MID, MID, LAST]
    assert [r.reward for r in top] == [0, 1 + 2 * 0.5, 3 + 4 * 0.5, 5]
    assert [r.discount for r in top] == [1, 0.5, 0.5, 1]


def test_termination_leaves_no_discount_at_any_level() -> None:
    script = [(k, r, d, row[:3]) for k, r, d, row in _plain(4, last=3, discount=0.0)]
    _, records = _run(scripted_agent([None, 2]), [script])
    assert records[0][0][-1].discount == 0
    assert records[1][0][-1].discount == 0


def test_three_levels_out_of_step_decide_by_their_own_clocks() -> None:
    script = [(k, r, d, row) for k, r, d, row in _plain(13)]
    _, records = _run(scripted_agent([None, 2, 3]), [script, script[:1] + script[:12]])
    assert [r.number for r in records[0][0]] == [0, 6, 12]
    middle = [r for r in records[1][0] if r.kind != LAST]
    assert [r.number for r in middle] == [0, 3, 6, 9, 12]


def test_continuing_joints_show_the_new_input_in_the_same_episode() -> None:
    script = [(kind, r, d, row[:3]) for kind, r, d, row in _plain(6, last=5)]
    _, records = _run(scripted_agent([None, 2], joint_end="continue"), [script])
    assert [r.kind for r in records[1][0]] == [FIRST, MID, MID, MID, MID, LAST]
    assert [r.input for r in records[1][0]] == [0, 0, 2, 2, 4, 4]
    assert [r.reward for r in records[1][0]] == [0, 1, 2, 3, 4, 5]


def test_mean_reward_mode_averages_over_environment_steps() -> None:
    script = [(kind, r, d, row[:3]) for kind, r, d, row in _plain(6, last=5)]
    _, records = _run(scripted_agent([None, 2], reward_mode="mean"), [script])
    assert [r.reward for r in records[0][0]] == [0, 1.5, 3.5, 5]
    assert [r.discount for r in records[0][0]] == [1, 1, 1, 1]


def test_the_state_belongs_to_the_caller() -> None:
    agent = scripted_agent([None, 2])
    script = [(kind, r, d, row[:3]) for kind, r, d, row in _plain(6)]
    expected, _ = _run(agent, [script])
    _run(agent, [script[:3]])  # another rollout in between
    again, _ = _run(agent, [script])
    assert again == expected


def test_rows_in_the_replay_buffers_are_the_records() -> None:
    rng = random.Random(3)
    scripts = [_script(rng, 3, 20) for _ in range(4)]
    _, records = _run(scripted_agent([None, 2, 2]), scripts)

    from alf.algorithms.config import TrainerConfig
    from alf.data_structures import make_experience

    config = TrainerConfig(root_dir="", mini_batch_length=2)
    agent = scripted_agent([None, 2, 2], store=True, config=config)
    for level in agent.levels:
        level.set_replay_buffer(4, 64)
    initial = agent.get_initial_rollout_state(4)
    state = initial
    for rows in zip(*scripts, strict=True):
        step = time_step(*(list(column) for column in zip(*rows, strict=True)))
        state = reset_where_first(step, state, initial)
        result = agent.rollout_step(step, state)
        agent.observe_for_replay(make_experience(step, result, state))
        state = result.state
    for i, level in enumerate(agent.levels):
        buffer = level._replay_buffer
        for b in range(4):
            expected = records[i][b]
            assert int(buffer._current_size[b]) == len(expected)
            env = torch.full((len(expected),), b)
            positions = torch.arange(len(expected))
            rewards = buffer.get_field("time_step.reward", env, positions)
            assert rewards.tolist() == pytest.approx([r.reward for r in expected], abs=1e-5)
            actions = buffer.get_field("action", env, positions)
            assert actions[:, 1].tolist() == pytest.approx([r.decision for r in expected])
    assert set(agent._replay_buffer.keys()) == set(agent._level_names)
