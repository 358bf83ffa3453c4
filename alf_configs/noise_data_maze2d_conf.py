"""Data of a policy that only explores, in the U-maze: `iql_maze2d_conf.py` learns from them.

An actor that is never trained acts with Ornstein-Uhlenbeck noise, from starts anywhere in the maze:
3 episodes of 10 find the goal. From the task's own start 1 of 10 does, and hardly any record shows
the way back to a goal that was missed.
"""

import alf
from alf.algorithms.ddpg_algorithm import DdpgAlgorithm
from alf.nest.utils import NestConcat
from alf.optimizers import Adam
from alf_layered.environments import maze2d_alf

num_env_steps = alf.define_config("num_env_steps", 100_000)

alf.config(
    "create_environment",
    env_name="Maze2D-UMaze-v0",
    env_load_fn=maze2d_alf.load,
    num_parallel_environments=16,
)
alf.config(
    "maze2d_alf.load",
    dense_reward=False,
    terminate_at_goal=True,
    start_cells=[(1, 1), (2, 1), (3, 1), (3, 2), (3, 3), (2, 3)],
    start_jitter=0.3,
)

alf.config("ActorNetwork", preprocessing_combiner=NestConcat(), fc_layer_params=(16,))
alf.config(
    "CriticNetwork", observation_preprocessing_combiner=NestConcat(), joint_fc_layer_params=(16,)
)
alf.config(
    "DdpgAlgorithm",
    ou_stddev=0.5,
    ou_damping=0.1,
    actor_optimizer=Adam(lr=1e-3),
    critic_optimizer=Adam(lr=1e-3),
)
alf.config("ReplayBuffer", enable_checkpoint=True)

alf.config(
    "TrainerConfig",
    algorithm_ctor=DdpgAlgorithm,
    num_iterations=0,
    num_env_steps=num_env_steps,
    unroll_length=100,
    initial_collect_steps=2 * num_env_steps,  # longer than the run: nothing is trained
    mini_batch_length=2,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    replay_buffer_length=num_env_steps,
    num_checkpoints=1,
    evaluate=False,
    summary_interval=10,
    random_seed=0,
)
