"""SAC of the engine, through `train_iter` as the trainer calls it."""

from __future__ import annotations

from functools import partial

from alf.algorithms.config import TrainerConfig
from alf.algorithms.one_step_loss import OneStepTDLoss
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.environments.utils import create_environment
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.critic_networks import CriticNetwork
from alf.networks.projection_networks import NormalProjectionNetwork
from alf.optimizers import Adam
from alf.utils.math_ops import clipped_exp

from .contender import BATCH_SIZE, CAPACITY, GAMMA, HIDDEN, LR, TAU, Contender

NEVER = 10**9


class EngineSac(Contender):
    """A batch is 256 sequences of two time steps.

    Args:
        n_envs: see `Contender`.
        both_states: actor and temperature learn from both steps of a sequence, as is ALF's default;
            else from the second one (`reproduce_locomotion`).
    """

    def __init__(self, n_envs: int, *, both_states: bool) -> None:
        super().__init__(n_envs)
        env = create_environment("Pendulum-v1", num_parallel_environments=n_envs)
        self._config = TrainerConfig(
            root_dir="unused",
            unroll_length=1,
            mini_batch_length=2,
            mini_batch_size=BATCH_SIZE,
            whole_replay_buffer_training=False,
            clear_replay_buffer=False,
            replay_buffer_length=CAPACITY // n_envs,
        )
        self._alg = SacAlgorithm(
            env.observation_spec(),
            env.action_spec(),
            actor_network_cls=partial(
                ActorDistributionNetwork,
                fc_layer_params=HIDDEN,
                continuous_projection_net_ctor=partial(
                    NormalProjectionNetwork,
                    state_dependent_std=True,
                    scale_distribution=True,
                    std_transform=clipped_exp,
                ),
            ),
            critic_network_cls=partial(CriticNetwork, joint_fc_layer_params=HIDDEN),
            critic_loss_ctor=partial(OneStepTDLoss, gamma=GAMMA),
            target_entropy=-1.0,
            target_update_tau=TAU,
            actor_optimizer=Adam(lr=LR),
            critic_optimizer=Adam(lr=LR),
            alpha_optimizer=Adam(lr=LR),
            reproduce_locomotion=not both_states,
            env=env,
            config=self._config,
        )

    def roll_out(self, steps: int) -> None:
        self._config.initial_collect_steps = NEVER
        for _ in range(steps):
            self._alg.train_iter()

    def update(self, updates: int) -> None:
        self._config.initial_collect_steps = 0
        self._config.num_updates_per_train_iter = 1
        self._alg._set_training(True)
        for _ in range(updates):
            self._alg.train_from_replay_buffer(update_global_counter=True)

    def train(self, steps: int) -> None:
        self._config.initial_collect_steps = 0
        self._config.num_updates_per_train_iter = self.n_envs
        for _ in range(steps):
            self._alg.train_iter()
