"""Skills without a task: SPlaTES in the medium maze, with random skills.

The reward of the environment is not used. `splates_reuse_maze2d_conf.py` plans with these skills in
another maze: skills see where in a cell they are, but not in which.
"""

import alf
from alf_configs.parts import WHERE_IN_CELL, maze_model, random_skills, run_skills, sac, skill_level
from alf_configs.tasks.maze2d import maze
from alf_layered import SkillOptions, SPlaTESLevel

# --conf_param _CONFIG._USER.fixed_std=... changes one of these
made_up_start = alf.define_config("made_up_start", 30_000)
fixed_std = alf.define_config("fixed_std", 0.5)

maze("Medium", steps=80_000, dense_reward=True, terminate_at_goal=False)

model = maze_model(made_up_start, layers=2, beta_nll=0.0)

run_skills(
    random_skills(model, lr=1e-3, warm_up=1000, replay_buffer_length=400),
    skill_level(
        SPlaTESLevel,
        sac(),
        potential_diff_reward=True,
        potential_clipping_low=-10.0,
        options=SkillOptions(n_skill_samples=16, fixed_std=fixed_std, after_skill="nothing"),
    ),
    WHERE_IN_CELL,
)
