"""Settings that change in the course of training: functions of a number of steps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from alf_layered.allowed import AT_LEAST_0, AT_LEAST_1, FINITE, check_fields, shown

Schedule = Callable[[int], float]
Scheduled = float | Schedule


def value_at(setting: Scheduled, step: int) -> float:
    """A setting after so many steps, whether it is a number or a schedule."""
    return setting(step) if callable(setting) else setting


@dataclass(frozen=True)
class Constant:
    """Always the same."""

    value: float

    def __post_init__(self) -> None:
        check_fields(self, value=FINITE)

    def __call__(self, step: int) -> float:
        return self.value


@dataclass(frozen=True)
class Ramp:
    """`start` until `warm_up`, then linear to `end` within `duration` steps."""

    start: float
    end: float
    warm_up: int
    duration: int

    def __post_init__(self) -> None:
        check_fields(self, start=FINITE, end=FINITE, warm_up=AT_LEAST_0, duration=AT_LEAST_1)

    def __call__(self, step: int) -> float:
        share = min(max((step - self.warm_up) / self.duration, 0.0), 1.0)
        return self.start + share * (self.end - self.start)


@dataclass(frozen=True)
class ZeroThenLinear:
    """0 before `zero_duration`, then from `start_value` to `end_value` within `duration` steps."""

    zero_duration: int
    duration: int
    start_value: float
    end_value: float

    def __post_init__(self) -> None:
        check_fields(
            self,
            zero_duration=AT_LEAST_0,
            duration=AT_LEAST_1,
            start_value=FINITE,
            end_value=FINITE,
        )

    def __call__(self, step: int) -> float:
        if step < self.zero_duration:
            return 0.0
        return Ramp(self.start_value, self.end_value, self.zero_duration, self.duration)(step)


def _is_point(point: Any) -> bool:
    """Whether it is a step and a finite value."""
    return (
        isinstance(point, list | tuple)
        and len(point) == 2
        and all(isinstance(x, Real) and not isinstance(x, bool) for x in point)
        and all(map(math.isfinite, point))
    )


class PiecewiseLinear:
    """Linear between points `(step, value)`, constant before the first and after the last one."""

    def __init__(self, points: Sequence[tuple[int, float]]) -> None:
        what = f"{type(self).__name__}.points is {shown(points)}"
        if not (isinstance(points, list | tuple) and points and all(map(_is_point, points))):
            raise ValueError(f"{what}; allowed: a list of pairs (step, value), of finite numbers")
        if any(a >= b for (a, _), (b, _) in itertools.pairwise(points)):
            raise ValueError(f"{what}; allowed: growing steps")
        self.points = tuple(points)

    def __call__(self, step: int) -> float:
        points = self.points
        if step <= points[0][0]:
            return points[0][1]
        for (a, low), (b, high) in itertools.pairwise(points):
            if step <= b:
                return self._between((step - a) / (b - a), low, high)
        return points[-1][1]

    @staticmethod
    def _between(share: float, low: float, high: float) -> float:
        return low + share * (high - low)


class PiecewiseLogLinear(PiecewiseLinear):
    """As `PiecewiseLinear`, but geometric between two points; their values are positive."""

    def __init__(self, points: Sequence[tuple[int, float]]) -> None:
        super().__init__(points)
        if any(value <= 0 for _, value in points):
            raise ValueError(
                f"PiecewiseLogLinear.points is {shown(points)}; allowed: positive values"
            )

    @staticmethod
    def _between(share: float, low: float, high: float) -> float:
        return math.exp((1 - share) * math.log(low) + share * math.log(high))
