"""Seeds: which numbers are allowed, and how those of the parts of a run follow from the run's."""

from __future__ import annotations

import operator
import os
import random
import time
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from absl import flags

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


def set_random_seed(seed: int | None) -> int:
    """Seed python, numpy and torch; returns the seed.

    Args:
        seed: an integer from 0 to 2**63 - 1; None takes one from process id and time. A given one
            also asks torch for deterministic algorithms, unless the flag
            `--noforce_torch_deterministic` is set.
    """
    if seed is None:
        seed = (os.getpid() * 1_000_003 + time.time_ns()) % 2**32
    else:
        seed = as_seed(seed, owner="the random seed")
        values = flags.FLAGS
        known = values.is_parsed() and "force_torch_deterministic" in values
        deterministic = values.force_torch_deterministic if known else True
        # Operations without a deterministic version warn instead of ending the training.
        torch.use_deterministic_algorithms(deterministic, warn_only=True)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (environments may draw from it)
    torch.manual_seed(seed)
    return seed
