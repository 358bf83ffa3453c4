"""A search over parameters: which runs it is made of, and what each is called."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alf._allowed import AT_LEAST_0, AT_LEAST_1, check, of_annotation, shown
from alf._conf_values import ALLOWED, conf_value

_FIELDS = ("desc", "use_gpu", "gpus", "max_worker_num", "repeats", "parameters")
_OTHER_FIELDS = {
    name: allowed
    for name, annotation, range in (
        ("desc", "str", None),
        ("use_gpu", "bool", None),
        ("gpus", "list[int]", AT_LEAST_0),
        ("max_worker_num", "int", AT_LEAST_1),
        ("repeats", "int", AT_LEAST_1),
    )
    if (allowed := of_annotation(annotation, range)) is not None
}
_GIN_REFERENCE = re.compile(r"[@%][\w./]+(\(\))?")
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

    It is json with the fields `parameters` {name: list of values, or a text with one}, `repeats`,
    `max_worker_num`, `use_gpu`, `gpus` (their numbers), `desc`. The list in a text may hold names,
    see `alf._conf_values`: `"[SacAlgorithm, DdpgAlgorithm]"`. Nothing is evaluated.

    Raises:
        ValueError: a field is unknown or wrong.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: this is no json: {error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: this is no text in UTF-8: {error.reason}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {shown(content)}; allowed: a dictionary with {_FIELDS}")
    unknown = set(content) - set(_FIELDS)
    if unknown:
        raise ValueError(f"{path}: unknown fields {shown(sorted(unknown))}; allowed: {_FIELDS}")
    parameters = content.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise ValueError(
            f"{path}: parameters is {shown(parameters)}; it maps names to lists of values"
        )
    for name in parameters:
        if not re.fullmatch(r"[\w./]+", name):
            raise ValueError(f"{path}: {shown(name)} is no name of a parameter, such as Adam.lr")
    for name, allowed in _OTHER_FIELDS.items():
        if name in content:
            check(path, name, content[name], allowed)
    if content.get("use_gpu") and not content.get("gpus"):
        raise ValueError(f"{path}: use_gpu is true, but gpus names none")
    gpus = content.get("gpus", ())
    values = {name: _values(path, name, value) for name, value in parameters.items()}
    return Search(**{**content, "parameters": values, "gpus": tuple(gpus)})


class Name(str):
    """The text of a value that names a configurable, or something in alf or torch."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _values(path: str, name: str, value: Any) -> list[Any]:
    """The values of one parameter: literals, and names of what is no literal."""
    values = _listed(f"{path}: {name}", value) if isinstance(value, str) else value
    if not isinstance(values, list) or not values:
        raise ValueError(
            f"{path}: {name} is {shown(value)}; allowed: a list of values, or a text with a list "
            f"of {ALLOWED}"
        )
    return values


def _listed(place: str, text: str) -> list[Any] | None:
    """The entries of a list or tuple that is written as text; None if it is none."""
    try:
        body = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    if not isinstance(body, ast.List | ast.Tuple):
        return None
    entries = []
    for node in body.elts:
        word = ast.unparse(node)
        try:
            conf_value(word)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
        entries.append(_literal_or_name(word))
    return entries


def _literal_or_name(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except ValueError:
        return Name(text)


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
        is_reference = isinstance(value, str) and _GIN_REFERENCE.fullmatch(value)
        return ["--gin_param", f"{name} = {value if is_reference else repr(value)}"]
    return ["--conf_param", f"{name}={value!r}"]
