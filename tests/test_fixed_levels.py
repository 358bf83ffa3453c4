"""Levels that do not learn: random, constant, and lists of actions."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import ActionSequenceLevel, ConstantLevel, HierarchyAgent, RandomLevel, option
from tests.scripted import reset_where_first, time_step

OBSERVATION = TensorSpec((1,))
BOX = BoundedTensorSpec((2,), minimum=[-1.0, 0.0], maximum=[1.0, 3.0])


def _roll(level: Any, action_spec: TensorSpec, kinds: list[list[int]]) -> torch.Tensor:
    """The actions `[T, B, ...]` of a flat hierarchy over scripted step types `[T][B]`."""
    agent = HierarchyAgent(OBSERVATION, action_spec, levels=[level])
    rows = len(kinds[0])
    initial = agent.get_initial_rollout_state(rows)
    state, actions = initial, []
    for kind in kinds:
        step = time_step(kind, [0.0] * rows, [1.0] * rows, [[0.0]] * rows)
        state = reset_where_first(step, state, initial)
        result = agent.rollout_step(step, state)
        state = result.state
        actions.append(result.output)
    return torch.stack(actions)


def test_random_actions_fill_their_bounds() -> None:
    actions = _roll(RandomLevel, BOX, [[0] * 64] + [[1] * 64] * 9)
    flat = actions.reshape(-1, 2)
    assert (flat.min(0).values < torch.tensor([-0.9, 0.2])).all()
    assert (flat.max(0).values > torch.tensor([0.9, 2.8])).all()
    assert (flat >= torch.tensor([-1.0, 0.0])).all()
    assert (flat <= torch.tensor([1.0, 3.0])).all()


def test_random_options_are_indices() -> None:
    actions = _roll(RandomLevel, option(3), [[0] * 64])
    assert actions.dtype == torch.int64
    assert set(actions.flatten().tolist()) == {0, 1, 2}


def test_a_constant_is_repeated_for_every_environment() -> None:
    actions = _roll(partial(ConstantLevel, action=[0.5, 2.0]), BOX, [[0, 0, 0], [1, 2, 1]])
    assert actions.tolist() == [[[0.5, 2.0]] * 3] * 2
    assert _roll(partial(ConstantLevel, action=2), option(3), [[0, 0]]).tolist() == [[2, 2]]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([0.5, 4.0], r"\[4.0\], outside its bounds \[-1.0, 0.0\] to \[1.0, 3.0\]"),
        ([0.5, float("nan")], "outside its bounds"),
        ([0.5], r"shape \(1,\); each action must have the shape \(2,\)"),
    ],
)
def test_a_constant_outside_the_action_space_is_an_error(action: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HierarchyAgent(OBSERVATION, BOX, levels=[partial(ConstantLevel, action=action)])


def test_a_sequence_starts_anew_at_every_end_of_an_episode() -> None:
    level = partial(ActionSequenceLevel, action_sequence=[0, 1, 2], repeat=2)
    # environment 0 terminates or is truncated at step 3, environment 1 goes on
    kinds = [[0, 0], [1, 1], [1, 1], [2, 1], [0, 1], [1, 1], [1, 1], [1, 1]]
    actions = _roll(level, option(3), kinds)
    assert actions[:, 0].tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert actions[:, 1].tolist() == [0, 0, 1, 1, 2, 2, 2, 2]


def test_a_sequence_may_loop() -> None:
    level = partial(ActionSequenceLevel, action_sequence=[[0.0, 1.0], [1.0, 2.0]], at_end="loop")
    actions = _roll(level, BOX, [[0], [1], [1], [1]])
    assert actions[:, 0, 0].tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"action_sequence": torch.zeros(0, 2)}, "is empty"),
        ({"action_sequence": torch.zeros(3, 1)}, r"must have the shape \(2,\)"),
        ({"action_sequence": torch.zeros(3, 2), "repeat": 0}, "at least 1"),
        ({"action_sequence": torch.zeros(3, 2), "at_end": "stop"}, "'hold', 'loop'"),
    ],
)
def test_bad_sequences_are_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HierarchyAgent(OBSERVATION, BOX, levels=[partial(ActionSequenceLevel, **arguments)])


def test_level_settings_are_checked() -> None:
    with pytest.raises(ValueError, match=r"RandomLevel\.control_interval is 0; allowed"):
        HierarchyAgent(OBSERVATION, BOX, levels=[partial(RandomLevel, control_interval=0)])
