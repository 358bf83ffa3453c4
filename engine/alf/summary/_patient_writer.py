"""A TensorBoard writer that a full disk does not stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from absl import logging
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.writer import FileWriter

_SECONDS_BETWEEN_TRIES = 60.0


class PatientSummaryWriter(SummaryWriter):
    """Leaves out what cannot be written, with a warning, and tries again a minute later.

    A run of days does not end because its curves have a gap.
    """

    def _get_file_writer(self) -> Any:
        if self.all_writers is None or self.file_writer is None:
            self.file_writer: Any = _PatientFileWriter(
                lambda: FileWriter(
                    self.log_dir, self.max_queue, self.flush_secs, self.filename_suffix
                ),
                self.log_dir,
            )
            self.all_writers = {self.log_dir: self.file_writer}
        return self.file_writer


class _PatientFileWriter:
    """As `FileWriter`; after an error a new one, with a new file, takes its place."""

    def __init__(self, make: Callable[[], FileWriter], log_dir: str) -> None:
        self._make = make
        self._log_dir = log_dir
        self._next_try = 0.0
        self._writer: FileWriter | None = make()

    @property
    def event_writer(self) -> Any:
        return None if self._writer is None else self._writer.event_writer

    def get_logdir(self) -> str:
        return self._log_dir

    def add_summary(self, *args: Any, **kwargs: Any) -> None:
        self._call("add_summary", *args, **kwargs)

    def add_event(self, *args: Any, **kwargs: Any) -> None:
        self._call("add_event", *args, **kwargs)

    def flush(self) -> None:
        self._call("flush")

    def close(self) -> None:
        self._call("close")

    def _call(self, name: str, *args: Any, **kwargs: Any) -> None:
        if self._writer is None and (name == "close" or time.monotonic() < self._next_try):
            return
        try:
            if self._writer is None:
                self._writer = self._make()
            getattr(self._writer, name)(*args, **kwargs)
        except OSError as error:
            self._writer = None
            self._next_try = time.monotonic() + _SECONDS_BETWEEN_TRIES
            logging.warning(
                "summaries in %s cannot be written (%s): they are left out for a minute",
                self._log_dir,
                error.strerror or error,
            )
