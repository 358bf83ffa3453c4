"""A hierarchy that is pretrained offline, then trained online: both levels by implicit Q learning.

The data are those of `noise_data_maze2d_conf.py`, a flat run without goals: each level is told what
it would have decided.

    python -m alf.bin.train --root_dir runs/data --conf noise_data_maze2d
    python -m alf.bin.train --root_dir runs/iql --conf iql_over_iql_maze2d \\
        --conf_param "_CONFIG._USER.data_dir='runs/data'"
"""

import alf
from alf.utils.schedulers import LinearScheduler
from alf_configs.parts import iql, reach_level, run_hierarchy, subgoal_level
from alf_configs.tasks.maze2d import sparse_umaze
from alf_layered import Goal, ObservationMap, select, subgoal

# root_dir of the earlier run, or its replay buffer's file
data_dir = alf.define_config("data_dir", "runs/data")
# iterations from these data alone, with 4 updates of each level
offline_iterations = alf.define_config("offline_iterations", 500)

sparse_umaze(steps=20_000, evals=None)

slowing = LinearScheduler("percent", [(0, 1e-3), (1, 1e-4)])
shared = {"gamma": 0.98, "lr": slowing, "target_update_tau": 0.05, "expectile": 0.9}
# The mean of good subgoals may just miss the goal's edge: evaluated is what the policies sample.
shared["epsilon_greedy"] = 1.0
online = {"random_warm_up": False, "offline_updates": 4}
# Told goals are near: who returned control when one is reached would hardly be asked for more.
whole_interval = Goal(radius=0.3, returns_control=False)
# As in `iql_maze2d_conf.py`, values of coordinates around 0 leak less through walls.
centred = ObservationMap(lambda seen: seen["observation"] - 2.5)

run_hierarchy(
    # One subgoal changes a value by about 0.1, one step towards it by 1.
    subgoal_level(iql(temperature=0.03, **shared), **online),
    reach_level(iql(temperature=0.3, **shared), goal=whole_interval, **online),
    joints=[subgoal("achieved_goal", minimum=1.0, maximum=4.0)],
    observation_maps=[centred, select("observation")],
    offline_buffer_dir=data_dir,
    rl_train_after_update_steps=offline_iterations,
    eval_interval=100,
)
