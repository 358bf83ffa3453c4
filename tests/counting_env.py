"""A gymnasium environment whose every observation tells when it was made."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np


class CountingEnv(gymnasium.Env):
    """Observes `[episode * 10 + step, last action]`; the reward is the step; episodes of `length`
    steps terminate, or are truncated where the episode's number is odd.
    """

    def __init__(self, length: int = 3) -> None:
        self.observation_space = gymnasium.spaces.Box(-1000, 1000, (2,), dtype=np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (1,), dtype=np.float32)
        self._length, self._episode, self._step = length, -1, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        # A second reset at the same place begins nothing new: trainers reset more than once.
        self._episode += int(self._step > 0 or self._episode < 0)
        self._step = 0
        return self._observe(0.0), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._step += 1
        over = self._step == self._length
        odd = self._episode % 2 == 1
        observed = self._observe(float(np.asarray(action)[0]))
        return observed, float(self._step), over and not odd, over and odd, {}

    def _observe(self, action: float) -> np.ndarray:
        return np.array([self._episode * 10 + self._step, action], dtype=np.float32)
