"""Soft actor-critic on Pendulum-v1 without velocity: it sees the last three observations."""

import alf
from alf.algorithms.data_transformer import FrameStacker
from alf.examples.hidden_velocity import hide_velocity

alf.import_config("sac_pendulum_conf.py")

alf.config("suite_gym.load", gym_env_wrappers=(hide_velocity,))
alf.config("FrameStacker", stack_size=3)
alf.config("TrainerConfig", data_transformer_ctor=FrameStacker)
