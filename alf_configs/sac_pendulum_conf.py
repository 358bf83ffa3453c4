"""One level, SAC, on Pendulum-v1: 20,000 environment steps, one update after each.

The settings are those of rl-baselines3-zoo for this task.
"""

from functools import partial

import alf
from alf.optimizers import Adam
from alf.utils.math_ops import clipped_exp
from alf_layered import AlgorithmLevel, HierarchyAgent, TrainingOptions

alf.config("create_environment", env_name="Pendulum-v1", num_parallel_environments=1)

alf.config("ActorDistributionNetwork", fc_layer_params=(256, 256))
alf.config("CriticNetwork", joint_fc_layer_params=(256, 256))
alf.config(
    "NormalProjectionNetwork",
    state_dependent_std=True,
    scale_distribution=True,
    std_transform=clipped_exp,
)
alf.config("OneStepTDLoss", gamma=0.99)
alf.config(
    "SacAlgorithm",
    target_entropy=-1.0,
    target_update_tau=0.005,
    actor_optimizer=Adam(lr=1e-3),
    critic_optimizer=Adam(lr=1e-3),
    alpha_optimizer=Adam(lr=1e-3),
)

alf.config(
    "HierarchyAgent",
    levels=[
        partial(
            AlgorithmLevel,
            name="sac",
            training=TrainingOptions(warm_up=100, replay_buffer_length=25_000),
        )
    ],
)

alf.config(
    "TrainerConfig",
    algorithm_ctor=HierarchyAgent,
    num_iterations=0,
    num_env_steps=20_000,
    unroll_length=1,
    mini_batch_length=2,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    num_checkpoints=2,
    evaluate=True,
    num_evals=10,
    num_eval_episodes=100,
    num_eval_environments=50,
    async_eval=False,
    confirm_checkpoint_upon_crash=False,
    summary_interval=200,
    random_seed=0,
)
