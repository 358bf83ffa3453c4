"""Values that change with the progress of training: learning rates, temperatures, ..."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from alf.config_util import configurable

_progress: dict[str, float] = {
    "percent": 0.0,
    "iterations": 0.0,
    "env_steps": 0.0,
    "global_counter": 0.0,
}
_is_disallowed = False


def update_progress(progress_type: str, value: float) -> None:
    """Sets the current progress of one type; the trainer does this once per iteration."""
    _check_progress_type(progress_type)
    _progress[progress_type] = value


def update_all_progresses(progresses: Mapping[str, float]) -> None:
    """Sets the progress of several types, e.g. those that came from another process."""
    for progress_type, value in progresses.items():
        update_progress(progress_type, value)


def get_progress(progress_type: str) -> float:
    """The current progress of one type."""
    _check_progress_type(progress_type)
    return _progress[progress_type]


def get_all_progresses() -> dict[str, float]:
    """A copy of the current progress of all types."""
    return dict(_progress)


@contextlib.contextmanager
def disallow_scheduler() -> Iterator[None]:
    """Context in which schedulers raise ``ValueError``, because progress is not known there."""
    global _is_disallowed
    previous, _is_disallowed = _is_disallowed, True
    try:
        yield
    finally:
        _is_disallowed = previous


def as_scheduler(value_or_scheduler: Any) -> Callable[[], float]:
    """``value_or_scheduler`` itself if it is callable, else a constant scheduler of it."""
    if not callable(value_or_scheduler):
        return ConstantScheduler(value_or_scheduler)
    scheduler: Any = value_or_scheduler
    if isinstance(scheduler, Scheduler):
        _check_allowed()
    return scheduler


class ConstantScheduler:
    """The same value at all times."""

    def __init__(self, value: float) -> None:
        self._value = value

    def __call__(self) -> float:
        return self._value

    def __repr__(self) -> str:
        return str(self._value)

    def final_value(self) -> float:
        """The value at the end of training."""
        return self._value


class Scheduler:
    """A value that is a function of progress.

    Args:
        progress_type: "percent" (0 to 1 over the training), "iterations", "env_steps" or
            "global_counter".
    """

    def __init__(self, progress_type: str) -> None:
        _check_progress_type(progress_type)
        _check_allowed()
        self._progress_type = progress_type

    def progress(self) -> float:
        """The current progress of this scheduler's type."""
        _check_allowed()
        return _progress[self._progress_type]

    def __call__(self) -> float:
        """The current value."""
        raise NotImplementedError

    def final_value(self) -> float:
        """The value at the end of training."""
        raise NotImplementedError


@configurable
class StepScheduler(Scheduler):
    """A piecewise constant value.

    Args:
        progress_type: see ``Scheduler``.
        schedule: pairs (end, value): ``value`` holds until progress reaches ``end``; the last
            value holds for ever.
        warm_up_period: over this much progress from ``start`` on, the value is scaled up
            linearly from 0.
        start: progress at which warming up starts; the value is 0 before it, if there is a
            warm-up period.
    """

    def __init__(
        self,
        progress_type: str,
        schedule: Sequence[tuple[float, float]],
        warm_up_period: float = 0,
        start: float = 0,
    ) -> None:
        super().__init__(progress_type)
        self._schedule, self._ends, self._values = _split(schedule)
        if warm_up_period > 0 and start + warm_up_period > self._ends[0]:
            raise ValueError(
                f"StepScheduler: start={start} and warm_up_period={warm_up_period} reach beyond "
                f"{self._ends[0]}, the end of the first value"
            )
        self._warm_up_period = warm_up_period
        self._start = start

    def __call__(self) -> float:
        progress = self.progress()
        index = bisect.bisect_right(self._ends, progress)
        value = self._values[min(index, len(self._values) - 1)]
        if self._warm_up_period > 0:
            value *= min(max((progress - self._start) / self._warm_up_period, 0.0), 1.0)
        return value

    def __repr__(self) -> str:
        return f"StepScheduler({self._progress_type!r}, {self._schedule})"

    def final_value(self) -> float:
        return self._values[-1]


@configurable
class LinearScheduler(Scheduler):
    """A piecewise linear value.

    Args:
        progress_type: see ``Scheduler``.
        schedule: at least two pairs (progress, value) between which to interpolate; constant
            after the last. The first progress is 0.
    """

    def __init__(self, progress_type: str, schedule: Sequence[tuple[float, float]]) -> None:
        super().__init__(progress_type)
        self._schedule, self._points, self._values = _split(schedule)
        if len(self._points) < 2 or self._points[0] != 0:
            raise ValueError(
                f"LinearScheduler: schedule={self._schedule}; allowed: at least two pairs "
                "(progress, value), the first at progress 0"
            )

    def __call__(self) -> float:
        progress = self.progress()
        i = bisect.bisect_right(self._points, progress)
        if i == len(self._points):
            return self._values[-1]
        x0, x1 = self._points[i - 1], self._points[i]
        weight = (progress - x0) / (x1 - x0)
        return (1 - weight) * self._values[i - 1] + weight * self._values[i]

    def __repr__(self) -> str:
        return f"LinearScheduler({self._progress_type!r}, {self._schedule})"

    def final_value(self) -> float:
        return self._values[-1]


@configurable
class ExponentialScheduler(Scheduler):
    """``initial_value * decay_rate ** (progress / decay_time)``."""

    def __init__(
        self, progress_type: str, initial_value: float, decay_rate: float, decay_time: float
    ) -> None:
        super().__init__(progress_type)
        self._initial_value = initial_value
        self._decay_rate = decay_rate
        self._decay_time = decay_time

    def __call__(self) -> float:
        return self._value_at(self.progress())

    def _value_at(self, progress: float) -> float:
        return self._initial_value * self._decay_rate ** (progress / self._decay_time)

    def __repr__(self) -> str:
        return (
            f"ExponentialScheduler({self._progress_type!r}, {self._initial_value}, "
            f"{self._decay_rate}, {self._decay_time})"
        )

    def final_value(self) -> float:
        """The value at progress 1 for "percent", else the limit for endless training."""
        if self._progress_type == "percent":
            return self._value_at(1.0)
        return self._value_at(float("inf"))


@configurable
class CyclicalScheduler(Scheduler):
    """A value that goes back and forth between two bounds.

    Args:
        progress_type: see ``Scheduler``.
        base_lr: the value at the start of each cycle.
        bound_lr: the value half a cycle later.
        half_cycle_size: the progress from one bound to the other.
        switch_mode: "step" keeps each bound for half a cycle; "linear" interpolates.
    """

    def __init__(
        self,
        progress_type: str,
        base_lr: float,
        bound_lr: float,
        half_cycle_size: float,
        switch_mode: str = "step",
    ) -> None:
        super().__init__(progress_type)
        if switch_mode not in ("step", "linear"):
            raise ValueError(f"switch_mode is {switch_mode!r}; allowed: 'step', 'linear'")
        self._base_lr = base_lr
        self._bound_lr = bound_lr
        self._half_cycle_size = half_cycle_size
        self._switch_mode = switch_mode

    def __call__(self) -> float:
        half_cycles = self.progress() / self._half_cycle_size
        nearest = round(half_cycles)
        if math.isclose(half_cycles, nearest, rel_tol=1e-9):  # 0.3 / 0.1 is below 3
            half_cycles = nearest
        if self._switch_mode == "step":
            return self._bound_lr if int(half_cycles) % 2 else self._base_lr
        phase = half_cycles % 2
        weight = phase if phase <= 1 else 2 - phase
        return self._base_lr + weight * (self._bound_lr - self._base_lr)

    def __repr__(self) -> str:
        return (
            f"CyclicalScheduler({self._progress_type!r}, {self._base_lr}, {self._bound_lr}, "
            f"{self._half_cycle_size}, {self._switch_mode!r})"
        )

    def final_value(self) -> float:
        """Raises RuntimeError: cycles have no end."""
        raise RuntimeError("a CyclicalScheduler has no final value: its cycles have no end")


def _split(
    schedule: Sequence[tuple[float, float]],
) -> tuple[list[tuple[float, float]], list[float], list[float]]:
    pairs = [(progress, value) for progress, value in schedule]
    points = [progress for progress, _ in pairs]
    if not pairs or any(a >= b for a, b in itertools.pairwise(points)):
        raise ValueError(f"schedule {pairs} must be pairs with strictly increasing progress")
    return pairs, points, [value for _, value in pairs]


def _check_progress_type(progress_type: str) -> None:
    if progress_type not in _progress:
        raise ValueError(f"progress type {progress_type!r} is unknown; allowed: {list(_progress)}")


def _check_allowed() -> None:
    if _is_disallowed:
        raise ValueError(
            "a scheduler cannot be used here, because training progress is not known here"
        )
