"""Which checkpoints of a run stay on the disk, over all of its starts."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from alf.utils._checkpoint_archive import unwritable
from alf.utils.checkpoint_utils import Checkpointer

_FILE = "kept_checkpoints.json"
_NUM_NEWEST_KEPT = 2
_logger = logging.getLogger("absl")


class Best(NamedTuple):
    """The checkpoint whose evaluation was the best so far.

    Attributes:
        step: its number.
        metric: what counts, as `TrainerConfig.best_checkpoint_metric` names it.
        value: of the metric.
    """

    step: int
    metric: str
    value: float

    def __str__(self) -> str:
        return f"ckpt-{self.step}, {self.metric} = {self.value:.6g}"


class CheckpointKeeper:
    """Removes temporary checkpoints that are neither among the newest two nor the best one.

    What is temporary, and which is the best, stands in a file beside the checkpoints, so that a
    run which was stopped goes on with it. Checkpoints that the file does not know stay.

    Args:
        checkpointer: that of the training.
        ckpt_dir: its directory.
        metric: name of an evaluation metric, `AverageReturn` or `AverageEnvInfo/success`; the
            checkpoint with its largest value stays; with a minus before it, the smallest one. None:
            there is no best one.
    """

    def __init__(
        self, checkpointer: Checkpointer, ckpt_dir: str, metric: str | None = None
    ) -> None:
        self._checkpointer = checkpointer
        self._path = os.path.join(ckpt_dir, _FILE)
        self.metric = metric
        self._awaited: set[int] = set()
        self.best: Best | None = None
        self._temporary: set[int] = set()
        self._read()

    def announce(self, step: int, *, temporary: bool) -> None:
        """A checkpoint is about to be written. A lasting one stays one.

        Raises OSError if this cannot be noted.
        """
        if not temporary:
            self._temporary.discard(step)
        elif step not in self._checkpointer.steps():
            self._temporary.add(step)
        self._write()

    def saved(self) -> None:
        """A checkpoint has been written: removes those it has made superfluous."""
        there = self._checkpointer.steps()
        keep = {
            *there[-_NUM_NEWEST_KEPT:],
            *self._awaited,
            *([self.best.step] if self.best else []),
        }
        for step in sorted(self._temporary - keep):
            self._checkpointer.remove(step)
        self._temporary &= set(self._checkpointer.steps())
        self._write()

    def await_result(self, step: int) -> None:
        """The checkpoint of `step` is being evaluated, and stays until the result is there."""
        self._awaited.add(step)

    def evaluated(self, step: int, metrics: Iterable[Any]) -> bool:
        """The result of an evaluation is there; returns whether it is the best so far.

        Raises ValueError if there is no such metric.
        """
        if self.metric is None or step not in self._awaited:
            return False
        self._awaited.discard(step)
        value = metric_value(metrics, self.metric.removeprefix("-"))
        if math.isnan(value) or not self._is_better(value):
            return False
        self.best = Best(step, self.metric, value)
        with contextlib.suppress(OSError):  # the next one is noted with it
            self.saved()
        return True

    def _is_better(self, value: float) -> bool:
        best = self.best
        if best is None or best.metric != self.metric:
            return True
        return value < best.value if self.metric.startswith("-") else value > best.value

    def _read(self) -> None:
        if not os.path.isfile(self._path):
            return
        try:
            with open(self._path, encoding="utf-8") as file:
                content = json.load(file)
            best = content["best"]
            self.best = None if best is None else Best(**best)
            self._temporary = {int(step) for step in content["temporary"]}
        except (ValueError, KeyError, TypeError, OSError) as error:
            _logger.warning(
                "%s cannot be read (%s): all checkpoints that are there stay", self._path, error
            )
        there = set(self._checkpointer.steps())
        self._temporary &= there
        if self.best is not None and self.best.step not in there:
            self.best = None

    def _write(self) -> None:
        content = {
            "temporary": sorted(self._temporary),
            "best": None if self.best is None else self.best._asdict(),
        }
        unfinished = self._path + ".tmp"
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            with open(unfinished, "w", encoding="utf-8") as file:
                json.dump(content, file)
            os.replace(unfinished, self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(unfinished)
            raise unwritable(self._path, error) from error


def best_step(ckpt_dir: str) -> int:
    """Number of the best checkpoint of a run.

    Raises FileNotFoundError if none was kept as such.
    """
    best = CheckpointKeeper(Checkpointer(ckpt_dir), ckpt_dir).best
    if best is None:
        raise FileNotFoundError(
            f"{ckpt_dir} has no best checkpoint: the run kept none by "
            "TrainerConfig.best_checkpoint_metric"
        )
    return best.step


def metric_value(metrics: Iterable[Any], name: str) -> float:
    """The result of a metric as one number; a reward of several dimensions counts as its sum.

    Args:
        metrics: with `name`, `has_result()` and `result()`.
        name: of a metric, or `metric/field` where a result has fields.

    Raises ValueError naming those that there are.
    """
    results = {m.name: m.result() for m in metrics if m.has_result()}
    numbers = {path: value for key, result in results.items() for path, value in _flat(key, result)}
    if name not in numbers:
        raise ValueError(
            f"TrainerConfig.best_checkpoint_metric is {name!r}; the evaluation has: "
            f"{', '.join(sorted(numbers)) or 'nothing'}"
        )
    return numbers[name]


def _flat(path: str, result: Any) -> list[tuple[str, float]]:
    if isinstance(result, dict):
        return [pair for key, value in result.items() for pair in _flat(f"{path}/{key}", value)]
    result = result.tolist() if hasattr(result, "tolist") else result
    return [(path, float(sum(result) if isinstance(result, list) else result))]
