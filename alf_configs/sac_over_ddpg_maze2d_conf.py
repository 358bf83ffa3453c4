"""SAC chooses subgoals, deep deterministic policy gradient reaches them: a sparse U-maze."""

from alf_configs.parts import ddpg, reach_level, run_subgoals, sac, subgoal_level
from alf_configs.tasks.maze2d import sparse_umaze

sparse_umaze()

run_subgoals(
    # Per decision, an entropy reward would pay for subgoals that are reached soon.
    subgoal_level(sac(gamma=0.98, use_entropy_reward=False)),
    reach_level(ddpg(gamma=0.98)),
)
