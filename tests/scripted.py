"""Levels and time steps whose every number can be predicted: the tools of the hierarchy's tests."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from alf.data_structures import AlgStep, StepType, TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered.hierarchy.agent import HierarchyAgent
from alf_layered.hierarchy.level import Level
from alf_layered.hierarchy.training import TrainingOptions

ACTION = BoundedTensorSpec((2,), minimum=-1000.0, maximum=1000.0)
FACTORS = (0.5, 0.25, 0.75, 0.125, 0.375)


class ScriptedLevel(Level):
    """Decides `[position of the level, observation's number + half its input's]`; the observation
    says
    in column 1 + position whether the level returns control."""

    def __init__(self, *args: Any, position: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._position = position

    def returns_control(self, step: TimeStep, decisions: torch.Tensor) -> torch.Tensor:
        asked = step.observation.observation[:, 1 + self._position] > 0
        return asked | super().returns_control(step, decisions)

    def rollout_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        number = inputs.observation.observation[:, 0]
        above = inputs.observation.input
        below = number if isinstance(above, tuple) else number + above[:, 1] / 2
        output = torch.stack([torch.full_like(below, float(self._position)), below], dim=1)
        return AlgStep(output=output, state=state, info={"number": number})


def scripted_agent(
    intervals: list[int | None], *, store: bool = False, config: Any = None, **kwargs: Any
) -> HierarchyAgent:
    """A hierarchy of `ScriptedLevel`s, level i with discount factor `FACTORS[i]`."""
    count = len(intervals)
    return HierarchyAgent(
        TensorSpec((1 + count,)),
        ACTION,
        levels=[
            partial(
                ScriptedLevel,
                position=i,
                control_interval=interval,
                gamma=FACTORS[i],
                training=TrainingOptions(replay_buffer_length=64) if store else None,
                name=f"scripted{i}",
            )
            for i, interval in enumerate(intervals)
        ],
        joints=[ACTION] * (count - 1),
        config=config,
        **kwargs,
    )


def time_step(
    kind: list[int], reward: list[float], discount: list[float], observation: list[list[float]]
) -> TimeStep:
    """A time step of B environments, one number or row for each."""
    rows = len(kind)
    return TimeStep(
        step_type=torch.tensor(kind, dtype=torch.int32),
        reward=torch.tensor(reward),
        discount=torch.tensor(discount),
        observation=torch.tensor(observation),
        prev_action=torch.zeros(rows, 2),
        env_id=torch.arange(rows, dtype=torch.int32),
        env_info=(),
    )


def reset_where_first(step: TimeStep, state: Any, initial: Any) -> Any:
    """What ALF's loop does before each step: the state starts anew where an episode does."""
    from alf_layered.hierarchy.rows import where_rows

    return where_rows(step.step_type == int(StepType.FIRST), initial, state)
