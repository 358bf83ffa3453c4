"""Returns, lengths and successes of finished episodes, in any auto-reset mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

_SUCCESS_KEYS = ("success", "is_success")


class Finished(NamedTuple):
    """Episodes that ended in one step, n of them, all `[n]`."""

    returns: np.ndarray
    lengths: np.ndarray
    success: np.ndarray
    """1 where some step of the episode was a success, else 0; NaN where none told of it"""


class EpisodeCount:
    """Adds up the present episodes of M environments."""

    def __init__(self, num_envs: int) -> None:
        self._return = np.zeros(num_envs)
        self._length = np.zeros(num_envs, dtype=np.int64)
        self._success = np.full(num_envs, np.nan)

    def add(
        self, reward: Any, over: np.ndarray, stepped: np.ndarray, info: Mapping[str, Any]
    ) -> Finished:
        """Counts one step.

        Args:
            reward: `[M]`.
            over: `[M]`, bool, where an episode ends.
            stepped: `[M]`, bool, False where the step only began an episode.
            info: of the step, as gymnasium's vector environments give it.
        """
        self._return += np.where(stepped, np.asarray(reward, dtype=np.float64).reshape(-1), 0)
        self._length += stepped
        self._success = np.fmax(self._success, _success(info, over, stepped))
        ended = np.flatnonzero(over & stepped)
        finished = Finished(
            self._return[ended].copy(), self._length[ended].copy(), self._success[ended].copy()
        )
        self._return[ended] = self._length[ended] = 0
        self._success[ended] = np.nan
        return finished


def _success(info: Mapping[str, Any], over: np.ndarray, stepped: np.ndarray) -> np.ndarray:
    """`[M]`, 1 or 0, NaN where nothing is known."""
    found = _flags(info, stepped)
    final = info.get("final_info")
    if isinstance(final, Mapping):
        found = np.where(over, np.fmax(np.where(over, np.nan, found), _flags(final, over)), found)
    return np.where(stepped, found, np.nan)


def _flags(info: Mapping[str, Any], rows: np.ndarray) -> np.ndarray:
    known = np.full(len(rows), np.nan)
    for key in _SUCCESS_KEYS:
        if key not in info:
            continue
        values = np.asarray(info[key]).reshape(-1)
        there = np.asarray(info.get(f"_{key}", np.ones(len(rows), dtype=bool))).reshape(-1)
        values = np.where(there, values, 0).astype(np.float64)
        known = np.fmax(known, np.where(there, values, np.nan))
    return known
