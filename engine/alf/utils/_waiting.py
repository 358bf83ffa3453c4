"""What the main thread waits for, and a watch over it: what does not answer is said, and ends.

An environment can hang in foreign code that no exception reaches. So another thread looks: it says
who has not answered for how long, and after a limit, or when a stop was requested meanwhile, it
saves what can be saved and ends the process.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from absl import logging

HEARTBEAT_SECS = 60.0
TIMEOUT_SECS = 1800.0
_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_OF_GRACE = 5.0

_waits: list[waiting_for] = []
_lock = threading.Lock()
_active: Watch | None = None


class waiting_for:
    """Context of the main thread in which it waits for something outside of this program.

    Args:
        what: an environment, or the name of something else.
        is_limited: whether the wait may take as long as `Watch.timeout`.
    """

    __slots__ = ("is_limited", "since", "what")

    def __init__(self, what: Any, *, is_limited: bool = True) -> None:
        self.what = what
        self.is_limited = is_limited

    def __enter__(self) -> None:
        self.since = time.monotonic()
        _waits.append(self)

    def __exit__(self, *_: object) -> None:
        with _lock:  # while the process is being ended, nothing may go on
            _waits.pop()


class Watch:
    """A thread that watches the waits of the main thread.

    Attributes:
        heartbeat: seconds after which a wait is reported for the first time, then after twice as
            many and so on; 0: never.
        timeout: seconds after which a limited wait ends the process; 0: never.
        stop_request: the signal that asked for a stop and when, by `time.monotonic()`; or None.
        end: called with what is wrong and the signal, if one asked for it; it ends the process.
    """

    def __init__(self) -> None:
        self.heartbeat = HEARTBEAT_SECS
        self.timeout = TIMEOUT_SECS
        self.stop_request: Callable[[], tuple[int, float] | None] = lambda: None
        self.end: Callable[[str, int | None], None] = end_now
        self._main = threading.main_thread().ident
        self._done = threading.Event()
        self._reported: tuple[waiting_for | None, float] = (None, 0.0)
        self._thread = threading.Thread(target=self._run, name="alf-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(_SECONDS_BETWEEN_LOOKS):
            with contextlib.suppress(IndexError):
                self._look(_waits[-1])

    def _look(self, wait: waiting_for) -> None:
        now = time.monotonic()
        seconds = now - wait.since
        if self.heartbeat and seconds >= self._next_report(wait):
            self._reported = (wait, 2 * max(seconds, self.heartbeat))
            logging.warning("%s", self._text(wait, seconds))
        request = self.stop_request()
        is_stop = request is not None and now - max(wait.since, request[1]) > _SECONDS_OF_GRACE
        is_over = wait.is_limited and 0 < self.timeout <= seconds
        if not is_stop and not is_over:
            return
        text = self._text(wait, seconds)
        _lock.acquire()  # for good, unless the answer has come
        if _waits and _waits[-1] is wait:
            self.end(text, request[0] if request is not None else None)
        _lock.release()

    def _next_report(self, wait: waiting_for) -> float:
        reported, seconds = self._reported
        return seconds if reported is wait else self.heartbeat

    def _text(self, wait: waiting_for, seconds: float) -> str:
        frame = sys._current_frames().get(self._main or 0)
        name = wait.what if isinstance(wait.what, str) else _environment_name(wait.what, frame)
        verb = "have" if name.startswith("environments") else "has"
        return f"{name} {verb} not answered for {seconds:,.0f} s"


@contextlib.contextmanager
def watching() -> Iterator[Watch]:
    """Context with a watch; inside another one it is the same."""
    global _active
    if _active is not None:
        yield _active
        return
    _active = Watch()
    _active.start()
    try:
        yield _active
    finally:
        _active.stop()
        _active = None


def end_now(text: str, signum: int | None) -> None:
    """End the process with a line that says why."""
    logging.error("%s", text)
    print(f"error: {text}", file=sys.stderr, flush=True)
    logging.flush()
    os._exit(1 if signum is None else 128 + signum)


def _environment_name(env: Any, frame: FrameType | None) -> str:
    """Which of the environments in a batched one the main thread waits for."""
    ids = _unanswered(env, frame)
    place = "" if frame is None else f" (in {frame.f_code.co_filename}:{frame.f_lineno})"
    if not ids:
        return f"the environment{place}"
    if len(ids) == 1:
        return f"environment {ids[0]}{place}"
    return "environments " + ", ".join(map(str, ids))


def _unanswered(env: Any, frame: FrameType | None) -> list[int]:
    ask = getattr(env, "unanswered", None)
    if ask is not None:  # it knows, as its environments are in other processes
        ids = ask()
        if ids:
            return list(ids)
    single = getattr(env, "envs", None) or getattr(getattr(env, "vector_env", None), "envs", None)
    while frame is not None and single:
        owner = frame.f_locals.get("self")
        for i, one in enumerate(single):
            if owner is one:
                return [i]
        frame = frame.f_back
    return []
