"""Bad input is an error that names the value and what is allowed: cases of several parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import pytest
import torch

from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import ActionSequenceLevel
from alf_layered.environments import maze_layouts
from alf_layered.environments.maze2d_gym import Maze2DGym
from alf_layered.models.symmetry_breaking import SymmetryBreaking
from alf_layered.networks.spaces import as_spec
from alf_layered.planners.finite_scores import check_scores

ACTION = BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)


def _sequence(**options: Any) -> ActionSequenceLevel:
    return ActionSequenceLevel(TensorSpec((1,)), ACTION, **options)


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda: maze_layouts.as_layout([0, 1, 0]), ["two-dimensional", "[0, 1, 0]"]),
        (lambda: maze_layouts.as_layout([[0, 2]]), ["0 (free) and 1 (wall)", "[[0, 2]]"]),
        (
            lambda: maze_layouts.maze_task("Maze2D-Umaze-v0"),
            ["'Maze2D-Umaze-v0'", "did you mean 'Maze2D-UMaze-v0'"],
        ),
        (lambda: Maze2DGym(render_mode="human"), ["render_mode", "'human'", "'rgb_array'"]),
        (lambda: _sequence(action_sequence=torch.zeros(0, 2)), ["action_sequence", "at least 1"]),
        (lambda: _sequence(action_sequence=torch.zeros(1, 2), repeat=0), ["repeat", "0"]),
        (lambda: SymmetryBreaking(2, 2, duration=0), ["sb_start_duration is 0", "at least 1"]),
        (
            lambda: check_scores(torch.tensor([1.0, float("nan")]), owner="planner"),
            ["planner", "environment 1", "NaN"],
        ),
    ],
)
def test_an_error_names_the_value_and_what_is_allowed(
    call: Callable[[], Any], parts: list[str]
) -> None:
    with pytest.raises(ValueError) as raised:
        call()
    for part in parts:
        assert part in str(raised.value)


def test_plans_without_a_score_are_counted_where_they_are_many() -> None:
    ids = torch.arange(10, 20)
    with pytest.raises(ValueError, match="environment 10, 11, 12, 13 and 6 more"):
        check_scores(torch.full((10,), -torch.inf), ids, owner="planner")


def test_only_boxes_and_discrete_spaces_are_spaces() -> None:
    space = gymnasium.spaces.Discrete(3, start=2)
    assert as_spec(space) == BoundedTensorSpec((), torch.int64, minimum=2, maximum=4)
    with pytest.raises(TypeError, match="Box or Discrete, not Text"):
        as_spec(gymnasium.spaces.Text(3))


def test_a_maze_without_an_episode_asks_for_a_reset() -> None:
    maze = Maze2DGym(render_mode="rgb_array")
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset first"):
        maze.render()
    assert Maze2DGym().render() is None
