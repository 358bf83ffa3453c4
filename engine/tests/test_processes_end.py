"""Processes end with the one that started them; a root directory belongs to one run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alf.utils._run_lock import RunInUseError, run_lock

_ENGINE = str(Path(__file__).parents[1])

_START = """
import multiprocessing, os, subprocess, sys, threading, time
from alf.utils import _child_process

def live(parent):
    _child_process.end_with(parent)
    _child_process.leave_signals_to_parent()
    print(os.getpid(), flush=True)
    time.sleep(1000)

def start(method):
    context = multiprocessing.get_context(method)
    child = context.Process(target=live, args=(_child_process.Parent.here(),))
    child.start()

if __name__ == "__main__":
    method, in_thread = sys.argv[1:]
    if in_thread == "thread":
        thread = threading.Thread(target=lambda: [start(method), start(method)])
        thread.start()
        thread.join()
    else:
        start(method)
        start(method)
    time.sleep(1000)
"""


def _exists(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait_for_end(pids: list[int], seconds: float = 10.0) -> list[int]:
    """Those that still run after so long."""
    deadline = time.monotonic() + seconds
    while any(map(_exists, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return list(filter(_exists, pids))


def _run(script: Path, *args: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(script), *args],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([_ENGINE, *sys.path])},
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("thread", ["main", "thread"])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_end_with_a_killed_parent_and_not_before(tmp_path, method, thread):
    script = tmp_path / "start.py"
    script.write_text(_START)
    with _run(script, method, thread) as process:
        pids = [int(process.stdout.readline()) for _ in range(2)]
        for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2"):
            os.kill(pids[0], getattr(signal, name))
        time.sleep(1.2)
        living = list(filter(_exists, pids))
        process.kill()
    assert living == pids
    assert _wait_for_end(pids) == []


_HOLD = """
import sys, time
from alf.utils._run_lock import run_lock
with run_lock(sys.argv[1]):
    with run_lock(sys.argv[1]):  # again, in the same process
        print("held", flush=True)
        time.sleep(1000)
"""


def test_the_second_run_ends_with_the_pid_of_the_first(tmp_path):
    script = tmp_path / "hold.py"
    script.write_text(_HOLD)
    with _run(script, str(tmp_path)) as process:
        try:
            assert process.stdout.readline() == "held\n"
            with pytest.raises(RunInUseError) as caught, run_lock(str(tmp_path)):
                pass
        finally:
            process.kill()
        assert f"in use by process {process.pid} on " in str(caught.value)
        with run_lock(str(tmp_path), patience=20):
            held = (tmp_path / ".run_lock").read_text()
    assert re.match(rf"{os.getpid()} on ", held)


_NOT_CLOSED = """
from alf.environments.suite_gym import load
from alf.environments.parallel_environment import ParallelAlfEnvironment

if __name__ == "__main__":
    env = ParallelAlfEnvironment([lambda env_id: load("CartPole-v1")] * 2)
    env.reset()
    print(*[e._process.pid for e in env.envs], flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_environment_that_nobody_closed_does_not_keep_the_program(tmp_path):
    script = tmp_path / "not_closed.py"
    script.write_text(_NOT_CLOSED)
    with _run(script) as process:
        try:
            pids = [int(pid) for pid in process.stdout.readline().split()]
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert len(pids) == 2
    assert _wait_for_end(pids) == []


_COMMANDS = """
import subprocess, sys, threading, time
from alf.utils import _child_process

if sys.argv[1] == "started":
    import os
    _child_process.end_with_other_command()
    assert "ALF_PARENT_PID" not in os.environ
    print(os.getpid(), flush=True)
    time.sleep(1000)
command = [sys.executable, __file__, "started"]
start = lambda: subprocess.Popen(command, env=_child_process.command_environment())
thread = threading.Thread(target=start)  # as a search starts its runs
thread.start()
thread.join()
time.sleep(1000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_runs_of_a_killed_search_end_and_not_before(tmp_path):
    script = tmp_path / "search.py"
    script.write_text(_COMMANDS)
    with _run(script, "starter") as process:
        try:
            pid = int(process.stdout.readline())
            time.sleep(1.2)
            was_there = _exists(pid)
        finally:
            process.kill()
    assert was_there
    assert _wait_for_end([pid]) == []
