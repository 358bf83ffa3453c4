"""SAC inside an Agent, with hidden sizes as user parameters and AdamTF."""

import functools

import alf
from alf.algorithms.agent import Agent
from alf.algorithms.one_step_loss import OneStepTDLoss
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.networks import ActorDistributionNetwork, CriticNetwork, NormalProjectionNetwork
from alf.optimizers import AdamTF
from alf.utils.dist_utils import calc_default_target_entropy
from alf.utils.losses import element_wise_squared_loss
from alf.utils.math_ops import clipped_exp

hidden = alf.define_config("hidden", (16, 16))
alf.config("create_environment", env_name="Pendulum-v1", num_parallel_environments=1)
alf.config("Agent", rl_algorithm_cls=SacAlgorithm)
alf.config(
    "SacAlgorithm",
    actor_network_cls=functools.partial(
        ActorDistributionNetwork,
        fc_layer_params=hidden,
        continuous_projection_net_ctor=functools.partial(
            NormalProjectionNetwork,
            state_dependent_std=True,
            scale_distribution=True,
            std_transform=clipped_exp,
        ),
    ),
    critic_network_cls=functools.partial(CriticNetwork, joint_fc_layer_params=hidden),
    target_entropy=calc_default_target_entropy,
    target_update_tau=0.005,
    actor_optimizer=AdamTF(lr=5e-4),
    critic_optimizer=AdamTF(lr=5e-4),
    alpha_optimizer=AdamTF(lr=5e-4),
)
alf.config("OneStepTDLoss", td_error_loss_fn=element_wise_squared_loss)
alf.config("SacAlgorithm", critic_loss_ctor=OneStepTDLoss)
alf.config(
    "TrainerConfig",
    temporally_independent_train_step=True,
    algorithm_ctor=Agent,
    initial_collect_steps=30,
    mini_batch_length=2,
    unroll_length=1,
    mini_batch_size=16,
    num_updates_per_train_iter=1,
    num_iterations=0,
    num_env_steps=10000,
    num_checkpoints=1,
    evaluate=False,
    debug_summaries=True,
    summarize_grads_and_vars=True,
    summary_interval=1,
    replay_buffer_length=1000,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
)
