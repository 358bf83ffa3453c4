"""Flat SAC as ALF runs it, in the U-maze; `iql_maze2d_conf.py` learns from its replay buffer."""

import alf
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.nest.utils import NestConcat
from alf.optimizers import Adam
from alf.utils.math_ops import clipped_exp
from alf_layered.environments import maze2d_alf

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
alf.config(
    "NormalProjectionNetwork",
    state_dependent_std=True,
    scale_distribution=True,
    std_transform=clipped_exp,
)
alf.config("OneStepTDLoss", gamma=0.98)
alf.config(
    "SacAlgorithm",
    target_update_tau=0.01,
    actor_optimizer=Adam(lr=1e-3),
    critic_optimizer=Adam(lr=1e-3),
    alpha_optimizer=Adam(lr=1e-3),
)
alf.config("ReplayBuffer", enable_checkpoint=True)

alf.config(
    "TrainerConfig",
    algorithm_ctor=SacAlgorithm,
    num_iterations=0,
    num_env_steps=40_000,
    unroll_length=4,
    initial_collect_steps=2000,
    mini_batch_length=2,
    mini_batch_size=256,
    num_updates_per_train_iter=8,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    replay_buffer_length=10_000,
    num_checkpoints=1,
    evaluate=True,
    num_evals=4,
    num_eval_episodes=100,
    num_eval_environments=20,
    async_eval=False,
    summary_interval=100,
    random_seed=0,
)
