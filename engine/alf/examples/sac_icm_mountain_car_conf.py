"""Curiosity (ICM) drives soft actor-critic up the hill of MountainCarContinuous-v0."""

import alf
from alf.algorithms.agent import Agent
from alf.algorithms.icm_algorithm import ICMAlgorithm
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.optimizers import Adam
from alf.utils.math_ops import clipped_exp

# Before the environment is made below, whose specs the networks need.
alf.config("TrainerConfig", random_seed=0)
alf.config("create_environment", env_name="MountainCarContinuous-v0", num_parallel_environments=4)

alf.config("ActorDistributionNetwork", fc_layer_params=(128, 128))
alf.config("CriticNetwork", joint_fc_layer_params=(128, 128))
alf.config(
    "NormalProjectionNetwork",
    state_dependent_std=True,
    scale_distribution=True,
    std_transform=clipped_exp,
)
alf.config("OneStepTDLoss", gamma=0.99)
alf.config("SacAlgorithm", target_entropy=-1.0, target_update_tau=0.005)
alf.config(
    "Agent",
    rl_algorithm_cls=SacAlgorithm,
    intrinsic_reward_module=ICMAlgorithm(
        alf.get_action_spec(), alf.get_observation_spec(), hidden_size=64
    ),
    intrinsic_reward_coef=0.3,
    optimizer=Adam(lr=1e-3),
)
alf.config("ReplayBuffer", enable_checkpoint=True)

alf.config(
    "TrainerConfig",
    algorithm_ctor=Agent,
    num_iterations=10_000,
    unroll_length=1,
    initial_collect_steps=100,
    mini_batch_length=2,
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
)
