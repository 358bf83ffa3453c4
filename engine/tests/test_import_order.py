"""Imports in the engine go one way down, those inside functions too."""

from __future__ import annotations

import ast
import graphlib
import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# From the bottom up. A module imports from its own layer or from lower ones. A name stands for the
# modules that begin with it; the longest one counts.
LAYERS = (
    {
        "_allowed",
        "_conf_files",
        "_conf_values",
        "_config_registry",
        "_configurable",
        "_distribution",
        "_early_signals",
        "_gin_files",
        "_gin_values",
        "_marked_spec",
        "_packaged_confs",
        "_ranges",
        "config_util",
        "data_structures",
        "device_ctx",
        "module",
        "nest",
        "norm_layers",
        "tensor_specs",
        "utils.schedulers",
    },
    {"summary"},
    {"utils", "math"},
    {"initializers", "layers", "networks", "nn", "optimizers", "metrics"},
    {"experience_replayers"},
    {"environments"},
    {"_run_environment"},
    {"_global_env"},
    {"algorithms"},
    {"config_helpers"},
    {"trainers"},
    {"utils.common", "bin"},
    {"", "examples", "test"},  # the shelf `alf`, which no part of the engine imports, and its users
)

# (importing module, imported module): why it may go up.
EXCEPTIONS: dict[tuple[str, str], str] = {}


def modules(root: pathlib.Path, package: str) -> dict[str, pathlib.Path]:
    """The file of each module of a package, by dotted name."""
    found = {}
    for path in (root / package).rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """All that may run: what stands below `if TYPE_CHECKING` does not."""
    if isinstance(node, ast.If) and ast.unparse(node.test) in (
        "TYPE_CHECKING",
        "typing.TYPE_CHECKING",
    ):
        children = node.orelse
    else:
        children = list(ast.iter_child_nodes(node))
    for child in children:
        yield child
        yield from statements(child)


def import_graph(root: pathlib.Path, package: str) -> dict[str, set[str]]:
    """For each module of a package the modules of the same package that it imports."""
    files = modules(root, package)
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        names = set()
        for statement in statements(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(statement, ast.Import):
                names |= {alias.name for alias in statement.names}
            elif isinstance(statement, ast.ImportFrom):
                assert statement.level == 0, f"{module} has a relative import"
                for alias in statement.names:
                    full = f"{statement.module}.{alias.name}"
                    names.add(full if full in files else str(statement.module))
        graph[module] = names & files.keys()
    return graph


def layer(module: str) -> int:
    """The number of the layer of a module of `alf`, 0 the lowest."""
    part = module.partition(".")[2]
    while True:
        for number, parts in enumerate(LAYERS):
            if part in parts:
                return number
        if "." not in part:
            raise AssertionError(f"{module} is in no layer: write it into LAYERS")
        part = part.rpartition(".")[0]


def test_no_module_of_the_engine_imports_itself_through_others():
    assert list(graphlib.TopologicalSorter(import_graph(ROOT, "alf")).static_order())


def test_imports_in_the_engine_go_down():
    upward = {
        (module, imported)
        for module, targets in import_graph(ROOT, "alf").items()
        for imported in targets
        if layer(imported) > layer(module)
    }
    assert upward == EXCEPTIONS.keys()


def test_a_cycle_is_found_also_below_if_and_try(tmp_path):
    package = tmp_path / "loop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text("if True:\n    from loop import two\n")
    (package / "two.py").write_text("try:\n    import loop.one\nexcept ImportError:\n    raise\n")
    graph = import_graph(tmp_path, "loop")
    assert graph == {"loop": set(), "loop.one": {"loop.two"}, "loop.two": {"loop.one"}}
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(graph).prepare()


def test_imports_inside_functions_count_and_those_for_types_do_not(tmp_path):
    package = tmp_path / "lazy"
    package.mkdir()
    (package / "__init__.py").write_text("def f():\n    import lazy.one\n")
    (package / "one.py").write_text("if TYPE_CHECKING:\n    import lazy.two\n")
    (package / "two.py").write_text("class C:\n    import lazy\n")
    graph = import_graph(tmp_path, "lazy")
    assert graph == {"lazy": {"lazy.one"}, "lazy.one": set(), "lazy.two": {"lazy"}}
