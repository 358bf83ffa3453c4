"""Flat soft actor-critic on Pendulum-v1: 20,000 environment steps, one update after each.

The settings are those of rl-baselines3-zoo for this task.
"""

from functools import partial

import alf
from alf.algorithms.one_step_loss import OneStepTDLoss
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.networks import ActorDistributionNetwork, CriticNetwork, NormalProjectionNetwork
from alf.optimizers import Adam
from alf.utils.math_ops import clipped_exp

alf.config("create_environment", env_name="Pendulum-v1", num_parallel_environments=1)

hidden_layers = (256, 256)
learning_rate = 1e-3

squashed_normal = partial(
    NormalProjectionNetwork,
    state_dependent_std=True,
    scale_distribution=True,
    std_transform=clipped_exp,
)
alf.config(
    "SacAlgorithm",
    actor_network_cls=partial(
        ActorDistributionNetwork,
        fc_layer_params=hidden_layers,
        continuous_projection_net_ctor=squashed_normal,
    ),
    critic_network_cls=partial(CriticNetwork, joint_fc_layer_params=hidden_layers),
    critic_loss_ctor=partial(OneStepTDLoss, gamma=0.99),
    target_entropy=-1.0,
    target_update_tau=0.005,
    actor_optimizer=Adam(lr=learning_rate),
    critic_optimizer=Adam(lr=learning_rate),
    alpha_optimizer=Adam(lr=learning_rate),
)

alf.config(
    "TrainerConfig",
    algorithm_ctor=SacAlgorithm,
    num_iterations=0,
    num_env_steps=20_000,
    unroll_length=1,
    initial_collect_steps=100,
    num_updates_per_train_iter=1,
    mini_batch_length=2,
    mini_batch_size=256,
    replay_buffer_length=25_000,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    evaluate=True,
    num_evals=10,
    num_eval_episodes=100,
    num_eval_environments=50,
    async_eval=False,
    num_checkpoints=2,
    confirm_checkpoint_upon_crash=False,
    summary_interval=200,
)
