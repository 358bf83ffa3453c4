"""The tree of configurable parameters against a list of (full name, value) that is searched."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alf._config_registry import MISSING, Registry

words = st.sampled_from(["a", "b", "c", "ab"])
owners = st.lists(words, min_size=1, max_size=3).map(".".join)
names = st.lists(words, min_size=1, max_size=4).map(".".join)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("add"), owners, words, st.integers(0, 9)),
        st.tuples(st.just("set"), names, st.booleans(), st.integers(10, 99)),
        st.tuples(st.just("preset"), names, st.just(None), st.integers(100, 199)),
    ),
    max_size=25,
)


class Twin:
    """What the registry does, the slow and obvious way."""

    def __init__(self) -> None:
        self.defaults: dict[str, int] = {}
        self.configured: dict[str, int] = {}
        self.fixed: set[str] = set()
        self.pending: dict[str, int] = {}

    def ends_of(self, name: str) -> list[str]:
        """The full names that `name` ends, whole words only; itself alone if it is one."""
        if name in self.defaults:
            return [name]
        return [full for full in self.defaults if full.endswith("." + name)]

    def refuses(self, owner: str, word: str) -> bool:
        full = f"{owner}.{word}"
        others = [other for other in self.defaults if other != full]
        return any(o.endswith("." + full) or full.endswith("." + o) for o in others)

    def add(self, owner: str, word: str, default: int) -> None:
        full = f"{owner}.{word}"
        self.defaults[full] = default
        for name in [n for n in self.pending if full == n or full.endswith("." + n)]:
            self.fix(full, self.pending.pop(name))

    def fix(self, full: str, value: int) -> None:
        if full not in self.fixed:
            self.configured[full] = value
            self.fixed.add(full)

    def set(self, name: str, mutable: bool, value: int) -> None:
        (full,) = self.ends_of(name)
        if full in self.fixed:
            return
        self.configured[full] = value
        if not mutable:
            self.fixed.add(full)

    def preset(self, name: str, value: int) -> None:
        if self.ends_of(name):
            (full,) = self.ends_of(name)
            self.fix(full, value)
        else:
            self.pending.setdefault(name, value)


def check(registry: Registry, twin: Twin) -> None:
    assert sorted(p.name for p in registry.parameters()) == sorted(twin.defaults)
    for full, default in twin.defaults.items():
        parameter = registry.find(full)
        assert parameter.name == full
        assert parameter.value == twin.configured.get(full, default)
        assert (parameter.configured is MISSING) == (full not in twin.configured)


@given(operations)
def test_names_find_the_one_parameter_that_they_end(steps) -> None:
    registry, twin = Registry(), Twin()
    for kind, name, more, value in steps:
        if kind == "add":
            if twin.refuses(name, more):
                with pytest.raises(ValueError, match="cannot be told from"):
                    registry.add(name, {more: value})
                continue
            registry.add(name, {more: value})
            twin.add(name, more, value)
            check(registry, twin)
            continue
        found = twin.ends_of(name)
        change = registry.preset if kind == "preset" else _setter(registry, more)
        if len(found) > 1:
            with pytest.raises(ValueError, match="ambiguous"):
                change(name, value)
        elif not found and kind == "set":
            with pytest.raises(ValueError, match="Cannot find config name"):
                change(name, value)
        else:
            change(name, value)
            twin.preset(name, value) if kind == "preset" else twin.set(name, more, value)
        check(registry, twin)
    unbound = pytest.raises(ValueError, match="not handled") if twin.pending else None
    ambiguous = any(len(twin.ends_of(name)) > 1 for name, _ in registry.handled_presets)
    if unbound is None and ambiguous:
        unbound = pytest.raises(ValueError, match="ambiguous")
    with unbound or contextlib.nullcontext():
        registry.check_presets()


def _setter(registry: Registry, mutable: bool):
    return lambda name, value: registry.set(name, value, is_mutable=mutable, raise_if_used=True)
