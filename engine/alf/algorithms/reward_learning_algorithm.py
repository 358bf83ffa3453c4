"""Rewards of imagined steps: the interface, and rewards that a formula gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from alf.algorithms.algorithm import Algorithm
from alf.config_util import configurable
from alf.data_structures import AlgStep, TimeStep

__all__ = ["AlgStep", "FixedRewardFunction", "RewardEstimationAlgorithm", "TimeStep"]


@configurable
class RewardEstimationAlgorithm(Algorithm):
    """Base of algorithms that tell the reward of an observation and an action.

    One that learns writes `train_step()`, whose info is a `LossInfo` [B], too.
    """

    def __init__(self, name: str = "RewardEstimationAlgorithm") -> None:
        super().__init__(name=name)

    def train_step(self, time_step: TimeStep, state: Any, rollout_info: Any = None) -> AlgStep:
        """Learn nothing."""
        return AlgStep(state=state)

    def compute_reward(self, obs: Any, action: Any, state: Any) -> tuple[Tensor, Any]:
        """Rewards [N] of arriving at ``obs`` [N, ...] by ``action`` [N, ...], and the new state."""
        raise NotImplementedError(f"{type(self).__name__} has no compute_reward()")


@configurable
class FixedRewardFunction(RewardEstimationAlgorithm):
    """Rewards by a function that is given.

    Args:
        reward_func: called with observations [N, ...] and the actions [N, ...] that led to them;
            returns rewards [N].
        name: name of the algorithm.
    """

    def __init__(
        self,
        reward_func: Callable[[Any, Any], Tensor],
        name: str = "FixedRewardFunction",
    ) -> None:
        super().__init__(name=name)
        self._reward_func = reward_func

    def train_step(self, time_step: TimeStep, state: Any = (), rollout_info: Any = None) -> AlgStep:
        return super().train_step(time_step, state, rollout_info)

    def compute_reward(self, obs: Any, action: Any, state: Any) -> tuple[Tensor, Any]:
        return self._reward_func(obs, action), state
