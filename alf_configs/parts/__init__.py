"""Building blocks of the runs: ordinary functions, called with a run's choices."""

from alf_configs.parts.learners import adams, critic, ddpg, dqn, iql, ppo, sac, taac
from alf_configs.parts.levels import (
    flat_model,
    flat_sac_level,
    level,
    maze_model,
    planner_level,
    random_skills,
    reach_level,
    skill_level,
    small_tdmpc2,
    subgoal_level,
    tdmpc2_level,
)
from alf_configs.parts.muzero import categorical_values, muzero, search
from alf_configs.parts.run import WHERE_IN_CELL, run, run_hierarchy, run_skills, run_subgoals
