"""Environments: what ALF expects of one, gymnasium's as such, wrappers, ways to batch them."""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = frozenset(
    {
        "alf_environment",
        "alf_gym_wrapper",
        "alf_wrappers",
        "fast_parallel_environment",
        "gym_wrappers",
        "parallel_environment",
        "process_environment",
        "random_alf_environment",
        "suite_gym",
        "suite_tic_tac_toe",
        "suite_unittest",
        "thread_environment",
        "utils",
    }
)


def __getattr__(name: str) -> Any:
    """A module of this package, imported when it is asked for: some need gymnasium."""
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
