"""Random subgoals, SAC reaches them: what a level that chooses subgoals has to beat."""

from functools import partial

from alf_configs.parts import reach_level, run_subgoals, sac
from alf_configs.tasks.maze2d import sparse_umaze
from alf_layered import RandomLevel

sparse_umaze()

run_subgoals(
    partial(RandomLevel, name="subgoals"),
    reach_level(sac(gamma=0.98)),
)
