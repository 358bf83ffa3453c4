"""Flipped bits, zeroed blocks and truncations of the three files of a checkpoint.

Noticed: the set before is loaded, with one warning that names the file. Otherwise what is loaded
has to be what was saved, to the last bit.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alf.utils import _checkpoint_files as files
from alf.utils.checkpoint_utils import Checkpointer
from benchmarks.torture.runs import Content, Training, checkpoint_dir, is_same, write_conf
from benchmarks.torture.table import Row

_BLOCK = 512


def rows(folder: Path, *, short: bool, seed: int = 0) -> list[Row]:
    root = folder / "run"
    training = Training(root, write_conf(folder), parameters=("TrainerConfig.num_checkpoints=2",))
    if training.end() != 0:
        raise RuntimeError(training.text)
    ckpt_dir = checkpoint_dir(root)
    steps = files.steps_of(str(ckpt_dir))
    whole = {step: _load(ckpt_dir, step)[1] for step in steps}
    kinds = {"bits flipped": _flip, "blocks of zeros": _zero, "truncations": _cut}
    rng = random.Random(seed)
    count = 9 if short else 200
    return [_row(kind, damage, ckpt_dir, whole, count, rng) for kind, damage in kinds.items()]


def _row(
    kind: str,
    damage: Callable[[bytes, random.Random], bytes],
    ckpt_dir: Path,
    whole: dict[int, dict[str, Any]],
    count: int,
    rng: random.Random,
) -> Row:
    noticed, lost, notes = 0, 0, ""
    newest = max(whole)
    for number in range(count):
        path = Path(files.part_path(str(ckpt_dir), newest, files.PARTS[number % 3]))
        content = path.read_bytes()
        path.write_bytes(damage(content, rng))
        try:
            with _warnings() as warnings:
                step, state = _load(ckpt_dir)
            is_noticed = step != newest
            is_right = is_same(state, whole[step]) and (
                not is_noticed or (len(warnings) == 1 and str(path) in warnings[0])
            )
        except Exception as error:
            is_noticed, is_right = False, False
            notes = f"{type(error).__name__}: {error}"
        path.write_bytes(content)
        noticed += is_noticed
        lost += not is_right
    harmless = count - noticed - lost
    notes = notes or (f"{harmless} in unused bytes: loaded bit for bit" if harmless else "")
    return Row(f"checkpoint files: {kind}", count, noticed, count - lost, lost, notes)


def _flip(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]


def _zero(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes(len(content[at : at + _BLOCK])) + content[at + _BLOCK :]


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _load(ckpt_dir: Path, step: int | str = "latest") -> tuple[int, dict[str, Any]]:
    content = Content()
    return Checkpointer(str(ckpt_dir), algorithm=content).load(step), content.state


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """The warnings that the engine logs inside."""
    texts: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: texts.append(record.getMessage())
    logger = logging.getLogger("absl")
    others, logger.handlers = logger.handlers, [handler]
    try:
        yield texts
    finally:
        logger.handlers = others
