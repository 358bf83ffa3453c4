"""A point whose controls are twisted: only who has learned them brings it to the middle."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

EPISODE_LENGTH = 8


class TwistedPoint(gymnasium.Env):
    """x' = clip(x + 0.3 (-a_2, a_1), -1, 1); the reward is minus the distance from the middle.

    `success` is 1 at the end of an episode within 0.3 of the middle; at random 0.07 of them are.
    """

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self._position = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        self._time = 0
        return self._position, {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict]:
        push = 0.3 * np.array([-action[1], action[0]])
        self._position = np.clip(self._position + push, -1, 1).astype(np.float32)
        self._time += 1
        ended = self._time == EPISODE_LENGTH
        distance = float(np.linalg.norm(self._position))
        return self._position, -distance, False, ended, {"success": float(ended and distance < 0.3)}


gymnasium.register("TwistedPoint-v0", f"{__name__}:TwistedPoint")
