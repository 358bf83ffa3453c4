"""A disk that fills up: on a tmpfs of 4 MB, which only root can mount.

Noticed: the file is named, and that the disk is full. Survived: the checkpoints that were there can
be read, and the run goes on once there is room.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.torture.kills import newest_name
from benchmarks.torture.runs import Training, newest, write_conf
from benchmarks.torture.table import Row

_ENDLESS = ("TrainerConfig.num_iterations=1000000", "TrainerConfig.num_checkpoints=1000000")
_FULL = "the disk is full"


def rows(folder: Path, *, short: bool, seed: int = 0) -> list[Row]:
    del seed  # nothing is drawn
    kind = "disk full"
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        return [Row(kind, 0, 0, 0, 0, "skipped: to mount a tmpfs needs root")]
    try:
        cases = [_while_training] if short else [_while_training, _at_the_end, _at_the_start]
        conf = write_conf(folder)
        outcomes = [case(disk / case.__name__[1:], conf) for case in cases]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    noticed = sum(outcome[0] for outcome in outcomes)
    survived = sum(outcome[1] for outcome in outcomes)
    lost = sum(not all(outcome[:2]) for outcome in outcomes)
    notes = "; ".join(text for *_, text in outcomes if text)
    return [Row(kind, len(cases), noticed, survived, lost, notes)]


def _while_training(root: Path, conf: Path) -> tuple[bool, bool, str]:
    training = Training(root, conf, parameters=_ENDLESS, first=_no_pause, logs=_logs(root))
    training.wait_for(lambda: newest_name(root) > 5)
    with _filled(root.parent):
        is_named = training.wait_for(lambda: _FULL in training.text)
        step, _ = newest(root)
        goes_on = training.is_alive
    goes_on &= training.wait_for(lambda: newest_name(root) > step)
    training.send(signal.SIGTERM)
    status = training.end()
    survived = step > 0 and goes_on and status == 128 + signal.SIGTERM
    return is_named and "ckpt-" in training.text, survived, "" if survived else training.last_line


def _at_the_end(root: Path, conf: Path) -> tuple[bool, bool, str]:
    training = Training(root, conf, parameters=_ENDLESS, first=_no_pause, logs=_logs(root))
    training.wait_for(lambda: newest_name(root) > 5)
    with _filled(root.parent):
        training.wait_for(lambda: _FULL in training.text)
        training.send(signal.SIGTERM)
        status = training.end()
        named = status == 1 and training.last_line.startswith("error: ")
        named &= _FULL in training.last_line
        step, _ = newest(root)
    return named, step > 0 and _continues(root, conf, step), training.last_line if not named else ""


def _at_the_start(root: Path, conf: Path) -> tuple[bool, bool, str]:
    with _filled(root.parent):
        training = Training(root, conf, logs=_logs(root))
        status = training.end()
    named = status == 1 and training.last_line.startswith("error: ")
    named &= _FULL in training.last_line and str(root) in training.last_line
    return named, _continues(root, conf, 0), training.last_line if not named else ""


def _logs(root: Path) -> Path:
    """Not on the full disk."""
    return root.parent.parent / root.name


def _continues(root: Path, conf: Path, step: int) -> bool:
    steps = f"TrainerConfig.num_iterations={step + 20}"
    return Training(root, conf, parameters=(steps,), logs=_logs(root)).end() == 0


@contextlib.contextmanager
def _filled(disk: Path) -> Iterator[None]:
    """Not a byte is left on the disk inside."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (2**16, 2**10, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    try:
        yield
    finally:
        filler.unlink()


def _no_pause() -> None:
    """Called in the process of a training: try again soon after a failed save."""
    from alf.trainers import _checkpoint_schedule

    _checkpoint_schedule._SECONDS_BETWEEN_TRIES = 1.0
