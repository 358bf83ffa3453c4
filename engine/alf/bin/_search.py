"""A search over parameters: which runs it is made of, and what each is called."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_FIELDS = ("desc", "use_gpu", "gpus", "max_worker_num", "repeats", "parameters")
_SEARCH_FILE = "search.json"
_MAX_VALUE_LENGTH = 20
_MAX_NAME_LENGTH = 200


@dataclasses.dataclass(frozen=True)
class Search:
    """What a search file says."""

    parameters: dict[str, list[Any]]
    repeats: int = 1
    max_worker_num: int = 1
    use_gpu: bool = False
    gpus: tuple[int, ...] = ()
    desc: str = ""


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of a search."""

    name: str
    parameters: dict[str, Any]
    repeat: int


def read_search(path: str) -> Search:
    """Read a search file.

    It is json with the fields `parameters` {name: list of values, or Python expression of one},
    `repeats`, `max_worker_num`, `use_gpu`, `gpus` (their numbers), `desc`.

    Raises:
        ValueError: a field is unknown or wrong.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: this is no json: {error}") from error
    unknown = set(content) - set(_FIELDS)
    if unknown:
        raise ValueError(f"{path}: unknown fields {sorted(unknown)}; allowed: {_FIELDS}")
    parameters = content.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise ValueError(f"{path}: parameters is {parameters!r}; it maps names to lists of values")
    for name in ("repeats", "max_worker_num"):
        value = content.get(name, 1)
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{path}: {name} is {value!r}; allowed: 1, 2, ...")
    gpus = content.get("gpus", [])
    if not isinstance(gpus, list) or not all(isinstance(g, int) and g >= 0 for g in gpus):
        raise ValueError(f"{path}: gpus is {gpus!r}; it is a list of numbers")
    if content.get("use_gpu") and not gpus:
        raise ValueError(f"{path}: use_gpu is true, but gpus names none")
    values = {name: _values(path, name, value) for name, value in parameters.items()}
    return Search(**{**content, "parameters": values, "gpus": tuple(gpus)})


def _values(path: str, name: str, value: Any) -> list[Any]:
    """The values of one parameter as Python literals."""
    if isinstance(value, str):
        try:
            value = eval(value, {"np": np, "math": math, "itertools": itertools})
        except Exception as error:
            raise ValueError(
                f"{path}: {name}: {value!r} cannot be evaluated ({type(error).__name__}: {error})"
            ) from error
    try:
        values = [_plain(item) for item in value]
    except TypeError:
        values = []
    if not values:
        raise ValueError(f"{path}: {name} is {value!r}; it has to be a list of values")
    for item in values:
        try:
            ast.literal_eval(repr(item))
        except (ValueError, SyntaxError) as error:
            raise ValueError(
                f"{path}: {name}: the value {item!r} is no literal; allowed are numbers, strings, "
                "None, booleans, lists, tuples and dicts of them"
            ) from error
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def keep_search(wanted: Search, root_dir: str) -> None:
    """Remember the parameters of the search; refuse others for the same directory."""
    path = Path(root_dir, _SEARCH_FILE)
    parameters = json.loads(json.dumps(wanted.parameters))
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        if before != parameters:
            raise ValueError(
                f"{root_dir} holds a search over other parameters: {before}, now {parameters}; "
                "choose another --root_dir"
            )
    path.write_text(json.dumps(parameters), encoding="utf-8")


def runs_of(search: Search) -> list[Run]:
    """All combinations of values, each repeated.

    The repeats come last: a search that is stopped has seen as many combinations as possible.
    """
    names = list(search.parameters)
    combinations = list(itertools.product(*search.parameters.values()))
    digits = max(4, len(str(len(combinations) - 1)))
    runs = []
    for repeat in range(search.repeats):
        for number, values in enumerate(combinations):
            parameters = dict(zip(names, values, strict=True))
            name = f"{number:0{digits}}r{repeat}{_abbreviated(parameters)}"
            runs.append(Run(name, parameters, repeat))
    return runs


def _abbreviated(parameters: Mapping[str, Any]) -> str:
    for shorten in (_last_word, _last_two_words, _whole_name):
        short = {name: shorten(name) for name in parameters}
        if len(set(short.values())) == len(short):
            break
    text = "".join(f"+{short[name]}={_short_value(v)}" for name, v in parameters.items())
    return text[:_MAX_NAME_LENGTH]


def _last_word(name: str) -> str:
    return _shortened(name, 1)


def _last_two_words(name: str) -> str:
    return _shortened(name, 2)


def _whole_name(name: str) -> str:
    return name.replace("/", ".")


def _shortened(name: str, num_parts: int) -> str:
    """The last parts of a dotted name, of each of its words the first three letters."""
    parts = re.split(r"[./]", name)[-num_parts:]
    return ".".join("_".join(word[:3] for word in part.split("_")) for part in parts)


def _short_value(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return re.sub(r"[^\w.\-]+", "_", text)[:_MAX_VALUE_LENGTH].strip("_")


def as_flag(name: str, value: Any, *, is_gin: bool) -> list[str]:
    """The arguments of a training that give a parameter its value."""
    if is_gin:
        # References and macros are not strings for gin.
        is_reference = isinstance(value, str) and value[:1] in ("@", "%")
        return ["--gin_param", f"{name} = {value if is_reference else repr(value)}"]
    return ["--conf_param", f"{name}={value!r}"]
