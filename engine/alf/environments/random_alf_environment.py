"""An environment of random observations and rewards, for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from alf.config_util import configurable
from alf.data_structures import StepType, TimeStep
from alf.environments._vector_environment import actions_to_numpy, time_step_to_tensors
from alf.environments.alf_environment import AlfEnvironment
from alf.nest import nest
from alf.tensor_specs import BoundedTensorSpec, TensorSpec


@configurable
class RandomAlfEnvironment(AlfEnvironment):
    """Observations are drawn from their spec; episodes end at random, by termination.

    Batched if `batch_size` is given.
    """

    def __init__(
        self,
        observation_spec: Any,
        action_spec: Any,
        env_id: int | None = None,
        episode_end_probability: float = 0.1,
        discount: float = 1.0,
        reward_fn: Callable[[Any, Any, Any], Any] | None = None,
        batch_size: int | None = None,
        seed: int = 42,
        render_size: Sequence[int] = (2, 2, 3),
        min_duration: int = 0,
        max_duration: int | None = None,
        use_tensor_time_step: bool = False,
    ) -> None:
        """
        Args:
            observation_spec: where it is not bounded, values are in [-1, 1].
            episode_end_probability: for each step.
            discount: of all steps but LAST ones, which have 0.
            reward_fn: `(step_type, action, observation) -> reward`, called with arrays that have a
                batch axis; the reward is uniform in [0, 1) if it is None.
            render_size: shape of the pictures that `render()` makes.
            min_duration: no episode has fewer steps.
            max_duration: no episode has more steps.
            use_tensor_time_step: the environment is tensor based.
        """
        super().__init__()
        if max_duration is not None and max_duration < max(min_duration, 1):
            raise ValueError(f"max_duration={max_duration} is below min_duration={min_duration}")
        self._observation_spec = observation_spec
        self._action_spec = action_spec
        self._batch_size = batch_size
        self._size = batch_size or 1
        first = 0 if env_id is None else env_id
        self._env_ids = np.arange(first, first + self._size, dtype=np.int32)
        self._end_probability = episode_end_probability
        self._discount = discount
        self._reward_fn = reward_fn
        self._rng = np.random.default_rng(seed)
        self._render_size = tuple(render_size)
        self._min_duration = min_duration
        self._max_duration = np.inf if max_duration is None else max_duration
        self._tensors = use_tensor_time_step
        self._steps = np.zeros(self._size, np.int64)
        self._last = np.ones(self._size, bool)

    @property
    def batched(self) -> bool:
        return self._batch_size is not None

    @property
    def batch_size(self) -> int:
        return self._size

    @property
    def is_tensor_based(self) -> bool:
        return self._tensors

    def env_info_spec(self) -> Any:
        return {}

    def observation_spec(self) -> Any:
        return self._observation_spec

    def action_spec(self) -> Any:
        return self._action_spec

    def seed(self, seed: Any) -> None:
        self._rng = np.random.default_rng(seed)

    def render(self, mode: str = "rgb_array") -> np.ndarray:
        if mode != "rgb_array":
            raise ValueError(f"there is no render mode {mode!r}; allowed: 'rgb_array'")
        return self._rng.integers(0, 256, self._render_size, np.uint8)

    def _reset(self) -> TimeStep:
        self._last[:] = True
        zeros = nest.map_structure(lambda s: s.numpy_zeros((self._size,)), self._action_spec)
        return self._next(zeros)

    def _step(self, action: Any) -> TimeStep:
        action = actions_to_numpy(action)
        if not self.batched:
            action = nest.map_structure(lambda x: np.asarray(x)[None], action)
        return self._next(action)

    def _next(self, action: Any) -> TimeStep:
        first = self._last
        self._steps = np.where(first, 0, self._steps + 1)
        ends = self._rng.random(self._size) < self._end_probability
        ends = (ends & (self._steps >= self._min_duration)) | (self._steps >= self._max_duration)
        last = ends & ~first
        self._last = last
        step_type = np.where(first, StepType.FIRST, np.where(last, StepType.LAST, StepType.MID))
        step_type = step_type.astype(np.int32)
        observation = nest.map_structure(self._sample, self._observation_spec)
        if self._reward_fn is None:
            reward = self._rng.random(self._size)
        else:
            reward = np.asarray(self._reward_fn(step_type, action, observation))
        time_step = TimeStep(
            step_type=step_type,
            reward=np.where(first, 0, reward).astype(np.float32),
            discount=np.where(last, 0, np.where(first, 1, self._discount)).astype(np.float32),
            observation=observation,
            prev_action=nest.map_structure(lambda a: _zero_rows(a, first), action),
            env_id=self._env_ids.copy(),
            env_info={},
        )
        if not self.batched:
            time_step = nest.map_structure(lambda x: x[0], time_step)
        return time_step_to_tensors(time_step) if self._tensors else time_step

    def _sample(self, spec: TensorSpec) -> np.ndarray:
        if not spec.is_bounded():
            low = -1 if spec.is_continuous else 0
            spec = BoundedTensorSpec(spec.shape, spec.dtype, minimum=low, maximum=1)
        return spec.numpy_sample((self._size,), rng=self._rng)


def _zero_rows(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.where(rows.reshape(-1, *[1] * (array.ndim - 1)), 0, array).astype(array.dtype)
