"""The registry of configurable parameters: which there are, their values, what was used."""

from __future__ import annotations

import dataclasses
import difflib
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from absl import logging

from alf._allowed import Allowed, check, short_name, shown


class _Missing:
    """The type of ``MISSING``, which stands where there is no value."""

    def __repr__(self) -> str:
        return "<no value>"


MISSING = _Missing()
USER_PREFIX = "_CONFIG._USER."
PRESET = "conf_param "
"""Begins the place of a value that comes from the command line."""


class MadeAnew:
    """A configured value that is made whenever a parameter takes it, such as gin's ``@Adam()``."""

    __slots__ = ("_text", "make")

    def __init__(self, make: Callable[[], Any], text: str) -> None:
        self.make = make
        self._text = text

    def __repr__(self) -> str:
        return self._text


@dataclasses.dataclass(eq=False)
class Parameter:
    """One configurable parameter, e.g. ``alf.optimizers.Adam.lr``."""

    name: str
    default: Any = MISSING
    configured: Any = MISSING
    is_mutable: bool = True
    is_used: bool = False
    place: str = ""
    """Where it was configured, as file:line; "" where that is not known."""
    allowed: Allowed | None = None
    """What its values may be; None: anything."""

    @property
    def value(self) -> Any:
        """The configured value, else the default, else ``MISSING``."""
        return self.default if self.configured is MISSING else self.configured

    def check(self, value: Any, place: str) -> None:
        """Raises `ValueError` if it may not have the value, which comes from `place`."""
        if self.allowed is None or type(value) is MadeAnew or self.allowed.test(value):
            return
        owner, _, word = self.name.rpartition(".")
        # Where a conf file says it, the traceback shows the place.
        by = f" [{place}]" if place.startswith(PRESET) and len(place) < 150 else ""
        try:
            check(short_name(owner), word, value, self.allowed)
        except ValueError as error:
            raise ValueError(f"{error}{by}") from None

    def matches(self, suffix: str) -> bool:
        """Is ``suffix`` this name or its end after a dot?"""
        return is_suffix(suffix, self.name)

    def reset(self) -> None:
        """Forgets the configured value and that the parameter was used."""
        self.configured = MISSING
        self.is_mutable = True
        self.is_used = False
        self.place = ""


class Registry:
    """All parameters of this process, by full name and by last word."""

    def __init__(self) -> None:
        self._by_name: dict[str, Parameter] = {}
        self._by_last_word: dict[str, list[Parameter]] = defaultdict(list)
        self._owners: dict[str, set[str]] = defaultdict(set)
        self._pending: dict[str, Any] = {}
        self._handled: dict[str, Any] = {}
        self._expressions: dict[str, str] = {}
        self.version = 0
        """Grows whenever a configured value may have changed; callers cache against it."""

    def add(
        self,
        owner: str,
        defaults: Mapping[str, Any],
        allowed: Mapping[str, Allowed] | None = None,
    ) -> dict[str, Parameter]:
        """Registers the parameters of ``owner``; one that is there already keeps its value.

        Args:
            owner: the full name of a function or class.
            defaults: the parameters and their defaults.
            allowed: what their values may be; those left out may be anything.

        Raises:
            ValueError: some full name would be a proper suffix of another one, or a preset value
                is not allowed.
        """
        self._check_no_suffix(owner, defaults)
        parameters = {}
        for word, default in defaults.items():
            name = f"{owner}.{word}"
            parameter = self._by_name.get(name)
            if parameter is None:
                parameter = self._by_name[name] = Parameter(name, default)
                self._by_last_word[word].append(parameter)
            else:
                parameter.default = default
            parameter.allowed = (allowed or {}).get(word)
            parameters[word] = parameter
        if self._pending:
            for parameter in parameters.values():
                self._bind_pending(parameter)
        return parameters

    def _check_no_suffix(self, owner: str, words: Mapping[str, Any]) -> None:
        siblings = self._owners[owner.rpartition(".")[2]]
        for other in siblings:
            if other != owner and (is_suffix(other, owner) or is_suffix(owner, other)):
                shared = next((w for w in words if f"{other}.{w}" in self._by_name), None)
                if shared is not None:
                    raise ValueError(
                        f"config {owner}.{shared} cannot be told from {other}.{shared}: "
                        "one name is the end of the other. Rename one of them"
                    )
        siblings.add(owner)

    def find(self, name: str) -> Parameter:
        """The parameter whose full name ends in ``name``.

        Raises:
            ValueError: there is none, or more than one.
        """
        matches = self._matches(name)
        if not matches:
            raise ValueError(f"Cannot find config name {name!r}.{self._suggestion(name)}")
        if len(matches) > 1:
            raise ambiguity_error(name, matches)
        return matches[0]

    def get(self, full_name: str) -> Parameter | None:
        """The parameter of exactly this name, if there is one."""
        return self._by_name.get(full_name)

    def has(self, name: str) -> bool:
        """Does ``name`` end the full name of any parameter?"""
        return bool(self._matches(name))

    def _matches(self, name: str) -> list[Parameter]:
        exact = self._by_name.get(name)
        if exact is not None:
            return [exact]
        candidates = self._by_last_word.get(name.rpartition(".")[2], ())
        return [p for p in candidates if p.matches(name)]

    def _suggestion(self, name: str) -> str:
        count = name.count(".") + 1
        ends = {".".join(full.split(".")[-count:]) for full in self._by_name}
        near = difflib.get_close_matches(name, sorted(ends), n=3, cutoff=0.6)
        if not near:
            return " Is the module that defines it imported?"
        return f" The nearest names are: {', '.join(near)}"

    def set(
        self, name: str, value: Any, *, is_mutable: bool, raise_if_used: bool, place: str = ""
    ) -> None:
        """Configures the parameter whose full name ends in ``name``."""
        self._set(self.find(name), value, is_mutable, raise_if_used, place)

    def _set(
        self, parameter: Parameter, value: Any, is_mutable: bool, raise_if_used: bool, place: str
    ) -> None:
        if not parameter.is_mutable:
            if not same(parameter.configured, value):
                logging.warning(
                    "config %s is fixed to %r; the value %r is ignored",
                    parameter.name,
                    parameter.configured,
                    value,
                )
            return
        parameter.check(value, place)
        if parameter.is_used and raise_if_used and not same(parameter.value, value):
            raise ValueError(
                f"config {parameter.name} was used already with the value "
                f"{shown(parameter.value)}; now it is set to {shown(value)}. Set it before its "
                "first use; to configure anew, as where a notebook cell runs twice, call "
                "alf.reset_configs() first"
            )
        parameter.configured = value
        parameter.is_mutable = is_mutable
        parameter.place = place
        self.version += 1

    def preset(self, name: str, value: Any, expression: str | None = None) -> None:
        """Fixes a parameter for good, now or as soon as it is defined.

        Args:
            name: the end of a full name.
            value: its value.
            expression: the text of the value on the command line, for ``preset_expressions``.
        """
        if expression is not None:
            self._expressions.setdefault(name, expression)
        if self._matches(name):
            self._set(self.find(name), value, False, True, self._place_of_preset(name))
            self._handled.setdefault(name, value)
        elif not same(self._pending.setdefault(name, value), value):
            logging.warning(
                "pre-config %s is %r already; %r is ignored", name, self._pending[name], value
            )

    def _bind_pending(self, parameter: Parameter) -> None:
        for name in [n for n in self._pending if parameter.matches(n)]:
            value = self._pending.pop(name)
            self._set(parameter, value, False, True, self._place_of_preset(name))
            self._handled[name] = value

    def _place_of_preset(self, name: str) -> str:
        return f"{PRESET}{name}={self._expressions[name]}" if name in self._expressions else ""

    def check_presets(self) -> None:
        """Raises ``ValueError`` if a preset name belongs to no parameter, or to several."""
        for name in self._pending:
            raise ValueError(
                f"A pre-config {name!r} was not handled: no config has this name."
                f"{self._suggestion(name)}"
            )
        for name in self._handled:
            matches = self._matches(name)
            if len(matches) > 1:
                raise ambiguity_error(name, matches)

    @property
    def handled_presets(self) -> list[tuple[str, Any]]:
        """(name, value) of the presets that found their parameter."""
        return list(self._handled.items())

    @property
    def presets_without_text(self) -> list[tuple[str, Any]]:
        """(name, value) of the presets that Python has set, handled or not."""
        both = {**self._pending, **self._handled}
        return [(name, value) for name, value in both.items() if name not in self._expressions]

    @property
    def preset_expressions(self) -> dict[str, str]:
        """The texts of those presets that came with one."""
        return dict(self._expressions)

    def parameters(self) -> list[Parameter]:
        """All parameters by name."""
        return [self._by_name[name] for name in sorted(self._by_name)]

    def reset(self) -> None:
        """Forgets all values, presets and user-defined parameters."""
        for name in [n for n in self._by_name if n.startswith(USER_PREFIX)]:
            parameter = self._by_name.pop(name)
            self._by_last_word[name.rpartition(".")[2]].remove(parameter)
        for parameter in self._by_name.values():
            parameter.reset()
        self._pending.clear()
        self._handled.clear()
        self._expressions.clear()
        self.version += 1


def is_suffix(suffix: str, name: str) -> bool:
    """Is ``suffix`` the whole of ``name`` or its end after a dot?"""
    return name == suffix or name.endswith("." + suffix)


def ambiguity_error(name: str, matches: list[Parameter]) -> ValueError:
    """The error for a name that belongs to several parameters; lists up to three."""
    names = ", ".join(p.name for p in matches[:3]) + (", ..." if len(matches) > 3 else "")
    return ValueError(f"config name {name!r} is ambiguous. There are {len(matches)}: {names}")


def same(value1: Any, value2: Any) -> bool:
    """Are two configured values equal? Arrays and tensors count, too."""
    if value1 is value2:
        return True
    if isinstance(value1, torch.Tensor) and isinstance(value2, torch.Tensor):
        return value1.device == value2.device and torch.equal(value1, value2)
    if isinstance(value1, np.ndarray) or isinstance(value2, np.ndarray):
        return type(value1) is type(value2) and np.array_equal(value1, value2)
    try:
        return bool(value1 == value2)
    except (TypeError, ValueError, RuntimeError):
        return False
