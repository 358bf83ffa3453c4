"""What stands right of the ``=`` in a gin file: literals, ``@references``, ``%macros``."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable, Mapping
from typing import Any

from alf._conf_values import attribute
from alf._config_registry import MadeAnew
from alf._configurable import note_origin
from alf.config_util import all_configurables, find_configurable

REQUIRED = "gin.REQUIRED"

# Functions that ALF's gin files name without their module.
_ACTIVATIONS = (
    *("celu", "elu", "elu_", "gelu", "leaky_relu", "leaky_relu_", "logsigmoid", "mish", "relu"),
    *("relu6", "relu_", "selu", "selu_", "silu", "softplus", "softsign"),
)
_TORCH_FUNCTIONS = ("exp", "sigmoid", "sigmoid_", "tanh", "tanh_", "sin", "cos", "abs")


@dataclasses.dataclass(frozen=True)
class Reference:
    """``@scope/name`` or, called whenever a parameter takes it, ``@scope/name()``."""

    scope: str
    name: str
    is_call: bool

    def __repr__(self) -> str:
        scope = f"{self.scope}/" if self.scope else ""
        return f"@{scope}{self.name}{'()' if self.is_call else ''}"


@dataclasses.dataclass(frozen=True)
class Macro:
    """``%name``."""

    name: str

    def __repr__(self) -> str:
        return f"%{self.name}"


class Resolver:
    """Turns parsed values into those that parameters get.

    Args:
        macros: parsed values by name of the macro.
        arguments: values for a call of (scope, full name or dotted path): what was bound there.
    """

    def __init__(
        self, macros: Mapping[str, Any], arguments: Callable[[str, str], dict[str, Any]]
    ) -> None:
        self._macros = macros
        self._arguments = arguments
        self._open_macros: list[str] = []

    def value(self, parsed: Any) -> Any:
        """What a parameter is configured with."""
        if not self._has_call(parsed):
            return self._made(parsed)
        self._check(parsed)
        return MadeAnew(lambda: self._made(parsed), repr(parsed))

    def _check(self, parsed: Any) -> None:
        """Raises an error for unknown names now, and not only when the value is taken."""
        for part in _parts(parsed):
            self._check(part)
        if isinstance(parsed, Reference):
            self._callable(parsed)
        elif isinstance(parsed, Macro):
            self._in_macro(parsed, self._check)

    def _has_call(self, parsed: Any) -> bool:
        if isinstance(parsed, Reference):
            return parsed.is_call
        if isinstance(parsed, Macro):
            return self._in_macro(parsed, self._has_call)
        return any(self._has_call(part) for part in _parts(parsed))

    def _made(self, parsed: Any) -> Any:
        if isinstance(parsed, Reference):
            function = self._callable(parsed)
            return self._called(parsed, function) if parsed.is_call else function
        if isinstance(parsed, Macro):
            return self._in_macro(parsed, self._made)
        if isinstance(parsed, dict):
            return {self._made(key): self._made(value) for key, value in parsed.items()}
        if isinstance(parsed, (list, tuple)):
            return type(parsed)(self._made(item) for item in parsed)
        return parsed

    def _called(self, reference: Reference, function: Callable[[], Any]) -> Any:
        try:
            return function()
        except (TypeError, ValueError, AttributeError) as error:
            arguments = self._arguments(reference.scope, find_function(reference.name)[0])
            if arguments:
                values = ", ".join(f"{word}={value!r}" for word, value in arguments.items())
                note_origin(error, f"in {reference} with {values}")
            raise

    def _in_macro(self, macro: Macro, visit: Callable[[Any], Any]) -> Any:
        name = macro.name
        if name == REQUIRED:
            raise ValueError("the value is %gin.REQUIRED: give it with --gin_param")
        if name not in self._macros:
            near = difflib.get_close_matches(name, self._macros, n=3)
            hint = f". The nearest names are: {', '.join(near)}" if near else ""
            raise ValueError(f"there is no macro %{name}{hint}")
        if name in self._open_macros:
            circle = " -> ".join(f"%{m}" for m in [*self._open_macros, name])
            raise ValueError(f"macros refer to each other in a circle: {circle}")
        self._open_macros.append(name)
        try:
            return visit(self._macros[name])
        finally:
            self._open_macros.pop()

    def _callable(self, reference: Reference) -> Any:
        name, function = find_function(reference.name)
        arguments = self._arguments(reference.scope, name)
        if not arguments:
            return function
        if self._has_call(arguments):
            return _WithFreshArguments(function, lambda: self._made(arguments))
        return functools.partial(function, **self._made(arguments))


class _WithFreshArguments:
    """A function with keyword arguments that are made anew for each call."""

    def __init__(self, function: Callable[..., Any], make: Callable[[], dict[str, Any]]) -> None:
        self._function = function
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **{**self._make(), **kwargs})


def _parts(parsed: Any) -> list[Any]:
    if isinstance(parsed, dict):
        return [*parsed.keys(), *parsed.values()]
    return list(parsed) if isinstance(parsed, (list, tuple)) else []


def find_function(name: str) -> tuple[str, Any]:
    """(full name, object) of a configurable, or of any other that ``name`` is the path of.

    Others are: what lies at a dotted path in alf or torch and neither runs nor loads code
    (``torch.nn.functional.elu``), and torch's activation functions by their bare names.

    Raises:
        ValueError: there is nothing of this name.
    """
    found = find_configurable(name) or find_external(name)
    if found is not None:
        return found
    last_words = {full.rpartition(".")[2]: full for full in all_configurables()}
    near = difflib.get_close_matches(name.rpartition(".")[2], last_words, n=3)
    if near:
        hint = f"The nearest names are: {', '.join(last_words[word] for word in near)}"
    else:
        hint = "Is the module that defines it imported?"
    raise ValueError(f"there is no configurable {name!r}. {hint}")


def find_external(name: str) -> tuple[str, Any] | None:
    """(dotted path, object) of something that is not configurable; see ``find_function``."""
    if name in _ACTIVATIONS:
        name = f"torch.nn.functional.{name}"
    elif name in _TORCH_FUNCTIONS:
        name = f"torch.{name}"
    try:
        found = attribute(name)
    except ValueError:
        return None
    return (name, found) if callable(found) else None
