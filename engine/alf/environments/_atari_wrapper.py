"""The usual treatment of Atari games."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from alf.config_util import configurable
from alf.environments import _frame_wrappers as frames

PUBLIC_MODULE = "alf.environments.gym_wrappers"  # under which these names are configured


@configurable
class DMAtariPreprocessing(gymnasium.Wrapper):
    """The usual treatment of Atari games (Machado et al. 2018, section 3.1; Mnih et al. 2015).

    Each action is repeated `frame_skip` times; the observation is the maximum of the last two
    screens, gray and resized to `screen_size`: uint8 `[screen_size, screen_size, C]`. A reset is
    followed by up to `noop_max` idle steps, and by FIRE where the game has such an action.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        frame_skip: int = 4,
        noop_max: int = 30,
        screen_size: int = 84,
        gray_scale: bool = True,
    ) -> None:
        super().__init__(env)
        self._frame_skip = frame_skip
        self._noop_max = noop_max
        self._size = screen_size
        self._gray = gray_scale
        shape = (screen_size, screen_size, 1 if gray_scale else 3)
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)

    def reset(self, **kwargs: Any) -> Any:
        observation, info = self.env.reset(**kwargs)
        for _ in range(int(self.np_random.integers(self._noop_max + 1))):
            observation, _, terminated, truncated, info = self.env.step(0)
            if terminated or truncated:
                observation, info = self.env.reset()
        fired = self.fire()
        observation = observation if fired is None else fired
        return self._screen(observation), info

    def fire(self) -> Any:
        """Press FIRE where the game has it; the raw screen after it, or None."""
        meanings = getattr(self.unwrapped, "get_action_meanings", list)()
        if "FIRE" not in meanings:
            return None
        observation, _, terminated, truncated, _ = self.env.step(meanings.index("FIRE"))
        if terminated or truncated:
            observation, _ = self.env.reset()
        return observation

    def step(self, action: Any) -> Any:
        total, screens = 0.0, []
        for _ in range(self._frame_skip):
            observation, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            screens = [*screens[-1:], observation]
            if terminated or truncated:
                break
        return self._screen(np.max(screens, axis=0)), total, terminated, truncated, info

    def _screen(self, screen: np.ndarray) -> np.ndarray:
        size = (self._size, self._size)
        if not self._gray:
            return frames.resize_image(screen, size, 3)
        return frames.resize_image(frames.gray_scale(screen), size, 3)[..., None]
