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


@cache
def _arguments_of(name: str) -> set[str]:
    """All arguments and fields of upstream's classes and functions of this name."""
    found: set[str] = set()
    for content in API.values():
        entry = content.get("classes", {}).get(name) or {}
        parameters = [*(entry.get("init") or []), *(entry.get("fields") or [])]
        parameters += content.get("functions", {}).get(name) or []
        found.update(p.partition("=")[0] for p in parameters)
    return found


def _called(node: ast.Call, imported: dict[str, str]) -> str | None:
    """What of upstream a call, a `partial` or an `alf.config` is about."""
    func: ast.expr = node.func
    chain = _chain(func) if isinstance(func, ast.Attribute) else None
    if isinstance(func, ast.Name) and func.id == "partial" and node.args:
        func = node.args[0]
    if chain == "alf.config" and node.args:
        assert isinstance(node.args[0], ast.Constant)
        return str(node.args[0].value).rpartition(".")[2]
    if chain is not None:
        return chain.rpartition(".")[2]
    if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name):
        return func.attr if func.value.id in imported else None  # a function of a module
    return imported.get(func.id) if isinstance(func, ast.Name) else None


def _unknown_arguments(tree: ast.Module) -> Iterator[str]:
    imported: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "alf":
            imported.update({alias.asname or alias.name: alias.name for alias in node.names})
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or (called := _called(node, imported)) is None:
            continue
        allowed = _arguments_of(called)
        if allowed and not any(p.startswith("**") for p in allowed):
            keywords = [k.arg for k in node.keywords if k.arg]
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
        "alf.config('TrainerConfig', invented=1, random_seed=2)\n"
        "alf.nest.map_structure(f, x, invented=1)\n"
        "alf.config('HierarchyAgent', levels=[])\n"
    )
    assert list(_unknown_names(tree)) == [
        "from alf.data_structures import Invented",
        "import alf.invented",
        "alf.summary.invented",
    ]
    assert sorted(_unknown_arguments(tree)) == [
        "TimeStep(invented=)",
        "TrainerConfig(invented=)",
        "map_structure(invented=)",
    ]
