"""`SacLevel`: the short name of a level that learns by soft actor-critic."""

from __future__ import annotations

from alf_layered.hierarchy.constructors import LevelConstructor
from alf_layered.levels.algorithm_level import AlgorithmLevel
from alf_layered.levels.default_sac import default_sac

SacLevel = LevelConstructor(AlgorithmLevel, algorithm_ctor=default_sac, name="sac")
"""`AlgorithmLevel` with `SacAlgorithm`: settings come from `alf.config` and `default_sac`, or give
`algorithm_ctor=partial(SacAlgorithm, ...)`."""
