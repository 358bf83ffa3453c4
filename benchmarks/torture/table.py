"""What a torture section reports: one row for each kind of fault, and the table of all of them.

A section is a module of this package with one function::

    def rows(folder: Path, *, short: bool, seed: int = 0) -> list[Row]:

`folder` is empty and the section's own; whatever it writes goes there. With `short` the section
takes a few seconds and injects one fault of each of its kinds: that is what CI runs. All sections
together take at most about 15 minutes without it, on two cores. Faults are drawn from `seed`. A
section raises only where it is itself broken: what a fault does is counted, never raised.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_HEADER = ("fault", "injected", "noticed", "survived", "lost", "notes")


class Row(NamedTuple):
    """The faults of one kind.

    Attributes:
        kind: e.g. "one byte flipped in a checkpoint file".
        injected: number of faults.
        noticed: so many of them were named by an error or a warning, by what was wrong and where.
            The others must be harmless: the same numbers come out as without the fault.
        survived: after so many of them what was saved before is right, and the same command goes
            on from it (or a corrected one, where the command was the fault).
        lost: so many of them did damage: a wrong number was used or saved, work saved before is
            gone, a process hangs or stays behind, code from data ran, or the error says nothing
            that a user can act on. The goal is 0.
        notes: what a reader has to know, e.g. "skipped: needs root". One line; a lost fault's
            details belong here.
    """

    kind: str
    injected: int
    noticed: int
    survived: int
    lost: int
    notes: str = ""


def total(rows: Sequence[Row]) -> Row:
    """The sums of the counts."""
    counts = [sum(row[i] for row in rows) for i in range(1, 5)]
    return Row("all", *counts)


def as_markdown(rows: Sequence[Row]) -> str:
    """The rows and their sum as a table."""
    lines = [_line(_HEADER), "|---|--:|--:|--:|--:|---|"]
    return "\n".join(
        [*lines, *(_line([str(cell) for cell in row]) for row in [*rows, total(rows)])]
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"
