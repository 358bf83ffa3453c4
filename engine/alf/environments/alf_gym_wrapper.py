"""One gymnasium environment as an ALF environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from absl import logging

from alf.config_util import configurable
from alf.data_structures import StepType, TimeStep
from alf.environments._from_gym import (
    info_array,
    info_converter,
    observation_converter,
    reward_converter,
)
from alf.environments._space_specs import IndexSpec, NumberSpec
from alf.environments.alf_environment import AlfEnvironment
from alf.nest import nest
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

if TYPE_CHECKING:
    import gymnasium

# A continuous action may leave its bounds by this much, for rounding.
ACTION_TOLERANCE = 1e-4

_FIRST, _MID, _LAST = map(np.int32, (StepType.FIRST, StepType.MID, StepType.LAST))
_ZERO, _ONE = np.float32(0), np.float32(1)


def tensor_spec_from_gym_space(
    space: gymnasium.Space, simplify_box_bounds: bool = True, float_dtype: Any = np.float32
) -> Any:
    """The nest of specs for a gymnasium space.

    Args:
        simplify_box_bounds: bounds which are the same for all components become scalars.
        float_dtype: dtype of continuous values, whatever the space says; None: what it says.
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete):
        low = int(space.start)
        return BoundedTensorSpec((), torch.int64, minimum=low, maximum=low + int(space.n) - 1)
    if isinstance(space, spaces.MultiDiscrete):
        low = np.asarray(space.start, np.int64)
        high = low + np.asarray(space.nvec, np.int64) - 1
        if low.size and (low == low.flat[0]).all():
            low = low.flat[0]
        return IndexSpec(space.shape, torch.int64, low, high)
    if isinstance(space, spaces.MultiBinary):
        return BoundedTensorSpec(space.shape, torch.int8, minimum=0, maximum=1)
    if isinstance(space, spaces.Box):
        is_converted = float_dtype is not None and np.issubdtype(space.dtype, np.floating)
        dtype = np.dtype(float_dtype if is_converted else space.dtype)
        with np.errstate(over="ignore"):
            low, high = space.low.astype(dtype), space.high.astype(dtype)
        low, high = _simplified(low, high, simplify_box_bounds)
        # Without axes an integer would be taken for an index.
        spec = NumberSpec if not space.shape and dtype.kind in "iu" else BoundedTensorSpec
        return spec(space.shape, getattr(torch, dtype.name), low, high)
    if isinstance(space, spaces.Tuple):
        return tuple(
            tensor_spec_from_gym_space(s, simplify_box_bounds, float_dtype) for s in space.spaces
        )
    if isinstance(space, spaces.Dict):
        return {
            key: tensor_spec_from_gym_space(s, simplify_box_bounds, float_dtype)
            for key, s in space.spaces.items()
        }
    raise ValueError(
        f"the gymnasium space {space} is not supported; allowed are Box, Discrete, "
        "MultiDiscrete, MultiBinary, and Dict and Tuple of them"
    )


def _simplified(low: np.ndarray, high: np.ndarray, simplify: bool) -> tuple[Any, Any]:
    if simplify and low.size and (low == low.flat[0]).all() and (high == high.flat[0]).all():
        return low.flat[0], high.flat[0]
    return low, high


@configurable
class AlfGymWrapper(AlfEnvironment):
    """One gymnasium environment as an ALF environment: numpy based, not batched.

    The discount of a LAST step is 0 exactly where gymnasium says `terminated`; where it says only
    `truncated` it is `discount`. `env_info` has the numeric entries of gymnasium's info that the
    first step after a reset has; where a later step lacks one, or at FIRST, it is 0. Numbers are
    float32, arrays keep their dtype. What does not belong to the environment's spaces is an error.
    """

    def __init__(
        self,
        gym_env: gymnasium.Env,
        env_id: int | None = None,
        discount: float = 1.0,
        auto_reset: bool = True,
        simplify_box_bounds: bool = True,
        check_actions: bool = True,
    ) -> None:
        """
        Args:
            gym_env: its observations must not be written to by the receiver.
            env_id: reported with each time step; 0 if None.
            discount: of all steps but terminating ones.
            auto_reset: reset in the step after a LAST one. Without it, that step is an error.
            simplify_box_bounds: bounds which are the same for all components become scalars.
            check_actions: refuse continuous actions outside their bounds, if nothing clips them.
        """
        super().__init__()
        self._gym_env = gym_env
        self._auto_reset = auto_reset
        self._env_id = np.int32(0 if env_id is None else env_id)
        self._discount = np.float32(discount)
        self._observation_spec = tensor_spec_from_gym_space(
            gym_env.observation_space, simplify_box_bounds
        )
        self._action_spec = tensor_spec_from_gym_space(gym_env.action_space, simplify_box_bounds)
        self._reward_spec = _reward_spec(gym_env)
        scalar = self._reward_spec.shape == ()
        self._zero_reward = _ZERO if scalar else self._reward_spec.numpy_zeros()
        self._to_reward = reward_converter(self._reward_spec, gym_env)
        self._zero_action = nest.map_structure(lambda s: s.numpy_zeros(), self._action_spec)
        self._to_observation = observation_converter(
            gym_env.observation_space, self._observation_spec, gym_env
        )
        self._to_gym_action = _gym_action_converter(gym_env.action_space)
        self._check_action = _action_checker(self._action_spec, gym_env, check_actions)
        self._done = True
        self._seed: int | None = None
        self._gym_info: dict[str, Any] | None = None
        self._ignored_keys: set[str] = set()
        self._env_info_spec, self._zero_info, self._to_info = self._probe_info()

    @property
    def gym(self) -> gymnasium.Env:
        """The gymnasium environment."""
        return self._gym_env

    @property
    def done(self) -> bool:
        """Whether the last step ended an episode, or there was none yet."""
        return self._done

    @property
    def is_tensor_based(self) -> bool:
        return False

    def get_info(self) -> dict[str, Any] | None:
        """Gymnasium's info of the last step or reset; None before the first one."""
        return self._gym_info

    def env_info_spec(self) -> Any:
        return self._env_info_spec

    def observation_spec(self) -> Any:
        return self._observation_spec

    def action_spec(self) -> Any:
        return self._action_spec

    def reward_spec(self) -> TensorSpec:
        return self._reward_spec

    def seed(self, seed: int) -> None:
        self._seed = int(seed)
        # the next step must not continue an episode begun with other random numbers
        self._done = True
        self._current_time_step = None

    def close(self) -> None:
        self._gym_env.close()

    def render(self, mode: str = "rgb_array") -> Any:
        inner = self._gym_env.unwrapped
        if inner.render_mode != mode:
            modes = inner.metadata.get("render_modes", [])
            if mode not in modes:
                raise ValueError(f"{inner} has no render mode {mode!r}; it has {modes}")
            inner.render_mode = mode
        if self._current_time_step is None:
            self.reset()
        return self._gym_env.render()

    def _reset(self) -> TimeStep:
        observation, self._gym_info = self._gym_env.reset(seed=self._seed)
        self._seed = None
        self._done = False
        return TimeStep(
            _FIRST,
            self._zero_reward,
            _ONE,
            self._to_observation(observation),
            self._zero_action,
            self._env_id,
            (),
            self._zero_info,
        )

    def _step(self, action: Any) -> TimeStep:
        if self._done:
            if self._auto_reset:
                return self._reset()
            raise ValueError("the episode has ended and auto_reset is off: call reset()")
        self._check_action(action)
        observation, reward, terminated, truncated, info = self._gym_env.step(
            self._to_gym_action(action)
        )
        self._gym_info = info
        self._done = bool(terminated or truncated)
        return TimeStep(
            _LAST if self._done else _MID,
            self._to_reward(reward),
            _ZERO if terminated else self._discount,
            self._to_observation(observation),
            action,
            self._env_id,
            (),
            self._env_info(info) if info else self._zero_info,
        )

    def _env_info(self, info: dict[str, Any]) -> dict[str, Any]:
        for key in info.keys() - self._to_info.keys() - self._ignored_keys:
            self._ignored_keys.add(key)
            if key != "TimeLimit.truncated":
                logging.warning(
                    "env_info: %r is left out because the first step after a reset had no such "
                    "number; it had %s",
                    key,
                    sorted(self._to_info),
                )
        return {
            key: convert(info[key]) if key in info else self._zero_info[key]
            for key, convert in self._to_info.items()
        }

    def _probe_info(self) -> tuple[dict[str, TensorSpec], dict[str, np.ndarray], dict[str, Any]]:
        """Make one step to see what info there is: its specs, its zeros and its converters."""
        self._gym_env.reset()
        info = self._gym_env.step(self._to_gym_action(_middle_action(self._action_spec)))[-1]
        example = {}
        for key, value in info.items():
            array = info_array(value)
            if array is None or key == "TimeLimit.truncated":
                self._ignored_keys.add(key)
            else:
                example[key] = array
        specs = {key: TensorSpec.from_array(array) for key, array in example.items()}
        zeros = {key: np.zeros_like(array) for key, array in example.items()}
        converters = {
            key: info_converter(array, key, self._gym_env) for key, array in example.items()
        }
        return specs, zeros, converters


def _reward_spec(gym_env: gymnasium.Env) -> TensorSpec:
    """Scalar, unless the environment (or one it wraps) has a `reward_space`."""
    env = gym_env
    while True:
        space = getattr(env, "reward_space", None)
        if space is not None:
            return TensorSpec(space.shape)
        if env is env.unwrapped:
            return TensorSpec(())
        env = env.env


def _middle_action(action_spec: Any) -> Any:
    """0 where that is an allowed action, else the allowed one next to it."""

    def leaf(spec: TensorSpec) -> np.ndarray:
        zeros = spec.numpy_zeros()
        return np.clip(zeros, spec.minimum, spec.maximum).astype(zeros.dtype)

    return nest.map_structure(leaf, action_spec)


def _gym_action_converter(space: gymnasium.Space) -> Callable[[Any], Any]:
    """Function which turns a nest of arrays into an action of `space`."""
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete):
        return int
    if isinstance(space, spaces.Dict):
        items = [(key, _gym_action_converter(s)) for key, s in space.spaces.items()]
        return lambda x: {key: convert(x[key]) for key, convert in items}
    if isinstance(space, spaces.Tuple):
        converters = [_gym_action_converter(s) for s in space.spaces]
        return lambda x: tuple(convert(v) for convert, v in zip(converters, x, strict=True))
    dtype = space.dtype
    return lambda x: np.asarray(x, dtype)


def _action_checker(
    action_spec: Any, gym_env: gymnasium.Env, check_bounds: bool
) -> Callable[[Any], None]:
    """Function which raises a ValueError for actions that are NaN or outside bounds that matter."""
    from alf.environments.gym_wrappers import clips_actions

    clipped = clips_actions(gym_env) or not check_bounds
    specs = nest.flatten(action_spec)
    checks = [_leaf_checker(spec, clipped, gym_env) for spec in specs]
    if isinstance(action_spec, TensorSpec):
        return checks[0]

    def check(action: Any) -> None:
        for check_leaf, leaf in zip(checks, nest.flatten(action), strict=True):
            check_leaf(leaf)

    return check


def _leaf_checker(
    spec: BoundedTensorSpec, clipped: bool, gym_env: gymnasium.Env
) -> Callable[[np.ndarray], None]:
    tolerance = 0 if spec.is_discrete else ACTION_TOLERANCE
    low, high = spec.minimum - tolerance, spec.maximum + tolerance

    def refuse(action: np.ndarray) -> None:
        raise ValueError(
            f"the action {action} is outside its bounds: {gym_env} "
            f"allows {spec.minimum} to {spec.maximum}"
        )

    def check(action: np.ndarray) -> None:
        if not ((action >= low) & (action <= high)).all():
            refuse(action)

    def check_clipped(action: np.ndarray) -> None:
        # Infinity is clipped, NaN is not. The sum of squares is NaN where one of them is, and found
        # in a quarter of the time that comparing them takes.
        squares = np.vdot(action, action)
        if squares != squares:
            refuse(action)

    return check_clipped if clipped and not spec.is_discrete else check
