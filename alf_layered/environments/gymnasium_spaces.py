"""Gymnasium's spaces as ALF's specs, its batches as tensors, and ALF's actions as its arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered.environments.batched_environment import Limits
from alf_layered.environments.checked_env import check_batch_shape

_KEPT_DTYPES = {"uint8", "int8", "int16", "int32", "int64"}


class IndicesSpec(BoundedTensorSpec):
    """Integers of which each is an index, as in a MultiDiscrete space of gymnasium.

    A `BoundedTensorSpec` of integers with axes may as well be of numbers, as those of an image.
    """

    are_indices = True

    def __reduce__(self) -> tuple[Any, ...]:
        return IndicesSpec, (tuple(self.shape), self.dtype, self.minimum, self.maximum)


def map_space(leaf: Callable[..., Any], space: spaces.Space, *values: Any) -> Any:
    """Applies `leaf(space, *values)` at the leaves of Dict and Tuple spaces, nested as they are."""
    if isinstance(space, spaces.Dict):
        return {
            key: map_space(leaf, inner, *(value[key] for value in values))
            for key, inner in space.spaces.items()
        }
    if isinstance(space, spaces.Tuple):
        return tuple(
            map_space(leaf, inner, *(value[i] for value in values))
            for i, inner in enumerate(space.spaces)
        )
    return leaf(space, *values)


def observation_spec(space: spaces.Space) -> Any:
    """The nest of specs of what `to_tensors` gives for `space`, without the batch dimension.

    Floating-point numbers become float32, unsigned integers beyond uint8 int64. An integer Box
    without axes becomes float32: it is a number. Only Discrete is an index, and MultiDiscrete an
    `IndicesSpec`, of which networks here make one input for each value.

    Raises:
        ValueError: for a space other than Box, Discrete, MultiDiscrete, MultiBinary, Dict, Tuple.
    """
    return map_space(_observation_leaf, space)


def to_tensors(space: spaces.Space, batch: Any, device: torch.device, *, env: Any) -> Any:
    """A batch of observations as a nest of new tensors on `device`.

    Raises:
        ValueError: a shape is not that of `space`; the error names `env`.
    """

    def to_tensor(leaf: spaces.Space, value: Any) -> torch.Tensor:
        array = np.asarray(value)
        check_batch_shape(leaf, array, env)
        return torch.tensor(array, dtype=_torch_dtype(leaf), device=device)

    return map_space(to_tensor, space, batch)


class Actions:
    """Between ALF's actions and gymnasium's, for B instances."""

    def __init__(self, space: spaces.Space, *, normalize: bool = False) -> None:
        """
        Args:
            space: of one instance.
            normalize: Box actions are given to ALF as [-1, 1] and mapped to their bounds here.

        Raises:
            ValueError: for a space other than those named at `observation_spec`, or if a Box that
                is not bounded is to be normalised.
        """
        self._space = space
        self._leaves = map_space(lambda leaf: _ActionLeaf.of(leaf, normalize), space)
        self.spec = map_space(lambda _, leaf: leaf.spec(), space, self._leaves)
        self.limits = map_space(lambda _, leaf: leaf.limits(), space, self._leaves)

    def to_numpy(self, action: Any, restart: np.ndarray) -> Any:
        """Actions for a vector environment; an idle one in the rows with `restart` `[B]`.

        Continuous actions are clipped to their bounds.

        Raises:
            ValueError: if an action of another row is not finite, or a discrete one outside its
                bounds.
        """
        return map_space(
            lambda _, leaf, value: leaf.to_numpy(value, restart), self._space, self._leaves, action
        )

    def idle(self, batch_size: int) -> Any:
        """Actions of `batch_size` instances that are 0, or as near to it as the bounds allow."""
        return map_space(lambda _, leaf: leaf.idle(batch_size), self._space, self._leaves)


class _ActionLeaf(NamedTuple):
    """Bounds of one array in an action; both of the action's shape."""

    low: np.ndarray
    high: np.ndarray
    dtype: np.dtype
    start: np.ndarray | None
    """What ALF's action 0 is for the environment; None where actions are continuous."""
    normalize: bool

    @staticmethod
    def of(space: spaces.Space, normalize: bool) -> _ActionLeaf:
        low, high = _bounds(space)
        discrete = not isinstance(space, spaces.Box) or _numpy_dtype(space).kind in "iu"
        if normalize and not discrete:
            with np.errstate(over="ignore", invalid="ignore"):
                width = high - low
            if not np.isfinite(width).all():
                raise ValueError(
                    f"normalize_actions needs bounded actions, got the action space {space}"
                )
        start = low if discrete else None
        return _ActionLeaf(low, high, _numpy_dtype(space), start, normalize and not discrete)

    def spec(self) -> TensorSpec:
        if self.start is not None:
            return _spec(np.zeros_like(self.low), self.high - self.low, torch.int64)
        if self.normalize:
            return _spec(-np.ones_like(self.low), np.ones_like(self.high), torch.float32)
        return _spec(self.low, self.high, torch.float32)

    def limits(self) -> Limits:
        """To what ALF's action is clipped; a spec has no bounds unless all are finite."""
        if self.start is not None:
            return Limits(None, None)
        if self.normalize:
            ones = torch.ones(self.low.shape)
            return Limits(-ones, ones)
        low, high = (torch.tensor(end, dtype=torch.float32) for end in (self.low, self.high))
        return Limits(low, high)

    def to_numpy(self, value: Tensor, restart: np.ndarray) -> np.ndarray:
        action = value.detach().cpu().numpy()
        if action.shape != (len(restart), *self.low.shape):
            raise ValueError(
                f"actions have shape {(len(restart), *self.low.shape)}, got {action.shape}"
            )
        if self.start is not None:
            action = action + self.start
            fine = (action >= self.low) & (action <= self.high)
            self._check(action, fine, restart)
        else:
            self._check(action, np.isfinite(action), restart)
        if self.normalize:
            action = self.low + 0.5 * (action + 1.0) * (self.high - self.low)
        if restart.any():
            action = np.where(_as_column(restart, action), np.zeros_like(action), action)
        return np.clip(action, self.low, self.high).astype(self.dtype, copy=False)

    def _check(self, action: np.ndarray, fine: np.ndarray, restart: np.ndarray) -> None:
        """Complains of the first row, among those without `restart`, that is not `fine`."""
        wrong = ~fine.reshape(len(action), -1).all(axis=1) & ~restart
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"the action of instance {row} is {action[row].tolist()}; "
                f"allowed is {self.low.tolist()} to {self.high.tolist()}"
            )

    def idle(self, batch_size: int) -> np.ndarray:
        zeros = np.zeros((batch_size, *self.low.shape))
        return np.clip(zeros, self.low, self.high).astype(self.dtype)


def _observation_leaf(space: spaces.Space) -> TensorSpec:
    low, high = _bounds(space)
    if isinstance(space, spaces.MultiDiscrete):
        return IndicesSpec(low.shape, torch.int64, low, high)
    return _spec(low, high, _torch_dtype(space))


def _bounds(space: spaces.Space) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(space, spaces.Box):
        return np.asarray(space.low), np.asarray(space.high)
    if isinstance(space, spaces.Discrete):
        return np.asarray(space.start), np.asarray(space.start + space.n - 1)
    if isinstance(space, spaces.MultiDiscrete):
        start = np.asarray(space.start)
        return start, start + np.asarray(space.nvec) - 1
    if isinstance(space, spaces.MultiBinary):
        return np.zeros(space.shape, dtype=np.int64), np.ones(space.shape, dtype=np.int64)
    raise ValueError(
        f"there is no spec for the space {space}; there is for Box, Discrete, MultiDiscrete, "
        "MultiBinary, and Dict and Tuple of them"
    )


def _spec(low: np.ndarray, high: np.ndarray, dtype: torch.dtype) -> TensorSpec:
    """Bounded if all bounds are finite; scalar bounds if they are all the same."""
    if dtype == torch.float32:
        with np.errstate(over="ignore"):
            low, high = low.astype(np.float32), high.astype(np.float32)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return TensorSpec(low.shape, dtype)
    if low.size and (low == low.flat[0]).all() and (high == high.flat[0]).all():
        return BoundedTensorSpec(low.shape, dtype, low.flat[0].item(), high.flat[0].item())
    return BoundedTensorSpec(low.shape, dtype, low, high)


def _numpy_dtype(space: spaces.Space) -> np.dtype:
    assert space.dtype is not None
    return space.dtype


def _torch_dtype(space: spaces.Space) -> torch.dtype:
    dtype = _numpy_dtype(space)
    if dtype.kind == "f" or (isinstance(space, spaces.Box) and space.shape == ()):
        return torch.float32
    return getattr(torch, dtype.name) if dtype.name in _KEPT_DTYPES else torch.int64


def _as_column(rows: np.ndarray, array: np.ndarray) -> np.ndarray:
    return rows.reshape(-1, *[1] * (array.ndim - 1))
