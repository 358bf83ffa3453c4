"""Gymnasium's ids `Maze2D-*-v0`, registered by `import alf_layered`.

Episodes of registered mazes are truncated by gymnasium's own time limit, so that
`gymnasium.make(..., max_episode_steps=600)` means what it says.
"""

from __future__ import annotations

import gymnasium

from alf_layered.environments.maze_layouts import MAZE_TASKS


def register_mazes() -> None:
    """Registers those that are not there yet."""
    for name, task in MAZE_TASKS.items():
        if name in gymnasium.registry:
            continue
        gymnasium.register(
            id=name,
            entry_point="alf_layered.environments.maze2d_gym:Maze2DGym",
            max_episode_steps=task.max_episode_steps,
            kwargs={
                "maze_layout": name,
                "start_cells": tuple(task.start_cells),
                "goal_cells": tuple(task.goal_cells),
                "start_jitter": task.start_jitter,
                "max_episode_steps": None,
            },
        )
