"""``@configurable``: functions and classes that take missing arguments from the registry."""

from __future__ import annotations

import functools
import inspect
import re
import reprlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, overload

from alf._allowed import Allowed, allowed_arguments, check_call, short_name, words_by_position
from alf._config_registry import MISSING, MadeAnew, Parameter, Registry, same
from alf._ranges import ranges_of

registry = Registry()
configurables: dict[str, Any] = {}
"""What is configurable, by full name."""
_ORIGIN = "_alf_origin"
_BY_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_MOST_VALUES_NAMED = 5
_PACKAGE = "alf."  # whose settings are checked; others' annotations may say what is not so

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
            ``@configurable("Name")`` the name to use in place of its qualified name. A name with
            dots is used in place of the module, too.
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
    owner = (
        name
        if name is not None and "." in name
        else f"{_public_module(target)}.{name or target.__qualname__}"
    )
    if whitelist and blacklist:
        raise ValueError(f"{owner}: whitelist and blacklist cannot both be given")
    if not inspect.isclass(target):
        wrapped = _wrap(target, owner, whitelist, blacklist, offset=0)
        configurables[owner] = wrapped
        return wrapped
    configurables[owner] = target
    constructor = "__init__"
    if target.__init__ is object.__init__ and target.__new__ is not object.__new__:
        constructor = "__new__"  # named tuples and other immutable types
    function = getattr(target, constructor)
    if function is object.__init__:
        return target
    wrapper = _wrap(function, owner, whitelist, blacklist, offset=1)
    setattr(target, constructor, staticmethod(wrapper) if constructor == "__new__" else wrapper)
    return target


def _public_module(target: Any) -> str:
    """Where users know a class or function: a private module names its `PUBLIC_MODULE`."""
    module = sys.modules.get(target.__module__)
    return getattr(module, "PUBLIC_MODULE", target.__module__)


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
    allowed = _allowed(function, owner)
    entries = _register(function, owner, whitelist, blacklist, offset, allowed)
    slots = _Slots(entries)
    words = words_by_position(function)
    short_owner = short_name(owner)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if slots.version != registry.version:
            slots.refresh()
        given = len(args)
        for position, word, parameter in slots.configured:
            if position >= given and word not in kwargs:
                parameter.is_used = True
                kwargs[word] = made(parameter.configured)
        if slots.unused:
            slots.mark_used(given, kwargs)
        try:
            if allowed:
                check_call(short_owner, allowed, words, args, kwargs)
            return function(*args, **kwargs)
        except (TypeError, ValueError, AttributeError) as error:
            _note_origin(error, owner, slots.configured, given, kwargs)
            raise

    return wrapper


def _allowed(function: Callable, owner: str) -> dict[str, Allowed]:
    """What the arguments of one of the engine's own functions may be."""
    if not owner.startswith(_PACKAGE):
        return {}
    short_owner = short_name(owner)
    words = [w for w, p in inspect.signature(function).parameters.items() if p.kind in _BY_KEYWORD]
    return allowed_arguments(function, short_owner, ranges_of(short_owner, words))


def made(value: Any) -> Any:
    """A configured value, made now if each use gets one of its own."""
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
        note_origin(error, f"in {owner}, configured with {', '.join(most)}")


def note_origin(error: Exception, text: str) -> None:
    """Keeps with the error where it came up, unless something nearer to it has."""
    if not hasattr(error, _ORIGIN):
        setattr(error, _ORIGIN, text)


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
        self.version = registry.version

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
    allowed: Mapping[str, Allowed],
) -> list[_Entry]:
    parameters = list(inspect.signature(function).parameters.values())[offset:]
    possible = [p.name for p in parameters if p.kind in _BY_KEYWORD]
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
    registered = registry.add(owner, defaults, allowed)
    return [(position, word, registered[word]) for position, word in entries]


def repr_wrapper(cls: type) -> type:
    """Decorates a class so that ``repr`` shows the arguments its objects were made with.

    Those given by keyword are left out where they equal the default.
    """
    if not inspect.isclass(cls):
        raise TypeError(f"repr_wrapper decorates classes, not {cls!r}")
    init = cls.__init__
    defaults = {word: p.default for word, p in inspect.signature(init).parameters.items()}

    @functools.wraps(init)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
        # The outermost class is the one the user named; its bases keep silent.
        if "_constructor_text" not in self.__dict__:
            changed = {k: v for k, v in kwargs.items() if not same(v, defaults.get(k, MISSING))}
            words = [repr(a) for a in args] + [f"{k}={v!r}" for k, v in changed.items()]
            self.__dict__["_constructor_text"] = f"{type(self).__name__}({', '.join(words)})"
        init(self, *args, **kwargs)

    def text(self: Any) -> str:
        return self.__dict__.get("_constructor_text", object.__repr__(self))

    cls.__init__ = wrapper
    cls.__repr__ = text
    return cls
