"""Checks of settings: the type that the annotation says, and the range; one error for both.

A value of the wrong type or outside its range is a `ValueError` that names the owner, the setting,
the value and what is allowed. It is raised where the value is bound, not where it is used.

The engine and the plugin have a copy of this file each, because neither installs the other; a test
holds that they are the same.
"""

from __future__ import annotations

import ast
import functools
import inspect
import math
import numbers
import os
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")

_SCALARS = frozenset(("int", "float", "bool", "str"))
_UNIONS = frozenset(
    ("Any", "Nest", "Nested", "NestedSpec", "Size", "Range", "Activation", "ActionType")
    + ("Scheduled", "LearningRate", "Cell", "Space", "Joint", "SpecOrNest", "Tensor")
)
_SEQUENCES = ("Sequence[", "list[", "tuple[")


class Range(NamedTuple):
    """The finite numbers from `low` to `high`, without the ends that are open."""

    low: float = -math.inf
    high: float = math.inf
    low_is_open: bool = False
    high_is_open: bool = False

    def has(self, value: Any) -> bool:
        """True for a number in the range; NaN and infinite numbers are in none."""
        above = value > self.low if self.low_is_open else value >= self.low
        below = value < self.high if self.high_is_open else value <= self.high
        return bool(above and below and abs(value) != math.inf)

    def __str__(self) -> str:
        if self.high < math.inf:
            left, right = "[("[self.low_is_open], "])"[self.high_is_open]
            return f"in {left}{_short(self.low)}, {_short(self.high)}{right}"
        if self.low > -math.inf:
            return f"{'above' if self.low_is_open else 'of at least'} {_short(self.low)}"
        return "that is finite"


FINITE = Range()
AT_LEAST_0 = Range(0)
AT_LEAST_1 = Range(1)
POSITIVE = Range(0, low_is_open=True)
UNIT = Range(0, 1)
"""Probabilities, proportions, discounts."""
SHARE = Range(0, 1, low_is_open=True)
"""Steps of a moving average, where 0 would never move."""
BELOW_1 = Range(0, 1, high_is_open=True)


class Allowed(NamedTuple):
    """Values that one setting may take.

    Attributes:
        test: whether a value is allowed.
        text: what is allowed, after "allowed: ".
    """

    test: Callable[[Any], bool]
    text: str


def check(owner: str, name: str, value: Any, allowed: Allowed) -> None:
    """Raises `ValueError` if the value of a setting is not allowed."""
    if not allowed.test(value):
        raise ValueError(f"{owner}.{name} is {shown(value)}; allowed: {allowed.text}")


def short_name(full: str) -> str:
    """The name by which an error calls a function or class: the last word of the full one.

    Every module of environments has a function `load`: for it, the module is named as well.
    """
    return ".".join(full.split(".")[-2 if full.endswith(".load") else -1 :])


def shown(value: Any) -> str:
    """A value as an error shows it: `repr` in at most about 60 characters, on one line."""
    return " ".join(_repr.repr(value).split())


def check_fields(settings: Any, **ranges: Range) -> None:
    """Checks all fields of a dataclass by their annotations, and by ranges of numbers.

    Raises:
        ValueError: a value is not allowed.
    """
    for name, allowed in _of_fields(type(settings), tuple(ranges.items())).items():
        check(type(settings).__name__, name, getattr(settings, name), allowed)


@functools.cache
def _of_fields(cls: type, ranges: tuple[tuple[str, Range], ...]) -> dict[str, Allowed]:
    annotations: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        annotations.update(inspect.get_annotations(base))
    fields = {n: a for n, a in annotations.items() if n in cls.__dataclass_fields__}  # type: ignore
    return _of_annotations(cls.__name__, fields, dict(ranges))


def checked(**ranges: Range) -> Callable[[T], T]:
    """Decorates a class or function whose arguments are checked by their annotations at each call.

    Args:
        ranges: those of arguments that are numbers, or sequences of numbers.
    """

    def decorate(target: Any) -> Any:
        function = target.__init__ if inspect.isclass(target) else target
        owner = short_name(f"{target.__module__}.{target.__qualname__}")
        words = words_by_position(function)
        allowed = allowed_arguments(function, owner, ranges)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            check_call(owner, allowed, words, args, kwargs)
            return function(*args, **kwargs)

        if not inspect.isclass(target):
            return wrapper
        target.__init__ = wrapper
        return target

    return decorate


def check_call(
    owner: str,
    allowed: Mapping[str, Allowed],
    words: list[str],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    """Checks the arguments of one call.

    Args:
        owner: whose arguments they are.
        allowed: what they may be, those that can be anything left out.
        words: as `words_by_position` gives them.
        args: the arguments by position.
        kwargs: those by name.
    """
    for word, value in (*zip(words, args, strict=False), *kwargs.items()):
        entry = allowed.get(word)
        if entry is not None and not entry.test(value):
            name = kwargs.get("name")
            named = isinstance(name, str) and name != owner and word != "name"
            check(owner, f"{word} of {shown(name)}" if named else word, value, entry)


def words_by_position(function: Callable) -> list[str]:
    """The names of the parameters that may be given by position, in order."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [w for w, p in inspect.signature(function).parameters.items() if p.kind in kinds]


def allowed_arguments(
    function: Callable, owner: str, ranges: Mapping[str, Range]
) -> dict[str, Allowed]:
    """What the arguments of a function may be; those that can be anything are left out."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    annotations = {
        p.name: p.annotation
        for p in parameters
        if p.kind not in kinds and p.annotation is not inspect.Parameter.empty
    }
    return _of_annotations(owner, annotations, ranges)


def _of_annotations(
    owner: str, annotations: Mapping[str, Any], ranges: Mapping[str, Range]
) -> dict[str, Allowed]:
    unknown = sorted(set(ranges) - set(annotations))
    assert not unknown, f"{owner} has no annotated settings {unknown}"
    found = {name: of_annotation(a, ranges.get(name)) for name, a in annotations.items()}
    return {name: allowed for name, allowed in found.items() if allowed is not None}


def of_annotation(annotation: Any, range: Range | None = None) -> Allowed | None:
    """What a parameter with this annotation may be; None: anything.

    Annotations that name numbers, bools, strings, None, functions, literals and sequences are
    understood. Names of classes allow whatever is no number, bool or string, alone None as well.
    Other names allow the same beside numbers, bools and strings; alone they allow anything.

    Args:
        annotation: as `inspect.signature` returns it.
        range: that of the numbers.
    """
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "Any")
    parts = _split(text.strip("'\""))
    known = [_of_part(part, range) for part in parts]
    others = [p for p, entry in zip(parts, known, strict=True) if entry is None]
    is_scalar = any(p in _SCALARS for p in parts)
    if others and not (is_scalar or all(map(_is_class, others))):
        return None
    tests = [entry.test for entry in known if entry is not None]
    if others:
        tests.append(lambda value: not (_is_scalar(value) or (value is None and is_scalar)))
    words = [
        entry.text if entry is not None else f"{'an' if part[0] in 'AEIOU' else 'a'} {part}"
        for part, entry in zip(parts, known, strict=True)
    ]
    return Allowed(lambda value: any(test(value) for test in tests), " or ".join(words))


def _of_part(part: str, range: Range | None) -> Allowed | None:
    """What one part of a union allows; None where that is not known."""
    if part in ("int", "float"):
        return _number(part, range)
    if part.startswith("Literal["):
        choices = ast.literal_eval(f"[{part[len('Literal[') : -1]}]")
        named = ", ".join(map(repr, choices))
        return Allowed(lambda v: isinstance(v, str | int) and v in choices, named)
    if part == "Callable" or part.startswith("Callable["):
        return Allowed(callable, "a function or class")
    if part.startswith(_SEQUENCES):
        return _sequence(part, range)
    return _SIMPLE.get(part)


def _number(kind: str, range: Range | None) -> Allowed:
    least = numbers.Integral if kind == "int" else numbers.Real
    what = "a whole number" if kind == "int" else "a number"

    def test(value: Any) -> bool:
        is_number = isinstance(value, least) and not isinstance(value, bool)
        return is_number and (value == value if range is None else range.has(value))

    return Allowed(test, what if range is None else f"{what} {range}")


def _sequence(part: str, range: Range | None) -> Allowed:
    inside = {word.strip() for word in part[part.index("[") + 1 : -1].split(",")} - {"..."}
    items = of_annotation(*inside, range=range) if len(inside) == 1 and inside < _SCALARS else None

    def test(value: Any) -> bool:
        if _is_scalar(value) or value is None or callable(value):
            return False
        return items is None or not isinstance(value, list | tuple) or all(map(items.test, value))

    return Allowed(test, f"a list, each item {items.text}" if items else "a list")


_SIMPLE = {
    "bool": Allowed(
        lambda v: isinstance(v, bool | np.bool_) or (type(v) is int and v in (0, 1)),
        "True or False",
    ),
    "str": Allowed(lambda v: isinstance(v, str | os.PathLike), "a string"),
    "None": Allowed(lambda v: v is None, "None"),
}


def _is_class(name: str) -> bool:
    """Whether a name is that of a class, not of a union that may hold numbers."""
    word = name.rpartition(".")[2]
    return word.isidentifier() and word[0].isupper() and word not in _UNIONS


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | bytes | bool | numbers.Number | np.bool_)


def _split(text: str) -> list[str]:
    """The parts of a union, such as `int | None`."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[(") - (letter in "])")
        if letter == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _short(number: float) -> str:
    return f"{number:g}" if number < 1e6 else str(number)


_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 60
