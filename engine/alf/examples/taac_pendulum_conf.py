"""Temporally abstract actor-critic on Pendulum-v1, one update for each step."""

import alf
from alf.algorithms.taac_algorithm import TaacAlgorithm
from alf.optimizers import Adam
from alf.utils.math_ops import clipped_exp

alf.config("create_environment", env_name="Pendulum-v1", num_parallel_environments=1)

alf.config("ActorDistributionNetwork", fc_layer_params=(128, 128))
alf.config("CriticNetwork", joint_fc_layer_params=(128, 128))
alf.config(
    "NormalProjectionNetwork",
    state_dependent_std=True,
    scale_distribution=True,
    std_transform=clipped_exp,
)
alf.config("TAACTDLoss", gamma=0.98)
alf.config(
    "TaacAlgorithmBase",
    target_update_tau=0.005,
    actor_optimizer=Adam(lr=1e-3),
    critic_optimizer=Adam(lr=1e-3),
    alpha_optimizer=Adam(lr=1e-3),
)
alf.config("ReplayBuffer", enable_checkpoint=True)

alf.config(
    "TrainerConfig",
    algorithm_ctor=TaacAlgorithm,
    num_iterations=10_000,
    unroll_length=1,
    initial_collect_steps=100,
    mini_batch_length=4,
    temporally_independent_train_step=True,
    mini_batch_size=128,
    num_updates_per_train_iter=1,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    replay_buffer_length=20_000,
    num_checkpoints=1,
    evaluate=True,
    num_evals=5,
    num_eval_episodes=20,
    num_eval_environments=10,
    async_eval=False,
    summary_interval=200,
    random_seed=0,
)
