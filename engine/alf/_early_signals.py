"""Signals that come while `alf.bin.train` is still importing: they do not end it.

Importing takes seconds, and SIGUSR1 and SIGUSR2 end a program that has no handlers for them. Those
of here keep SIGUSR2 for the handlers of the training. SIGTERM and SIGINT end it, as nothing was
done yet.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

_PROGRAM = ["-m", "alf.bin.train"]

received: set[int] = set()
"""The signals that have come so far."""


def _keep(signum: int, frame: FrameType | None) -> None:
    received.add(signum)


def _is_training() -> bool:
    # sys.argv does not have the program's name yet.
    return any(sys.orig_argv[i : i + 2] == _PROGRAM for i in range(1, len(sys.orig_argv)))


if _is_training():
    for _name in ("SIGUSR1", "SIGUSR2"):
        if hasattr(signal, _name):
            signal.signal(getattr(signal, _name), _keep)
