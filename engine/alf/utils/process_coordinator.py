"""Several processes that stop together: when one asks for it, or when one of them fails."""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import queue
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from alf.utils._child_process import Parent, end_with

_context = mp.get_context("spawn")
_POLL_SECONDS = 0.05


class ProcessFailedError(RuntimeError):
    """An exception of another process; the message is its traceback there."""


class Coordinator:
    """Tells its processes to stop, waits for them, and passes on the first exception.

    It is handed to every process; each calls `should_stop()` now and then and ends if it is true.
    """

    def __init__(self) -> None:
        self._stop = _context.Event()
        self._failures: Any = _context.Queue()
        self._processes: list[Any] = []
        self._joined = False

    def __getstate__(self) -> dict[str, Any]:
        # Only the process which has started the others can wait for them.
        return {**self.__dict__, "_processes": []}

    @property
    def joined(self) -> bool:
        """Whether `join()` has ended since the last `clear_stop()`."""
        return self._joined

    def register_process(self, process: Any) -> None:
        """Adds a process to those that `join()` waits for."""
        self._processes.append(process)

    def request_stop(self, ex: BaseException | None = None) -> None:
        """Asks all processes to stop.

        Args:
            ex: why; the first one given is raised by `join()`.
        """
        if ex is not None and not self._stop.is_set():
            text = "".join(traceback.format_exception(type(ex), ex, ex.__traceback__))
            self._failures.put((f"{type(ex).__name__}: {ex}", text))
        self._stop.set()

    def should_stop(self) -> bool:
        """Whether the processes shall stop."""
        return self._stop.is_set()

    def clear_stop(self) -> None:
        """Forgets the request to stop and its reason."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._failures.get_nowait()
        self._joined = False
        self._stop.clear()

    def wait_for_stop(self, timeout: float | None = None) -> bool:
        """Waits for a request to stop, at most `timeout` seconds; returns `should_stop()`."""
        return self._stop.wait(timeout)

    @contextlib.contextmanager
    def stop_on_exception(self) -> Iterator[None]:
        """Context in which an exception asks all processes to stop; `join()` raises it."""
        try:
            yield
        except Exception as error:
            self.request_stop(error)

    def raise_requested_exception(self) -> None:
        """Raises `ProcessFailedError` with the first exception given to `request_stop`, if any."""
        # What another process has put into the queue may need a moment to arrive.
        with contextlib.suppress(queue.Empty):
            summary, trace = self._failures.get(timeout=_POLL_SECONDS)
            raise ProcessFailedError(f"{summary}\nin another process:\n{trace}")

    def join(
        self,
        processes: Iterable[Any] | None = None,
        stop_grace_period_secs: float = 120,
        ignore_live_processes: bool = False,
    ) -> None:
        """Waits for the end of all registered processes, and of those given.

        Args:
            stop_grace_period_secs: so long they may take to end after a stop was requested.
            ignore_live_processes: do not complain about those that take longer.

        Raises:
            ProcessFailedError: the first exception given to `request_stop`, or a process was
                killed.
            RuntimeError: processes are still there after the grace period; they are ended.
        """
        waiting = [*self._processes, *(processes or ())]
        deadline: float | None = None
        while any(process.is_alive() for process in waiting):
            time.sleep(_POLL_SECONDS)
            if any(process.exitcode for process in waiting):
                self._stop.set()
            if self._stop.is_set():
                deadline = deadline or time.monotonic() + stop_grace_period_secs
                if time.monotonic() > deadline:
                    break
        self._joined = True
        live = [process for process in waiting if process.is_alive()]
        killed = [process for process in waiting if process.exitcode]
        if not ignore_live_processes:
            for process in live:
                process.terminate()
        self.raise_requested_exception()
        if killed:
            codes = ", ".join(f"{p.name} with {p.exitcode}" for p in killed)
            raise ProcessFailedError(f"processes have ended with an exit status: {codes}")
        if live and not ignore_live_processes:
            names = ", ".join(process.name for process in live)
            raise RuntimeError(
                f"{names} did not end within {stop_grace_period_secs} s of the request to stop"
            )


class Process(_context.Process):  # type: ignore[name-defined]
    """A process that repeats its body until the coordinator says stop.

    Args:
        coord: asked after each round; an exception in the process stops all of its processes.
        target: called in each round; or override `body`.
        args: given to `body`, and by it to `target`.
        kwargs: the same.
    """

    def __init__(
        self,
        coord: Coordinator,
        target: Any = None,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] = {},  # ALF's signature; never written to
    ) -> None:
        super().__init__()
        self.daemon = True
        self._coord = coord
        self._body = target
        self._body_args = args
        self._body_kwargs = dict(kwargs)
        self._starter = Parent.here()
        coord.register_process(self)

    def run(self) -> None:
        """The whole life of the process; called in it."""
        end_with(self._starter)
        with self._coord.stop_on_exception():
            self.start_loop()
            while not self._coord.should_stop():
                self.run_loop()
            self.stop_loop()

    def run_loop(self) -> None:
        """One round."""
        self.body(self._body_args, self._body_kwargs)

    def start_loop(self) -> None:
        """Called once before the first round; for subclasses."""

    def stop_loop(self) -> None:
        """Called once after the last round; for subclasses."""

    def body(self, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] = {}) -> None:
        """What a round does: call `target`."""
        if self._body is not None:
            self._body(*args, **kwargs)
