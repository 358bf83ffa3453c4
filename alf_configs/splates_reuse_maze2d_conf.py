"""Plans with skills that `splates_pretrain_maze2d_conf.py` learned in another maze.

The skills stay as they are; the planner learns what they do here.

    python -m alf.bin.train --root_dir runs/pretrain --conf splates_pretrain_maze2d
    python -m alf.bin.train --root_dir runs/reuse --conf splates_reuse_maze2d \\
        --conf_param _CONFIG._USER.skills="'runs/pretrain'"
"""

import alf
from alf_configs.parts import WHERE_IN_CELL, level, maze_model, planner_level, run_skills, sac
from alf_configs.tasks.maze2d import maze
from alf_layered import SPlaTESLevel, newest_checkpoint

# root_dir of the run that learned the skills, or one of its checkpoints
skills = alf.define_config("skills", "runs/pretrain")

maze("UMaze", steps=40_000, dense_reward=True, evals=8, eval_envs=50)

run_skills(
    planner_level(maze_model(), horizon=12, replay_buffer_length=400),
    level(
        SPlaTESLevel,
        "skills",
        algorithm_ctor=sac(),
        control_interval=10,
        checkpoint=f"alg.level_1_skills@{newest_checkpoint(skills)}",
        freeze_after=0,
        replay_buffer_length=2,
    ),
    WHERE_IN_CELL,
)
