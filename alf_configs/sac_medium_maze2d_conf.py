"""Flat SAC in the medium maze with the dense reward and budget of the skills, for comparison."""

from alf_configs.parts import flat_sac_level, run_hierarchy, sac
from alf_configs.tasks.maze2d import dense_medium_maze
from alf_layered import select

dense_medium_maze()

run_hierarchy(flat_sac_level(sac()), observation_maps=[select("observation", "desired_goal")])
