"""docs/architecture.md: its links lead to the code it names, its picture shows today's layers."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.runs import REPOSITORY

DOCS = REPOSITORY / "docs"
TEXT = (DOCS / "architecture.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| \[(\S+)\]\((\S+)\) \| (.*) \|$", TEXT, re.MULTILINE)
WALKS = re.findall(r"^\| file \|.*\n\|---\|---\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)


def _functions(path: Path) -> set[str]:
    """`function` and `Class.method` of a file."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
            found |= {node.name, *names, *(f"{node.name}.{name}" for name in names)}
    return found


@pytest.mark.parametrize(("name", "link", "text"), ROWS)
def test_a_linked_file_has_what_the_text_names(name: str, link: str, text: str) -> None:
    path = DOCS / link
    assert path.name == name
    named = re.findall(r"`([A-Z]\w+\.\w+|[a-z_]+)`(?=:|,)", text)
    assert named
    assert set(named) <= _functions(path) | {"rollout_step"}


def test_a_walk_reads_six_files_at_most() -> None:
    assert len(WALKS) == 2
    assert all(1 < len(walk.splitlines()) <= 6 for walk in WALKS)


def test_the_picture_shows_the_layers_of_today() -> None:
    """Where it fails, run `python docs/draw_layers.py`."""
    drawn: Any = runpy.run_path(str(DOCS / "draw_layers.py"))["draw"]()
    titles = re.compile(r'font-weight="bold" font-size="13">([^<]+)<')
    picture = (DOCS / "layers.svg").read_text(encoding="utf-8")
    assert titles.findall(picture) == titles.findall(drawn)
