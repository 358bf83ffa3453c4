"""A point whose controls are twisted: nobody who does not learn them reaches the middle."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from alf.data_structures import StepType, TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

OBSERVATION = TensorSpec((2,))
ACTION = BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)


def distance_reward(observation: Tensor, action: Tensor) -> Tensor:
    """Minus the distance [N] from the middle; what `PointWorld` pays."""
    return -observation.norm(dim=-1)


class PointWorld:
    """Rows of x' = clip(x + 0.3 (-a_2, a_1), -1, 1); an episode of 8 steps starts anywhere."""

    length = 8

    def __init__(self, batch_size: int = 16) -> None:
        self.batch_size = batch_size
        self.reset()

    def reset(self) -> TimeStep:
        self._count = 0
        where = 2 * torch.rand(self.batch_size, 2) - 1
        self._time_step = self._make(where, torch.zeros(self.batch_size, 2), StepType.FIRST)
        return self._time_step

    def current_time_step(self) -> TimeStep:
        return self._time_step

    def step(self, action: Tensor) -> TimeStep:
        if self._count == self.length:
            return self.reset()
        self._count += 1
        push = 0.3 * torch.stack([-action[:, 1], action[:, 0]], dim=1)
        where = (self._time_step.observation + push).clamp(-1, 1)
        kind = StepType.LAST if self._count == self.length else StepType.MID
        self._time_step = self._make(where, action, kind)
        return self._time_step

    def _make(self, where: Tensor, action: Tensor, step_type: int) -> TimeStep:
        B = self.batch_size
        reward = distance_reward(where, action)
        return TimeStep(
            step_type=torch.full((B,), int(step_type), dtype=torch.int32),
            reward=torch.zeros(B) if step_type == StepType.FIRST else reward,
            discount=torch.ones(B),
            observation=where,
            prev_action=action,
            env_id=torch.arange(B, dtype=torch.int32),
            env_info={},
        )


@torch.no_grad()
def final_distance(algorithm: Any, rows: int = 64) -> float:
    """The mean distance from the middle after an episode of the greedy policy."""
    world = PointWorld(rows)
    step, state = world.reset(), algorithm.get_initial_predict_state(rows)
    for _ in range(world.length):
        acted = algorithm.predict_step(step, state)
        state, step = acted.state, world.step(acted.output)
    assert int(step.step_type[0]) == int(StepType.LAST)
    return float(step.observation.norm(dim=-1).mean())
