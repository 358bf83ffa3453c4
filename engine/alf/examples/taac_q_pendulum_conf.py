"""TAAC-Q on Pendulum-v1: what it repeats is a quadratic trajectory of actions, within [-1, 1]."""

import alf
from alf.algorithms.taac_algorithm import TaacQAlgorithm
from alf.environments import suite_gym
from alf.environments.gym_wrappers import NormalizedAction

alf.import_config("taac_pendulum_conf.py")

alf.config("suite_gym.load", gym_env_wrappers=[NormalizedAction])
alf.config("create_environment", env_load_fn=suite_gym.load)
alf.config("TrainerConfig", algorithm_ctor=TaacQAlgorithm)
