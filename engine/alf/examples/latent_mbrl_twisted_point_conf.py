"""Plans in a learned latent space: nothing but rewards and observations is foretold from it."""

from functools import partial

import torch

import alf
import alf.examples.twisted_point
from alf.algorithms.agent import Agent
from alf.algorithms.mbrl_algorithm import LatentMbrlAlgorithm
from alf.algorithms.planning_algorithm import RandomShootingAlgorithm
from alf.algorithms.predictive_representation_learner import (
    PredictiveRepresentationLearner,
    SimpleDecoder,
)
from alf.layers import Reshape
from alf.networks import EncodingNetwork, LSTMEncodingNetwork, Sequential
from alf.optimizers import Adam
from alf.utils.math_ops import identity

alf.config("create_environment", env_name="TwistedPoint-v0", num_parallel_environments=16)

net = partial(EncodingNetwork, fc_layer_params=(32,))


def encoder(input_tensor_spec):
    """Latent vectors of 16 numbers in [-1, 1]."""
    return net(
        input_tensor_spec,
        activation=torch.tanh,
        last_layer_size=16,
        last_activation=torch.tanh,
    )


def reward_head(input_tensor_spec):
    """One number."""
    values = net(input_tensor_spec, last_layer_size=1, last_activation=identity)
    return Sequential(values, Reshape(()))


alf.config(
    "PredictiveRepresentationLearner",
    num_unroll_steps=3,
    decoder_ctor=[
        partial(SimpleDecoder, target_field="reward", decoder_net_ctor=reward_head),
        partial(
            SimpleDecoder,
            target_field="observation",
            decoder_net_ctor=partial(net, last_layer_size=2, last_activation=identity),
        ),
    ],
    encoding_net_ctor=encoder,
    dynamics_net_ctor=partial(LSTMEncodingNetwork, hidden_size=16),
)
alf.config("RandomShootingAlgorithm", population_size=100, planning_horizon=3)
alf.config("LatentMbrlAlgorithm", planner_module_ctor=RandomShootingAlgorithm)
alf.config(
    "Agent",
    rl_algorithm_cls=LatentMbrlAlgorithm,
    representation_learner_cls=PredictiveRepresentationLearner,
    optimizer=Adam(lr=5e-3),
)
alf.config("ReplayBuffer", keep_episodic_info=True)

alf.config(
    "TrainerConfig",
    algorithm_ctor=Agent,
    num_iterations=120,
    unroll_length=8,
    initial_collect_steps=200,
    mini_batch_length=1,
    mini_batch_size=64,
    num_updates_per_train_iter=8,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    replay_buffer_length=2000,
    num_checkpoints=1,
    evaluate=True,
    num_evals=3,
    num_eval_episodes=64,
    num_eval_environments=16,
    async_eval=False,
    summary_interval=20,
    random_seed=0,
)
