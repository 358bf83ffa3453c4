"""Hierarchies of one level."""

from __future__ import annotations

from typing import Any

from alf_layered.hierarchy.level import LevelCtor
from alf_layered.levels.fixed_levels import RandomLevel
from alf_layered.levels.sac_level import SacLevel
from alf_layered.library.hierarchy import Hierarchy


class RandomHierarchy(Hierarchy):
    """Uniform random actions; `options` are of `Hierarchy`."""

    def __init__(self, env: Any, **options: Any) -> None:
        super().__init__([RandomLevel], env, **options)


class FlatHierarchy(Hierarchy):
    """One level, SAC unless another is given; `options` are of `Hierarchy`."""

    def __init__(self, env: Any, level: LevelCtor = SacLevel, **options: Any) -> None:
        super().__init__([level], env, **options)
