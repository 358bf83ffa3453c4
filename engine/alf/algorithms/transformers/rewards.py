"""Transformers of rewards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from alf._global_env import get_reward_spec
from alf.algorithms.transformers.base import SimpleDataTransformer
from alf.algorithms.transformers.observations import check_update_mode, is_update_time
from alf.config_util import configurable
from alf.data_structures import TimeStep
from alf.utils.normalizers import AdaptiveNormalizer, Normalizer

PUBLIC_MODULE = "alf.algorithms.data_transformer"  # under which these names are configured


class RewardTransformer(SimpleDataTransformer):
    """Base of transformers of the reward; can also be called with a reward itself.

    Args:
        observation_spec: nest of `TensorSpec` of observations, which stay as they are.
    """

    def __init__(self, observation_spec: Any) -> None:
        super().__init__(observation_spec)

    def _transform(self, timestep: TimeStep) -> TimeStep:
        return timestep._replace(reward=self(timestep.reward))

    def forward(self, reward: torch.Tensor) -> torch.Tensor:
        """The transformed reward, in the shape of `reward`."""
        raise NotImplementedError


@configurable
class FunctionalRewardTransformer(RewardTransformer):
    """Applies a function to the reward.

    Args:
        func: called as `func(reward)`.
        observation_spec: nest of `TensorSpec` of observations.
    """

    def __init__(self, func: Callable, observation_spec: Any = ()) -> None:
        super().__init__(observation_spec)
        self._func = func

    def forward(self, reward: torch.Tensor) -> torch.Tensor:
        return self._func(reward)


@configurable
class RewardClipping(RewardTransformer):
    """Clips rewards, each dimension of a multi-dimensional one alike.

    Args:
        observation_spec: nest of `TensorSpec` of observations.
        minmax: smallest and largest reward.
    """

    def __init__(self, observation_spec: Any = (), minmax: tuple[float, float] = (-1, 1)) -> None:
        if not minmax[0] < minmax[1]:
            raise ValueError(f"minmax has to be (smaller, larger), got {minmax}")
        super().__init__(observation_spec)
        self._minmax = minmax

    def forward(self, reward: torch.Tensor) -> torch.Tensor:
        return reward.clamp(*self._minmax)


@configurable
class RewardScaling(RewardTransformer):
    """Multiplies rewards.

    Args:
        scale: factor.
        observation_spec: nest of `TensorSpec` of observations.
    """

    def __init__(self, scale: float, observation_spec: Any = ()) -> None:
        super().__init__(observation_spec)
        self._scale = scale

    def forward(self, reward: torch.Tensor) -> torch.Tensor:
        return reward * self._scale


@configurable
class RewardShifting(RewardTransformer):
    """Adds to rewards.

    Args:
        bias: what is added.
        observation_spec: nest of `TensorSpec` of observations.
    """

    def __init__(self, bias: float, observation_spec: Any = ()) -> None:
        super().__init__(observation_spec)
        self._bias = bias

    def forward(self, reward: torch.Tensor) -> torch.Tensor:
        return reward + self._bias


@configurable
class RewardNormalizer(RewardTransformer):
    """Normalises rewards by their running mean and deviation.

    Args:
        observation_spec: nest of `TensorSpec` of observations.
        normalizer: None for an `AdaptiveNormalizer` of the rewards of the environment.
        update_max_calls: if positive, only so many first calls change the statistics.
        clip_value: if positive, results are clipped to this on both sides.
        update_mode: statistics are taken from rewards in "replay" or in "rollout".
    """

    _num_updates: torch.Tensor
    _normalizer: Normalizer

    def __init__(
        self,
        observation_spec: Any = (),
        normalizer: Normalizer | None = None,
        update_max_calls: int = 0,
        clip_value: float = -1.0,
        update_mode: str = "replay",
    ) -> None:
        check_update_mode("RewardNormalizer", update_mode, "replay", "rollout")
        super().__init__(observation_spec)
        if normalizer is None:
            normalizer = AdaptiveNormalizer(get_reward_spec(), auto_update=False)
        self._normalizer = normalizer
        self._update_max_calls = update_max_calls
        self._clip_value = clip_value
        self._update_mode = update_mode
        self.register_buffer("_num_updates", torch.zeros((), dtype=torch.int64))

    @property
    def normalizer(self) -> Normalizer:
        """What holds the statistics."""
        return self._normalizer

    @property
    def clip_value(self) -> float:
        """What results are clipped to on both sides, if positive."""
        return self._clip_value

    def forward(self, reward: torch.Tensor) -> torch.Tensor:
        if is_update_time(self._update_mode) and self._may_update():
            self._normalizer.update(reward)
        # `update_mode` says when statistics change, whatever the normalizer's `auto_update`.
        return self._normalizer.normalize_without_update(reward, self._clip_value)

    def _may_update(self) -> bool:
        if self._update_max_calls <= 0:
            return True
        self._num_updates.add_(1)
        return int(self._num_updates) <= self._update_max_calls
