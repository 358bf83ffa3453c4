"""The main run: SAC chooses subgoals, SAC reaches them: a U-maze with a sparse reward."""

from alf_configs.parts import reach_level, run_subgoals, sac, subgoal_level
from alf_configs.tasks.maze2d import sparse_umaze

sparse_umaze(steps=100_000, evals=20)

run_subgoals(
    # Per decision, an entropy reward would pay for subgoals that are reached soon.
    subgoal_level(sac(gamma=0.98, use_entropy_reward=False)),
    reach_level(sac(gamma=0.98)),
)
