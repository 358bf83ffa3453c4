"""All parameters of an object, those in plain containers included."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn


def get_all_parameters(obj: Any) -> list[tuple[str, nn.Parameter]]:
    """All parameters reachable from `obj` through attributes and containers, with their paths.

    Other than `nn.Module.named_parameters()` this looks into plain lists, tuples, dicts and sets,
    and into the attributes of `obj` if it is no module but holds some.
    """
    found: list[tuple[str, nn.Parameter]] = []
    is_plain = not isinstance(obj, (nn.Module, nn.Parameter, type)) and hasattr(obj, "__dict__")
    _collect_parameters(vars(obj) if is_plain else obj, "", found, set())
    return found


def _collect_parameters(
    obj: Any, path: str, found: list[tuple[str, nn.Parameter]], visited: set[int]
) -> None:
    if id(obj) in visited:
        return
    visited.add(id(obj))
    if isinstance(obj, nn.Parameter):
        found.append((path, obj))
        return
    for name, child in _parts(obj):
        _collect_parameters(child, f"{path}.{name}" if path else str(name), found, visited)


def _parts(obj: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(obj, nn.Module):
        yield from obj._parameters.items()
        yield from obj._modules.items()
        own = {"_parameters", "_modules", "_buffers"}
        yield from ((k, v) for k, v in obj.__dict__.items() if k not in own)
    elif isinstance(obj, dict):
        yield from obj.items()
    elif isinstance(obj, (list, tuple, set, frozenset)):
        yield from enumerate(obj)
