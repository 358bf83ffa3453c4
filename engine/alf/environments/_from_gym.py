"""What a gymnasium environment returns, compared with its spaces and turned into arrays.

The comparison happens once per step, here, where the numbers come in: behind it an image whose axes
are in another order would be reshaped, a fraction cut off, a number out of range an obscure error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from alf.tensor_specs import TensorSpec

if TYPE_CHECKING:
    import gymnasium

Converter = Callable[[Any], Any]

_NUMBERS = (float, int, np.number, np.bool_)


def observation_converter(
    space: gymnasium.Space, spec: Any, env: Any, field: str = ""
) -> Converter:
    """Function which turns an observation into arrays with shapes and dtypes of `spec`.

    Args:
        space: what the environment says that it observes.
        spec: the nest of specs for it.
        env: named in errors.
        field: path of this part of the observation, named in errors.

    The function raises a ValueError for a value that does not belong to the space: another
    structure or shape, a number which the dtype cannot hold, an index out of range. That a
    continuous value lies in its bounds is not looked at: many environments leave theirs a little.
    """
    if isinstance(spec, TensorSpec):
        return _leaf_converter(space, spec, env, field)
    if isinstance(spec, dict):
        return _dict_converter(space, spec, env, field)
    parts = [
        observation_converter(s, part, env, f"{field}[{i}]")
        for i, (s, part) in enumerate(zip(space.spaces, spec, strict=True))
    ]

    def convert_tuple(values: Any) -> tuple:
        if not isinstance(values, tuple | list) or len(values) != len(parts):
            _refuse(values, f"a tuple of {len(parts)}", env, field)
        return tuple([convert(value) for convert, value in zip(parts, values, strict=True)])

    return convert_tuple


def reward_converter(spec: TensorSpec, env: Any) -> Converter:
    """Function which turns a reward into float32 of the spec's shape."""
    shape = tuple(spec.shape)

    def convert(reward: Any) -> Any:
        array = np.asarray(reward)
        if array.shape != shape or array.dtype.kind not in "biuf":
            what = "a number" if shape == () else f"numbers of shape {shape}"
            raise ValueError(f"the reward of {env} is {_shown(reward)}; it must be {what}")
        return array.astype(np.float32)

    def convert_number(reward: Any) -> Any:
        if isinstance(reward, _NUMBERS):
            return np.float32(reward)
        return np.float32(convert(reward))

    return convert_number if shape == () else convert


def info_array(value: Any) -> np.ndarray | None:
    """An entry of info as an array that torch can hold; None if it is no number.

    A number is a float: a count may be whole at first and a fraction later.
    """
    if isinstance(value, torch.Tensor):
        value = value.numpy(force=True)
    if isinstance(value, _NUMBERS) and not isinstance(value, bool | np.bool_):
        return np.asarray(value, np.float32)
    if not isinstance(value, bool | np.bool_ | np.ndarray):
        return None
    array = np.asarray(value)
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    try:
        TensorSpec.from_array(array)
    except ValueError:
        return None
    return array


def info_converter(example: np.ndarray, key: str, env: Any) -> Converter:
    """Function which turns later values of an entry of info into arrays like `example`.

    It raises a ValueError for another shape, and for a number which the dtype cannot hold.
    """
    dtype, shape = example.dtype, example.shape
    is_number = dtype == np.float32 and shape == ()

    def convert(value: Any) -> np.ndarray:
        if is_number and isinstance(value, _NUMBERS):
            return np.asarray(value, np.float32)
        array = info_array(value)
        if array is None or array.shape != shape or not _holds(dtype, array):
            raise ValueError(
                f"env_info[{key!r}] of {env} is {_shown(value)}; at the first step it had dtype "
                f"{dtype} and shape {shape}, which later values must fit"
            )
        return array if array.dtype == dtype else array.astype(dtype)

    return convert


def _dict_converter(space: gymnasium.Space, spec: dict, env: Any, field: str) -> Converter:
    prefix = f"{field}." if field else ""
    items = [
        (key, observation_converter(space.spaces[key], part, env, f"{prefix}{key}"))
        for key, part in spec.items()
    ]
    keys = set(spec)

    def convert(values: Any) -> dict:
        # items come in another order, or not as a dict, in some environments
        if not hasattr(values, "keys") or set(values.keys()) != keys:
            _refuse(values, f"a dict with the keys {sorted(keys)}", env, field)
        return {key: convert(values[key]) for key, convert in items}

    return convert


def _leaf_converter(space: gymnasium.Space, spec: TensorSpec, env: Any, field: str) -> Converter:
    from gymnasium import spaces

    dtype, shape = np.dtype(spec.dtype_str), tuple(spec.shape)
    is_index = isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary)
    low = high = np.zeros(())
    if is_index:
        low, high = np.asarray(spec.minimum), np.asarray(spec.maximum)  # type: ignore[attr-defined]

    def convert(value: Any) -> np.ndarray:
        array = np.asarray(value)
        if array.shape != shape:
            _refuse(value, space, env, field)
        if array.dtype != dtype:
            if not _holds(dtype, array):
                _refuse(value, space, env, field)
            array = array.astype(dtype)
        if is_index and not ((array >= low) & (array <= high)).all():
            _refuse(value, space, env, field)
        return array

    return convert


def _holds(dtype: np.dtype, array: np.ndarray) -> bool:
    """Whether the numbers of `array` survive in `dtype`, but for the rounding of fractions."""
    if array.dtype == dtype:
        return True
    if array.dtype.kind not in "biuf":
        return False
    if dtype.kind == "f" or np.can_cast(array.dtype, dtype, "safe"):
        return True
    with np.errstate(invalid="ignore"):
        return bool((array.astype(dtype) == array).all())


def _refuse(value: Any, allowed: Any, env: Any, field: str) -> None:
    where = f"observation {field!r}" if field else "observation"
    raise ValueError(f"the {where} of {env} is {_shown(value)}; its space says {_short(allowed)}")


def _shown(value: Any) -> str:
    """A value by its type, shape, dtype and, if it is small, itself."""
    if hasattr(value, "keys"):
        return f"a {type(value).__name__} with the keys {sorted(map(str, value.keys()))}"
    if isinstance(value, np.ndarray):
        numbers = f" {value.tolist()}" if value.size <= 4 else ""
        return f"an array of shape {value.shape} and dtype {value.dtype}{numbers}"
    return f"{_short(value)} ({type(value).__name__})"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
