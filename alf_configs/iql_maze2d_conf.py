"""Implicit Q learning in the U-maze: first from what an earlier run has left, then online too.

The earlier run is one of `noise_data_maze2d_conf.py`, or of any flat off-policy learner here:

    python -m alf.bin.train --root_dir runs/data --conf noise_data_maze2d
    python -m alf.bin.train --root_dir runs/iql --conf iql_maze2d \\
        --conf_param "_CONFIG._USER.data_dir='runs/data'"
"""

import alf
from alf.algorithms.data_transformer import ObservationNormalizer
from alf.algorithms.iql_algorithm import IqlAlgorithm
from alf.nest.utils import NestConcat
from alf.optimizers import Adam
from alf.utils.schedulers import LinearScheduler
from alf_layered.environments import maze2d_alf

# root_dir of the earlier run, or its replay buffer's file
data_dir = alf.define_config("data_dir", "runs/data")
# iterations, of 8 updates each, from these data alone
offline_iterations = alf.define_config("offline_iterations", 600)

alf.config(
    "create_environment",
    env_name="Maze2D-UMaze-v0",
    env_load_fn=maze2d_alf.load,
    num_parallel_environments=16,
)
alf.config("maze2d_alf.load", dense_reward=False, terminate_at_goal=True)

alf.config(
    "ActorDistributionNetwork",
    preprocessing_combiner=NestConcat(),
    fc_layer_params=(128, 128),
)
alf.config(
    "CriticNetwork",
    observation_preprocessing_combiner=NestConcat(),
    joint_fc_layer_params=(128, 128),
)
alf.config("ValueNetwork", preprocessing_combiner=NestConcat(), fc_layer_params=(128, 128))
alf.config("OneStepTDLoss", gamma=0.98)
# Around 0 the kinks of the networks cross the maze. Coordinates of 0 to 5 have almost all of them
# in its corner, and values leak through its walls.
alf.config("ObservationNormalizer", fields=["observation", "achieved_goal"])


def slowing(rate: float) -> LinearScheduler:
    """A rate that goes down with the own steps, to a tenth."""
    return LinearScheduler("percent", [(0, rate), (1, rate / 10)])


alf.config(
    "IqlAlgorithm",
    target_update_tau=0.05,  # the goal is 57 steps away, each is followed after 20 updates
    expectile=0.9,
    temperature=0.002,  # one action changes a value by about 0.006
    actor_optimizer=Adam(lr=slowing(1e-3)),
    critic_optimizer=Adam(lr=slowing(1e-3)),
    value_optimizer=Adam(lr=slowing(1e-3)),
)
alf.config("ReplayBuffer", enable_checkpoint=True)

alf.config(
    "TrainerConfig",
    algorithm_ctor=IqlAlgorithm,
    data_transformer_ctor=ObservationNormalizer,
    offline_buffer_dir=data_dir,
    rl_train_after_update_steps=offline_iterations,
    num_iterations=0,
    num_env_steps=20_000,
    unroll_length=4,
    initial_collect_steps=1000,
    mini_batch_length=2,
    mini_batch_size=256,
    num_updates_per_train_iter=8,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    replay_buffer_length=10_000,
    num_checkpoints=1,
    evaluate=True,
    eval_interval=100,
    num_eval_episodes=100,
    num_eval_environments=20,
    async_eval=False,
    summary_interval=100,
    random_seed=0,
)
