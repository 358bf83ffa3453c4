"""When and on how much data a level trains: settings, and the count of updates that are due."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import nn

from alf.algorithms.config import TrainerConfig
from alf_layered.allowed import AT_LEAST_0, AT_LEAST_1, BELOW_1, check_fields
from alf_layered.hierarchy.processes import num_processes, sum_over_processes


@dataclass(frozen=True)
class TrainingOptions:
    """How a level learns from its own replay buffer.

    Attributes:
        mini_batch_size: spans per update.
        mini_batch_length: time steps per span; 2 for one-step losses.
        updates_per_transition: updates per own new transition, summed over environments; a
            fraction carries over.
        warm_up: own transitions before the first update; they cause no updates later.
        replay_buffer_length: records kept per environment.
        priority_replay: prioritised sampling, with the trainer's alpha, beta and epsilon.
        offline_updates: with `TrainerConfig.offline_buffer_dir`: updates in each iteration before
            `rl_train_after_update_steps`, from these data alone; 0: the level does not use them.
        offline_share: with these data: the share of each later mini batch that comes from them.
            Half of it is a good choice (Ball et al. 2023, arXiv 2302.02948).
    """

    mini_batch_size: int = 256
    mini_batch_length: int = 2
    updates_per_transition: float = 1.0
    warm_up: int = 1000
    replay_buffer_length: int = 100_000
    priority_replay: bool = False
    offline_updates: int = 1
    offline_share: float = 0.5

    def __post_init__(self) -> None:
        check_fields(
            self,
            mini_batch_size=AT_LEAST_1,
            mini_batch_length=AT_LEAST_1,
            updates_per_transition=AT_LEAST_0,
            warm_up=AT_LEAST_0,
            replay_buffer_length=AT_LEAST_1,
            offline_updates=AT_LEAST_0,
            offline_share=BELOW_1,
        )
        if self.replay_buffer_length < self.mini_batch_length:
            raise ValueError(
                f"replay_buffer_length ({self.replay_buffer_length}) is shorter than "
                f"mini_batch_length ({self.mini_batch_length})"
            )

    @property
    def uses_offline_data(self) -> bool:
        """Whether the level learns from offline data, where there are some."""
        return self.offline_updates > 0 or self.offline_share > 0

    def level_config(self, config: TrainerConfig) -> TrainerConfig:
        """The trainer's configuration with a level's own settings; the original stays as it is."""
        own = copy.copy(config)
        own.mini_batch_size = math.ceil(self.mini_batch_size / num_processes())
        own.mini_batch_length = self.mini_batch_length
        own.replay_buffer_length = self.replay_buffer_length
        own.priority_replay = self.priority_replay
        own.whole_replay_buffer_training = False
        own.clear_replay_buffer = False
        own.initial_collect_steps = 0  # the level counts transitions itself: UpdateClock
        own.num_updates_per_train_iter = 1
        own.data_transformer = None  # the root has transformed what a level sees
        own.offline_buffer_dir = None  # the root has read them
        return own


class UpdateClock(nn.Module):
    """Counts a level's transitions and the updates that they pay for; survives a restart.

    Of several processes that train together each counts its own transitions; they make the same
    updates, which all transitions together pay for.
    """

    transitions: torch.Tensor
    debt: torch.Tensor

    def __init__(self, options: TrainingOptions) -> None:
        super().__init__()
        self._options = options
        # On the host whatever the default device is: the numbers steer Python.
        self.register_buffer("transitions", torch.zeros((), dtype=torch.int64, device="cpu"))
        self.register_buffer("debt", torch.zeros((), dtype=torch.float64, device="cpu"))

    @property
    def _warm_up(self) -> int:
        """This process's share of the warm-up."""
        return math.ceil(self._options.warm_up / num_processes())

    @property
    def warming_up(self) -> bool:
        """Whether the warm-up is not over yet."""
        return int(self.transitions) < self._warm_up

    def add(self, count: int) -> None:
        """Counts new transitions; those of the warm-up pay for nothing."""
        free = max(self._warm_up - int(self.transitions), 0)
        self.transitions.add_(count)
        self.debt.add_(max(count - free, 0) * self._options.updates_per_transition)

    def take_due(self, ready: bool = True) -> int:
        """The number of whole updates that are due; they count as done.

        Args:
            ready: whether updates can be made now; they stay due until all processes say so.
        """
        if num_processes() == 1:
            due = int(self.debt) if ready else 0
        else:
            debt, unready = sum_over_processes(float(self.debt), float(not ready))
            due = 0 if unready else int(debt)
        self.debt.sub_(due / num_processes())
        return due
