"""Configuration by name: ``@configurable``, ``config``, conf files, and saving them.

A configurable function or class takes its parameters from the registry where its caller does
not pass them. A parameter is named by its module, the function or class, and itself; any
unambiguous end of that name will do: ``config("Adam", lr=1e-3)`` or ``config("Adam.lr", ...)``.
"""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Collection, Mapping
from typing import Any

from alf import _conf_files
from alf._allowed import Allowed, of_annotation
from alf._conf_files import ConfigModule
from alf._config_registry import MISSING, USER_PREFIX, is_suffix, same
from alf._configurable import (
    configurable,
    configurables,
    made,
    origin_of,  # noqa: F401  (a name of this module, too)
    registry,
    repr_wrapper,
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
    "is_configured",
    "load_config",
    "pre_config",
    "repr_wrapper",
    "reset_configs",
    "save_config",
    "validate_pre_configs",
]

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
        ValueError: a name is unknown or ambiguous, the value was already used, or a name came
            without values.
    """
    if isinstance(prefix_or_dict, str):
        if not kwargs:
            raise ValueError(f"config({prefix_or_dict!r}): no parameter and no value was given")
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
    registry.set(config_name, value, is_mutable=mutable, raise_if_used=raise_if_used, place=place)


def full_config_name(config_name: str) -> str:
    """The full name of the one parameter that ``config_name`` is the end of.

    Raises:
        ValueError: there is none, or there are several.
    """
    _import_standard_modules_for(config_name)
    return registry.find(config_name).name


def find_configurable(name: str) -> tuple[str, Any] | None:
    """(full name, function or class) of the one configurable whose full name ends in ``name``.

    None if there is none. Raises ``ValueError`` if there are several.
    """
    matches = [owner for owner in configurables if is_suffix(name, owner)]
    if not matches:
        _import_standard_modules()
        matches = [owner for owner in configurables if is_suffix(name, owner)]
    if name in matches:
        matches = [name]
    if len(matches) > 1:
        raise ValueError(
            f"the name {name!r} is ambiguous. There are {len(matches)}: {', '.join(matches[:3])}"
        )
    return (matches[0], configurables[matches[0]]) if matches else None


def all_configurables() -> list[str]:
    """The full names of the configurable functions and classes known so far."""
    return list(configurables)


def _import_standard_modules_for(config_name: str) -> None:
    """Imports what ``import alf`` promises to define, if ``config_name`` is unknown so far."""
    if not registry.has(config_name):
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
        registry.preset(name, value)


def pre_config_expression(name: str, value: Any, expression: str) -> None:
    """As ``pre_config`` for one value that a command line has given as the text ``expression``."""
    registry.preset(name, value, expression)


def validate_pre_configs() -> None:
    """Raises ``ValueError`` if a pre-config belongs to no parameter or to more than one."""
    registry.check_presets()


def get_handled_pre_configs() -> list[tuple[str, Any]]:
    """(name, value) of the pre-configs that were bound to a parameter."""
    return registry.handled_presets


def get_python_pre_configs() -> list[tuple[str, Any]]:
    """(name, value) of the pre-configs that came from ``pre_config``, not from a command line."""
    return registry.presets_without_text


def define_config(name: str, default_value: Any) -> Any:
    """Defines a parameter of a conf file and returns its value.

    Its full name is ``_CONFIG._USER.<name>``. The value is ``default_value`` unless it was
    pre-configured (``--conf_param``). Where the default is a number or a bool, the value is no
    text: ``'False'`` would count as true.
    """
    known = registry.get(USER_PREFIX + name)
    if known is not None and not same(known.default, default_value):
        raise ValueError(
            f"config {known.name} is already defined with the default {known.default!r}, "
            f"now with {default_value!r}"
        )
    allowed = _allowed_for(default_value)
    parameter = registry.add(USER_PREFIX[:-1], {name: default_value}, allowed and {name: allowed})[
        name
    ]
    parameter.is_used = True
    return made(parameter.value)


def _allowed_for(default: Any) -> Allowed | None:
    """What may take the place of a default, if that says."""
    if isinstance(default, bool):
        return of_annotation("bool | None")
    if isinstance(default, int | float):
        return Allowed(
            lambda value: not isinstance(value, str | bool), f"a number, such as {default!r}"
        )
    return None


def get_config_value(config_name: str) -> Any:
    """The configured value of a parameter, else its default; it counts as used then.

    Raises:
        ValueError: there is no such parameter, or it has neither.
    """
    _import_standard_modules_for(config_name)
    parameter = registry.find(config_name)
    if parameter.value is MISSING:
        raise ValueError(f"config {parameter.name!r} has no default and was not configured")
    parameter.is_used = True
    return made(parameter.value)


def is_configured(config_name: str) -> bool:
    """Whether a parameter has a configured value; False also if there is no such parameter."""
    _import_standard_modules_for(config_name)
    return registry.has(config_name) and registry.find(config_name).configured is not MISSING


def get_all_config_names() -> list[str]:
    """The full names of all parameters known so far, sorted."""
    return [p.name for p in registry.parameters()]


def get_operative_configs() -> list[tuple[str, Any]]:
    """(full name, value) of all parameters whose value or default was used."""
    return [(p.name, p.value) for p in registry.parameters() if p.is_used]


def get_inoperative_configs() -> list[tuple[str, Any]]:
    """(full name, value) of all parameters that were configured but never used."""
    return [
        (p.name, p.configured)
        for p in registry.parameters()
        if p.configured is not MISSING and not p.is_used
    ]


def reset_configs() -> None:
    """Forgets all configured values and all loaded conf files."""
    registry.reset()
    _conf_files.forget_all()


def find_conf_file(conf_file: str) -> str:
    """The path of the conf file that ``load_config(conf_file)`` runs."""
    return str(_conf_files.find_root(conf_file))


def load_config(conf_file: str) -> ConfigModule:
    """Runs the conf file of this process; it may be done once until ``reset_configs``.

    Args:
        conf_file: absolute, or looked for in the current directory, then in the directories of
            the environment variable ``ALF_CONFIG_PATH``, then in installed packages of conf
            files. ``x`` also stands for ``x_conf.py`` and ``x.py``.

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
    save_config_without(alf_config_file, ())


def save_config_without(alf_config_file: str, names: Collection[str]) -> None:
    """As ``save_config``, without the pre-configs of these names."""
    presets = {name: value for name, value in registry.handled_presets if name not in names}
    texts = {name: _python(text) for name, text in registry.preset_expressions.items()}
    _conf_files.save(alf_config_file, presets, texts)


def _python(text: str) -> str:
    """Python text of a value that a command line has given as `text`."""
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return f"alf.config_helpers.conf_value({text!r})"
    return text
