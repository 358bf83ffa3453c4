"""How the rows of a batch are shared out to processes, each with one or several environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from alf.data_structures import TimeStep
from alf.environments._vector_environment import Stacker, split_actions
from alf.environments.alf_environment import AlfEnvironment
from alf.nest import nest


class ProcessRows(Protocol):
    """Rows `[B]` of N processes."""

    batch_size: int

    def split(self, action: Any) -> Sequence[Any] | np.ndarray:
        """What each process gets of actions `[B, ...]`."""
        ...

    def split_seeds(self, seeds: Sequence[int]) -> Sequence[Any]:
        """What each process gets of a seed for each row."""
        ...

    def join(self, time_steps: Sequence[TimeStep]) -> TimeStep:
        """The time steps of the processes as one `[B, ...]`; `env_id` is the row."""
        ...


class OneRowEach:
    """Each process has an environment which is not batched.

    Args:
        env: one of them, for its specs.
        num_processes: how many there are.
    """

    def __init__(self, env: AlfEnvironment, num_processes: int) -> None:
        self.batch_size = num_processes
        self._stacker = Stacker(env)

    def split(self, action: Any) -> Sequence[Any] | np.ndarray:
        return split_actions(action, self.batch_size)

    def split_seeds(self, seeds: Sequence[int]) -> Sequence[Any]:
        return seeds

    def join(self, time_steps: Sequence[TimeStep]) -> TimeStep:
        return self._stacker.stack(time_steps)


class SeveralRowsEach:
    """Each process has a batched environment, with the next so many rows.

    Args:
        sizes: rows of each process.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.batch_size = sum(sizes)
        ends = np.cumsum(sizes).tolist()
        self._slices = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]

    def split(self, action: Any) -> Sequence[Any] | np.ndarray:
        num_rows = len(nest.flatten(action)[0])
        if num_rows != self.batch_size:
            raise ValueError(f"there are {self.batch_size} environments but {num_rows} actions")
        return [nest.map_structure(lambda x, rows=rows: x[rows], action) for rows in self._slices]

    def split_seeds(self, seeds: Sequence[int]) -> Sequence[Any]:
        return [list(seeds[rows]) for rows in self._slices]

    def join(self, time_steps: Sequence[TimeStep]) -> TimeStep:
        joined = nest.map_structure(lambda *parts: np.concatenate(parts), *time_steps)
        return joined._replace(env_id=np.arange(self.batch_size, dtype=np.int32))
