"""Seeds of environments: which are allowed, and how several follow from one."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np


def as_seeds(seed: Any, *, owner: str) -> int | list[int]:
    """`seed`, one number or several, as Python's integers.

    Raises:
        TypeError: one is no integer; numpy's are.
        ValueError: one is negative, or not below 2**63.
    """
    if isinstance(seed, Sequence | np.ndarray) and not isinstance(seed, str | bytes):
        return [_as_seed(one, owner) for one in np.asarray(seed, dtype=object).ravel()]
    return _as_seed(seed, owner)


def independent_seeds(seed: int, count: int) -> list[int]:
    """`count` different seeds below 2**31; those of another `seed` are others.

    By `numpy.random.SeedSequence`. With `seed + i` nearly all would be shared with the next `seed`.
    """
    sequence = np.random.SeedSequence(seed)
    size, seeds = count, np.empty(0, np.int64)
    while len(seeds) < count:  # once, but for a collision
        words = sequence.generate_state(size) % np.uint32(2**31)
        _, first = np.unique(words, return_index=True)
        seeds = words[np.sort(first)].astype(np.int64)
        size += count
    return seeds[:count].tolist()


def _as_seed(value: Any, owner: str) -> int:
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        seed = operator.index(value)
    except TypeError:
        raise TypeError(
            f"a seed of {owner} is {value!r}; it is an integer from 0 to 2**63 - 1"
        ) from None
    if not 0 <= seed < 2**63:
        raise ValueError(f"a seed of {owner} is {seed}; it is an integer from 0 to 2**63 - 1")
    return seed
