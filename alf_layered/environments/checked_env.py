"""What a gymnasium environment returns, compared with its spaces before a batch is made of it.

A vector environment writes observations and infos into arrays of its own. There an image whose
axes are in another order would be reshaped, and a fraction be cut off where a whole number came
first.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

_NUMBERS = (bool, int, float, np.number, np.bool_)


class CheckedEnv(gymnasium.Wrapper):
    """Refuses observations that do not belong to the space; numbers in infos are floats.

    What is compared: keys, lengths, shapes, whether the space's dtype can hold the numbers, and
    whether indices are in range. Not whether continuous values are inside their bounds: many
    environments leave theirs a little.
    """

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        observation, info = self.env.reset(seed=seed, options=options)
        _check(self.env.observation_space, observation, self.env, "")
        return observation, _with_floats(info)

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        _check(self.env.observation_space, observation, self.env, "")
        if not isinstance(reward, _NUMBERS):
            reward = _number(reward, self.env)
        return observation, reward, terminated, truncated, _with_floats(info)


def check_batch_shape(space: spaces.Space, array: np.ndarray, env: Any) -> None:
    """Complains of a batch `[B, ...]` of a part of the observation, from any vector environment.

    Raises:
        ValueError: its rows have not the shape that `space` has.
    """
    if array.shape[1:] != space.shape:
        raise ValueError(
            f"an observation of {env} is a batch of shape {array.shape}; its space says {space}, "
            f"so that a batch has the shape (B, {', '.join(map(str, space.shape or ()))})"
        )


def _with_floats(info: dict[str, Any]) -> dict[str, Any]:
    return {key: _as_float(value) for key, value in info.items()}


def _as_float(value: Any) -> Any:
    """A number, or an array without axes that holds one, as a float; all else as it is."""
    if isinstance(value, _NUMBERS):
        return float(value)
    is_number = isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "biuf"
    return float(value) if is_number else value


def _number(reward: Any, env: Any) -> float:
    array = np.asarray(reward)
    if array.size != 1 or array.dtype.kind not in "biuf":
        raise ValueError(f"the reward of {env} is {_shown(reward)}; it must be a number")
    return float(array.reshape(()))


def _check(space: spaces.Space, value: Any, env: Any, field: str) -> None:
    if isinstance(space, spaces.Dict):
        if not hasattr(value, "keys") or set(value.keys()) != set(space.spaces):
            _refuse(value, f"a dict with the keys {sorted(space.spaces)}", env, field)
        for key, part in space.spaces.items():
            _check(part, value[key], env, f"{field}.{key}" if field else key)
    elif isinstance(space, spaces.Tuple):
        if not isinstance(value, tuple | list) or len(value) != len(space.spaces):
            _refuse(value, f"a tuple of {len(space.spaces)}", env, field)
        for i, part in enumerate(space.spaces):
            _check(part, value[i], env, f"{field}[{i}]")
    elif isinstance(space, spaces.Box | spaces.MultiBinary | spaces.MultiDiscrete):
        array = np.asarray(value)
        if array.shape != space.shape or not _holds(space.dtype, array):
            _refuse(value, space, env, field)
        if not isinstance(space, spaces.Box) and not space.contains(array.astype(space.dtype)):
            _refuse(value, space, env, field)
    elif isinstance(space, spaces.Discrete):
        array = np.asarray(value)
        fits = array.shape == () and array.dtype.kind in "biuf" and bool(np.isfinite(array))
        if not (fits and array == int(array) and 0 <= int(array) - space.start < space.n):
            _refuse(value, space, env, field)


def _holds(dtype: Any, array: np.ndarray) -> bool:
    """Whether the numbers of `array` survive in `dtype`, but for the rounding of fractions."""
    if array.dtype == dtype:
        return True
    if array.dtype.kind not in "biuf":
        return False
    if np.dtype(dtype).kind == "f":
        return True
    with np.errstate(invalid="ignore"):
        return bool((array.astype(dtype) == array).all())


def _refuse(value: Any, allowed: Any, env: Any, field: str) -> None:
    where = f"observation {field!r}" if field else "observation"
    raise ValueError(f"the {where} of {env} is {_shown(value)}; its space says {_short(allowed)}")


def _shown(value: Any) -> str:
    if hasattr(value, "keys"):
        return f"a {type(value).__name__} with the keys {sorted(map(str, value.keys()))}"
    if isinstance(value, np.ndarray):
        numbers = f" {value.tolist()}" if value.size <= 4 else ""
        return f"an array of shape {value.shape} and dtype {value.dtype}{numbers}"
    return f"{_short(value)} ({type(value).__name__})"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
