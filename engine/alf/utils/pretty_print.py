"""Readable text of nested settings, with named tuples field by field."""

from __future__ import annotations

import pprint
from typing import IO, Any


class PrettyPrinter(pprint.PrettyPrinter):
    """``pprint.PrettyPrinter`` that writes the field names of named tuples."""

    def _format(
        self,
        object: Any,
        stream: IO[str],
        indent: int,
        allowance: int,
        context: dict[int, int],
        level: int,
    ) -> None:
        text = self._repr(object, context, level)
        width = vars(self)["_width"] - indent - allowance
        if not _is_namedtuple(object) or len(text) <= width:
            super()._format(object, stream, indent, allowance, context, level)
            return
        context[id(object)] = 1
        self.format_namedtuple(object, stream, indent, allowance, context, level + 1)
        del context[id(object)]

    def format_namedtuple(
        self,
        object: Any,
        stream: IO[str],
        indent: int,
        allowance: int,
        context: dict[int, int],
        level: int,
    ) -> None:
        """Writes a named tuple that does not fit on one line."""
        name = type(object).__name__
        stream.write(name + "(")
        items = list(zip(object._fields, object, strict=True))
        self.format_namedtuple_items(
            items, stream, indent + len(name) + 1, allowance + 1, context, level
        )
        stream.write(")")

    def format_namedtuple_items(
        self,
        items: list[tuple[str, Any]],
        stream: IO[str],
        indent: int,
        allowance: int,
        context: dict[int, int],
        level: int,
        inline: bool = False,
    ) -> None:
        """Writes ``field=value`` pairs, one per line, or all on one line with ``inline``."""
        separator = ", " if inline else ",\n" + " " * indent
        for i, (field, value) in enumerate(items):
            if i:
                stream.write(separator)
            stream.write(field + "=")
            is_last = i == len(items) - 1
            self._format(
                value,
                stream,
                indent + len(field) + 1,
                allowance if is_last else 1,
                context,
                level,
            )


def _is_namedtuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(type(value), "_fields")


def pformat_pycolor(obj: Any) -> str:
    """Readable text of ``obj``; with colours if pygments is installed."""
    text = PrettyPrinter(sort_dicts=False).pformat(obj)
    try:
        import pygments
        from pygments.formatters import TerminalFormatter
        from pygments.lexers import PythonLexer
    except ImportError:
        return text
    return pygments.highlight(text, PythonLexer(), TerminalFormatter()).rstrip("\n")
