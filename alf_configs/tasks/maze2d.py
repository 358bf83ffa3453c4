"""Point mazes: the position in cells is observed, the velocity is the action."""

from typing import Any

import alf
from alf_configs.tasks import task
from alf_layered.environments import maze2d_alf


def maze(
    layout: str, *, dense_reward: bool, terminate_at_goal: bool = True, envs: int = 16, **more: Any
) -> None:
    """A maze whose reward is 1 at the goal, or (dense) minus the straight distance to it."""
    alf.config("maze2d_alf.load", dense_reward=dense_reward, terminate_at_goal=terminate_at_goal)
    task(f"Maze2D-{layout}-v0", envs=envs, load=maze2d_alf.load, **more)


def sparse_umaze(steps: int = 60_000, evals: int | None = 12) -> None:
    """The U-maze of the main run, with a sparse reward."""
    maze("UMaze", dense_reward=False, steps=steps, evals=evals)


def dense_medium_maze(steps: int = 140_000, evals: int = 7) -> None:
    """The medium maze of the skills, with a dense reward."""
    maze("Medium", dense_reward=True, steps=steps, evals=evals, eval_envs=50)
