"""`SacLevel`: the short name of a level that learns by soft actor-critic."""

from __future__ import annotations

from functools import partial

from alf.algorithms.sac_algorithm import SacAlgorithm
from alf_layered.levels.algorithm_level import AlgorithmLevel

SacLevel = partial(AlgorithmLevel, algorithm_ctor=SacAlgorithm, name="sac")
"""`AlgorithmLevel` with `SacAlgorithm`; settings of the algorithm come from `alf.config`, or give
`algorithm_ctor=partial(SacAlgorithm, ...)`."""
