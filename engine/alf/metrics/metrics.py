"""The metrics of an RL run: counts, and averages over the last episodes.

A FIRST step opens an episode: it clears what was gathered, and its reward belongs to nothing. A
LAST step closes it: the gathered value goes to the buffer of finished episodes. Values that are not
finite are left out; an episode that has no others is left out, too. What has been gathered of
unfinished episodes is not kept over a restart, because the episodes are not either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from alf.config_util import configurable
from alf.data_structures import TimeStep
from alf.metrics._episodes import (
    MOST_WAITING,
    SUCCESS_FIELDS,
    MetricBuffer,
    columns_of,
    phases_of,
)
from alf.metrics.metric import StepMetric
from alf.nest import nest

_NOT_STARTED = np.zeros((0, 0))


@configurable
class EnvironmentSteps(StepMetric):
    """Number of environment steps over all environments; resets (FIRST) are none."""

    _environment_steps: torch.Tensor

    def __init__(
        self,
        name: str = "EnvironmentSteps",
        prefix: str = "Metrics",
        dtype: torch.dtype = torch.int64,
    ) -> None:
        super().__init__(name, dtype, prefix)
        self.register_buffer("_environment_steps", torch.zeros((), dtype=dtype, device="cpu"))

    def call(self, time_step: TimeStep) -> TimeStep:
        self.add(phases_of(time_step.step_type).num_not_first)
        return time_step

    def add(self, count: int) -> None:
        """Count so many more steps."""
        steps = self._buffers["_environment_steps"].numpy()
        steps += count

    def result(self) -> torch.Tensor:
        return self._environment_steps.clone()

    def reset(self) -> None:
        self._environment_steps.zero_()


@configurable
class NumberOfEpisodes(StepMetric):
    """Number of finished episodes over all environments."""

    _number_episodes: torch.Tensor

    def __init__(
        self,
        name: str = "NumberOfEpisodes",
        prefix: str = "Metrics",
        dtype: torch.dtype = torch.int64,
    ) -> None:
        super().__init__(name, dtype, prefix)
        self.register_buffer("_number_episodes", torch.zeros((), dtype=dtype, device="cpu"))

    def call(self, time_step: TimeStep) -> TimeStep:
        ended = phases_of(time_step.step_type).num_last
        if ended:
            self._number_episodes += ended
        return time_step

    def result(self) -> torch.Tensor:
        return self._number_episodes.clone()

    def reset(self) -> None:
        self._number_episodes.zero_()


@configurable
class AverageEpisodicAggregationMetric(StepMetric):
    """Average, over the last episodes, of a value gathered during an episode.

    A subclass says with `_extract_metric_values()` which values a time step has. They are summed
    over the steps after the FIRST one. Where the name of a field ends in "@step" they are averaged
    over these steps, where it ends in "@max" the largest one is taken. The result has the structure
    of those values: a vector `[B, n]` becomes a list of n averages.
    """

    def __init__(
        self,
        name: str = "AverageEpisodicAggregationMetric",
        prefix: str = "Metrics",
        dtype: torch.dtype = torch.float32,
        buffer_size: int = 10,
        example_time_step: TimeStep | None = None,
    ) -> None:
        """
        Args:
            buffer_size: number of the last episodes that are averaged over.
            example_time_step: a batched time step, from which the structure of the values is known.
        """
        super().__init__(name, dtype, prefix)
        self._buffer_size = buffer_size
        self._structure: Any = None
        self._step_columns: list[int] = []
        self._max_columns: list[int] = []
        self._rate_columns: list[int] = []
        self._accumulator = _NOT_STARTED
        self._buffers_list = nn.ModuleList()
        if example_time_step is not None:
            self._build(self._extract_metric_values(example_time_step))

    def _extract_metric_values(self, time_step: TimeStep) -> Any:
        """A nest of arrays or tensors `[B]` or `[B, n]`."""
        raise NotImplementedError(f"{type(self).__name__}._extract_metric_values()")

    def call(self, time_step: TimeStep) -> TimeStep:
        values = self._extract_metric_values(time_step)
        if self._structure is None:
            self._build(values)
        columns = _columns(values)
        phases = phases_of(time_step.step_type)
        self._start_if_new(columns.shape)
        if phases.all_mid:
            self._waiting[self._num_waiting] = columns
            self._num_waiting += 1
            if self._num_waiting == MOST_WAITING:
                self._gather_waiting()
            return time_step
        self._gather_waiting()
        if phases.any_first:
            self._num_finite[:, phases.first] = 0
            self._maxima[:, phases.first] = -np.inf
            self._open(phases.first)
            columns = np.where(phases.first, 0, columns)
        self._take(columns[None], phases.not_first)
        if phases.num_last:
            self._close(phases.last)
        return time_step

    def gather_rewards(self, rewards: np.ndarray) -> None:
        """Take in the rewards `[N, K, B]` of N steps in a row, all in the middle of episodes."""
        self._start_if_new(rewards.shape[1:])
        self._gather_waiting()
        self._take(rewards, np.ones(rewards.shape[-1], bool))

    def _start_if_new(self, shape: tuple[int, ...]) -> None:
        if self._accumulator.shape != shape:
            self._start(shape)
            self._num_finite = np.zeros(shape, np.int64)
            self._maxima = np.full((len(self._max_columns), shape[1]), -np.inf)
            self._waiting = np.empty((MOST_WAITING, *shape), np.float64)
            self._num_waiting = 0

    def running_episodes(self) -> dict[str, torch.Tensor]:
        """What has been gathered of the episodes that go on, for `continue_episodes()`."""
        if self._accumulator is _NOT_STARTED:
            return {}
        self._gather_waiting()
        arrays = {k: v for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        return {k: torch.tensor(v, device="cpu") for k, v in arrays.items() if k != "_waiting"}

    def continue_episodes(self, arrays: dict[str, torch.Tensor]) -> None:
        """Go on as if this had gathered what `running_episodes()` gave; of as many environments."""
        if not arrays:
            return
        self._start_if_new(tuple(arrays["_accumulator"].shape))
        self._num_waiting = 0
        for name, array in arrays.items():
            setattr(self, name, array.numpy().copy())

    def _gather_waiting(self) -> None:
        """Gather the steps since the last one that was FIRST or LAST somewhere, all at once."""
        count, self._num_waiting = self._num_waiting, 0
        if count:
            values = self._waiting[:count]
            self._take(values, np.ones(values.shape[-1], bool))

    def _take(self, values: np.ndarray, rows: np.ndarray) -> None:
        finite = np.isfinite(values)
        if finite.all():
            self._num_finite += len(values) * rows
        else:
            self._num_finite += (finite & rows).sum(0)
            values = np.where(finite, values, 0)
        if self._max_columns:
            counted = np.where(finite & rows, values, -np.inf)[:, self._max_columns]
            self._maxima = np.maximum(self._maxima, counted.max(0))
        self._gather(values, rows)

    def _close(self, rows: np.ndarray) -> None:
        """Append what the episodes of `rows`, which have just ended, have gathered."""
        values, counts = self._closed(rows), self._num_finite[:, rows]
        if self._step_columns:
            columns = self._step_columns
            values[columns] = values[columns] / np.maximum(counts[columns], 1)
        if self._max_columns:
            values[self._max_columns] = self._maxima[:, rows]
            rates = self._rate_columns
            values[rates] = values[rates].clip(0, 1)
        for buffer, of_episodes, count in zip(self._rings(), values, counts, strict=True):
            buffer.extend(of_episodes[count > 0])

    # A subclass that gathers something else than a sum overrides the next four. `values` is
    # [N, K, B], K values of N steps in a row, 0 at FIRST steps and where they were not finite;
    # `rows` is a mask [B]: those which are not FIRST.

    def _start(self, shape: tuple[int, ...]) -> None:
        self._accumulator = np.zeros(shape, np.float64)

    def _open(self, rows: np.ndarray) -> None:
        self._accumulator[:, rows] = 0

    def _gather(self, values: np.ndarray, rows: np.ndarray) -> None:
        self._accumulator += values.sum(0)

    def _closed(self, rows: np.ndarray) -> np.ndarray:
        """The values `[K, number of rows]` of the episodes which have just ended."""
        return self._accumulator[:, rows]

    def result(self) -> Any:
        return self._pack([buffer.mean() for buffer in self._rings()])

    def std(self) -> Any:
        return self._pack([buffer.std() for buffer in self._rings()])

    def latest(self) -> Any:
        """The value of the episode which ended last."""
        return self._pack([buffer.latest() for buffer in self._rings()])

    def has_result(self) -> bool:
        return any(len(buffer) for buffer in self._rings())

    def reset(self) -> None:
        for buffer in self._rings():
            buffer.clear()
        self._accumulator = _NOT_STARTED

    def _rings(self) -> Iterable[MetricBuffer]:
        return cast("Iterable[MetricBuffer]", self._buffers_list)

    def _build(self, values: Any) -> None:
        self._structure = nest.map_structure(_result_structure, values)
        names: list[str] = []

        def add_names(path: str, leaf: Any) -> None:
            names.extend([path] * int(np.prod(leaf.shape[1:])))

        nest.py_map_structure_with_path(add_names, values)
        self._step_columns = [i for i, name in enumerate(names) if name.endswith("@step")]
        self._rate_columns = [i for i, name in enumerate(names) if self._is_rate(name)]
        self._max_columns = [i for i, name in enumerate(names) if name.endswith("@max")]
        self._max_columns = sorted({*self._max_columns, *self._rate_columns})
        for _ in names:
            self._buffers_list.append(MetricBuffer(self._buffer_size, self._dtype))

    def _is_rate(self, name: str) -> bool:
        """Whether an episode counts 1 or 0 for this entry, however often it was true."""
        return False

    def _pack(self, results: list[torch.Tensor]) -> Any:
        if self._structure is None:
            return torch.zeros((), dtype=self._dtype, device="cpu")
        return nest.pack_sequence_as(self._structure, results)


def _result_structure(values: Any) -> Any:
    """One 0 per result of a value `[B]` or `[B, n]`."""
    return 0 if values.ndim == 1 else [0] * int(np.prod(values.shape[1:]))


def _columns(values: Any) -> np.ndarray:
    """All values of a nest as `[K, B]`."""
    if isinstance(values, torch.Tensor | np.ndarray):
        return columns_of(values)
    leaves = [_columns(leaf) for leaf in nest.flatten(values)]
    return np.concatenate(leaves, axis=0) if leaves else np.zeros((0, 1))


@configurable
class AverageReturnMetric(AverageEpisodicAggregationMetric):
    """Average undiscounted return of the last episodes."""

    def __init__(
        self,
        example_time_step: TimeStep,
        name: str = "AverageReturn",
        prefix: str = "Metrics",
        dtype: torch.dtype = torch.float32,
        buffer_size: int = 10,
    ) -> None:
        super().__init__(name, prefix, dtype, buffer_size, example_time_step)

    def _extract_metric_values(self, time_step: TimeStep) -> Any:
        return time_step.reward


@configurable
class AverageEpisodeLengthMetric(AverageEpisodicAggregationMetric):
    """Average number of environment steps of the last episodes."""

    def __init__(
        self,
        example_time_step: TimeStep,
        name: str = "AverageEpisodeLength",
        prefix: str = "Metrics",
        dtype: torch.dtype = torch.float32,
        buffer_size: int = 10,
    ) -> None:
        super().__init__(name, prefix, dtype, buffer_size, example_time_step)

    _ones = np.ones(0)

    def _extract_metric_values(self, time_step: TimeStep) -> Any:
        if self._ones.shape != time_step.step_type.shape:
            self._ones = np.ones(time_step.step_type.shape)
        return self._ones

    def gather_rewards(self, rewards: np.ndarray) -> None:
        super().gather_rewards(np.ones((len(rewards), 1, rewards.shape[-1])))


@configurable
class AverageEnvInfoMetric(AverageEpisodicAggregationMetric):
    """Average, over the last episodes, of the sum of each `env_info` entry during an episode.

    "@step" and "@max" at the end of an entry's name: see `AverageEpisodicAggregationMetric`.
    Entries called `success` or `is_success` are no sums: an episode is a success or not, and counts
    its largest value, 1 at most, so that their average is the success rate.
    Summaries are called `<prefix>/<entry>`, without the name of the metric.
    """

    _name_in_tags = False

    def __init__(
        self,
        example_time_step: TimeStep,
        name: str = "AverageEnvInfoMetric",
        prefix: str = "Metrics",
        dtype: torch.dtype = torch.float32,
        fields: Sequence[str] | None = None,
        buffer_size: int = 10,
    ) -> None:
        """
        Args:
            fields: the entries of `env_info` that are taken; all of them if None.
        """
        self._fields = None if fields is None else tuple(fields)
        env_info = example_time_step.env_info
        missing = [f for f in self._fields or () if f not in env_info]
        if missing:
            raise ValueError(
                f"AverageEnvInfoMetric.fields: env_info has no {missing}; it has {list(env_info)}"
            )
        super().__init__(name, prefix, dtype, buffer_size, example_time_step)

    def _is_rate(self, name: str) -> bool:
        return name.rpartition(".")[-1] in SUCCESS_FIELDS

    def _extract_metric_values(self, time_step: TimeStep) -> Any:
        if self._fields is None:
            return time_step.env_info
        return {field: time_step.env_info[field] for field in self._fields}

    def call(self, time_step: TimeStep) -> TimeStep:
        return time_step if self.is_of_nothing else super().call(time_step)

    @property
    def is_of_nothing(self) -> bool:
        """Whether there is no entry to average."""
        return len(self._buffers_list) == 0


@configurable
class AverageDiscountedReturnMetric(AverageEpisodicAggregationMetric):
    """Average discounted return of the last episodes, over all start steps within an episode.

    For rewards r_1 .. r_T it is the mean over t of `sum_{j >= t} gamma^(j-t) r_j`, which is
    `1/T sum_j r_j w_j` with `w_j = 1 + gamma w_{j-1}` and `w_0 = 0`.
    """

    def __init__(
        self,
        example_time_step: TimeStep,
        name: str = "AverageDiscountedReturn",
        prefix: str = "Metrics",
        dtype: torch.dtype = torch.float32,
        discount: float = 0.99,
        reward_transformer: Callable[[Any], Any] | None = None,
        buffer_size: int = 10,
    ) -> None:
        """
        Args:
            discount: gamma.
            reward_transformer: applied to the rewards `[B]` or `[B, n]` first.
        """
        self._powers = discount ** np.arange(MOST_WAITING + 1)
        self._reward_transformer = reward_transformer
        super().__init__(name, prefix, dtype, buffer_size, example_time_step)

    @property
    def transforms_rewards(self) -> bool:
        """Whether it averages something else than the rewards as they are."""
        return self._reward_transformer is not None

    def _extract_metric_values(self, time_step: TimeStep) -> Any:
        reward = time_step.reward
        return reward if self._reward_transformer is None else self._reward_transformer(reward)

    def _start(self, shape: tuple[int, ...]) -> None:
        super()._start(shape)
        self._weight = np.zeros(shape[1], np.float64)
        self._steps = np.zeros(shape[1], np.float64)

    def _open(self, rows: np.ndarray) -> None:
        super()._open(rows)
        self._weight[rows] = 0
        self._steps[rows] = 0

    def _gather(self, values: np.ndarray, rows: np.ndarray) -> None:
        count = len(values)
        self._steps += count * rows
        powers = self._powers[: count + 1, None]
        weights = (powers[1:] * self._weight + powers[:-1].cumsum(0)) * rows
        self._weight = weights[-1]
        self._accumulator += (weights[:, None] * values).sum(0)

    def _closed(self, rows: np.ndarray) -> np.ndarray:
        # an environment may start with a LAST step before any step was counted
        return self._accumulator[:, rows] / np.maximum(self._steps[rows], 1)


@configurable
class EpisodicStartAverageDiscountedReturnMetric(AverageDiscountedReturnMetric):
    """Average discounted return of the last episodes, from their first steps on."""

    def __init__(
        self,
        example_time_step: TimeStep,
        name: str = "EpisodicStartAverageDiscountedReturn",
        prefix: str = "Metrics",
        buffer_size: int = 10,
    ) -> None:
        super().__init__(example_time_step, name, prefix, buffer_size=buffer_size)

    def _start(self, shape: tuple[int, ...]) -> None:
        super()._start(shape)
        self._weight[:] = 1

    def _open(self, rows: np.ndarray) -> None:
        super()._open(rows)
        self._weight[rows] = 1

    def _gather(self, values: np.ndarray, rows: np.ndarray) -> None:
        count = len(values)
        powers = self._powers[: count + 1, None]
        self._accumulator += ((powers[:-1] * self._weight)[:, None] * values).sum(0)
        self._weight = np.where(rows, powers[-1] * self._weight, self._weight)

    def _closed(self, rows: np.ndarray) -> np.ndarray:
        return self._accumulator[:, rows]


@configurable
class AverageRewardMetric(AverageDiscountedReturnMetric):
    """Average reward per step of the last episodes."""

    def __init__(
        self,
        example_time_step: TimeStep,
        name: str = "AverageReward",
        prefix: str = "Metrics",
        buffer_size: int = 10,
    ) -> None:
        super().__init__(example_time_step, name, prefix, discount=0.0, buffer_size=buffer_size)
