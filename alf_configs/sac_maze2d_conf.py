"""Flat SAC in the U-maze of the main run, with the same budget, for comparison."""

from alf_configs.parts import flat_sac_level, run_hierarchy, sac
from alf_configs.tasks.maze2d import sparse_umaze
from alf_layered import select

sparse_umaze(steps=100_000, evals=20)

run_hierarchy(
    flat_sac_level(sac(gamma=0.98)), observation_maps=[select("observation", "desired_goal")]
)
