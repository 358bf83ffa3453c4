"""DDPG with noise, several critics and prioritised replay on the continuous mountain car."""

import functools

import alf
from alf.algorithms.data_transformer import RewardScaling
from alf.algorithms.ddpg_algorithm import DdpgAlgorithm
from alf.networks import ActorNetwork, CriticNetwork
from alf.optimizers import Adam

alf.config("create_environment", env_name="MountainCarContinuous-v0", num_parallel_environments=2)
alf.config("RewardScaling", scale=0.1)
alf.config(
    "DdpgAlgorithm",
    actor_network_ctor=functools.partial(ActorNetwork, fc_layer_params=(16,)),
    critic_network_ctor=functools.partial(CriticNetwork, joint_fc_layer_params=(16,)),
    num_critic_replicas=2,
    ou_stddev=0.2,
    rollout_random_action=0.1,
    actor_optimizer=Adam(lr=1e-3),
    critic_optimizer=Adam(lr=1e-3),
    calculate_priority=True,
)
alf.config("ReplayBuffer", initial_priority=0.1)
alf.config(
    "TrainerConfig",
    algorithm_ctor=DdpgAlgorithm,
    data_transformer_ctor=[RewardScaling],
    num_iterations=100,
    unroll_length=2,
    initial_collect_steps=20,
    mini_batch_length=2,
    mini_batch_size=8,
    num_updates_per_train_iter=2,
    priority_replay=True,
    priority_replay_alpha=0.6,
    priority_replay_beta=0.4,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    replay_buffer_length=500,
    num_checkpoints=1,
    evaluate=False,
)
