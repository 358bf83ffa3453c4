"""The plugin uses only names that upstream ALF has, with the arguments it has.

`alf_api.json` lists every public module, class, function, signature and tuple field of upstream
ALF.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
API = json.loads(Path(__file__).with_name("alf_api.json").read_text(encoding="utf-8"))
SOURCES = sorted([*ROOT.glob("alf_layered/**/*.py"), *ROOT.glob("alf_configs/**/*.py")])


@cache
def names_of(module: str) -> dict[str, dict]:
    """The names in a module, or in the modules of a package that shows them as its own."""
    found: dict[str, dict] = {}
    for path, content in API.items():
        if path != module and path.rpartition(".")[0] != module:
            continue
        for kind in ("classes", "functions", "names", "constants"):
            entries = content.get(kind, {})
            found.update({n: entries[n] if kind == "classes" else {} for n in entries})
    prefix = module + "."
    found.update({p[len(prefix) :].partition(".")[0]: {} for p in API if p.startswith(prefix)})
    return found


def _known(module: str) -> bool:
    """Whether upstream has the module: listed, a package, or a name of its parent."""
    listed = any(path == module or path.startswith(module + ".") for path in API)
    parent, _, name = module.rpartition(".")
    return listed or (bool(parent) and name in names_of(parent))


def _chain(node: ast.Attribute) -> str | None:
    parts = [node.attr]
    value = node.value
    while isinstance(value, ast.Attribute):
        parts.append(value.attr)
        value = value.value
    if isinstance(value, ast.Name) and value.id == "alf":
        return ".".join(["alf", *reversed(parts)])
    return None


def _unknown_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "alf":
            assert node.module
            for alias in node.names:
                if alias.name not in names_of(node.module):
                    yield f"from {node.module} import {alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "alf" and not _known(alias.name):
                    yield f"import {alias.name}"
        elif isinstance(node, ast.Attribute) and (chain := _chain(node)):
            module, _, name = chain.rpartition(".")
            if _known(module) and name not in names_of(module):
                yield chain


def _unknown_arguments(tree: ast.Module) -> Iterator[str]:
    classes: dict[str, dict] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "alf":
            assert node.module
            for alias in node.names:
                classes[alias.asname or alias.name] = names_of(node.module).get(alias.name) or {}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        called = node.func.id
        keywords = [k.arg for k in node.keywords if k.arg]
        if called == "partial" and node.args and isinstance(node.args[0], ast.Name):
            called = node.args[0].id
        entry = classes.get(called, {})
        allowed = entry.get("fields") or [p.partition("=")[0] for p in entry.get("init", [])]
        if not allowed or any(p.startswith("*") for p in allowed):
            continue
        yield from (f"{called}({k}=)" for k in keywords if k not in allowed)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_names_and_arguments_of_upstream_alf_are_used(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [*_unknown_names(tree), *_unknown_arguments(tree)] == []


def test_the_check_notices_what_upstream_does_not_have() -> None:
    tree = ast.parse(
        "import alf\nfrom alf.data_structures import TimeStep, Invented\n"
        "alf.summary.invented('x')\nalf.nest.map_structure(f)\nTimeStep(invented=1, reward=2)\n"
        "import alf.invented\n"
    )
    assert list(_unknown_names(tree)) == [
        "from alf.data_structures import Invented",
        "import alf.invented",
        "alf.summary.invented",
    ]
    assert list(_unknown_arguments(tree)) == ["TimeStep(invented=)"]
