"""The order of leaves: fields of named tuples and keys of dicts alphabetically, as in ALF.

optree goes through named tuples as they were declared, and through an `OrderedDict` as it was
filled. Leaves that it gives are put in order by a permutation that is found once per structure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import optree

from alf.nest._containers import children_of, is_nested


class _Permutation(NamedTuple):
    to_order: itemgetter  # from optree's order
    from_order: itemgetter  # to optree's order


_MOST_STRUCTURES = 10_000
_permutations: dict[optree.PyTreeSpec, _Permutation | None] = {}
"""None: optree's order is the right one."""


def flatten_in_order(nest: Any) -> tuple[Sequence[Any], optree.PyTreeSpec]:
    """The leaves of ``nest`` in order and its structure."""
    leaves, structure = optree.tree_flatten(nest, none_is_leaf=True)
    return put_in_order(leaves, structure), structure


def put_in_order(values: Sequence[Any], structure: optree.PyTreeSpec) -> Sequence[Any]:
    """``values``, one for each leaf as optree goes through ``structure``, in order."""
    permutation = _permutation(structure)
    return values if permutation is None else permutation.to_order(values)


def unflatten(structure: optree.PyTreeSpec, values: Iterable[Any]) -> Any:
    """The nest of ``values``, which are in order."""
    permutation = _permutation(structure)
    if permutation is not None:
        values = permutation.from_order(tuple(values))
    return structure.unflatten(values)


def _permutation(structure: optree.PyTreeSpec) -> _Permutation | None:
    try:
        return _permutations[structure]
    except KeyError:
        if len(_permutations) >= _MOST_STRUCTURES:
            _permutations.clear()
        found = _permutations[structure] = _find_permutation(structure)
        return found


def _find_permutation(structure: optree.PyTreeSpec) -> _Permutation | None:
    count = structure.num_leaves
    order = list(_leaves(structure.unflatten(range(count))))
    if order == list(range(count)):
        return None
    return _Permutation(
        itemgetter(*order), itemgetter(*sorted(range(count), key=order.__getitem__))
    )


def _leaves(nest: Any) -> Iterable[Any]:
    if not is_nested(nest):
        yield nest
        return
    for _, child in children_of(nest):
        yield from _leaves(child)
