"""Hierarchical reinforcement learning for ALF, the Agent Learning Framework."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

_PUBLIC = {
    "ActionSequenceLevel": "levels.action_sequence_level",
    "AlgorithmLevel": "levels.algorithm_level",
    "ConstantLevel": "levels.constant_level",
    "Goal": "levels.goal",
    "HierarchyAgent": "hierarchy_agent",
    "Level": "levels.level",
    "LevelObservation": "levels.level",
    "NegativeDistance": "levels.goal",
    "ObservationMap": "observation_maps",
    "RandomLevel": "levels.random_level",
    "ShortestPath": "levels.goal",
    "TrainingOptions": "levels.training",
    "option": "joints",
    "select": "observation_maps",
    "skill": "joints",
    "subgoal": "joints",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _check_alf() -> None:
    """Raises where `alf` is missing or is another package of that name."""
    found = importlib.util.find_spec("alf")
    try:
        if found is not None and importlib.util.find_spec("alf.algorithms") is not None:
            return
    except ImportError:  # a module named alf that holds no packages
        found = importlib.util.find_spec("alf")
    what = "is not installed" if found is None else f"at {found.origin} is another package"
    raise ImportError(
        f"alf_layered needs ALF, the Agent Learning Framework, but the package 'alf' {what} "
        "(the package index has an unrelated OAuth client under this name: 'pip uninstall alf' "
        "removes it). There are two ways to get one: 'pip install ./engine' from a clone of "
        "alf_layered, or upstream ALF from its own repository."
    )


_check_alf()
