"""Imports in the plugin go one way down; only what runs at import time counts."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator

from tests.runs import REPOSITORY

PACKAGE = "alf_layered"

# From the bottom up. A module imports from its own floor or from lower ones; its floor is that of
# the longest entry that its name begins with.
FLOORS = (
    {"allowed", "checkpoints"},
    {""},  # `alf_layered` itself, which loads its names lazily
    {
        "hierarchy.rows",
        "hierarchy.clock",
        "hierarchy.joints",
        "hierarchy.bounds",
        "hierarchy.transitions",
        "hierarchy.observation_maps",
        "hierarchy.processes",
        "hierarchy.constructors",
        "hierarchy.replay",
        "hierarchy.joined_replay",
        "networks",
    },
    {"planners", "models", "encoders"},
    {"predictors"},
    {"hierarchy.level", "hierarchy.training", "hierarchy.on_policy"},
    {"goals"},
    {"levels", "tdmpc2"},
    {"planning"},
    {"skills"},
    {"hierarchy"},
    {"plots"},
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
    """The module's name inside the package; "" for the package."""
    return module.partition(".")[2]


def apart(module: str) -> bool:
    """Whether it is one of the simulators."""
    return part(module).split(".")[0] == APART


def floor(module: str) -> int:
    """The number of the floor of a module, 0 the lowest."""
    own = part(module).split(".")
    for length in range(len(own), 0, -1):
        for number, parts in enumerate(FLOORS):
            if ".".join(own[:length]) in parts:
                return number
    raise AssertionError(f"{module} is on no floor: write it into FLOORS")


def test_no_module_of_the_plugin_imports_itself_through_others():
    assert list(graphlib.TopologicalSorter(import_graph()).static_order())


def test_imports_in_the_plugin_go_down():
    upward = {
        (module, imported)
        for module, targets in import_graph().items()
        for imported in targets
        if not apart(module) and not apart(imported) and floor(imported) > floor(module)
    }
    assert upward == EXCEPTIONS.keys()


def test_environments_stand_apart():
    crossing = {
        (module, imported)
        for module, targets in import_graph().items()
        for imported in targets
        if apart(module) != apart(imported) and part(imported) != "allowed"
    }
    assert crossing == set()
