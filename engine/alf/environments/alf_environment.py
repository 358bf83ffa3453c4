"""What ALF expects of an environment."""

from __future__ import annotations

import abc
from typing import Any

from alf.data_structures import TimeStep, time_step_spec
from alf.tensor_specs import TensorSpec


class AlfEnvironment(abc.ABC):
    """An environment which says where it stands with `TimeStep`s.

    It is batched (every array has a leading axis B) or not, and it speaks in numpy arrays or in
    torch tensors. Resets are automatic: the step after a LAST one ignores its action and returns
    the FIRST step of the next episode. The observation of a LAST step is the true final one; its
    discount is 0 where the episode terminated and not 0 where it was cut off.

    A subclass defines the three spec methods, `_reset()` and `_step()`.
    """

    def __init__(self) -> None:
        self._current_time_step: TimeStep | None = None

    @property
    def num_tasks(self) -> int:
        """Number of tasks between which the environment can choose."""
        return 1

    @property
    def task_names(self) -> list[str]:
        """One name for each task."""
        return [str(i) for i in range(self.num_tasks)]

    @property
    def batched(self) -> bool:
        """Whether time steps and actions have a batch axis."""
        return False

    @property
    def batch_size(self) -> int:
        """Number of environments; an environment that is not batched has 1."""
        if self.batched:
            raise NotImplementedError(f"{type(self).__name__} is batched: define batch_size")
        return 1

    @property
    def is_tensor_based(self) -> bool:
        """Whether time steps and actions are torch tensors, not numpy arrays."""
        return False

    @abc.abstractmethod
    def env_info_spec(self) -> Any:
        """Specs of `TimeStep.env_info`: a nest, without batch axis."""

    @abc.abstractmethod
    def observation_spec(self) -> Any:
        """Specs of the observation: a nest, without batch axis."""

    @abc.abstractmethod
    def action_spec(self) -> Any:
        """Specs of the action: a nest, without batch axis."""

    def reward_spec(self) -> TensorSpec:
        """Spec of the reward, without batch axis."""
        return TensorSpec(())

    def time_step_spec(self) -> TimeStep:
        """Specs of a time step, without batch axis and without `env_info`."""
        return time_step_spec(self.observation_spec(), self.action_spec(), self.reward_spec())

    def current_time_step(self) -> TimeStep:
        """The time step returned last; `reset()` if there was none yet."""
        if self._current_time_step is None:
            return self.reset()
        return self._current_time_step

    def reset(self) -> TimeStep:
        """Start a new episode everywhere and return its FIRST step."""
        self._current_time_step = self._reset()
        return self._current_time_step

    def step(self, action: Any) -> TimeStep:
        """Apply `action`; where the current step is LAST, start a new episode instead."""
        if self._current_time_step is None:
            return self.reset()
        self._current_time_step = self._step(action)
        return self._current_time_step

    def close(self) -> None:  # noqa: B027 (most have nothing to free)
        """Free what the environment holds. It cannot be used any more."""

    def render(self, mode: str = "rgb_array") -> Any:
        """A picture `[H, W, 3]` uint8 for "rgb_array"; a window and None for "human"."""
        raise NotImplementedError(f"{type(self).__name__} cannot render")

    def seed(self, seed: Any) -> Any:
        """Seed the random numbers, from the next reset on. A batched one takes a list of seeds."""
        raise NotImplementedError(f"{type(self).__name__} cannot be seeded")

    def get_info(self) -> Any:
        """What the environment says beyond its last time step."""
        raise NotImplementedError(f"{type(self).__name__} has no info")

    def sync_progress(self) -> None:  # noqa: B027 (most run in this process)
        """Bring the progress that schedulers follow to processes this environment runs in."""

    @abc.abstractmethod
    def _reset(self) -> TimeStep:
        """The FIRST step of a new episode."""

    @abc.abstractmethod
    def _step(self, action: Any) -> TimeStep:
        """The step after `action`."""

    def __enter__(self) -> AlfEnvironment:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
