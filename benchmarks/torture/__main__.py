"""Injects faults into runs and files and counts what becomes of them: `make torture`.

    python -m benchmarks.torture --root_dir runs/torture
    python -m benchmarks.torture --short --only damage

Prints one table, see `benchmarks.torture.table.Row`, and writes it to `<root_dir>/table.md`. The
exit status is 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.torture.table import Row, as_markdown, total

SECTIONS = (
    "kills",
    "resumes",
    "damage",
    "disk_full",
    "faults",
    "hostile",
    "not_finite",
    "malformed",
)
"""The modules of this package that inject faults, in the order of the table."""


def run(
    root_dir: Path, *, only: Sequence[str] = (), short: bool = False, seed: int = 0
) -> list[Row]:
    """The rows of the sections named by `only`, of all of them without it.

    Raises:
        ValueError: `only` names no section.
    """
    unknown = sorted(set(only) - set(SECTIONS))
    if unknown:
        raise ValueError(f"--only names {', '.join(unknown)}; allowed: {', '.join(SECTIONS)}")
    found: list[Row] = []
    for name in only or SECTIONS:
        section = importlib.import_module(f"benchmarks.torture.{name}")
        folder = root_dir / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        start = time.monotonic()
        rows = section.rows(folder, short=short, seed=seed)
        found += rows
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        print(as_markdown(rows), file=sys.stderr, flush=True)
    return found


def main() -> int:
    """Runs the sections and prints the table; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root_dir", type=Path, default=Path("runs/torture"))
    parser.add_argument("--only", default="", help="names of sections, comma separated")
    parser.add_argument("--short", action="store_true", help="one fault of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    only = [name for name in options.only.split(",") if name]
    rows = run(options.root_dir.resolve(), only=only, short=options.short, seed=options.seed)
    table = as_markdown(rows)
    options.root_dir.mkdir(parents=True, exist_ok=True)
    (options.root_dir / "table.md").write_text(table + "\n", encoding="utf-8")
    print(table)
    return 1 if total(rows).lost else 0


if __name__ == "__main__":
    sys.exit(main())
