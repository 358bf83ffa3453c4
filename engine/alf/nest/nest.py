"""Nests: flatten, map, pack, compare, prune, and access by field name.

A nest is a list, tuple, named tuple or dict of nests, or a leaf (anything else, ``None``
included). Fields of named tuples and keys of dicts are visited alphabetically, as in ALF; dicts of
all kinds are of one type. Empty containers are nests without leaves: ``()``
means "nothing here" throughout the engine. The tree work is optree's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import optree
import torch

from alf.nest._containers import (
    children_of,
    have_same_type,
    is_namedtuple,
    is_nested,
    is_unnamedtuple,  # noqa: F401  (a name of this module, too)
    outline,
    with_children,
)
from alf.nest._order import flatten_in_order, put_in_order, unflatten

NestedTensor = Any
"""A nest whose leaves are tensors."""

Nest = Any
"""A nest with leaves of any kind."""


class FieldNotFoundError(LookupError, ValueError):
    """A nest has no such field."""


def flatten(nest: Any) -> list[Any]:
    """The leaves of ``nest`` in order."""
    if isinstance(nest, torch.Tensor):
        return [nest]
    return list(flatten_in_order(nest)[0])


def pack_sequence_as(nest: Any, flat_seq: Iterable[Any]) -> Any:
    """The values of ``flat_seq`` in the structure of ``nest``."""
    values = list(flat_seq)
    structure = optree.tree_structure(nest, none_is_leaf=True)
    if structure.num_leaves != len(values):
        raise ValueError(
            f"{len(values)} values do not fill a structure with {structure.num_leaves} leaves"
        )
    return unflatten(structure, values)


def map_structure(func: Callable[..., Any], *nests: Any) -> Any:
    """``func`` of the corresponding leaves of ``nests``, in the structure of the first.

    Raises:
        ValueError: the structures differ; the text names the first path where they do.
    """
    if len(nests) == 1:
        if isinstance(nests[0], torch.Tensor):
            return func(nests[0])
        leaves, structure = flatten_in_order(nests[0])
        return unflatten(structure, map(func, leaves))
    leaves, structure = flatten_in_order(nests[0])
    columns = [leaves]
    for other in nests[1:]:
        other_leaves, other_structure = flatten_in_order(other)
        if other_structure != structure:
            assert_same_structure(nests[0], other)
        columns.append(other_leaves)
    return unflatten(structure, map(func, *columns))


def map_structure_without_check(func: Callable[..., Any], *nests: Any) -> Any:
    """As ``map_structure`` for nests that are known to have the same structure."""
    leaves, structure = flatten_in_order(nests[0])
    others = (flatten_in_order(other)[0] for other in nests[1:])
    return unflatten(structure, map(func, leaves, *others))


def fast_map_structure_flatten(
    func: Callable[..., Any], structure: Any, *flat_structure: Sequence[Any]
) -> Any:
    """``func`` of the corresponding entries of flat lists, packed as ``structure``."""
    return pack_sequence_as(structure, map(func, *flat_structure))


def fast_map_structure(func: Callable[..., Any], *structure: Any) -> Any:
    """As ``map_structure`` for nests that are known to have the same structure."""
    return map_structure_without_check(func, *structure)


def flatten_up_to(shallow_nest: Any, nest: Any) -> list[Any]:
    """The parts of ``nest`` that stand where ``shallow_nest`` has its leaves."""
    return _parts(shallow_nest, optree.tree_structure(shallow_nest, none_is_leaf=True), nest)


def _parts(shallow_nest: Any, structure: Any, nest: Any) -> list[Any]:
    """``flatten_up_to`` where the shallow nest's structure is known."""
    try:
        return list(put_in_order(structure.flatten_up_to(nest), structure))
    except ValueError:
        assert_same_structure_up_to(shallow_nest, nest)
        raise


def map_structure_up_to(shallow_nest: Any, func: Callable[..., Any], *nests: Any) -> Any:
    """``func`` of the parts of ``nests`` at the leaves of ``shallow_nest``, packed like it."""
    structure = optree.tree_structure(shallow_nest, none_is_leaf=True)
    parts = (_parts(shallow_nest, structure, nest) for nest in nests)
    return unflatten(structure, map(func, *parts))


def py_map_structure_with_path(func: Callable[..., Any], *nests: Any) -> Any:
    """As ``map_structure``, calling ``func(path, *leaves)`` with paths such as ``"a.0.b"``."""
    for other in nests[1:]:
        assert_same_structure(nests[0], other)
    paths, _, structure = optree.tree_flatten_with_path(nests[0], none_is_leaf=True)
    names = [_dotted(nests[0], path) for path in put_in_order(paths, structure)]
    return unflatten(structure, map(func, names, *(flatten(nest) for nest in nests)))


def _dotted(nest: Any, path: Sequence[Any]) -> str:
    words = []
    for key in path:
        words.append(type(nest)._fields[key] if is_namedtuple(nest) else str(key))
        nest = nest[key]
    return ".".join(words)


def assert_same_type(value1: Any, value2: Any) -> None:
    """Raises ``ValueError`` unless both containers have the same type (dicts: of any kind)."""
    if not have_same_type(value1, value2):
        raise ValueError(
            f"container types differ: {type(value1).__name__} and {type(value2).__name__}"
        )


def assert_same_length(seq1: Sequence[Any], seq2: Sequence[Any]) -> None:
    """Raises ``ValueError`` unless both have the same length."""
    if len(seq1) != len(seq2):
        raise ValueError(f"lengths differ: {len(seq1)} and {len(seq2)}")


def assert_same_structure(nest1: Any, nest2: Any) -> None:
    """Raises ``ValueError`` naming the first path where the two structures differ."""
    structures = [optree.tree_structure(nest, none_is_leaf=True) for nest in (nest1, nest2)]
    if structures[0] == structures[1]:
        return
    _raise_at_difference(nest1, nest2, "", shallow=False)


def assert_same_structure_up_to(shallow_nest: Any, deep_nest: Any) -> None:
    """Raises ``ValueError`` unless ``shallow_nest`` is a top part of ``deep_nest``."""
    _raise_at_difference(shallow_nest, deep_nest, "", shallow=True)


def _raise_at_difference(nest1: Any, nest2: Any, path: str, *, shallow: bool) -> None:
    if not is_nested(nest1):
        if not shallow and is_nested(nest2):
            _raise_mismatch(path, nest1, nest2)
        return
    if not have_same_type(nest1, nest2) or len(nest1) != len(nest2):
        _raise_mismatch(path, nest1, nest2)
    if isinstance(nest1, dict) and nest1.keys() != nest2.keys():
        _raise_mismatch(path, nest1, nest2)
    for (key, value1), (_, value2) in zip(children_of(nest1), children_of(nest2), strict=True):
        _raise_at_difference(value1, value2, f"{path}.{key}" if path else key, shallow=shallow)


def _raise_mismatch(path: str, nest1: Any, nest2: Any) -> None:
    raise ValueError(
        f"nests differ at {path or 'the root'!r}: {outline(nest1)} against {outline(nest2)}"
    )


def extract_any_leaf_from_nest(nest: Any) -> Any:
    """The first leaf of ``nest``; None without one."""
    leaves = flatten(nest)
    return leaves[0] if leaves else None


def extract_fields_from_nest(nest: Any) -> Iterator[tuple[str, Any]]:
    """Yields (name, child) of each child of a named tuple or a dict, in alphabetical order."""
    if not (is_namedtuple(nest) or isinstance(nest, dict)):
        raise ValueError(f"a {type(nest).__name__} has no named fields")
    yield from children_of(nest)


def find_field(nest: Any, name: str, ignore_empty: bool = True) -> list[Any]:
    """All nodes, at any depth, that stand in a field called ``name``.

    Below a field that was found no further search is made. ``ignore_empty`` leaves out nodes
    without leaves.
    """
    if not is_nested(nest):
        return []
    found = []
    for key, child in children_of(nest):
        if key != name:
            found.extend(find_field(child, name, ignore_empty))
        elif not ignore_empty or optree.tree_structure(child, none_is_leaf=True).num_leaves:
            found.append(child)
    return found


def get_field(nested: Any, field: str | None) -> Any:
    """The node at the dotted path ``field``; the whole nest for ``None`` or ``""``.

    Raises:
        FieldNotFoundError: a ``LookupError`` (and ``ValueError``) that names what is there.
    """
    for word in field.split(".") if field else ():
        nested = _child(nested, word, field)
    return nested


def _child(nested: Any, word: str, field: str | None) -> Any:
    """The child called ``word``. Any object with such an attribute serves as a container."""
    if isinstance(nested, dict) and word in nested:
        return nested[word]
    if isinstance(nested, (list, tuple)) and word.isdigit() and int(word) < len(nested):
        return nested[int(word)]
    if not isinstance(nested, dict) and hasattr(nested, word):
        return getattr(nested, word)
    available = [key for key, _ in children_of(nested)] if is_nested(nested) else []
    raise FieldNotFoundError(f"there is no {word!r} of {field!r}; available: {available}")


def set_field(nested: Any, field: str | None, new_value: Any) -> Any:
    """A copy of ``nested`` with the node at the dotted path ``field`` replaced."""
    return transform_nest(nested, field, lambda _: new_value)


def transform_nest(nested: Any, field: str | None, func: Callable[[Any], Any]) -> Any:
    """A copy of ``nested`` whose node at ``field`` is replaced by ``func(node)``."""
    return transform_nests([nested], field, lambda nodes: [func(nodes[0])])[0]


def transform_nests(
    nests: Sequence[Any],
    field: str | None,
    func: Callable[[list[Any]], Sequence[Any]],
) -> list[Any]:
    """Copies of the nests, whose nodes at ``field`` are replaced by ``func`` of all these nodes.

    Args:
        nests: each of them has ``field``.
        field: dotted path such as ``"observation.image"``; ``None`` or ``""`` is the root.
        func: takes the list of nodes, one per nest, and returns as many new ones.
    """
    new_nodes = list(func([get_field(nest, field) for nest in nests]))
    if len(new_nodes) != len(nests):
        raise ValueError(
            f"transform_nests: func returned {len(new_nodes)} nodes for {len(nests)} nests"
        )
    words = field.split(".") if field else []
    return [_replaced(nest, words, node) for nest, node in zip(nests, new_nodes, strict=True)]


def _replaced(nest: Any, words: Sequence[str], node: Any) -> Any:
    """A copy of ``nest`` with ``node`` at the path of ``words``."""
    if not words:
        return node
    word, *rest = words
    new_child = _replaced(_child(nest, word, word), rest, node)
    if isinstance(nest, dict):
        copy = nest.copy()
        copy[word] = new_child
        return copy
    if is_namedtuple(nest) and not word.isdigit():
        return nest._replace(**{word: new_child})
    if isinstance(nest, (list, tuple)):
        position = int(word)
        children = [*nest[:position], new_child, *nest[position + 1 :]]
        return type(nest)(*children) if is_namedtuple(nest) else type(nest)(children)
    raise ValueError(f"cannot set {word!r} of a {type(nest).__name__}")


def prune_nest_like(nest: Any, slim_nest: Any, value_to_match: Any = None) -> Any:
    """``nest`` without the parts that ``slim_nest`` does not have.

    Dict entries that ``slim_nest`` lacks are dropped. Where ``slim_nest`` holds ``value_to_match``,
    so does the result. Below a leaf of ``slim_nest`` everything stays; all else must fit.
    """
    return _prune(nest, slim_nest, value_to_match, "")


def _prune(nest: Any, slim: Any, value_to_match: Any, path: str) -> Any:
    if _is_same(slim, value_to_match):
        return value_to_match
    if not is_nested(slim):
        return nest
    if not have_same_type(nest, slim):
        _raise_mismatch(path, nest, slim)
    if isinstance(nest, dict):
        missing = sorted(map(str, slim.keys() - nest.keys()))
        if missing:
            raise ValueError(f"at {path or 'the root'!r}: no entries {missing} to keep")
        return type(nest)(
            (key, _prune(nest[key], slim[key], value_to_match, _join(path, key))) for key in slim
        )
    if len(nest) != len(slim):
        _raise_mismatch(path, nest, slim)
    pairs = zip(children_of(nest), children_of(slim), strict=True)
    children = [_prune(a, b, value_to_match, _join(path, key)) for (key, a), (_, b) in pairs]
    return with_children(nest, children)


def _is_same(value: Any, wanted: Any) -> bool:
    return value is wanted or (type(value) is type(wanted) and bool(value == wanted))


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def nest_top_level(nested: Any) -> Any:
    """The outermost container of ``nested`` with None for each child; a leaf as it is."""
    return with_children(nested, [None] * len(nested)) if is_nested(nested) else nested


def transpose(nested: Any, shallow_nest: Any = None, new_shallow_nest: Any = None) -> Any:
    """Exchanges outer and inner structure: ``[(1, 2), (3, 4)]`` becomes ``([1, 3], [2, 4])``.

    Args:
        nested: has the structure of ``shallow_nest``, with parts that all have (at their top)
            the structure of ``new_shallow_nest``.
        shallow_nest: the outer structure; default: the outermost container of ``nested``.
        new_shallow_nest: the inner structure, outer in the result; default: the outermost
            container of the first part.
    """
    if not is_nested(nested):
        return nested
    if shallow_nest is None:
        shallow_nest = nest_top_level(nested)
    parts = flatten_up_to(shallow_nest, nested)
    if new_shallow_nest is None:
        if not parts:
            raise ValueError("new_shallow_nest is needed for a nest without parts")
        new_shallow_nest = nest_top_level(parts[0])
    rows = [flatten_up_to(new_shallow_nest, part) for part in parts]
    columns = [list(column) for column in zip(*rows, strict=True)]
    packed = [pack_sequence_as(shallow_nest, column) for column in columns]
    return pack_sequence_as(new_shallow_nest, packed)


def sum_nest(nested: Any) -> Any:
    """The sum of all leaves; 0 without any."""
    leaves = flatten(nested)
    return sum(leaves[1:], leaves[0]) if leaves else 0


def get_nest_shape(nest: Any) -> Any:
    """The shape of the first leaf."""
    return extract_any_leaf_from_nest(nest).shape


def get_nest_size(nest: Any, dim: int) -> int:
    """The size of the first leaf along ``dim``."""
    return extract_any_leaf_from_nest(nest).shape[dim]


def get_nest_batch_size(nest: Any) -> int:
    """The size of the first leaf along its first dimension."""
    return get_nest_size(nest, 0)


def batch_nested_tensor(nested_tensor: Any) -> Any:
    """Adds a batch dimension of size 1 in front of each tensor."""
    return map_structure(lambda tensor: tensor.unsqueeze(0), nested_tensor)


def unbatch_nested_tensor(nested_tensor: Any) -> Any:
    """Removes the leading batch dimension, which must be of size 1."""

    def unbatch(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim == 0 or tensor.shape[0] != 1:
            raise ValueError(f"shape {tuple(tensor.shape)} has no leading dimension of size 1")
        return tensor.squeeze(0)

    return map_structure(unbatch, nested_tensor)


# ALF has two implementations of these and names the Python ones; here they are the same.
py_assert_same_structure = assert_same_structure
py_flatten = flatten
py_flatten_up_to = flatten_up_to
py_map_structure = map_structure
py_map_structure_up_to = map_structure_up_to
py_pack_sequence_as = pack_sequence_as
py_prune_nest_like = prune_nest_like
