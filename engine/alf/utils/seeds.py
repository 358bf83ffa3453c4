"""Seeds: which numbers are allowed, and how those of the parts of a run follow from the run's."""

from __future__ import annotations

import operator
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

SEED_LIMIT = 2**63
"""Seeds are below this: torch and numpy take all of them."""
_ENVIRONMENT_SEED_LIMIT = 2**31  # some simulators keep theirs in 32 bits with a sign


def as_seed(value: Any, *, owner: str) -> int:
    """``value`` as a Python integer.

    Args:
        owner: what the seed is for, named in errors.

    Raises:
        TypeError: it is no integer; numpy's are.
        ValueError: it is negative, or not below 2**63.
    """
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        seed = operator.index(value)
    except TypeError:
        raise TypeError(f"{owner} is {value!r}; a seed is an integer from 0 to 2**63 - 1") from None
    if not 0 <= seed < SEED_LIMIT:
        raise ValueError(f"{owner} is {seed}; a seed is an integer from 0 to 2**63 - 1")
    return seed


def wrapper_generator(seed: int | Sequence[int], wrapper: object) -> np.random.Generator:
    """The random numbers of an environment's wrapper, others than those inside it.

    A gymnasium environment draws from `numpy.random.default_rng(seed)` itself.
    """
    tag = zlib.crc32(type(wrapper).__name__.encode())
    return np.random.default_rng([*np.atleast_1d(seed).tolist(), tag])


def independent_seeds(seed: int | Sequence[int], count: int) -> list[int]:
    """``count`` different seeds below 2**31 that follow from ``seed``, one number or several.

    Those of another ``seed`` are others: with ``seed + i`` nearly all would be shared between runs
    whose seeds are neighbours. By `numpy.random.SeedSequence` (O'Neill, 2015, "Developing a
    seed_seq alternative").
    """
    sequence = np.random.SeedSequence(seed)
    size, seeds = count, np.empty(0, np.int64)
    while len(seeds) < count:  # once, but for a collision
        words = sequence.generate_state(size) % np.uint32(_ENVIRONMENT_SEED_LIMIT)
        _, first = np.unique(words, return_index=True)
        seeds = words[np.sort(first)].astype(np.int64)
        size += count
    return seeds[:count].tolist()
