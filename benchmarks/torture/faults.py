"""Workers and environments that fail, hang or disappear.

Noticed: the run ends with one line that names it. Survived: the same command goes on without the
fault, to its end. Lost: neither, or a process stays behind.
"""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.torture.kills import newest_name
from benchmarks.torture.runs import Training, write_conf
from benchmarks.torture.table import Row

_SECONDS = 60.0
_PROCESSES = """
from alf.environments.parallel_environment import ParallelAlfEnvironment

alf.config("create_environment", parallel_environment_ctor=ParallelAlfEnvironment)
"""
_UNROLL = """
alf.config("TrainerConfig", async_unroll=True, unroll_queue_size=4)
"""
_EVALUATION = """
alf.config("TrainerConfig", evaluate=True, eval_interval=5, num_eval_episodes=2)
"""
_ENDLESS = ("TrainerConfig.num_iterations=1000000", "TrainerConfig.num_checkpoints=1000000")


class _Case(NamedTuple):
    """One fault.

    Attributes:
        message: pattern of the line that has to name it.
        more: of the conf file.
        fault: what the environment does.
        signum: sent to a child of the training instead.
        status: exit status of the disturbed run.
    """

    message: str
    more: str = ""
    fault: str = ""
    signum: int = 0
    status: int = 1


_CASES = {
    "worker killed": _Case("process of environment 0 has ended", _PROCESSES, signum=signal.SIGKILL),
    "environment raises in a worker": _Case("the simulator has failed", _PROCESSES, "raises"),
    "environment ends its worker": _Case(r"has ended \(exit code 7\)", _PROCESSES, "exits"),
    "environment hangs in a worker": _Case(r"environments? \d.*not answered", _PROCESSES, "hangs"),
    "environment hangs": _Case(r"environment \d \(in .*not answered", fault="hangs"),
    "reward is NaN": _Case("reward", fault="nan reward"),
    "observation of another shape": _Case("observation|shape", fault="other shape"),
    "unroll process killed": _Case("unroll process has ended", _UNROLL, signum=signal.SIGKILL),
    "evaluation process killed": _Case("evaluation process", _EVALUATION, signum=signal.SIGKILL),
}


def rows(folder: Path, *, short: bool, seed: int = 0) -> list[Row]:
    del seed  # nothing is drawn
    names = ["worker killed"] if short else list(_CASES)
    outcomes = {name: _disturbed(folder, name, _CASES[name]) for name in names}
    found = [_row("worker and environment faults", outcomes)]
    if not short:
        others = {"second run in a root_dir": _second_run, "training killed": _training_killed}
        found.append(
            _row("two runs, orphans", {name: case(folder) for name, case in others.items()})
        )
    return found


def _row(kind: str, outcomes: dict[str, tuple[bool, bool, str]]) -> Row:
    noticed = sum(outcome[0] for outcome in outcomes.values())
    survived = sum(outcome[1] for outcome in outcomes.values())
    bad = {name: outcome[2] for name, outcome in outcomes.items() if not all(outcome[:2])}
    notes = "; ".join(f"{name}: {text}" for name, text in bad.items())
    return Row(kind, len(outcomes), noticed, survived, len(bad), notes)


def _disturbed(folder: Path, name: str, case: _Case) -> tuple[bool, bool, str]:
    place = folder / name.replace(" ", "_")
    place.mkdir()
    root, conf = place / "run", write_conf(place, case.more)
    variables = {"FAULT": case.fault, "FAULT_AT": "60"} if case.fault else {}
    training = Training(root, conf, variables=variables, parameters=_ENDLESS)
    children: list[int] = []
    if training.wait_for(lambda: newest_name(root) > 5, _SECONDS):
        children = children_of(training.pid)
        if case.signum and children:
            os.kill(children[0], case.signum)
    status = training.end(_SECONDS)
    text = training.text
    noticed = status == case.status and any(
        re.search(case.message, line) for line in text.splitlines()
    )
    steps = f"TrainerConfig.num_iterations={max(newest_name(root), 0) + 10}"
    again = Training(root, conf, parameters=(steps,))
    survived = again.end(_SECONDS) == 0 and _have_ended(children)
    return noticed, survived, f"exit {status}, {training.last_line[:150]}; {again.last_line[:100]}"


def _second_run(folder: Path) -> tuple[bool, bool, str]:
    place = folder / "second"
    place.mkdir()
    root, conf = place / "run", write_conf(place)
    first = Training(root, conf, parameters=_ENDLESS)
    first.wait_for(lambda: newest_name(root) > 5)
    second = Training(root, conf, parameters=_ENDLESS)
    status = second.end(_SECONDS)
    noticed = status == 1 and f"in use by process {first.pid} " in second.last_line
    step = newest_name(root)
    goes_on = first.wait_for(lambda: newest_name(root) > step)
    first.send(signal.SIGTERM)
    survived = goes_on and first.end(_SECONDS) == 128 + signal.SIGTERM
    return noticed, survived, f"exit {status}, {second.last_line[:150]}"


def _training_killed(folder: Path) -> tuple[bool, bool, str]:
    """All processes that it has started end with it; nothing is to be noticed."""
    place = folder / "orphans"
    place.mkdir()
    root, conf = place / "run", write_conf(place, _PROCESSES + _EVALUATION + _UNROLL)
    training = Training(root, conf, parameters=_ENDLESS)
    training.wait_for(lambda: newest_name(root) > 5, _SECONDS)
    below = [pid for pid in descendants_of(training.pid) if pid != training.pid]
    training.send(signal.SIGKILL)
    training.end()
    ended = _have_ended(below)
    return True, ended and len(below) >= 4, f"{len(below)} processes, ended: {ended}"


def children_of(pid: int) -> list[int]:
    """The processes that a process has started, oldest first; helpers of Python left out."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if "resource_tracker" not in _command(int(child))]


def descendants_of(pid: int) -> list[int]:
    """A process and all below it."""
    return [pid, *(p for child in children_of(pid) for p in descendants_of(child))]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def _have_ended(pids: list[int], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(_runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(_runs, pids))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
