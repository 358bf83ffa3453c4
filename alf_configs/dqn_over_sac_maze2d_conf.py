"""Deep Q learning chooses one of nine subgoals, SAC reaches it: a U-maze with a sparse reward."""

from alf_configs.parts import dqn, reach_level, run_subgoals, sac, subgoal_level
from alf_configs.tasks.maze2d import sparse_umaze

sparse_umaze()

run_subgoals(
    subgoal_level(
        dqn(gamma=0.98),
        choices=[[x, y] for x in (1.5, 2.5, 3.5) for y in (1.5, 2.5, 3.5)],
    ),
    reach_level(sac(gamma=0.98)),
    # As Mnih et al. (2015) evaluate: all episodes begin in one place, and without random choices
    # the best of nine subgoals can be one that the lower level's best actions never reach.
    epsilon_greedy=0.05,
)
