"""Imports in the plugin go one way down, those inside functions included."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator

import alf_layered
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
    {"levels"},
    {"tdmpc2", "planning"},
    {"skills"},
    {"hierarchy"},
    {"plots", "library"},
)

# Simulators stand apart: of the plugin they import what their settings may be and nothing else, and
# nothing of it imports them but the package, which registers ids, and the loop without a trainer.
APART = "environments"
MAY_IMPORT_SIMULATORS = {"", "library"}


def imports_of(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    """Every import of a module, those inside functions too; not those for a type checker alone."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            stack += node.orelse
        else:
            stack += ast.iter_child_nodes(node)


def import_graph() -> dict[str, set[str]]:
    """For each module of the plugin the modules of the plugin that it imports."""
    files = {}
    for path in (REPOSITORY / PACKAGE).rglob("*.py"):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        names = set()
        for statement in imports_of(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(statement, ast.Import):
                names |= {alias.name for alias in statement.names}
            else:
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


def test_no_folder_of_one_floor_imports_another_one_that_imports_it():
    folders: dict[str, set[str]] = {}
    for module, targets in import_graph().items():
        for imported in targets:
            one, other = (part(m).split(".")[0] for m in (module, imported))
            if one != other and "hierarchy" not in (one, other):  # it has rows on several floors
                folders.setdefault(one, set()).add(other)
    assert list(graphlib.TopologicalSorter(folders).static_order())


def test_imports_in_the_plugin_go_down():
    upward = {
        (module, imported)
        for module, targets in import_graph().items()
        for imported in targets
        if not apart(module) and not apart(imported) and floor(imported) > floor(module)
    }
    assert upward == set()


def test_the_public_names_are_where_the_package_says():
    """They are imported lazily, when they are asked for."""
    missing = [name for name in alf_layered.__all__ if not hasattr(alf_layered, name)]
    assert missing == []


def test_simulators_stand_apart():
    crossing = {
        (module, imported)
        for module, targets in import_graph().items()
        for imported in targets
        if apart(module) != apart(imported)
        and part(imported) != "allowed"
        and part(module).split(".")[0] not in MAY_IMPORT_SIMULATORS
    }
    assert crossing == set()


def test_no_function_imports_from_the_plugin():
    """An import inside a function hides a circle; only extras, such as matplotlib, are late."""
    late = [
        f"{path.name}: {ast.unparse(inner)}"
        for path in (REPOSITORY / PACKAGE).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
        if (
            isinstance(inner, ast.Import | ast.ImportFrom)
            and any(name in ast.unparse(inner).split() for name in ("alf", PACKAGE))
        )
        or (
            isinstance(inner, ast.ImportFrom)
            and str(inner.module).split(".")[0] in ("alf", PACKAGE)
        )
    ]
    assert late == []


def test_no_function_body_stands_twice():
    """One statement, which hands on to what is shared, does not count."""
    places: dict[str, list[str]] = {}
    for path in (REPOSITORY / PACKAGE).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                if len(body) > 1:
                    text = "\n".join(map(ast.unparse, body))
                    places.setdefault(text, []).append(f"{path.name}: {node.name}")
    assert [found for found in places.values() if len(found) > 1] == []
