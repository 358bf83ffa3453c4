"""Values that come as text from a command line or a search file: data, never code.

A text is a literal, or a name, or a list, tuple, set or dict of such. A name is that of a
configurable, or a dotted path that begins with ``alf.`` or ``torch.``. Nothing is called and
nothing else is evaluated: whoever wants code writes a conf file. Of ``torch`` there are modules,
optimizers, distributions, activations, initializers and constants: its other functions load files
and code.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import types
from typing import Any

import torch
from torch import nn

from alf._allowed import shown
from alf._config_registry import MadeAnew
from alf.config_util import find_configurable

_CLASSES = (nn.Module, torch.optim.Optimizer, torch.distributions.Distribution)
_FUNCTIONS = ("torch.nn.functional", "torch.nn.init")
# These modules of alf run files.
_RUN_CODE = ("alf.bin", "alf.config_util", "alf.config_helpers", "alf._run_environment")
_ROOTS = ("alf", "torch")
ALLOWED = (
    "a literal, the name of a configurable, or a name that begins with alf. or torch.; code "
    "belongs into a conf file"
)


def conf_value(text: str) -> Any:
    """The value of a text.

    The name of a configurable that is not known yet is looked up when the value is taken.

    Raises:
        ValueError: the text is no value.
    """
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    try:
        body = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise _no_value(text) from error
    value = _value(body, text, may_wait=True)
    if value is _UNKNOWN:
        return MadeAnew(lambda: _value(body, text, may_wait=False), text)
    return value


def check_names(value: Any) -> None:
    """Raises `ValueError` if a value of `conf_value` holds a name that still is unknown."""
    if type(value) is MadeAnew:
        value.make()


_UNKNOWN = object()


def _value(node: ast.AST, text: str, *, may_wait: bool) -> Any:
    """What a node stands for; `_UNKNOWN` if that is not known yet and may wait."""
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        items = [_value(item, text, may_wait=may_wait) for item in node.elts]
        kind = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
        return _UNKNOWN if any(item is _UNKNOWN for item in items) else kind(items)
    if isinstance(node, ast.Dict):
        if None in node.keys:
            raise _no_value(text)
        pairs = [
            [_value(part, text, may_wait=may_wait) for part in pair if part is not None]
            for pair in zip(node.keys, node.values, strict=True)
        ]
        waits = any(part is _UNKNOWN for pair in pairs for part in pair)
        return _UNKNOWN if waits else dict(pairs)
    if isinstance(node, ast.Name | ast.Attribute):
        return _named(_dotted(node, text), text, may_wait=may_wait)
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise _no_value(text) from error


def _dotted(node: ast.AST, text: str) -> str:
    words = []
    while isinstance(node, ast.Attribute):
        words.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise _no_value(text)
    return ".".join([node.id, *reversed(words)])


def _named(name: str, text: str, *, may_wait: bool) -> Any:
    found = find_configurable(name)
    if found is not None:
        return found[1]
    if name.partition(".")[0] in _ROOTS:
        return attribute(name)
    if may_wait:
        return _UNKNOWN
    raise ValueError(
        f"there is no configurable {shown(name)} in {shown(text)}; allowed: {ALLOWED}. Texts need "
        "quotes"
    )


def attribute(name: str) -> Any:
    """What lies at a dotted path inside of alf or torch, what these import left out.

    Raises:
        ValueError: there is nothing, or it runs or loads code.
    """
    root, *words = name.split(".")
    if root not in _ROOTS:
        raise ValueError(f"{shown(name)} lies neither in alf nor in torch")
    found: Any = importlib.import_module(root)
    path = root
    for word in words:
        path = f"{path}.{word}"
        found = None if word.startswith("_") else _member(found, word, path)
        if found is None:
            raise ValueError(f"{shown(name)}: there is no {shown(path)}; allowed: {ALLOWED}")
    if not (_is_safe_torch(found, name) if root == "torch" else _is_safe_alf(found)):
        raise ValueError(f"{shown(name)} may run code or read files; allowed: {ALLOWED}")
    return found


def _member(owner: Any, word: str, path: str) -> Any:
    """An attribute, or None where there is none that belongs to alf or torch."""
    if isinstance(owner, types.ModuleType) and not hasattr(owner, word):
        with contextlib.suppress(ImportError):
            importlib.import_module(path)
    found = getattr(owner, word, None)
    module = found.__name__ if isinstance(found, types.ModuleType) else _module_of(found)
    return found if not module or module.partition(".")[0] in _ROOTS else None


def _module_of(found: Any) -> str:
    module = getattr(found, "__module__", None)
    return module if isinstance(module, str) else ""


def _is_safe_alf(found: Any) -> bool:
    return not isinstance(found, types.ModuleType) and not _module_of(found).startswith(_RUN_CODE)


def _is_safe_torch(found: Any, name: str) -> bool:
    if isinstance(found, type):
        return issubclass(found, _CLASSES)
    if not callable(found):
        return not isinstance(found, types.ModuleType)
    # The builtin functions of torch compute, those that are written in Python do whatever.
    is_builtin = isinstance(found, types.BuiltinFunctionType) and ".from_" not in name
    return is_builtin or _module_of(found).startswith(_FUNCTIONS)


def _no_value(text: str) -> ValueError:
    return ValueError(f"{shown(text)} is no value; allowed: {ALLOWED}. Texts need quotes")
