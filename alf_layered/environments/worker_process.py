"""What a worker process of a vector environment owes the one that started it.

Gymnasium's workers wait for ever where the main process was killed: each holds a copy of the pipe
end by which the others would notice.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

_PR_SET_PDEATHSIG = 1  # of prctl(2)
_SECONDS_BETWEEN_LOOKS = 1.0
_LEFT_TO_PARENT = ("SIGINT", "SIGUSR1", "SIGUSR2")


def in_worker(make: Callable[[], Any]) -> Callable[[], Any]:
    """`make` for the workers of this process: one that calls it ends with this process.

    Of a signal to all processes of a run, the first one decides what it means: workers pass over
    SIGINT, SIGUSR1 and SIGUSR2.
    """
    starter = os.getpid()
    is_main_thread = threading.current_thread() is threading.main_thread()

    def made() -> Any:
        if os.getpid() != starter and sys.platform != "win32":
            _end_with(starter, is_main_thread)
            for name in _LEFT_TO_PARENT:
                signal.signal(getattr(signal, name), lambda *_: None)
        return make()

    return made


def _end_with(starter: int, is_main_thread: bool) -> None:
    if sys.platform == "linux" and is_main_thread:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, args=(os.getppid(), starter), daemon=True).start()


def _watch(parent: int, starter: int) -> None:
    while os.getppid() == parent and _exists(starter):
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os.kill(os.getpid(), signal.SIGKILL)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
