"""A point in a square that is to be brought to a goal, as a gymnasium environment with goals."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

RADIUS = 0.1
STEP = 0.1
EPISODE_LENGTH = 30


class ReachGoal(gymnasium.Env):
    """The action moves the point; the reward is 0 within `RADIUS` of the goal, else -1."""

    def __init__(self) -> None:
        position = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        keys = ("observation", "achieved_goal", "desired_goal")
        self.observation_space = gymnasium.spaces.Dict(dict.fromkeys(keys, position))
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self._position, self._goal = self.np_random.uniform(-1, 1, (2, 2)).astype(np.float32)
        self._time = 0
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict]:
        self._position = np.clip(self._position + STEP * action, -1, 1).astype(np.float32)
        self._time += 1
        ended = self._time == EPISODE_LENGTH
        is_near = bool(np.linalg.norm(self._position - self._goal) < RADIUS)
        info = {"success": float(ended and is_near)}
        return self._observation(), float(is_near) - 1.0, False, ended, info

    def _observation(self) -> dict[str, np.ndarray]:
        return {
            "observation": self._position,
            "achieved_goal": self._position,
            "desired_goal": self._goal,
        }


gymnasium.register("ReachGoal-v0", f"{__name__}:ReachGoal")
