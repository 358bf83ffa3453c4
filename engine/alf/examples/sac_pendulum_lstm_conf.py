"""Soft actor-critic on Pendulum-v1 without velocity: actor and critics are LSTM networks.

Training begins with the state that was stored in the rollout and runs over 8 steps.
"""

import alf
from alf.examples.hidden_velocity import hide_velocity
from alf.networks import ActorDistributionRNNNetwork, CriticRNNNetwork

alf.import_config("sac_pendulum_conf.py")

alf.config("suite_gym.load", gym_env_wrappers=(hide_velocity,))
alf.config(
    "ActorDistributionRNNNetwork",
    fc_layer_params=(64,),
    lstm_hidden_size=(64,),
    actor_fc_layer_params=(64,),
)
alf.config(
    "CriticRNNNetwork",
    joint_fc_layer_params=(64,),
    lstm_hidden_size=(64,),
    critic_fc_layer_params=(64,),
)
alf.config(
    "SacAlgorithm",
    actor_network_cls=ActorDistributionRNNNetwork,
    critic_network_cls=CriticRNNNetwork,
)
alf.config(
    "TrainerConfig",
    use_rollout_state=True,
    mini_batch_length=8,
    mini_batch_size=32,
)
