"""Requests by signal, which the training loop looks at between two iterations.

SIGUSR1: the debugger. SIGUSR2: a checkpoint now. SIGTERM and SIGINT: a checkpoint and the end.
"""

from __future__ import annotations

import contextlib
import pdb
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from absl import logging

from alf import _early_signals

_active: SignalRequests | None = None


@contextlib.contextmanager
def signal_requests() -> Iterator[SignalRequests]:
    """Context in which signals become requests; those of an outer one are the same object."""
    global _active
    if _active is not None:
        yield _active
        return
    with SignalRequests() as _active:
        try:
            yield _active
        finally:
            _active = None


class SignalRequests:
    """Context in which signals become requests that the training loop looks at.

    A second SIGTERM or SIGINT acts as it does without this. Outside the main thread nothing
    changes. Windows has neither SIGUSR1 nor SIGUSR2.
    """

    def __init__(self) -> None:
        self.stop_signal: int | None = None
        self.stop_time = 0.0
        """When the stop was requested, by `time.monotonic()`."""
        self._checkpoint = False
        self._debugger = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> SignalRequests:
        if threading.current_thread() is threading.main_thread():
            handlers = {
                "SIGTERM": self._request_stop,
                "SIGINT": self._request_stop,
                "SIGUSR1": self._request_debugger,
                "SIGUSR2": self._request_checkpoint,
            }
            for name, handler in handlers.items():
                if hasattr(signal, name):
                    signum = getattr(signal, name)
                    self._previous[signum] = signal.signal(signum, handler)
            if getattr(signal, "SIGUSR2", None) in _early_signals.received:
                self._checkpoint = True
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous.clear()

    def stop_request(self) -> tuple[int, float] | None:
        """The signal that has asked for a stop, and when; None: none has."""
        return None if self.stop_signal is None else (self.stop_signal, self.stop_time)

    def take_checkpoint_request(self) -> bool:
        """Whether a checkpoint was asked for since the last call."""
        requested, self._checkpoint = self._checkpoint, False
        return requested

    def take_debugger_request(self) -> bool:
        """Whether a debugger was asked for since the last call."""
        requested, self._debugger = self._debugger, False
        return requested

    def _request_debugger(self, signum: int, frame: FrameType | None) -> None:
        self._debugger = True

    def _request_checkpoint(self, signum: int, frame: FrameType | None) -> None:
        self._checkpoint = True

    def _request_stop(self, signum: int, frame: FrameType | None) -> None:
        self.stop_time = time.monotonic()
        self.stop_signal = signum
        for stopper in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stopper, self._previous[stopper])


def debug() -> None:
    """Stop in the caller with the debugger, where there is someone at a terminal to use it."""
    if sys.stdin is not None and sys.stdin.isatty():
        pdb.Pdb().set_trace(sys._getframe().f_back)
    else:
        logging.warning("SIGUSR1 asks for the debugger, which needs a terminal; training goes on")
