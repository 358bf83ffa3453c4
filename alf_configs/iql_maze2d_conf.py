"""Implicit Q learning in the U-maze: first from an earlier run's data, then online too.

The earlier run is one of `noise_data_maze2d_conf.py`, or of any flat off-policy learner here:

    python -m alf.bin.train --root_dir runs/data --conf noise_data_maze2d
    python -m alf.bin.train --root_dir runs/iql --conf iql_maze2d \\
        --conf_param "_CONFIG._USER.data_dir='runs/data'"
"""

import alf
from alf.algorithms.data_transformer import ObservationNormalizer
from alf.utils.schedulers import LinearScheduler
from alf_configs.parts import iql, run
from alf_configs.tasks.maze2d import sparse_umaze

# root_dir of the earlier run, or its replay buffer's file
data_dir = alf.define_config("data_dir", "runs/data")
# iterations, of 8 updates each, from these data alone
offline_iterations = alf.define_config("offline_iterations", 600)

sparse_umaze(steps=20_000, evals=None)
alf.config("ReplayBuffer", enable_checkpoint=True)
# Around 0 the kinks of the networks cross the maze. Coordinates of 0 to 5 have almost all of them
# in its corner, and values leak through its walls.
alf.config("ObservationNormalizer", fields=["observation", "achieved_goal"])

run(
    iql(
        gamma=0.98,
        lr=LinearScheduler("percent", [(0, 1e-3), (1, 1e-4)]),
        target_update_tau=0.05,  # the goal is 57 steps away, each is followed after 20 updates
        expectile=0.9,
        temperature=0.002,  # one action changes a value by about 0.006
    ),
    data_transformer_ctor=ObservationNormalizer,
    offline_buffer_dir=data_dir,
    rl_train_after_update_steps=offline_iterations,
    initial_collect_steps=1000,
    mini_batch_size=256,
    num_updates_per_train_iter=8,
    replay_buffer_length=10_000,
    num_checkpoints=1,
    eval_interval=100,
)
