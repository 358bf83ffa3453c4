"""A conf file with an environment whose observations count, and SAC with small networks."""

from __future__ import annotations

from pathlib import Path

SMALL_CONF = '''
import functools

import alf
import gymnasium
import numpy as np
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.critic_networks import CriticNetwork
from alf.optimizers import Adam


class Count(gymnasium.Env):
    """Episodes of 5 steps; observes (random number of the episode, steps), earns the action."""

    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    fails_at = alf.define_config("fails_at", 0)
    total = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        self.number = float(self.np_random.uniform(-1, 1))
        return self._observe(), {}

    def step(self, action):
        self.time += 1
        type(self).total += 1
        if self.total == self.fails_at:
            raise ValueError("the simulator has failed")
        return self._observe(), float(action[0]), False, self.time == 5, {}

    def _observe(self):
        return np.array([self.number, self.time], np.float32)


if "SmallCount-v0" not in gymnasium.registry:
    gymnasium.register("SmallCount-v0", Count)
alf.config("create_environment", env_name="SmallCount-v0", num_parallel_environments=4)
alf.config("ReplayBuffer", enable_checkpoint=True)
alf.config(
    "SacAlgorithm",
    actor_network_cls=functools.partial(ActorDistributionNetwork, fc_layer_params=(4,)),
    critic_network_cls=functools.partial(CriticNetwork, joint_fc_layer_params=(4,)),
    actor_optimizer=Adam(lr=1e-2),
    critic_optimizer=Adam(lr=1e-2),
    alpha_optimizer=Adam(lr=1e-2),
)
alf.config(
    "TrainerConfig",
    algorithm_ctor=SacAlgorithm,
    random_seed=1,
    num_iterations=12,
    num_checkpoints=1,
    unroll_length=2,
    initial_collect_steps=8,
    mini_batch_length=2,
    mini_batch_size=4,
    num_updates_per_train_iter=1,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    replay_buffer_length=50,
    summary_interval=2,
    confirm_checkpoint_upon_crash=False,
)
'''


def write_conf(folder: Path, more: str = "") -> Path:
    """The conf file with `more` at its end."""
    path = folder / "confs" / "small_conf.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(SMALL_CONF + more)
    return path
