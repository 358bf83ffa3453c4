"""DeepMind Control tasks for ALF. Needs dm_control: pip install alf-layered[dm_control]

alf.config("create_environment", env_name="walker-walk", env_load_fn=dm_control.load)
"""

from __future__ import annotations

import functools
from collections import deque
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from alf.config_util import configurable
from alf_layered.allowed import AT_LEAST_1, checked
from alf_layered.environments import gymnasium_loader


@configurable
@checked(batch_size=AT_LEAST_1, action_repeat=AT_LEAST_1)
def load(
    environment_name: str,
    env_id: int | None = None,
    batch_size: int = 1,
    action_repeat: int = 2,
    pixels: bool = False,
    vectorization: str = "sync",
) -> gymnasium_loader.GymnasiumEnvironment:
    """Makes `batch_size` instances of a task; a batched load function of ALF.

    Args:
        environment_name: domain and task, as in `cartpole-swingup`, underscores as in dm_control.
        env_id: see `BatchedEnvironment`.
        batch_size: number of instances.
        action_repeat: control steps of the simulator for which an action holds. What is called an
            environment step elsewhere is a control step: ALF counts them divided by this.
        pixels: see `DMControlEnv`.
        vectorization: see `gymnasium_loader.load`.
    """
    make = functools.partial(
        DMControlEnv, environment_name, action_repeat=action_repeat, pixels=pixels
    )
    return gymnasium_loader.load(
        make, env_id=env_id, batch_size=batch_size, vectorization=vectorization
    )


load.batched = True


class DMControlEnv(gymnasium.Env):
    """A task as a gymnasium environment; observations are one vector, or three pictures of 64 x 64.

    Args:
        name: domain and task, joined by a dash.
        action_repeat: control steps for which an action holds; their rewards are added up.
        pixels: whether the last three pictures `[9, 64, 64]`, uint8, are observed instead.

    Raises:
        ModuleNotFoundError: without dm_control.
        ValueError: for a name without a dash or an action_repeat below 1.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - gymnasium's own
    render_mode = "rgb_array"

    def __init__(self, name: str, *, action_repeat: int = 2, pixels: bool = False) -> None:
        domain, dash, task = name.partition("-")
        if not dash:
            raise ValueError(f"a DeepMind Control task is called domain-task, got {name!r}")
        if action_repeat < 1:
            raise ValueError(f"action_repeat is {action_repeat}, it must be at least 1")
        self._domain, self._task = domain, task
        self._repeat = action_repeat
        self._pictures: deque[np.ndarray] | None = deque(maxlen=3) if pixels else None
        self._env = self._load(None)
        action = self._env.action_spec()
        self.action_space = spaces.Box(
            action.minimum.astype(np.float32), action.maximum.astype(np.float32)
        )
        if pixels:
            self.observation_space = spaces.Box(0, 255, (9, 64, 64), np.uint8)
        else:
            sizes = (int(np.prod(s.shape)) for s in self._env.observation_spec().values())
            self.observation_space = spaces.Box(-np.inf, np.inf, (sum(sizes),), np.float32)

    def _load(self, seed: int | None) -> Any:
        try:
            from dm_control import suite
        except ModuleNotFoundError as error:
            if error.name != "dm_control":
                raise
            raise ModuleNotFoundError(
                "dm_control is not installed: pip install alf-layered[dm_control]",
                name="dm_control",
            ) from error
        return suite.load(self._domain, self._task, task_kwargs={"random": seed})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._env = self._load(seed)
        step = self._env.reset()
        if self._pictures is not None:
            self._pictures.extend([self._picture()] * 3)
        return self._observation(step), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        reward = 0.0
        for _ in range(self._repeat):
            step = self._env.step(action)
            reward += float(step.reward)
            if step.last():
                break
        if self._pictures is not None:
            self._pictures.append(self._picture())
        terminated = step.last() and step.discount == 0
        return self._observation(step), reward, terminated, step.last() and not terminated, {}

    def render(self) -> np.ndarray:
        """`[240, 320, 3]`, uint8."""
        return self._env.physics.render(height=240, width=320, camera_id=0)

    def _picture(self) -> np.ndarray:
        camera = 2 if self._domain == "quadruped" else 0
        return self._env.physics.render(height=64, width=64, camera_id=camera).transpose(2, 0, 1)

    def _observation(self, step: Any) -> np.ndarray:
        if self._pictures is not None:
            return np.concatenate(list(self._pictures))
        parts = [np.asarray(x, dtype=np.float32).ravel() for x in step.observation.values()]
        return np.concatenate(parts)
