"""Imports in the plugin go one way down; only what runs at import time counts."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator

from tests.runs import REPOSITORY

PACKAGE = "alf_layered"

# From the bottom up. A module imports from its own layer or from lower ones.
LAYERS = (
    {"allowed"},
    {""},  # `alf_layered` itself, which loads its names lazily
    {
        "rows",
        "clock",
        "bounds",
        "finite_update",
        "joints",
        "networks",
        "replay",
        "observation_maps",
        "transitions",
    },
    {"planners", "skills", "models", "encoders"},
    {"predictors", "tdmpc2"},
    {"levels"},
    {"hierarchy_agent"},
    {"hierarchy", "plots"},
)

# Simulators stand apart: of the plugin they import what their settings may be and nothing else, and
# nothing of it imports them.
APART = "environments"

# (importing module, imported module): why it may go up.
EXCEPTIONS: dict[tuple[str, str], str] = {}


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """What runs when a module is imported, the branches of `if` and `try` included."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If):
            if ast.unparse(statement.test) not in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
                yield from statements(statement.body)
            yield from statements(statement.orelse)
        elif isinstance(statement, ast.Try):
            yield from statements(statement.body + statement.orelse + statement.finalbody)
            for handler in statement.handlers:
                yield from statements(handler.body)


def import_graph() -> dict[str, set[str]]:
    """For each module of the plugin the modules of the plugin that it imports."""
    files = {}
    for path in (REPOSITORY / PACKAGE).rglob("*.py"):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        names = set()
        for statement in statements(ast.parse(path.read_text(encoding="utf-8")).body):
            if isinstance(statement, ast.Import):
                names |= {alias.name for alias in statement.names}
            elif isinstance(statement, ast.ImportFrom):
                assert statement.level == 0, f"{module} has a relative import"
                for alias in statement.names:
                    full = f"{statement.module}.{alias.name}"
                    names.add(full if full in files else str(statement.module))
        graph[module] = names & files.keys()
    return graph


def part(module: str) -> str:
    """The file or folder directly below the package; "" for the package."""
    return module.partition(".")[2].partition(".")[0]


def layer(module: str) -> int:
    """The number of the layer of a module, 0 the lowest."""
    for number, parts in enumerate(LAYERS):
        if part(module) in parts:
            return number
    raise AssertionError(f"{module} is in no layer: write it into LAYERS")


def test_no_module_of_the_plugin_imports_itself_through_others():
    assert list(graphlib.TopologicalSorter(import_graph()).static_order())


def test_imports_in_the_plugin_go_down():
    upward = {
        (module, imported)
        for module, targets in import_graph().items()
        for imported in targets
        if part(module) != APART and part(imported) != APART and layer(imported) > layer(module)
    }
    assert upward == EXCEPTIONS.keys()


def test_environments_stand_apart():
    crossing = {
        (module, imported)
        for module, targets in import_graph().items()
        for imported in targets
        if (part(module) == APART) != (part(imported) == APART) and part(imported) != "allowed"
    }
    assert crossing == set()
