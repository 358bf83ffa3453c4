"""Kills trainings at random moments, most of them while they save, and starts them again.

After each kill the newest checkpoint has to be readable and must not lie behind the one before; at
the end the run has to come to its end. (Noticed is each kill after which the next start says from
which checkpoint it continues, or that it begins anew because nothing was saved yet.)
"""

from __future__ import annotations

import concurrent.futures
import functools
import os
import random
import signal
import time
from pathlib import Path

from benchmarks.torture.runs import Training, checkpoint_dir, newest, write_conf
from benchmarks.torture.table import Row

_FLAT = ("TrainerConfig.num_checkpoints=100000", "TrainerConfig.num_iterations=100000")
_HIERARCHY = ("TrainerConfig.num_checkpoints=5000", "TrainerConfig.evaluate=False")


def rows(folder: Path, *, short: bool, seed: int = 0) -> list[Row]:
    flat = functools.partial(
        _row, folder / "flat", write_conf(folder), _FLAT, 1 if short else 30, random.Random(seed)
    )
    if short:
        return [flat()]
    hierarchy = functools.partial(
        _row,
        folder / "hierarchy",
        "alf_configs/sac_over_sac_maze2d_conf.py",
        _HIERARCHY,
        20,
        random.Random(seed + 1),
        last="TrainerConfig.num_env_steps={steps}",
    )
    # Most of the time goes into starts, each on one core.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return [future.result() for future in [pool.submit(flat), pool.submit(hierarchy)]]


def _row(
    root: Path,
    conf: str | Path,
    parameters: tuple[str, ...],
    count: int,
    rng: random.Random,
    last: str = "TrainerConfig.num_iterations={steps}",
) -> Row:
    noticed = survived = lost = in_saves = 0
    before, notes = -1, ""
    for number in range(count):
        training = Training(root, conf, parameters=parameters)
        training.wait_for(lambda least=before: newest_name(root) > least)
        if number:
            noticed += "continuing" in training.text
        time.sleep(rng.uniform(0.0, 1.5))
        if not training.is_alive:
            notes, lost = f"ended by itself: {training.last_line}", lost + 1
        training.send(signal.SIGKILL)
        training.end()
        in_saves += any(n.endswith((".new", ".tmp")) for n in os.listdir(checkpoint_dir(root)))
        try:
            step, _ = newest(root)
        except ValueError as error:
            step, notes = -1, str(error)
        if step < before:
            lost += 1
            notes = notes or f"checkpoint {before} was there, {step} is the newest now"
        else:
            survived += 1
        before = step
    steps = before + 2 if "iterations" in last else 10
    end = tuple(p for p in parameters if "num_iterations" not in p and "num_checkpoints" not in p)
    training = Training(root, conf, parameters=(*end, last.format(steps=steps)))
    status = training.end(120)
    noticed += "continuing" in training.text
    if status != 0:
        lost, notes = lost + 1, f"the last start ended with {status}: {training.last_line}"
    notes = notes or f"{in_saves} of them in the middle of a save"
    return Row(f"kill -9, {root.name} SAC", count, noticed, survived, lost, notes)


def newest_name(root: Path) -> int:
    """The largest number of a checkpoint's name, -1 without one."""
    names = os.listdir(checkpoint_dir(root)) if checkpoint_dir(root).is_dir() else []
    return max((int(n[5:]) for n in names if n[5:].isdigit()), default=-1)
