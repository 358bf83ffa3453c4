"""Soft actor-critic on a representation that learns to foretell rewards, on Pendulum-v1."""

from functools import partial

import alf
from alf.algorithms.predictive_representation_learner import (
    PredictiveRepresentationLearner,
    SimpleDecoder,
)
from alf.layers import Reshape
from alf.networks import EncodingNetwork, LSTMEncodingNetwork, Sequential
from alf.utils.math_ops import identity

alf.import_config("sac_encoder_pendulum_conf.py")


def reward_head(input_tensor_spec):
    """One number."""
    values = EncodingNetwork(
        input_tensor_spec, fc_layer_params=(64,), last_layer_size=1, last_activation=identity
    )
    return Sequential(values, Reshape(()))


alf.config(
    "PredictiveRepresentationLearner",
    num_unroll_steps=2,
    decoder_ctor=partial(SimpleDecoder, target_field="reward", decoder_net_ctor=reward_head),
    encoding_net_ctor=partial(EncodingNetwork, fc_layer_params=(64,)),
    dynamics_net_ctor=partial(LSTMEncodingNetwork, hidden_size=64),
)
alf.config("Agent", representation_learner_cls=PredictiveRepresentationLearner)
alf.config("ReplayBuffer", keep_episodic_info=True)
