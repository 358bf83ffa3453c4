"""SAC on BipedalWalker-v3, several environments, each in a process of its own, stepped ahead."""

import alf
from alf.environments.parallel_environment import ParallelAlfEnvironment

alf.import_config("sac_agent_pendulum_conf.py")
alf.config(
    "create_environment",
    env_name="BipedalWalker-v3",
    num_parallel_environments=2,
    parallel_environment_ctor=ParallelAlfEnvironment,
)
alf.config("suite_gym.load", max_episode_steps=100)
alf.config("TrainerConfig", unroll_length=2)
