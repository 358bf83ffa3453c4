"""On-policy actor-critic with recurrent networks on CartPole-v1."""

import functools

import alf
from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
from alf.networks import ActorDistributionRNNNetwork, ValueRNNNetwork
from alf.optimizers import Adam

alf.config("create_environment", env_name="CartPole-v1", num_parallel_environments=3)
alf.config(
    "ActorCriticAlgorithm",
    actor_network_ctor=functools.partial(
        ActorDistributionRNNNetwork, fc_layer_params=(8,), lstm_hidden_size=(8,)
    ),
    value_network_ctor=functools.partial(
        ValueRNNNetwork, fc_layer_params=(8,), lstm_hidden_size=(8,)
    ),
    optimizer=Adam(lr=1e-3),
)
alf.config("ActorCriticLoss", entropy_regularization=1e-4, gamma=0.99, use_gae=True)
alf.config(
    "TrainerConfig",
    algorithm_ctor=ActorCriticAlgorithm,
    num_iterations=100,
    unroll_length=8,
    num_checkpoints=1,
    evaluate=False,
    epsilon_greedy=0.1,
)
