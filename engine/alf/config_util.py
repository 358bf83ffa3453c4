"""Configuration by name: ``@configurable``, ``config``, conf files, and saving them.

A configurable function or class takes its parameters from the registry where its caller does
not pass them. A parameter is named by its module, the function or class, and itself; any
unambiguous end of that name will do: ``config("Adam", lr=1e-3)`` or ``config("Adam.lr", ...)``.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, overload

from alf import _conf_files
from alf._conf_files import ConfigModule
from alf._config_registry import (
    MISSING,
    USER_PREFIX,
    MadeAnew,
    Parameter,
    Registry,
    is_suffix,
    same,
)

__all__ = [
    "ConfigModule",
    "config",
    "config1",
    "configurable",
    "define_config",
    "get_all_config_names",
    "get_config_value",
    "get_handled_pre_configs",
    "get_inoperative_configs",
    "get_operative_configs",
    "import_config",
    "load_config",
    "pre_config",
    "repr_wrapper",
    "reset_configs",
    "save_config",
    "validate_pre_configs",
]

_registry = Registry()
_configurables: dict[str, Any] = {}
_ORIGIN = "_alf_origin"
_MOST_VALUES_NAMED = 5

# Conf files name the parameters of these without importing them. `import alf` stays cheap, so
# they are imported when a conf file is loaded or a name is looked up that is not there yet.
_STANDARD_MODULES = (
    "alf.algorithms.config",
    "alf.algorithms.data_transformer",
    "alf.environments.suite_gym",
    "alf.environments.utils",
    "alf.experience_replayers.replay_buffer",
    "alf.layers",
    "alf.metrics",
    "alf.networks",
    "alf.optimizers",
    "alf.summary",
    "alf.trainers.policy_trainer",
)


def config(
    prefix_or_dict: str | Mapping[str, Any],
    mutable: bool = True,
    raise_if_used: bool = True,
    **kwargs: Any,
) -> None:
    """Sets the values of parameters.

    Args:
        prefix_or_dict: the name of a configurable whose parameters are given as ``kwargs``, or
            a mapping from parameter names to values.
        mutable: may later calls change the values? If not they are ignored with a warning.
        raise_if_used: refuse to change a value that was already used.
        kwargs: the values, if a name is given.

    Raises:
        ValueError: a name is unknown or ambiguous, or the value was already used.
    """
    if isinstance(prefix_or_dict, str):
        prefix = prefix_or_dict + "." if prefix_or_dict else ""
        values = {prefix + word: value for word, value in kwargs.items()}
    elif isinstance(prefix_or_dict, Mapping):
        if kwargs:
            raise ValueError(f"a mapping and keyword values were both given: {sorted(kwargs)}")
        values = dict(prefix_or_dict)
    else:
        raise TypeError(f"config() needs a name or a mapping, not {prefix_or_dict!r}")
    for name, value in values.items():
        config1(name, value, mutable, raise_if_used)


def config1(config_name: str, value: Any, mutable: bool = True, raise_if_used: bool = True) -> None:
    """Sets the value of one parameter; see ``config``."""
    config_at(_conf_files.current_place(), config_name, value, mutable, raise_if_used)


def config_at(
    place: str, config_name: str, value: Any, mutable: bool = True, raise_if_used: bool = True
) -> None:
    """As ``config1``, for a value that comes from ``place`` (file:line)."""
    _import_standard_modules_for(config_name)
    _registry.set(config_name, value, is_mutable=mutable, raise_if_used=raise_if_used, place=place)


def full_config_name(config_name: str) -> str:
    """The full name of the one parameter that ``config_name`` is the end of.

    Raises:
        ValueError: there is none, or there are several.
    """
    _import_standard_modules_for(config_name)
    return _registry.find(config_name).name


def find_configurable(name: str) -> tuple[str, Any] | None:
    """(full name, function or class) of the one configurable whose full name ends in ``name``.

    None if there is none. Raises ``ValueError`` if there are several.
    """
    matches = [owner for owner in _configurables if is_suffix(name, owner)]
    if not matches:
        _import_standard_modules()
        matches = [owner for owner in _configurables if is_suffix(name, owner)]
    if name in matches:
        matches = [name]
    if len(matches) > 1:
        raise ValueError(
            f"the name {name!r} is ambiguous. There are {len(matches)}: {', '.join(matches[:3])}"
        )
    return (matches[0], _configurables[matches[0]]) if matches else None


def all_configurables() -> list[str]:
    """The full names of the configurable functions and classes known so far."""
    return list(_configurables)


def _import_standard_modules_for(config_name: str) -> None:
    """Imports what ``import alf`` promises to define, if ``config_name`` is unknown so far."""
    if not _registry.has(config_name):
        _import_standard_modules()


@functools.cache
def _import_standard_modules() -> None:
    for name in _STANDARD_MODULES:
        importlib.import_module(name)


def pre_config(configs: Mapping[str, Any]) -> None:
    """Fixes values before their parameters need to exist; later changes are ignored.

    Parameters not defined yet are bound when they are. ``validate_pre_configs`` finds those
    that never were.
    """
    for name, value in configs.items():
        _registry.preset(name, value)


def pre_config_expression(name: str, value: Any, expression: str) -> None:
    """As ``pre_config`` for one value, whose Python text is remembered for ``save_config``."""
    _registry.preset(name, value, expression)


def validate_pre_configs() -> None:
    """Raises ``ValueError`` if a pre-config belongs to no parameter or to more than one."""
    _registry.check_presets()


def get_handled_pre_configs() -> list[tuple[str, Any]]:
    """(name, value) of the pre-configs that were bound to a parameter."""
    return _registry.handled_presets


def define_config(name: str, default_value: Any) -> Any:
    """Defines a parameter of a conf file and returns its value.

    Its full name is ``_CONFIG._USER.<name>``. The value is ``default_value`` unless it was
    pre-configured (``--conf_param``).
    """
    known = _registry.get(USER_PREFIX + name)
    if known is not None and not same(known.default, default_value):
        raise ValueError(
            f"config {known.name} is already defined with the default {known.default!r}, "
            f"now with {default_value!r}"
        )
    parameter = _registry.add(USER_PREFIX[:-1], {name: default_value})[name]
    parameter.is_used = True
    return parameter.value


def get_config_value(config_name: str) -> Any:
    """The configured value of a parameter, else its default.

    Raises:
        ValueError: there is no such parameter, or it has neither.
    """
    _import_standard_modules_for(config_name)
    parameter = _registry.find(config_name)
    if parameter.value is MISSING:
        raise ValueError(f"config {parameter.name!r} has no default and was not configured")
    return _made(parameter.value)


def get_all_config_names() -> list[str]:
    """The full names of all parameters known so far, sorted."""
    return [p.name for p in _registry.parameters()]


def get_operative_configs() -> list[tuple[str, Any]]:
    """(full name, value) of all parameters whose value or default was used."""
    return [(p.name, p.value) for p in _registry.parameters() if p.is_used]


def get_inoperative_configs() -> list[tuple[str, Any]]:
    """(full name, value) of all parameters that were configured but never used."""
    return [
        (p.name, p.configured)
        for p in _registry.parameters()
        if p.configured is not MISSING and not p.is_used
    ]


def reset_configs() -> None:
    """Forgets all configured values and all loaded conf files."""
    _registry.reset()
    _conf_files.forget_all()


def load_config(conf_file: str) -> ConfigModule:
    """Runs the conf file of this process; it may be done once until ``reset_configs``.

    Args:
        conf_file: absolute, or looked for in the current directory and then in the
            directories of the environment variable ``ALF_CONFIG_PATH``.

    Raises:
        FileNotFoundError: with all places where the file was looked for.
    """
    _import_standard_modules()
    return _conf_files.load_root(conf_file)


def import_config(conf_file: str) -> ConfigModule:
    """Runs another conf file, once per process, and returns its globals as attributes.

    Args:
        conf_file: absolute, or looked for beside the importing conf file and then in the
            directories of the environment variable ``ALF_CONFIG_PATH``.
    """
    return _conf_files.import_once(conf_file)


def save_config(alf_config_file: str) -> None:
    """Writes a conf file that reproduces the current one, pre-configs included.

    The loaded conf and all confs it imported from below its own directory are copied into
    ``config_files/`` beside ``alf_config_file``.
    """
    _conf_files.save(alf_config_file, dict(_registry.handled_presets), _registry.preset_expressions)


_T = TypeVar("_T", bound=Callable)


@overload
def configurable(
    fn_or_name: _T, whitelist: Sequence[str] = ..., blacklist: Sequence[str] = ...
) -> _T: ...


@overload
def configurable(
    fn_or_name: str | None = None, whitelist: Sequence[str] = ..., blacklist: Sequence[str] = ...
) -> Callable[[_T], _T]: ...


def configurable(
    fn_or_name: Callable | str | None = None,
    whitelist: Sequence[str] = [],  # ALF's signature; never written to
    blacklist: Sequence[str] = [],
) -> Any:
    """Decorates a function or class so that its parameters can be configured.

    Args:
        fn_or_name: with ``@configurable`` the function or class itself, with
            ``@configurable("Name")`` the name to use in place of its qualified name.
        whitelist: only these parameters are configurable.
        blacklist: these parameters are not; excludes ``whitelist``.
    """
    if callable(fn_or_name):
        return _decorate(fn_or_name, None, whitelist, blacklist)

    def decorate(fn_or_cls: Callable) -> Any:
        return _decorate(fn_or_cls, fn_or_name, whitelist, blacklist)

    return decorate


def _decorate(
    target: Any, name: str | None, whitelist: Sequence[str], blacklist: Sequence[str]
) -> Any:
    owner = f"{target.__module__}.{name or target.__qualname__}"
    if whitelist and blacklist:
        raise ValueError(f"{owner}: whitelist and blacklist cannot both be given")
    if not inspect.isclass(target):
        wrapped = _wrap(target, owner, whitelist, blacklist, offset=0)
        _configurables[owner] = wrapped
        return wrapped
    _configurables[owner] = target
    constructor = "__init__"
    if target.__init__ is object.__init__ and target.__new__ is not object.__new__:
        constructor = "__new__"  # named tuples and other immutable types
    function = getattr(target, constructor)
    if function is object.__init__:
        return target
    wrapper = _wrap(function, owner, whitelist, blacklist, offset=1)
    setattr(target, constructor, staticmethod(wrapper) if constructor == "__new__" else wrapper)
    return target


def _wrap(
    function: Callable,
    owner: str,
    whitelist: Sequence[str],
    blacklist: Sequence[str],
    *,
    offset: int,
) -> Callable:
    """``function`` with missing arguments taken from the registry.

    ``offset`` is the number of leading arguments (``self``) that are no parameters.
    """
    entries = _register(function, owner, whitelist, blacklist, offset)
    slots = _Slots(entries)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if slots.version != _registry.version:
            slots.refresh()
        given = len(args)
        for position, word, parameter in slots.configured:
            if position >= given and word not in kwargs:
                parameter.is_used = True
                kwargs[word] = _made(parameter.configured)
        if slots.unused:
            slots.mark_used(given, kwargs)
        try:
            return function(*args, **kwargs)
        except (TypeError, ValueError, AttributeError) as error:
            _note_origin(error, owner, slots.configured, given, kwargs)
            raise

    return wrapper


def _made(value: Any) -> Any:
    return value.make() if type(value) is MadeAnew else value


def _note_origin(
    error: Exception, owner: str, configured: list[_Entry], given: int, kwargs: Mapping[str, Any]
) -> None:
    """Keeps with the error which configured values the innermost configurable call has got."""
    if hasattr(error, _ORIGIN):
        return
    taken = [
        (word, parameter)
        for position, word, parameter in configured
        if position >= given
        and (kwargs.get(word) is parameter.configured or type(parameter.configured) is MadeAnew)
    ]
    text = str(error)
    named = [entry for entry in taken if re.search(rf"\b{entry[0]}\b", text)]
    values = [
        f"{word}={reprlib.repr(parameter.configured)}"
        + (f" ({parameter.place})" if parameter.place else "")
        for word, parameter in named or taken
    ]
    if values:
        most = values[:_MOST_VALUES_NAMED] + ["..."] * (len(values) > _MOST_VALUES_NAMED)
        setattr(error, _ORIGIN, f"in {owner}, configured with {', '.join(most)}")


def origin_of(error: BaseException) -> str | None:
    """The configurable in which an error came up and the values that were configured for it.

    None where the call took none from the configuration.
    """
    return getattr(error, _ORIGIN, None)


_Entry = tuple[int, str, Parameter]


class _Slots:
    """The parameters of one wrapped function, sorted by what a call has to do for them."""

    __slots__ = ("configured", "entries", "unused", "version")

    def __init__(self, entries: list[_Entry]) -> None:
        self.entries = entries
        self.version = -1

    def refresh(self) -> None:
        """Looks again at which parameters have a configured value."""
        self.configured = [e for e in self.entries if e[2].configured is not MISSING]
        self.unused = [e for e in self.entries if e[2].default is not MISSING and not e[2].is_used]
        self.version = _registry.version

    def mark_used(self, given: int, kwargs: Mapping[str, Any]) -> None:
        """Notes which defaults a call takes."""
        rest = []
        for entry in self.unused:
            position, word, parameter = entry
            if parameter.is_used:
                continue
            if position >= given and word not in kwargs:
                parameter.is_used = True
            else:
                rest.append(entry)
        self.unused = rest


def _register(
    function: Callable,
    owner: str,
    whitelist: Sequence[str],
    blacklist: Sequence[str],
    offset: int,
) -> list[_Entry]:
    parameters = list(inspect.signature(function).parameters.values())[offset:]
    by_keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    possible = [p.name for p in parameters if p.kind in by_keyword]
    unknown = (set(whitelist) | set(blacklist)) - set(possible)
    if unknown:
        raise ValueError(f"{owner} has no parameters {sorted(unknown)}; it has {possible}")
    entries = []
    defaults = {}
    for position, p in enumerate(parameters, start=offset):
        if p.name not in possible or p.name in blacklist:
            continue
        if whitelist and p.name not in whitelist:
            continue
        defaults[p.name] = MISSING if p.default is inspect.Parameter.empty else p.default
        # A keyword-only parameter is never among the positional arguments.
        is_positional = p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        entries.append((position if is_positional else 1 << 30, p.name))
    registered = _registry.add(owner, defaults)
    return [(position, word, registered[word]) for position, word in entries]


def repr_wrapper(cls: type) -> type:
    """Decorates a class so that ``repr`` shows the arguments its objects were made with."""
    if not inspect.isclass(cls):
        raise TypeError(f"repr_wrapper decorates classes, not {cls!r}")
    init = cls.__init__

    @functools.wraps(init)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
        # The outermost class is the one the user named; its bases keep silent.
        if "_constructor_text" not in self.__dict__:
            words = [repr(a) for a in args] + [f"{k}={v!r}" for k, v in kwargs.items()]
            self.__dict__["_constructor_text"] = f"{type(self).__name__}({', '.join(words)})"
        init(self, *args, **kwargs)

    def text(self: Any) -> str:
        return self.__dict__.get("_constructor_text", object.__repr__(self))

    cls.__init__ = wrapper
    cls.__repr__ = text
    return cls
