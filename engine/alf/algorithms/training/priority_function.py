"""`priority_func` as a text: arithmetic on a `LossInfo`, never any other code."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from alf._allowed import shown

_METHODS = frozenset(
    ("abs", "amax", "amin", "clamp", "detach", "exp", "float", "log", "log1p", "max", "maximum")
    + ("mean", "min", "minimum", "pow", "sqrt", "square", "squeeze", "sum", "unsqueeze")
)
_NODES = (
    *(ast.Expression, ast.Lambda, ast.arguments, ast.arg, ast.Name, ast.Load, ast.Attribute),
    *(ast.Subscript, ast.Constant, ast.Call, ast.keyword, ast.Tuple, ast.BinOp, ast.UnaryOp),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd),
)


def priority_function(function: Callable[[Any], Any] | str) -> Callable[[Any], Any]:
    """A function, or the one that a text such as ``"lambda loss_info: ..."`` stands for.

    Raises:
        ValueError: the text does anything but arithmetic on fields of its argument.
    """
    if not isinstance(function, str):
        return function
    try:
        tree = ast.parse(function.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        tree = ast.Expression(ast.Tuple([], ast.Load()))
    if not _is_arithmetic(tree):
        raise ValueError(
            f"priority_func is {shown(function)}; allowed: a function, or a text 'lambda "
            "loss_info: ...' with fields of loss_info, arithmetic and tensors' methods such as "
            "sqrt() and sum(dim=0)"
        )
    return eval(compile(tree, "priority_func", "eval"), {"__builtins__": {}})


def _is_arithmetic(tree: ast.Expression) -> bool:
    if not isinstance(tree.body, ast.Lambda) or len(tree.body.args.args) != 1:
        return False
    argument = tree.body.args.args[0].arg
    return all(_is_allowed(node, argument) for node in ast.walk(tree))


def _is_allowed(node: ast.AST, argument: str) -> bool:
    if isinstance(node, ast.Name):
        return node.id == argument
    if isinstance(node, ast.Attribute):
        return not node.attr.startswith("_")
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS
    return isinstance(node, _NODES)
