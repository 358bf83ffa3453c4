"""The engine has what the list of ALF's documented API says, but for a table of exceptions.

The exceptions stand in `EXCEPTIONS`, each with its reason.
"""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import api_coverage
import pytest

import alf
from alf.config_util import get_all_config_names

# Beginnings of names which the engine has not, or has otherwise, and why.
EXCEPTIONS: dict[str, str] = {}


def _is_exception(name: str) -> bool:
    return any(name == e or name.startswith((e + ".", e + "(")) for e in EXCEPTIONS)


@pytest.mark.parametrize("module", api_coverage.modules())
def test_a_module_has_what_is_documented(module: str) -> None:
    gaps = {item.name: item.problem for item in api_coverage.items_of(module) if item.problem}
    assert {name: gaps[name] for name in gaps if not _is_exception(name)} == {}


def test_every_exception_is_needed() -> None:
    gaps = [gap.name for gap in api_coverage.gaps()]
    for exception in EXCEPTIONS:
        assert any(name.startswith(exception) for name in gaps), f"{exception} is there: delete it"


def test_documented_names_of_alf_itself_are_there() -> None:
    names: dict[str, str] = api_coverage.API["alf"]["names"]
    own = [
        n for n, kind in names.items() if kind == "module:" or kind.partition(":")[2][:3] == "alf"
    ]
    upstream_only = {"alf", "np", "torch"}  # which happen to be imported there
    assert [n for n in own if n not in upstream_only and not hasattr(alf, n)] == []


def test_parameters_are_configured_under_documented_names() -> None:
    modules = [module for module in api_coverage.modules() if not _is_exception(module)]
    found = {module: importlib.import_module(module) for module in modules}
    owners = {name.rpartition(".")[0] for name in get_all_config_names()}
    unknown = []
    for module in modules:
        content = api_coverage.API[module]
        for name in [*content.get("classes", {}), *content.get("functions", {})]:
            value = getattr(found[module], name, None)
            home = getattr(value, "__module__", "")
            known = [o for o in owners if o.endswith(f".{name}") and o.startswith(home)]
            if known and f"{module}.{name}" not in owners and "._" in home:
                unknown.append((f"{module}.{name}", known))
    assert unknown == []


def _problem(func: Any, documented: list[str]) -> list[str]:
    items = api_coverage._parameter_items("f", func, documented)
    return [item.problem for item in items if item.problem]


def test_the_check_notices_what_differs() -> None:
    def func(a: int, b: float = 0.5, *, c: tuple[int, ...] = (1, 2)) -> None:
        del a, b, c

    assert _problem(func, ["a", "b=0.5", "c=(1, 2)"]) == []
    assert _problem(func, ["a", "b=0.25"]) == ["default is 0.5"]
    assert _problem(func, ["a=1"]) == ["has no default"]
    assert _problem(func, ["b=0.5"]) == ["parameters are ['a', 'b', 'c']"]
    assert _problem(func, ["a", "**kwargs"]) == ["missing"]
    assert _problem(func, ["a", "b=<something>"]) == []
    assert _problem(lambda a, b: None, ["a"]) == ["needs also ['b']"]
    entry = {"fields": ["x", "y"]}
    found = list(api_coverage._class_items("T", SimpleNamespace, entry))
    assert [item.problem for item in found] == ["", "fields are []", "fields are []"]
