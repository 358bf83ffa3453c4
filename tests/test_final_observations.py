"""Every level gets the true final observation: an environment that teleports tells."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from alf.algorithms.config import TrainerConfig
from alf.data_structures import StepType
from alf.tensor_specs import BoundedTensorSpec
from alf_layered import HierarchyAgent
from alf_layered.environments import gymnasium_loader
from tests.scripted import FACTORS, ScriptedLevel, TrainingOptions

JUMP = 1000.0


class Teleporting(gymnasium.Env):
    """Counts its steps; each episode begins `JUMP` further on and has a length of its own."""

    observation_space = gymnasium.spaces.Box(0, np.inf, (4,), np.float32)
    action_space = gymnasium.spaces.Box(-1e6, 1e6, (2,), np.float32)

    def __init__(self, first_length: int) -> None:
        self._length, self._start, self._t = first_length, 0.0, 0

    def _observation(self) -> np.ndarray:
        return np.array([self._start + self._t, 0, 0, 0], dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        self._start, self._t, self._length = self._start + JUMP, 0, self._length % 7 + 3
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self._t += 1
        ends = self._t == self._length
        terminates = self._length % 2 == 0
        return self._observation(), 1.0, ends and terminates, ends and not terminates, {}


def _vector_env(
    environments: int, mode: gymnasium.vector.AutoresetMode
) -> gymnasium.vector.VectorEnv:
    makers = [partial(Teleporting, 3 + e) for e in range(environments)]
    return gymnasium.vector.SyncVectorEnv(makers, autoreset_mode=mode)


def _records(buffer: Any, env: int) -> Iterator[tuple[int, float, float]]:
    """Step type, number and elapsed steps of an environment's records, in order."""
    count = int(buffer._current_size[env])
    ids, positions = torch.full((count,), env), torch.arange(count)

    def field(name: str) -> list:
        return buffer.get_field(name, ids, positions).tolist()

    numbers = [row[0] for row in field("time_step.observation.observation")]
    yield from zip(
        field("time_step.step_type"), numbers, field("time_step.env_info.steps"), strict=True
    )


@pytest.mark.parametrize("mode", list(gymnasium.vector.AutoresetMode))
def test_no_stored_transition_leaves_its_episode(mode: gymnasium.vector.AutoresetMode) -> None:
    environments, steps = 3, 60
    env = gymnasium_loader.load(
        partial(_vector_env, environments, mode), batch_size=environments, autoreset_mode=mode
    )
    joint = BoundedTensorSpec((2,), minimum=-1e6, maximum=1e6)
    agent = HierarchyAgent(
        env.observation_spec(),
        env.action_spec(),
        levels=[
            partial(
                ScriptedLevel,
                position=i,
                control_interval=2 if i > 0 else None,
                gamma=FACTORS[i],
                training=TrainingOptions(replay_buffer_length=500),
                name=f"scripted{i}",
            )
            for i in range(3)
        ],
        joints=[joint, joint],
        env=env,
        config=TrainerConfig(root_dir="", unroll_length=steps, mini_batch_length=2),
    )
    agent.unroll(steps)
    for level in agent.levels:
        for e in range(environments):
            before: tuple[int, float] | None = None
            ends = 0
            for kind, number, elapsed in _records(level._replay_buffer, e):
                if kind == int(StepType.FIRST):
                    assert before is None or before[0] == int(StepType.LAST)
                else:
                    assert before is not None
                    assert number - before[1] == elapsed > 0
                ends += kind == int(StepType.LAST)
                before = (kind, number)
            assert ends > 3
