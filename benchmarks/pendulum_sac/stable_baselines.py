"""SAC of Stable-Baselines3."""

from __future__ import annotations

from stable_baselines3 import SAC
from stable_baselines3.common.env_util import make_vec_env

from .contender import BATCH_SIZE, CAPACITY, GAMMA, HIDDEN, LR, TAU, Contender

ALL = -1


class StableBaselinesSac(Contender):
    """Environments in a `DummyVecEnv`, its fastest for Pendulum."""

    def __init__(self, n_envs: int) -> None:
        super().__init__(n_envs)
        self._model = SAC(
            "MlpPolicy",
            make_vec_env("Pendulum-v1", n_envs),
            learning_rate=LR,
            buffer_size=CAPACITY,
            learning_starts=0,
            batch_size=BATCH_SIZE,
            tau=TAU,
            gamma=GAMMA,
            train_freq=1,
            gradient_steps=ALL,
            policy_kwargs={"net_arch": list(HIDDEN)},
            device="cpu",
        )

    def roll_out(self, steps: int) -> None:
        self._learn(steps, 0)

    def update(self, updates: int) -> None:
        self._model.train(updates, BATCH_SIZE)

    def train(self, steps: int) -> None:
        self._learn(steps, ALL)

    def _learn(self, steps: int, updates: int) -> None:
        self._model.gradient_steps = updates
        self._model.learn(steps * self.n_envs, reset_num_timesteps=False, log_interval=None)
