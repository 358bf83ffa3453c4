"""Wrappers of ALF environments which change rewards, actions, observations or episode ends."""

from __future__ import annotations

import cProfile
import pstats
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from alf.config_util import configurable
from alf.data_structures import StepType, TimeStep, time_step_spec
from alf.environments.alf_environment import AlfEnvironment
from alf.nest import nest
from alf.tensor_specs import TensorSpec
from alf.utils.seeds import wrapper_generator

PUBLIC_MODULE = "alf.environments.alf_wrappers"  # under which these names are configured

_LAST = np.int32(StepType.LAST)


class AlfEnvironmentBaseWrapper(AlfEnvironment):
    """Passes everything on to the environment it wraps. Its subclasses change some of it."""

    def __init__(self, env: AlfEnvironment) -> None:
        super().__init__()
        self._env = env

    def __getattr__(self, name: str) -> Any:
        """What only the wrapped environment has, e.g. `gym`."""
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._env, name)

    @property
    def num_tasks(self) -> int:
        return self._env.num_tasks

    @property
    def task_names(self) -> list[str]:
        return self._env.task_names

    @property
    def batched(self) -> bool:
        return self._env.batched

    @property
    def batch_size(self) -> int:
        return self._env.batch_size

    @property
    def is_tensor_based(self) -> bool:
        return self._env.is_tensor_based

    def get_info(self) -> Any:
        return self._env.get_info()

    def env_info_spec(self) -> Any:
        return self._env.env_info_spec()

    def observation_spec(self) -> Any:
        return self._env.observation_spec()

    def action_spec(self) -> Any:
        return self._env.action_spec()

    def reward_spec(self) -> TensorSpec:
        return self._env.reward_spec()

    def time_step_spec(self) -> TimeStep:
        return time_step_spec(self.observation_spec(), self.action_spec(), self.reward_spec())

    def close(self) -> None:
        self._env.close()

    def render(self, mode: str = "rgb_array") -> Any:
        return self._env.render(mode)

    def seed(self, seed: Any) -> Any:
        self._current_time_step = None
        return self._env.seed(seed)

    def sync_progress(self) -> None:
        self._env.sync_progress()

    def wrapped_env(self) -> AlfEnvironment:
        """The environment inside this wrapper."""
        return self._env

    def _reset(self) -> TimeStep:
        return self._env.reset()

    def _step(self, action: Any) -> TimeStep:
        return self._env.step(action)


def needs_single(env: AlfEnvironment, wrapper: AlfEnvironmentBaseWrapper) -> None:
    if env.batched or env.is_tensor_based:
        raise ValueError(
            f"{type(wrapper).__name__} wraps numpy based environments which are not batched; {env} "
            f"has batched={env.batched}, is_tensor_based={env.is_tensor_based}"
        )


def _last_like(step_type: Any) -> Any:
    """LAST in the form of `step_type`: a number, or an array or tensor of one row."""
    if isinstance(step_type, torch.Tensor):
        return torch.full_like(step_type, StepType.LAST)
    return np.full_like(step_type, StepType.LAST)[()]


@configurable
class TimeLimit(AlfEnvironmentBaseWrapper):
    """Cuts episodes off after `duration` steps; their discount stays what the environment says.

    Of batched environments it takes those with one row: a row cannot be reset by itself.
    """

    def __init__(self, env: AlfEnvironment, duration: int) -> None:
        super().__init__(env)
        if env.batch_size != 1:
            raise ValueError(
                f"TimeLimit wraps single environments and batches of one; {env} has "
                f"batch_size={env.batch_size}"
            )
        self._duration = duration
        self._num_steps = 0

    @property
    def duration(self) -> int:
        """The largest number of steps of an episode."""
        return self._duration

    def _reset(self) -> TimeStep:
        self._num_steps = 0
        return self._env.reset()

    def _step(self, action: Any) -> TimeStep:
        if self._current_time_step.step_type == StepType.LAST:
            return self._reset()
        time_step = self._env.step(action)
        self._num_steps += 1
        if self._num_steps >= self._duration:
            time_step = time_step._replace(step_type=_last_like(time_step.step_type))
        return time_step


@configurable
class RandomFirstEpisodeLength(AlfEnvironmentBaseWrapper):
    """Cuts each of the first `num_episodes` episodes off after a random number of steps.

    Environments which run in parallel then do not all end their episodes at the same time.
    """

    def __init__(
        self, env: AlfEnvironment, random_length_range: int, num_episodes: int = 1
    ) -> None:
        """
        Args:
            random_length_range: lengths are drawn from 1 to this number.
        """
        super().__init__(env)
        needs_single(env, self)
        self._range = random_length_range
        self._episodes_left = num_episodes
        self._rng = np.random.default_rng(random.getrandbits(32))
        self._steps_left = 0

    def seed(self, seed: int) -> Any:
        self._rng = wrapper_generator(seed, self)
        return super().seed(seed)

    def _reset(self) -> TimeStep:
        self._steps_left = 0
        if self._episodes_left > 0:
            self._episodes_left -= 1
            self._steps_left = int(self._rng.integers(1, self._range + 1))
        return self._env.reset()

    def _step(self, action: Any) -> TimeStep:
        if self._current_time_step.step_type == StepType.LAST:
            return self._reset()
        time_step = self._env.step(action)
        self._steps_left -= 1
        return time_step._replace(step_type=_LAST) if self._steps_left == 0 else time_step


@configurable
class NonEpisodicAgent(AlfEnvironmentBaseWrapper):
    """Gives LAST steps `discount`, so that values are bootstrapped across episode ends."""

    def __init__(self, env: AlfEnvironment, discount: float = 1.0) -> None:
        super().__init__(env)
        self._discount = discount

    def _step(self, action: Any) -> TimeStep:
        time_step = self._env.step(action)
        where = torch.where if isinstance(time_step.discount, torch.Tensor) else np.where
        discount = where(time_step.is_last(), self._discount, time_step.discount)
        discount = discount.to(torch.float32) if where is torch.where else np.float32(discount)
        return time_step._replace(discount=discount)


@configurable
class ScalarRewardWrapper(AlfEnvironmentBaseWrapper):
    """Replaces a reward vector by its weighted sum; without weights by its first component."""

    def __init__(self, env: AlfEnvironment, reward_weights: Sequence[float] | None = None) -> None:
        super().__init__(env)
        spec = env.reward_spec()
        if spec.ndim != 1:
            raise ValueError(f"ScalarRewardWrapper needs a reward vector; reward_spec is {spec}")
        first_only = np.eye(1, spec.numel)[0]
        weights = first_only if reward_weights is None else np.asarray(reward_weights)
        if weights.shape != tuple(spec.shape):
            raise ValueError(
                f"reward_weights has shape {weights.shape}; rewards have {tuple(spec.shape)}"
            )
        self._weights = weights.astype(np.float32)

    def reward_spec(self) -> TensorSpec:
        return TensorSpec(())

    def _scalar(self, time_step: TimeStep) -> TimeStep:
        reward = time_step.reward
        if isinstance(reward, torch.Tensor):
            reward = reward @ torch.as_tensor(self._weights, device=reward.device)
        else:
            reward = np.float32(reward @ self._weights)
        return time_step._replace(reward=reward)

    def _reset(self) -> TimeStep:
        return self._scalar(self._env.reset())

    def _step(self, action: Any) -> TimeStep:
        return self._scalar(self._env.step(action))


@configurable
class ActionObservationWrapper(AlfEnvironmentBaseWrapper):
    """Makes the observation `dict(observation=..., prev_action=...)`."""

    def observation_spec(self) -> Any:
        return {
            "observation": self._env.observation_spec(),
            "prev_action": self._env.action_spec(),
        }

    def _extended(self, time_step: TimeStep) -> TimeStep:
        return time_step._replace(
            observation={
                "observation": time_step.observation,
                "prev_action": time_step.prev_action,
            }
        )

    def _reset(self) -> TimeStep:
        return self._extended(self._env.reset())

    def _step(self, action: Any) -> TimeStep:
        return self._extended(self._env.step(action))


@configurable
class PerformanceProfiler(AlfEnvironmentBaseWrapper):
    """Profiles the steps of an environment and reports every `process_steps` of them."""

    def __init__(
        self,
        env: AlfEnvironment,
        process_profile_fn: Callable[[pstats.Stats], None],
        process_steps: int,
    ) -> None:
        """
        Args:
            process_profile_fn: is given the statistics of all steps so far.
        """
        super().__init__(env)
        self._process = process_profile_fn
        self._process_steps = process_steps
        self._profile = cProfile.Profile()
        self._num_steps = 0
        self._duration = 0.0

    @property
    def duration(self) -> float:
        """Seconds spent in steps."""
        return self._duration

    def _step(self, action: Any) -> TimeStep:
        start = time.perf_counter()
        self._profile.enable()
        time_step = self._env.step(action)
        self._profile.disable()
        self._duration += time.perf_counter() - start
        self._num_steps += 1
        if self._num_steps % self._process_steps == 0:
            self._process(pstats.Stats(self._profile))
        return time_step


@configurable
class AtariTerminalOnLifeLossWrapper(AlfEnvironmentBaseWrapper):
    """Ends the episode, with discount 0, whenever a life is lost in an Atari game.

    The game itself goes on: it is reset only when it is over.
    """

    def __init__(self, env: AlfEnvironment) -> None:
        super().__init__(env)
        needs_single(env, self)
        self._ale = getattr(env.gym.unwrapped, "ale", None)
        if self._ale is None:
            raise ValueError(f"AtariTerminalOnLifeLossWrapper needs an Atari game; got {env}")
        self._lives = 0
        self._lost_life = False

    def _reset(self) -> TimeStep:
        time_step = self._env.reset()
        self._lives, self._lost_life = self._ale.lives(), False
        return time_step

    def _step(self, action: Any) -> TimeStep:
        if self._lost_life:
            self._lost_life = False
            spec = self._env.reward_spec()
            zeros = nest.map_structure(np.zeros_like, self._current_time_step.prev_action)
            return self._current_time_step._replace(
                step_type=np.int32(StepType.FIRST),
                reward=np.float32(0) if spec.ndim == 0 else spec.numpy_zeros(),
                discount=np.float32(1),
                prev_action=zeros,
                env_info=nest.map_structure(np.zeros_like, self._current_time_step.env_info),
            )
        time_step = self._env.step(action)
        if time_step.step_type == StepType.FIRST:
            self._lives = self._ale.lives()
            return time_step
        lives, before = self._ale.lives(), self._lives
        self._lives = lives
        if lives < before and time_step.step_type == StepType.MID:
            self._lost_life = True
            return time_step._replace(step_type=_LAST, discount=np.float32(0))
        return time_step
