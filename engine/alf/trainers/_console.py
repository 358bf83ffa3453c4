"""What a person sees of a training: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

import torch
from absl import flags, logging

from alf.metrics._episodes import SUCCESS_FIELDS

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_BAR_UPDATES = 0.5
_bar: Any = None


def say(message: str) -> None:
    """Tell the user on stderr, and the log file."""
    logging.info("%s", message)
    known = flags.FLAGS
    if known.is_parsed() and "alsologtostderr" in known and known.alsologtostderr:
        return
    if _bar is not None:
        _bar.write(message, file=sys.stderr)
    else:
        print(message, file=sys.stderr, flush=True)


def interesting_numbers(metrics: Iterable[Any]) -> dict[str, Any]:
    """Average return, episode length and success rate, as far as there are such metrics."""
    numbers: dict[str, Any] = {}
    for metric in metrics:
        if not metric.has_result():
            continue
        result = metric.result()
        if metric.name == "AverageReturn":
            numbers["return"] = _number(result)
        elif metric.name == "AverageEpisodeLength":
            numbers["length"] = _number(result)
        elif isinstance(result, dict):
            said = [result[field] for field in SUCCESS_FIELDS if field in result]
            if said:
                numbers["success"] = _number(said[0])
    return numbers


def describe(numbers: dict[str, Any]) -> str:
    """The numbers as one line."""
    return "  ".join(f"{name} {_formatted(value)}" for name, value in numbers.items())


def duration(seconds: float) -> str:
    """A time span for people: "42 s", "3 min 05 s", "2 h 07 min"."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


class ProgressReport:
    """Context that shows how far the training is; `update` costs next to nothing mostly.

    Args:
        metrics: those of the training, see `interesting_numbers`.
        progress: fraction done when the report starts.
        env_steps: steps done when the report starts.
    """

    def __init__(self, metrics: list[Any], progress: float, env_steps: int) -> None:
        self._metrics = metrics
        self._start_progress = progress
        self._start = self._shown = time.monotonic()
        self._shown_steps = env_steps
        self._rate = 0.0

    def __enter__(self) -> ProgressReport:
        global _bar
        self._interval = _SECONDS_BETWEEN_LINES
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._interval = _SECONDS_BETWEEN_BAR_UPDATES
            _bar = tqdm(
                total=1.0,
                initial=self._start_progress,
                bar_format="{percentage:3.0f}%|{bar:20}| {desc}",
                dynamic_ncols=True,
                file=sys.stderr,
                leave=False,
            )
        return self

    def __exit__(self, *_: object) -> None:
        global _bar
        if _bar is not None:
            _bar.close()
            _bar = None

    def update(self, iteration: int, env_steps: int, progress: float) -> None:
        """Show the state, if it is time to."""
        now = time.monotonic()
        if now - self._shown < self._interval:
            return
        self._rate = self._smoothed((env_steps - self._shown_steps) / (now - self._shown))
        self._shown, self._shown_steps = now, env_steps
        numbers = interesting_numbers(self._metrics)
        numbers.pop("length", None)
        text = f"{env_steps:,} steps  {self._rate:,.0f}/s  iteration {iteration:,}"
        if numbers:
            text += "  " + describe(numbers)
        done = progress - self._start_progress
        if done > 0:
            text += f"  {duration((now - self._start) * (1 - progress) / done)} left"
        if _bar is None:
            say(f"{100 * progress:.0f} %  {text}")
        else:
            _bar.n = progress
            _bar.set_description_str(text)

    def _smoothed(self, rate: float) -> float:
        return rate if self._rate == 0 else 0.7 * self._rate + 0.3 * rate


def _number(result: Any) -> Any:
    """Python number, or list of them for a reward of several dimensions."""
    if isinstance(result, torch.Tensor):
        return result.tolist()
    if isinstance(result, (list, tuple)):
        return [_number(item) for item in result]
    return result


def _formatted(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_formatted, value)) + "]"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:,.1f}"
