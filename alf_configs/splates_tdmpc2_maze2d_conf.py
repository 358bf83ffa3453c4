"""SPlaTES in the medium maze with skills by TD-MPC2, as in the paper.

As `splates_maze2d_conf.py`, but the level below learns a world model and plans each step within a
skill. Its networks and its search are small, for a CPU.
"""

from functools import partial

import alf
from alf_configs.parts import maze_model, planner_level, run_skills, skill_level, small_tdmpc2
from alf_configs.tasks.maze2d import dense_medium_maze
from alf_layered import SkillOptions, SkillTDMPC2Algorithm, SPlaTESLevel

# --conf_param _CONFIG._USER.frozen_after=... changes one of these
made_up_start = alf.define_config("made_up_start", 30_000)
fixed_std = alf.define_config("fixed_std", 0.5)
frozen_after = alf.define_config("frozen_after", 50_000)
# Plans each step; otherwise the policy prior decides, at a small part of the cost.
plans_steps = alf.define_config("plans_steps", True)

dense_medium_maze()

settings = small_tdmpc2(terminates=False, acts_by="plan" if plans_steps else "policy")

run_skills(
    planner_level(maze_model(made_up_start)),
    skill_level(
        SPlaTESLevel,
        partial(SkillTDMPC2Algorithm, settings=settings),
        potential_diff_reward=True,
        potential_clipping_low=-10.0,
        freeze_after=frozen_after,
        options=SkillOptions(n_skill_samples=32, fixed_std=fixed_std, after_skill="nothing"),
        mini_batch_size=128,
    ),
)
