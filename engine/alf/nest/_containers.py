"""One level of a nest: which values are containers, their children, and new ones like them."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import optree


def is_namedtuple(value: Any) -> bool:
    """Is ``value`` an instance of a named tuple type?"""
    return isinstance(value, tuple) and hasattr(type(value), "_fields")


def is_unnamedtuple(value: Any) -> bool:
    """Is ``value`` a tuple without field names?"""
    return isinstance(value, tuple) and not hasattr(type(value), "_fields")


def is_nested(value: Any) -> bool:
    """Is ``value`` a container, empty ones included?"""
    return not optree.tree_is_leaf(value, none_is_leaf=True)


def have_same_type(value1: Any, value2: Any) -> bool:
    """Are both of one type? Dicts of any two kinds are."""
    both_dicts = isinstance(value1, dict) and isinstance(value2, dict)
    return both_dicts or type(value1) is type(value2)


def outline(nest: Any) -> str:
    """A short text of one level of ``nest``, which never prints a tensor."""
    if not is_nested(nest):
        return f"leaf {type(nest).__name__}"
    keys = [key for key, _ in children_of(nest)]
    if isinstance(nest, dict) or is_namedtuple(nest):
        return f"{type(nest).__name__}({', '.join(keys)})"
    return f"{type(nest).__name__} of length {len(keys)}"


def children_of(nest: Any) -> list[tuple[str, Any]]:
    """(name, child) of each child of a container, in flatten order."""
    if isinstance(nest, dict):
        return [(str(key), nest[key]) for key in _sorted_keys(nest)]
    if is_namedtuple(nest):
        return sorted(zip(type(nest)._fields, nest, strict=True), key=itemgetter(0))
    return [(str(i), child) for i, child in enumerate(nest)]


def _sorted_keys(mapping: dict[Any, Any]) -> list[Any]:
    try:
        return sorted(mapping)
    except TypeError:  # keys of several types: the order optree uses
        return sorted(mapping, key=lambda key: (type(key).__qualname__, key))


def with_children(nest: Any, children: Sequence[Any]) -> Any:
    """A container like ``nest`` with other ``children``, given in flatten order."""
    if isinstance(nest, dict):
        new = dict(zip(_sorted_keys(nest), children, strict=True))
        return type(nest)((key, new[key]) for key in nest)
    if is_namedtuple(nest):
        new = dict(zip(sorted(type(nest)._fields), children, strict=True))
        return type(nest)(*(new[field] for field in type(nest)._fields))
    return type(nest)(children)
