"""Minari data sets for tests, made on this machine from an environment whose numbers are known."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

NAME = "test/steer-v0"


class Steer(gymnasium.Env):
    """A point at x in [-1, 1] goes by a quarter of the action; the reward is -|x|.

    It terminates beyond 1 and is truncated after 4 steps.
    """

    observation_space = gymnasium.spaces.Dict(
        {
            "position": gymnasium.spaces.Box(-2.0, 2.0, (1,), np.float64),
            "time": gymnasium.spaces.Box(0.0, 9.0, (1,), np.float64),
        }
    )
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self._position, self._time = float(self.np_random.uniform(-1, 1)), 0
        return self._observed(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self._position += float(action[0]) / 4
        self._time += 1
        reward = -abs(self._position)
        return self._observed(), reward, self._position > 1, self._time == 4, {}

    def _observed(self) -> dict[str, np.ndarray]:
        return {"position": np.array([self._position]), "time": np.array([float(self._time)])}


def steer(observation: Any) -> np.ndarray:
    """The policy of the data: back to 0."""
    return np.clip(-observation["position"], -1, 1).astype(np.float32)


def leave_data_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch, episodes: int, policy: Any = steer
) -> str:
    """Runs `policy`; returns what ``offline_buffer_dir`` takes."""
    minari = pytest.importorskip("minari")
    from minari.data_collector import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    with warnings.catch_warnings():  # what it would like to know of the author
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(
            NAME,
            [EpisodeBuffer(id=number, **_episode(number, policy)) for number in range(episodes)],
            env=Steer(),
            observation_space=Steer.observation_space,
            action_space=Steer.action_space,
            algorithm_name="test",
            author="test",
            author_email="nobody@example.org",
            code_permalink="none",
            description="for a test",
            data_format="hdf5",
        )
    return f"minari:{NAME}"


def _episode(seed: int, policy: Any) -> dict[str, Any]:
    """The arrays of an episode."""
    env = Steer()
    seen = [env.reset(seed=seed)[0]]
    steps: list[Any] = []
    while not steps or not (steps[-1][2] or steps[-1][3]):
        action = policy(seen[-1])
        observation, reward, terminated, truncated, _ = env.step(action)
        seen.append(observation)
        steps.append((action, reward, terminated, truncated))
    actions, rewards, terminations, truncations = zip(*steps, strict=True)
    return {
        "observations": {key: np.stack([x[key] for x in seen]) for key in seen[0]},
        "actions": np.stack(actions),
        "rewards": list(rewards),
        "terminations": list(terminations),
        "truncations": list(truncations),
    }
