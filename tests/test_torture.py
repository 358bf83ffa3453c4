"""The short form of `make torture`: one fault of each kind, none of them with a loss."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.torture.__main__ import SECTIONS, run
from benchmarks.torture.runs import REPOSITORY
from benchmarks.torture.table import Row, as_markdown, total


def test_the_table_sums_up_and_keeps_its_columns() -> None:
    rows = [Row("a", 2, 1, 2, 0), Row("b | c", 3, 3, 2, 1, "one\ntwo")]
    assert total(rows) == Row("all", 5, 4, 4, 1)
    lines = as_markdown(rows).splitlines()
    assert lines[3] == "| b / c | 3 | 3 | 2 | 1 | one two |"
    assert {line.count("|") for line in lines} == {7}


@pytest.mark.parametrize("section", ["hostile", "damage"])
def test_nothing_is_lost(section: str, tmp_path: Path) -> None:
    """The sections whose short form takes seconds, each in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.torture", "--short", "--only", section]
    command += ["--root_dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("| all |")


@pytest.mark.slow
@pytest.mark.parametrize("section", ["kills", "disk_full", "faults"])
def test_nothing_is_lost_by_runs(section: str, tmp_path: Path) -> None:
    test_nothing_is_lost(section, tmp_path)


def test_an_unknown_section_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"names kill; allowed: {', '.join(SECTIONS)}"):
        run(tmp_path, only=["kill"])
