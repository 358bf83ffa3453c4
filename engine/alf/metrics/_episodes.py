"""What the episodic metrics are made of: a ring of results, masks of episode ends."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from alf.data_structures import StepType

SUCCESS_FIELDS = ("success", "is_success")
"""Entries of `env_info` that say whether an episode is a success; the first one there counts."""

# So many steps are kept before they are gathered: for one step that costs ten times as much.
MOST_WAITING = 64
_FIRST = int(StepType.FIRST)
_LAST = int(StepType.LAST)


def as_numpy(tensor: Any) -> np.ndarray:
    return tensor.numpy(force=True) if isinstance(tensor, torch.Tensor) else np.asarray(tensor)


class Phases(NamedTuple):
    """Which rows of a time step open, continue and close an episode: masks [B]."""

    first: np.ndarray
    not_first: np.ndarray
    last: np.ndarray
    any_first: bool
    num_not_first: int
    num_last: int
    all_mid: bool


class PhasesOfLatest:
    """The phases of one time step, computed once for all the metrics it is given to."""

    def __init__(self) -> None:
        self._step_type: Any = None
        self._version = -1
        self._bytes: bytes | None = None

    def __call__(self, step_type: Any) -> Phases:
        # arrays and inference tensors do not tell whether they were written to since
        is_tensor = isinstance(step_type, torch.Tensor) and not step_type.is_inference()
        version = step_type._version if is_tensor else -1
        if step_type is not self._step_type or version != self._version or version < 0:
            array = as_numpy(step_type)
            # most steps are MID everywhere, as the step before was
            content = array.tobytes()
            if content != self._bytes or array.dtype != self._dtype:
                self._phases = _phases(array)
                self._bytes, self._dtype = content, array.dtype
            self._step_type, self._version = step_type, version
        return self._phases


def _phases(step_type: np.ndarray) -> Phases:
    first, last = step_type == _FIRST, step_type == _LAST
    num_first, num_last = int(np.count_nonzero(first)), int(np.count_nonzero(last))
    return Phases(
        first=first,
        not_first=~first,
        last=last,
        any_first=num_first > 0,
        num_not_first=first.size - num_first,
        num_last=num_last,
        all_mid=num_first == num_last == 0,
    )


phases_of = PhasesOfLatest()


class ColumnsOfLatest:
    """A tensor `[B]` or `[B, n]` as columns `[K, B]`, made once for all the metrics that want it.

    Most metrics gather the reward.
    """

    def __init__(self) -> None:
        self._values: Any = None
        self._version = -1
        self._columns = np.zeros((0, 1))

    def __call__(self, values: Any) -> np.ndarray:
        # arrays and inference tensors do not tell whether they were written to since
        is_tensor = isinstance(values, torch.Tensor) and not values.is_inference()
        version = values._version if is_tensor else -1
        if values is not self._values or version != self._version or version < 0:
            array = as_numpy(values)
            by_column = array[None] if array.ndim == 1 else array.reshape(array.shape[0], -1).T
            self._columns, self._values, self._version = by_column, values, version
        return self._columns


columns_of = ColumnsOfLatest()


class MetricBuffer(nn.Module):
    """The last `max_len` values appended, as a checkpointed ring on the CPU."""

    _values: torch.Tensor
    _size: torch.Tensor
    _pos: torch.Tensor

    def __init__(self, max_len: int, dtype: torch.dtype) -> None:
        super().__init__()
        if max_len < 1:
            raise ValueError(f"max_len of a MetricBuffer must be at least 1; got {max_len}")
        self._max_len = max_len
        self.register_buffer("_values", torch.zeros(max_len, dtype=dtype, device="cpu"))
        self.register_buffer("_size", torch.zeros((), dtype=torch.int64, device="cpu"))
        self.register_buffer("_pos", torch.zeros((), dtype=torch.int64, device="cpu"))

    def append(self, value: Any) -> None:
        """Append one value, or the values `[k]` in their order."""
        self.extend(np.atleast_1d(as_numpy(value)))

    def extend(self, values: np.ndarray) -> None:
        """Append the values `[k]` in their order."""
        # arrays that share the buffers' memory: for single numbers they are faster than tensors
        position, size = self._pos.numpy(), self._size.numpy()
        start, count = int(position), len(values)
        indices = np.arange(start, start + count)[-self._max_len :] % self._max_len
        self._values.numpy()[indices] = values[-self._max_len :]
        position[...] = (start + count) % self._max_len
        size[...] = min(int(size) + count, self._max_len)

    def __len__(self) -> int:
        return int(self._size)

    def clear(self) -> None:
        """Forget all values."""
        self._size.zero_()
        self._pos.zero_()

    def latest(self) -> torch.Tensor:
        """The value appended last."""
        if not len(self):
            raise ValueError("a MetricBuffer without values has no latest one")
        return self._values[int(self._pos) - 1].clone()

    def mean(self) -> torch.Tensor:
        """Mean of the values; 0 when there is none."""
        if not len(self):
            return self._zero()
        return self._filled().mean(dtype=torch.float64).to(self._values.dtype)

    def std(self) -> torch.Tensor:
        """Standard deviation of a sample (divided by n - 1); 0 for less than two values."""
        if len(self) < 2:
            return self._zero()
        return self._filled().double().std(correction=1).to(self._values.dtype)

    def _filled(self) -> torch.Tensor:
        return self._values[: len(self)]

    def _zero(self) -> torch.Tensor:
        return torch.zeros((), dtype=self._values.dtype, device="cpu")
