"""Data of a policy that only explores, in the U-maze: `iql_maze2d_conf.py` learns from them.

An actor that is never trained acts with Ornstein-Uhlenbeck noise, from starts anywhere in the maze:
3 episodes of 10 find the goal. From the task's own start 1 of 10 does, and hardly any record shows
the way back to a goal that was missed.
"""

from functools import partial

import alf
from alf.algorithms.ddpg_algorithm import DdpgAlgorithm
from alf.nest.utils import NestConcat
from alf.networks import ActorNetwork
from alf_configs.parts import adams, critic, run
from alf_configs.tasks.maze2d import sparse_umaze

num_env_steps = alf.define_config("num_env_steps", 100_000)

sparse_umaze(num_env_steps, evals=0)
free_cells = [(1, 1), (2, 1), (3, 1), (3, 2), (3, 3), (2, 3)]
alf.config("maze2d_alf.load", start_cells=free_cells, start_jitter=0.3)
alf.config("ReplayBuffer", enable_checkpoint=True)

merge = {"preprocessing_combiner": NestConcat()}

run(
    partial(
        DdpgAlgorithm,
        actor_network_ctor=partial(ActorNetwork, fc_layer_params=(16,), **merge),
        critic_network_ctor=critic((16,), observation_preprocessing_combiner=NestConcat()),
        ou_stddev=0.5,
        ou_damping=0.1,
        **adams(1e-3, "actor", "critic"),
    ),
    unroll_length=100,
    initial_collect_steps=2 * num_env_steps,  # longer than the run: nothing is trained
    replay_buffer_length=num_env_steps,
    num_checkpoints=1,
    summary_interval=10,
)
