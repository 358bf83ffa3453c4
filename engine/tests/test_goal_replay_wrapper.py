"""A wrapper that replays trajectories for another goal."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from alf.environments.alf_wrappers import GoalReplayEnvWrapper
from alf.environments.random_alf_environment import RandomAlfEnvironment
from alf.tensor_specs import BoundedTensorSpec, TensorSpec


class _LastPlace(GoalReplayEnvWrapper):
    """A goal is a place; the reward is 1 where it is reached."""

    def get_trajectory_with_goal(self, trajectory: Any, goal: torch.Tensor) -> Any:
        reached = (trajectory["place"] == goal).to(torch.float32)
        return {**trajectory, "goal": goal.expand_as(trajectory["place"]), "reward": reached}

    def get_goal_from_trajectory(self, trajectory: Any) -> torch.Tensor:
        return trajectory["place"][-1]


def test_a_trajectory_is_rewarded_for_the_goal_it_reached() -> None:
    env = _LastPlace(
        RandomAlfEnvironment(TensorSpec((1,)), BoundedTensorSpec((), torch.int64, 0, 1))
    )
    trajectory = {"place": torch.tensor([[1, 5], [2, 6], [3, 5]]), "reward": torch.zeros(3, 2)}
    goal = env.get_goal_from_trajectory(trajectory)
    replayed = env.get_trajectory_with_goal(trajectory, goal)
    assert replayed["reward"].tolist() == [[0, 1], [0, 0], [1, 1]]
    assert env.batch_size == 1


def test_what_a_goal_is_must_be_said() -> None:
    with pytest.raises(TypeError, match="get_goal_from_trajectory"):
        GoalReplayEnvWrapper(None)  # type: ignore[abstract,arg-type]
