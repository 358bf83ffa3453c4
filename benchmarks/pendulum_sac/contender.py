"""What is compared: one way to run soft actor-critic on Pendulum-v1, and the settings all share."""

from __future__ import annotations

from abc import ABC, abstractmethod

HIDDEN = (256, 256)
BATCH_SIZE = 256
GAMMA, TAU, LR = 0.99, 0.005, 3e-4
CAPACITY = 1_000_000


class Contender(ABC):
    """One update for each environment step, batch 256, two critics, the temperature is learnt.

    Args:
        n_envs: environments in this process.
    """

    def __init__(self, n_envs: int) -> None:
        self.n_envs = n_envs

    @abstractmethod
    def roll_out(self, steps: int) -> None:
        """So many steps in each environment with the policy's actions, into the replay buffer."""

    @abstractmethod
    def update(self, updates: int) -> None:
        """So many updates from batches of the replay buffer."""

    @abstractmethod
    def train(self, steps: int) -> None:
        """So many steps in each environment, `n_envs` updates after each."""
