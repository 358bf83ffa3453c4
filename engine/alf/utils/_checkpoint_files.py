"""Files of a checkpoint: sets of three that are whole or not there, whenever the power goes.

A set of step N is `ckpt-N-optimizer`, `ckpt-N-replay_buffer` and `ckpt-N`. All three carry one
random set id, so that files of two saves are never taken for one set. A save goes in three steps:

1. the side files are written as `ckpt-N-<part>.new`;
2. the model file is written aside and renamed to `ckpt-N.new`: from here on the save counts;
3. the `.new` files are renamed over their final names, the model file last.

A process killed before 2 leaves the older sets as they were, one killed after it leaves a set that
is read through its `.new` files and tidied by the next save.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from typing import Any

from alf.utils import _checkpoint_archive as archive
from alf.utils._checkpoint_archive import UnreadableCheckpointError

MODEL = "model"
OPTIMIZER = "optimizer"
REPLAY_BUFFER = "replay_buffer"
PARTS: tuple[str, ...] = (OPTIMIZER, REPLAY_BUFFER, MODEL)
"""The parts of a set in the order in which they get their final names."""

_NEW = ".new"
_UNFINISHED = ".tmp"
_SET_ID = "set_id"


def part_path(ckpt_dir: str, step: int, part: str) -> str:
    """Final path of one file of the set of `step`."""
    name = f"ckpt-{step}" if part == MODEL else f"ckpt-{step}-{part}"
    return os.path.join(ckpt_dir, name)


def has_part(ckpt_dir: str, step: int, part: str) -> bool:
    """Whether a file of the set of `step` is there."""
    path = part_path(ckpt_dir, step, part)
    return os.path.exists(path) or os.path.exists(path + _NEW)


def steps_of(ckpt_dir: str) -> list[int]:
    """Steps that have a model file, in ascending order."""
    if not os.path.isdir(ckpt_dir):
        return []
    matches = (re.fullmatch(r"ckpt-(\d+)(\.new)?", name) for name in os.listdir(ckpt_dir))
    return sorted({int(match[1]) for match in matches if match})


def steps_without_model(ckpt_dir: str) -> list[int]:
    """Steps that have a side file in its final place and no model file, in ascending order."""
    if not os.path.isdir(ckpt_dir):
        return []
    matches = (re.fullmatch(r"ckpt-(\d+)-\w+", name) for name in os.listdir(ckpt_dir))
    return sorted({int(match[1]) for match in matches if match} - set(steps_of(ckpt_dir)))


def write_set(ckpt_dir: str, step: int, parts: dict[str, dict[str, Any]]) -> None:
    """Write the three files of a set; on any error the directory keeps the sets that it had."""
    os.makedirs(ckpt_dir, exist_ok=True)
    _tidy(ckpt_dir)
    set_id = secrets.token_hex(8)
    started: list[str] = []
    try:
        for part in PARTS:
            new_path = part_path(ckpt_dir, step, part) + _NEW
            path = new_path if part != MODEL else part_path(ckpt_dir, step, part) + _UNFINISHED
            started.append(path)
            archive.write(path, {**parts[part], _SET_ID: set_id})
        _sync_directory(ckpt_dir)
        os.replace(path, new_path)
    except BaseException:
        for path in started:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        raise
    _sync_directory(ckpt_dir)
    _put_in_place(ckpt_dir, step)


def read_set(ckpt_dir: str, step: int, wanted: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Read the `wanted` parts of a set, tensors on the cpu.

    Raises UnreadableCheckpointError naming the file that is missing or damaged.
    """
    problems = []
    for model_suffix in (_NEW, ""):
        path = part_path(ckpt_dir, step, MODEL) + model_suffix
        if not os.path.exists(path):
            continue
        try:
            model = archive.read(path)
            sides = {
                part: _read_side(ckpt_dir, step, part, model.get(_SET_ID))
                for part in wanted
                if part != MODEL
            }
        except UnreadableCheckpointError as problem:
            problems.append(str(problem))
            continue
        return {part: model if part == MODEL else sides[part] for part in wanted}
    if not problems:
        problems.append(f"{part_path(ckpt_dir, step, MODEL)} is missing")
    raise UnreadableCheckpointError("; ".join(problems))


def remove_replay_buffers(ckpt_dir: str, newest_step: int, num_kept: int) -> None:
    """Delete the replay buffer files of all sets up to `newest_step` but its `num_kept` newest."""
    steps = [step for step in steps_of(ckpt_dir) if step <= newest_step]
    for step in steps[: max(len(steps) - num_kept, 0)]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part_path(ckpt_dir, step, REPLAY_BUFFER))


def remove_set(ckpt_dir: str, step: int) -> None:
    """Delete the set of a step; the model file goes first, so that no half of it counts."""
    for part in reversed(PARTS):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part_path(ckpt_dir, step, part))


def set_aside(ckpt_dir: str, step: int) -> None:
    """Rename the files of a set, so that it is none any more and can still be looked at."""
    for part in reversed(PARTS):
        path = part_path(ckpt_dir, step, part)
        for suffix in (_NEW, ""):
            if os.path.exists(path + suffix):
                name = f"damaged-{os.path.basename(path)}{suffix}"
                os.replace(path + suffix, os.path.join(ckpt_dir, name))


def _read_side(ckpt_dir: str, step: int, part: str, set_id: str | None) -> dict[str, Any]:
    """The side file that belongs to the model file with `set_id`."""
    path = part_path(ckpt_dir, step, part)
    problem = f"{path} is missing"
    for candidate in (path + _NEW, path):
        if not os.path.exists(candidate):
            continue
        try:
            # A replay buffer may have many GB: mapped, it is copied straight to where it belongs.
            content = archive.read(candidate, mmap=part == REPLAY_BUFFER)
        except UnreadableCheckpointError as error:
            problem = str(error)
            continue
        if content.get(_SET_ID) == set_id:
            return content
        problem = f"{candidate} was not written together with its model file"
    raise UnreadableCheckpointError(problem)


def _sync_directory(path: str) -> None:
    """Make the renames in a directory survive a power cut."""
    if os.name == "nt":  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(ckpt_dir: str, step: int) -> None:
    for part in PARTS:
        path = part_path(ckpt_dir, step, part)
        if os.path.exists(path + _NEW):
            if part == MODEL:
                _sync_directory(ckpt_dir)
            os.replace(path + _NEW, path)
    _sync_directory(ckpt_dir)


def _tidy(ckpt_dir: str) -> None:
    """Finish or remove what a killed process has left behind."""
    for step in steps_without_model(ckpt_dir):
        remove_set(ckpt_dir, step)
    for step in steps_of(ckpt_dir):
        if os.path.exists(part_path(ckpt_dir, step, MODEL) + _NEW):
            _put_in_place(ckpt_dir, step)
    for name in os.listdir(ckpt_dir):
        if re.fullmatch(r"ckpt-\d+(-\w+)?(\.new|\.tmp)", name):
            os.unlink(os.path.join(ckpt_dir, name))
