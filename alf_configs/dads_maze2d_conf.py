"""DADS in the medium maze: CEM plans skills, SAC learns skills each of whose steps is predictable.

As `splates_maze2d_conf.py`, but the reward of a step is the information in that step about the
skill, wherever the skill began; a skill's policy sees neither its start nor its time.
"""

import alf
from alf_configs.parts import maze_model, planner_level, run_skills, sac, skill_level
from alf_configs.tasks.maze2d import dense_medium_maze
from alf_layered import CEM, DADSLevel, SkillOptions

# --conf_param _CONFIG._USER.skill_steps=... changes one of these
skill_steps = alf.define_config("skill_steps", 10)  # environment steps of a skill
frozen_after = alf.define_config("frozen_after", 50_000)  # see splates_maze2d_conf.py

dense_medium_maze()

run_skills(
    planner_level(
        maze_model(made_up_start=30_000),
        planner=CEM(n_samples=128, n_iterations=5),
    ),
    skill_level(
        DADSLevel,
        sac(),
        control_interval=skill_steps,
        freeze_after=frozen_after,
        options=SkillOptions(n_skill_samples=32, fixed_std=0.5, clip_low=-10.0),
    ),
)
