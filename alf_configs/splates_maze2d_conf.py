"""SPlaTES in the medium maze: iCEM plans skills, SAC learns skills that end where planned.

The planner learns where skills lead to (walls included) and what they earn: the dense reward, minus
the straight distance to the goal. A skill's reward is the information that each step adds about the
skill, under that same model.
"""

import alf
from alf_configs.parts import maze_model, planner_level, run_skills, sac, skill_level
from alf_configs.tasks.maze2d import dense_medium_maze
from alf_layered import SkillOptions, SPlaTESLevel
from alf_layered.plots.plans import PlansOverEnvironment

# --conf_param _CONFIG._USER.frozen_after=... changes one of these
made_up_start = alf.define_config("made_up_start", 30_000)
# Environment steps after which skills no longer change: the planner then learns a fixed target.
frozen_after = alf.define_config("frozen_after", 50_000)
fixed_std = alf.define_config("fixed_std", 0.25)
draw_plans = alf.define_config("draw_plans", False)  # over the maze, for `play`

dense_medium_maze()

run_skills(
    planner_level(
        maze_model(made_up_start),
        callback=PlansOverEnvironment() if draw_plans else None,
    ),
    skill_level(
        SPlaTESLevel,
        sac(),
        potential_diff_reward=True,
        potential_clipping_low=-30.0,
        freeze_after=frozen_after,
        options=SkillOptions(n_skill_samples=32, fixed_std=fixed_std, after_skill="nothing"),
    ),
)
