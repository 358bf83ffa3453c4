"""Gin files: read with the parser of gin-config, applied through the registry of this package.

No configurable is wrapped by gin. What a file can hold: ``import``, ``include``, macros, bindings,
references to configurables. A scope ``scope/Name.parameter = value`` gives values to the calls of
``@scope/Name``; it does not reach the configurables that are called by it.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from alf import _conf_files
from alf._conf_files import ConfigModule
from alf._gin_values import Macro, Reference, Resolver, find_external
from alf.config_util import config_at, find_configurable, full_config_name


class _Binding(NamedTuple):
    """``scope/selector.parameter = value``, or with ``parameter`` "" the macro ``selector``."""

    scope: str
    selector: str
    parameter: str
    value: Any
    place: str

    @property
    def name(self) -> str:
        words = f"{self.selector}.{self.parameter}" if self.parameter else self.selector
        return f"{self.scope}/{words}" if self.scope else words

    @property
    def macro_name(self) -> str | None:
        """The name of the macro that this defines, if it does."""
        if not self.parameter:
            return self.name
        is_macro = self.selector == "macro" and self.parameter == "value" and self.scope
        return self.scope if is_macro else None


class GinConfig:
    """The statements of a gin file, of all that it includes, and of further parameters."""

    def __init__(self) -> None:
        self._imports: dict[str, str] = {}
        self._bindings: dict[str, _Binding] = {}
        self.sources: dict[Path, str] = {}
        """The files that were read, with their texts."""

    def read_file(self, path: Path) -> None:
        """Reads a file and those that it includes."""
        self._read_file(path, [])

    def read_parameter(self, text: str) -> None:
        """Reads one statement of the command line."""
        for statement in _statements(text, f"gin_param {text!r}"):
            self._add(statement, f"gin_param {text!r}", None, [])

    def apply(self) -> None:
        """Imports the modules and configures all parameters.

        Raises:
            ValueError: something has no such name, with the place where it stands.
        """
        for module, place in self._imports.items():
            _import(module, place)
        _Application(list(self._bindings.values())).run()

    def text(self) -> str:
        """One gin file that says the same, without includes."""
        lines = [f"import {module}" for module in self._imports]
        lines += [f"{b.name} = {b.value!r}" for b in self._bindings.values()]
        return "\n".join(lines) + "\n"

    def save(self, target: Path) -> None:
        """Writes `text()` beside `target` as a gin file, and copies of what was read."""
        target = target.with_suffix(".gin")
        copies = target.parent / "config_files"
        for path, text in self.sources.items():
            if path != target and copies not in path.parents:
                _conf_files.write_text(copies / path.name, text)
        _conf_files.write_text(target, self.text())

    def _read_file(self, path: Path, including: list[Path]) -> None:
        if path in including:
            circle = " -> ".join(str(p) for p in [*including, path])
            raise ValueError(f"gin files include each other in a circle: {circle}")
        text = path.read_text(encoding="utf-8")
        self.sources[path] = text
        for statement in _statements(text, str(path)):
            place = f"{path}:{statement.location.line_num}"
            self._add(statement, place, path, [*including, path])

    def _add(self, statement: Any, place: str, path: Path | None, including: list[Path]) -> None:
        from gin import config_parser

        if isinstance(statement, config_parser.BindingStatement):
            binding = _Binding(*statement[:4], place=place)
            # Taken out first: a repeated binding counts where it stands last.
            self._bindings.pop(binding.name, None)
            self._bindings[binding.name] = binding
        elif isinstance(statement, config_parser.ImportStatement):
            self._imports.setdefault(statement.module, place)
        elif isinstance(statement, config_parser.IncludeStatement):
            here = [path.parent] if path else []
            directories = [*here, Path.cwd(), *_conf_files.search_path()]
            try:
                included = _conf_files.find(statement.filename, directories)
            except FileNotFoundError as error:
                raise FileNotFoundError(f"{place}: {error}") from error
            self._read_file(included, including)


class _Application:
    """Configures parameters from bindings."""

    def __init__(self, bindings: list[_Binding]) -> None:
        macros = {b.macro_name: b.value for b in bindings if b.macro_name}
        self._bindings = [b for b in bindings if not b.macro_name]
        self._resolver = Resolver(macros, self._arguments)
        # Values that the registry does not know: of scopes, and of functions which are not
        # configurable. They are given to calls by reference.
        self._local: dict[tuple[str, str], dict[str, Any]] = {}
        self._places: dict[tuple[str, str], str] = {}
        self._referenced: set[tuple[str, str]] = set()

    def run(self) -> None:
        """Configure everything."""
        ordinary, local = [], []
        for binding in self._bindings:
            key = self._at(binding, self._key_of_local)
            if key is None:
                ordinary.append(binding)
            else:
                local.append(binding)
                self._local.setdefault(key, {})[binding.parameter] = binding.value
                self._places.setdefault(key, binding.place)
        for binding in local:
            self._at(binding, lambda b: self._resolver.value(b.value))
        for binding in ordinary:
            self._at(binding, self._configure)
        for scope, name in self._places.keys() - self._referenced:
            if scope:  # gin takes a scope that nobody enters
                continue
            raise ValueError(
                f"{self._places[scope, name]}: these values are for @{name}, which is never "
                "referred to"
            )

    def _key_of_local(self, binding: _Binding) -> tuple[str, str] | None:
        """(scope, full name) of a binding that the registry cannot hold; None: it can."""
        configurable = find_configurable(binding.selector)
        external = None if configurable else find_external(binding.selector)
        if external is not None:
            return binding.scope, external[0]
        if configurable and _takes_as_keyword(configurable[1], binding.parameter):
            return binding.scope, configurable[0]
        name = full_config_name(f"{binding.selector}.{binding.parameter}")
        return (binding.scope, name.rpartition(".")[0]) if binding.scope else None

    def _configure(self, binding: _Binding) -> None:
        value = self._resolver.value(binding.value)
        config_at(binding.place, f"{binding.selector}.{binding.parameter}", value)

    def _at(self, binding: _Binding, action: Any) -> Any:
        try:
            return action(binding)
        except ValueError as error:
            raise ValueError(f"{binding.place}: {binding.name}: {error}") from error

    def _arguments(self, scope: str, name: str) -> dict[str, Any]:
        words = scope.split("/") if scope else []
        arguments: dict[str, Any] = {}
        for length in range(len(words) + 1):
            key = "/".join(words[:length]), name
            if key in self._local:
                self._referenced.add(key)
                arguments.update(self._local[key])
        return arguments


def _takes_as_keyword(function: Any, name: str) -> bool:
    """Is `name` one of the ``**kwargs`` of `function`, which the registry does not know?"""
    parameters = inspect.signature(function).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    return takes_any and name not in parameters


def load(gin_file: str, gin_params: Sequence[str]) -> ConfigModule:
    """Configures this process from a gin file and further parameters, which win over it.

    Args:
        gin_file: found as ``alf.config_util.load_config`` does.
        gin_params: statements such as ``"Adam.lr = 1e-3"``.

    Raises:
        ValueError: a statement is malformed or names something unknown, with its file and line.
    """
    path = _conf_files.find_root(gin_file)
    gin_config = read(path, gin_params)
    gin_config.apply()
    _conf_files.note_root(path, gin_config.save)
    return ConfigModule({})


def read(gin_file: Path, gin_params: Sequence[str]) -> GinConfig:
    """The statements of a file and of parameters, which come after it."""
    gin_config = GinConfig()
    gin_config.read_file(gin_file.resolve())
    for text in gin_params:
        gin_config.read_parameter(text)
    return gin_config


def _statements(text: str, place: str) -> Iterator[Any]:
    """The parsed statements; block declarations left out, as their bindings name them, too."""
    config_parser = _parser()

    class Delegate(config_parser.ParserDelegate):
        def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> Any:
            scope, _, name = scoped_configurable_name.rpartition("/")
            return Reference(scope, name, evaluate)

        def macro(self, macro_name: str) -> Any:
            return Macro(macro_name)

    try:
        for statement in config_parser.ConfigParser(text, Delegate()):
            if not isinstance(statement, config_parser.BlockDeclaration):
                yield statement
    except SyntaxError as error:
        line = f":{error.lineno}" if error.lineno and not place.startswith("gin_param") else ""
        raise ValueError(f"{place}{line}: this is no gin: {error.msg}: {error.text}") from error
    except (tokenize.TokenError, IndentationError) as error:
        raise ValueError(f"{place}: this is no gin: {error}") from error


def _parser() -> Any:
    try:
        from gin import config_parser
    except ImportError as error:
        raise ValueError(
            "reading gin files needs the package gin-config: pip install 'gin-config>=0.5'"
        ) from error
    return config_parser


def _import(module: str, place: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        parent, _, name = module.rpartition(".")
        # "from package import name" may name something that is no module.
        if parent in sys.modules and hasattr(sys.modules[parent], name):
            return
        raise ValueError(f"{place}: cannot import {module}: {error}") from error
