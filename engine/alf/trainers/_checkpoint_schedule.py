"""How far a training is, and when its checkpoints and evaluations are due."""

from __future__ import annotations

import math
import os
import time

import torch
from torch import nn

from alf.utils.schedulers import update_progress

_CHECKPOINT_MINUTES = "ALF_CHECKPOINT_MINUTES"
_MAX_SHARE_OF_SAVING = 0.05
_SECONDS_BETWEEN_TRIES = 60.0


class TrainerProgress(nn.Module):
    """How far the training is: part of the checkpoint.

    Args:
        num_iterations: ends the training, if not 0.
        num_env_steps: ends the training, if `num_iterations` is 0.
    """

    _iter_num: torch.Tensor
    _env_steps: torch.Tensor

    def __init__(self, num_iterations: int = 0, num_env_steps: int = 0) -> None:
        super().__init__()
        self._num_iterations = num_iterations
        self._num_env_steps = num_env_steps
        self.register_buffer("_iter_num", torch.zeros((), dtype=torch.int64, device="cpu"))
        self.register_buffer("_env_steps", torch.zeros((), dtype=torch.int64, device="cpu"))

    @property
    def iter_num(self) -> int:
        return int(self._iter_num)

    @property
    def env_steps(self) -> int:
        return int(self._env_steps)

    @property
    def total(self) -> int:
        """Number of iterations or environment steps that make the whole training."""
        return self._num_iterations or self._num_env_steps

    @property
    def position(self) -> int:
        """How many of them are done."""
        return self.iter_num if self._num_iterations else self.env_steps

    @property
    def progress(self) -> float:
        """Fraction of the training that is done; 0 where no end is known."""
        return self.position / self.total if self.total else 0.0

    def update(self, iter_num: int, env_steps: int) -> None:
        """Set the counters and tell the schedulers."""
        self._iter_num.fill_(iter_num)
        self._env_steps.fill_(env_steps)
        self.tell_schedulers()

    def tell_schedulers(self) -> None:
        update_progress("percent", self.progress)
        update_progress("iterations", self.iter_num)
        update_progress("env_steps", self.env_steps)


class CheckpointSchedule:
    """When to save, and whether for good.

    Args:
        num_checkpoints: number of lasting checkpoints over the whole training.
    """

    def __init__(self, progress: TrainerProgress, num_checkpoints: int) -> None:
        self._progress = progress
        self._interval = math.ceil(progress.total / num_checkpoints) if num_checkpoints else 0
        self._seconds = 60 * _checkpoint_minutes()
        self._saved_position = 0
        self._saved_time = time.monotonic()
        self._save_seconds = 0.0
        self._next_try = 0.0
        self.ever_trained = False

    def start_here(self) -> None:
        """The training continues from a checkpoint."""
        self._saved_position = self._progress.position

    def is_due(self) -> bool:
        self.ever_trained = True
        if time.monotonic() < self._next_try:
            return False
        return not self.is_temporary() or self._is_time()

    def is_temporary(self) -> bool:
        """Whether no lasting checkpoint is due."""
        if not self._interval:
            return True
        position = self._progress.position
        return position // self._interval == self._saved_position // self._interval

    def saved(self, seconds: float) -> None:
        """A checkpoint is there; writing it took `seconds`."""
        self._saved_position = self._progress.position
        self._saved_time = time.monotonic()
        self._save_seconds = seconds

    def failed(self) -> None:
        """A checkpoint could not be written; the next try comes after a while."""
        self._next_try = time.monotonic() + _SECONDS_BETWEEN_TRIES

    def _is_time(self) -> bool:
        if not self._seconds:
            return False
        pause = max(self._seconds, self._save_seconds / _MAX_SHARE_OF_SAVING)
        return time.monotonic() - self._saved_time > pause


class EvaluationSchedule:
    """When to evaluate.

    Args:
        interval: iterations between two evaluations.
        num_evals: evaluations over the whole training, in place of `interval`; they are as many
            whatever the length of an iteration.
    """

    def __init__(self, progress: TrainerProgress, interval: int, num_evals: int | None) -> None:
        self._progress = progress
        self._counts_iterations = num_evals is None
        self._interval = math.ceil(progress.total / num_evals) if num_evals else interval
        self._num_passed = 0

    def start_here(self) -> None:
        """The training starts or continues; what was due before is over."""
        self._num_passed = self._count()

    def has_come(self) -> bool:
        """Whether the time for an evaluation has come since the last call."""
        before, self._num_passed = self._num_passed, self._count()
        return self._num_passed > before

    def _count(self) -> int:
        progress = self._progress
        position = progress.iter_num if self._counts_iterations else progress.position
        return position // self._interval


def _checkpoint_minutes() -> float:
    text = os.environ.get(_CHECKPOINT_MINUTES, "1")
    try:
        minutes = float(text)
    except ValueError:
        minutes = -1.0
    if not minutes >= 0:
        raise ValueError(
            f"environment variable {_CHECKPOINT_MINUTES} is {text!r}; allowed: a number of "
            "minutes, 0 for never"
        )
    return minutes
