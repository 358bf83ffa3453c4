"""One run at a time in a root directory."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

from absl import logging

try:
    import fcntl
except ImportError:  # Windows
    fcntl: Any = None

LOCK_FILE = ".run_lock"
_SECONDS_BETWEEN_TRIES = 0.2
_held: set[str] = set()


class RunInUseError(ValueError):
    """Another process writes to the root directory."""


@contextlib.contextmanager
def run_lock(root_dir: str, patience: float = 0.0) -> Iterator[None]:
    """Context in which no other process has the lock of `root_dir`, which exists.

    The lock ends with this process, however it ends; processes forked from it do not have it.
    Inside, the same process may enter it again.

    Args:
        patience: seconds to wait for another process that is about to end.

    Raises RunInUseError naming the process that has it.
    """
    path = os.path.join(os.path.realpath(root_dir), LOCK_FILE)
    if path in _held or fcntl is None:
        yield
        return
    with open(path, "a+", encoding="utf-8") as file:
        if not _lock(file, root_dir, patience):
            yield
            return
        file.truncate(0)
        file.write(f"{os.getpid()} on {socket.gethostname()}, since {time.strftime('%F %T')}")
        file.flush()
        _held.add(path)
        try:
            yield
        finally:
            _held.discard(path)


def _lock(file: Any, root_dir: str, patience: float) -> bool:
    """Whether the lock was got; False where the file system knows no locks."""
    deadline = time.monotonic() + patience
    while True:
        try:
            # Of POSIX, not flock(2): that one would be inherited by forked processes.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except (BlockingIOError, PermissionError) as error:
            if time.monotonic() < deadline:
                time.sleep(_SECONDS_BETWEEN_TRIES)
                continue
            file.seek(0)
            raise RunInUseError(
                f"--root_dir={root_dir} is in use by process {file.read().strip() or 'unknown'}: "
                "two runs would delete each other's checkpoints; wait for its end or choose "
                "another root_dir"
            ) from error
        except OSError as error:
            logging.warning("%s cannot be locked (%s)", file.name, error.strerror)
            return False
