"""Environments and algorithms of a few lines, whose every number is known."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from alf.algorithms.config import TrainerConfig
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.algorithms.on_policy_algorithm import OnPolicyAlgorithm
from alf.data_structures import AlgStep, LossInfo, StepType, TimeStep, namedtuple
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

OBSERVATION_SPEC = TensorSpec((2,))
ACTION_SPEC = BoundedTensorSpec((1,), minimum=-1.0, maximum=1.0)
Info = namedtuple("Info", ["action", "steps", "reward"], default_value=())


class CountingEnv:
    """Episodes of `length` steps; observation (environment, steps since FIRST), reward = steps.

    Args:
        bad_reward: (environment, global step, value): one reward that is `value` instead.
    """

    def __init__(self, batch_size: int = 2, length: int = 3, bad_reward: Any = None) -> None:
        self.batch_size = batch_size
        self._length = length
        self._bad_reward = bad_reward
        self.num_steps = 0
        self.reset()

    def reset(self) -> TimeStep:
        self._count = torch.zeros(self.batch_size)
        self._time_step = self._make(torch.zeros(self.batch_size, 1))
        return self._time_step

    def current_time_step(self) -> TimeStep:
        return self._time_step

    def step(self, action: torch.Tensor) -> TimeStep:
        self.num_steps += 1
        self._count = torch.where(self._count == self._length, 0.0, self._count + 1)
        self._time_step = self._make(action)
        return self._time_step

    def _make(self, action: torch.Tensor) -> TimeStep:
        B, count = self.batch_size, self._count
        step_type = torch.full((B,), StepType.MID, dtype=torch.int32)
        step_type[count == 0] = StepType.FIRST
        step_type[count == self._length] = StepType.LAST
        reward = count.clone()
        if self._bad_reward is not None and self._bad_reward[1] == self.num_steps:
            reward[self._bad_reward[0]] = self._bad_reward[2]
        return TimeStep(
            step_type=step_type,
            reward=reward,
            discount=torch.ones(B),
            observation=torch.stack([torch.arange(float(B)), count], dim=1),
            prev_action=torch.where(count.unsqueeze(1) == 0, 0.0, action),
            env_id=torch.arange(B, dtype=torch.int32),
            env_info={},
        )


def make_config(**kwargs: Any) -> TrainerConfig:
    """A config of off-policy training; two updates of four spans of two steps."""
    settings: dict[str, Any] = {
        "root_dir": "/nowhere",
        "unroll_length": 1,
        "whole_replay_buffer_training": False,
        "clear_replay_buffer": False,
        "mini_batch_length": 2,
        "mini_batch_size": 4,
        "num_updates_per_train_iter": 2,
        "initial_collect_steps": 4,
    }
    return TrainerConfig(**{**settings, **kwargs})


class _Acts:
    """A policy of one linear layer; its state counts the steps of the episode."""

    def _act(self, inputs: TimeStep, state: torch.Tensor) -> AlgStep:
        action = torch.tanh(self.layer(inputs.observation))
        info = Info(action=action, steps=state, reward=inputs.reward)
        return AlgStep(output=action, state=state + 1, info=info)


class TinyOffPolicy(_Acts, OffPolicyAlgorithm):
    """Fits `layer(observation)` to the reward."""

    def __init__(self, *, env: Any = None, config: Any = None, **kwargs: Any) -> None:
        settings: dict[str, Any] = {
            "train_state_spec": (),
            "rollout_state_spec": TensorSpec(()),
            "name": "tiny",
        }
        super().__init__(
            OBSERVATION_SPEC, ACTION_SPEC, env=env, config=config, **{**settings, **kwargs}
        )
        self.layer = nn.Linear(2, 1)
        self.calls: list[str] = []

    def rollout_step(self, inputs: TimeStep, state: torch.Tensor) -> AlgStep:
        return self._act(inputs, state)

    def train_step(self, inputs: TimeStep, state: Any, rollout_info: Info) -> AlgStep:
        self.calls.append("train_step")
        error = self.layer(inputs.observation).squeeze(-1) - inputs.reward
        return AlgStep(info=LossInfo(loss=error**2, extra=error.detach()))

    def update_with_gradient(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append("update_with_gradient")
        return super().update_with_gradient(*args, **kwargs)

    def after_update(self, root_inputs: Any, info: Any) -> None:
        self.calls.append("after_update")


class TinyOnPolicy(_Acts, OnPolicyAlgorithm):
    """Makes its actions small."""

    def __init__(self, *, env: Any = None, config: Any = None, **kwargs: Any) -> None:
        super().__init__(
            OBSERVATION_SPEC, ACTION_SPEC, TensorSpec(()), env=env, config=config, **kwargs
        )
        self.layer = nn.Linear(2, 1)
        self.seen: dict[str, Any] = {}

    def rollout_step(self, inputs: TimeStep, state: torch.Tensor) -> AlgStep:
        return self._act(inputs, state)

    def calc_loss(self, info: Info) -> LossInfo:
        self.seen["info"] = info
        return LossInfo(loss=info.action.squeeze(-1) ** 2)

    def after_train_iter(self, root_inputs: Any, rollout_info: Any) -> None:
        self.seen["root_inputs"] = root_inputs
