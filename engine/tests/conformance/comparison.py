"""Compares what cases gave here with the recorded figures of ALF."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_RELATIVE = 1e-4
_SKIPPED = ("upstream_type",)  # exception types are not compared
_ABSENT = "(absent)"


class Difference(NamedTuple):
    """Where two encoded values differ: a path such as ``/0/values/1``, both values."""

    path: str
    golden: Any
    here: Any

    def __str__(self) -> str:
        return f"{self.path or '/'}: golden {_short(self.golden)}, here {_short(self.here)}"


class Verdict(NamedTuple):
    """What became of one case.

    ``kind`` is "equal", "differs", "error" or "missing" (a module or name is not there); ``detail``
    the first difference or the error's text; ``parts`` the first difference of every part.
    """

    kind: str
    detail: str
    parts: tuple[Difference, ...]


def judge(golden: Any, here: Mapping[str, Any], absolute: float) -> Verdict:
    """Compares the value that ALF gave with the result of a case here.

    Numbers are equal within ``1e-4`` relative plus ``absolute``.
    """
    if "error" in here:
        return Verdict("missing" if here.get("missing") else "error", here["error"], ())
    found = next(_differences(golden, here["value"], "", absolute), None)
    if found is None:
        return Verdict("equal", "", ())
    return Verdict("differs", str(found), tuple(_parts(golden, here["value"], "", absolute)))


def missing_module(error: str) -> str | None:
    """The full name of the module that an import error's text misses, if it says so."""
    found = re.search(r"No module named '([\w.]+)'", error)
    if found:
        return found[1]
    found = re.search(r"cannot import name '(\w+)' from '([\w.]+)'", error)
    return f"{found[2]}.{found[1]}" if found else None


def _differences(a: Any, b: Any, path: str, absolute: float) -> Iterator[Difference]:
    if _is_number(a) and _is_number(b):
        if abs(a - b) > absolute + _RELATIVE * max(abs(a), abs(b)):
            yield Difference(path, a, b)
    elif isinstance(a, dict) and isinstance(b, dict):
        for key in [*a, *(k for k in b if k not in a)]:
            if key not in _SKIPPED:
                left, right = a.get(key, _ABSENT), b.get(key, _ABSENT)
                yield from _differences(left, right, f"{path}/{key}", absolute)
    elif isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            yield Difference(f"{path}/len", len(a), len(b))
        else:
            for i, (x, y) in enumerate(zip(a, b, strict=True)):
                yield from _differences(x, y, f"{path}/{i}", absolute)
    elif type(a) is not type(b) or a != b:
        yield Difference(path, a, b)


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool)


def _parts(a: Any, b: Any, path: str, absolute: float) -> Iterator[Difference]:
    """The first difference of every tensor, list of other length or scalar."""
    if isinstance(a, dict) and isinstance(b, dict) and "dtype" not in a:
        for key in [*a, *(k for k in b if k not in a)]:
            left, right = a.get(key, _ABSENT), b.get(key, _ABSENT)
            if key not in _SKIPPED:
                yield from _parts(left, right, f"{path}/{key}", absolute)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from _parts(x, y, f"{path}/{i}", absolute)
    else:
        found = next(_differences(a, b, path, absolute), None)
        if found:
            yield found


def _short(x: Any) -> str:
    text = json.dumps(x)
    return text if len(text) <= 160 else text[:157] + "..."
