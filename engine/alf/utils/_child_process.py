"""What a process owes the one that started it: it ends with it, and leaves signals to it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

_PARENT_VARIABLE = "ALF_PARENT_PID"
_SECONDS_BETWEEN_LOOKS = 1.0
_PR_SET_PDEATHSIG = 1  # of prctl(2)
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_LEFT_TO_PARENT = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")
_is_command_of_other = False


class Parent(NamedTuple):
    """A process that starts others.

    Attributes:
        pid: its number.
        is_main_thread: whether they are started by its main thread, which lives as long as it does.
    """

    pid: int
    is_main_thread: bool

    @classmethod
    def here(cls) -> Parent:
        """This process, asked by the thread that starts another one."""
        return cls(os.getpid(), threading.current_thread() is threading.main_thread())


def end_with(parent: Parent, signum: int = _KILL) -> None:
    """Let this process get `signum` when `parent` ends, in whatever way.

    The end of a pipe would not tell: every process that was forked meanwhile holds it open.
    """
    if sys.platform == "win32":
        return
    if sys.platform == "linux" and parent.is_main_thread:
        # The kernel sends it at once, even while this process does not come back from C code.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signum)
    threading.Thread(
        target=_watch, args=(parent.pid, os.getppid(), signum), name="alf-parent", daemon=True
    ).start()


def _watch(parent_pid: int, started_by: int, signum: int) -> None:
    # A fork server has started this process, where the two numbers differ.
    while os.getppid() == started_by and _exists(parent_pid):
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os.kill(os.getpid(), signum)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def leave_signals_to_parent(handler: Callable[[int, Any], None] | None = None) -> None:
    """Nothing happens at signals that a terminal or a scheduler sends to all processes of a run.

    They mean the run as a whole: its first process gets them too and ends this one in its own time.

    Args:
        handler: called instead at SIGTERM.
    """
    for name in _LEFT_TO_PARENT:
        if hasattr(signal, name):
            # No SIG_IGN, which programs started from here would inherit.
            is_end = name == "SIGTERM" and handler is not None
            signal.signal(getattr(signal, name), handler if is_end else _do_nothing)


def _do_nothing(signum: int, frame: Any) -> None:
    pass


def command_environment() -> dict[str, str]:
    """Environment variables for a program of alf that is to end when this process ends."""
    return {**os.environ, _PARENT_VARIABLE: str(os.getpid())}


def end_with_other_command() -> None:
    """Let this program get SIGTERM when the one ends that started it by `command_environment()`."""
    global _is_command_of_other
    pid = os.environ.pop(_PARENT_VARIABLE, "")
    if pid.isdigit():
        _is_command_of_other = True
        # Threads of it may start programs.
        end_with(Parent(int(pid), is_main_thread=False), signal.SIGTERM)


def is_command_of_other() -> bool:
    """Whether another program of alf has started this one."""
    return _is_command_of_other
