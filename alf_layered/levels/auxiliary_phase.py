"""The auxiliary phase of phasic policy gradient, on the decisions of a level."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from alf.algorithms.algorithm import Algorithm
from alf.algorithms.ppg.ppg_aux_algorithm import PPGAuxAlgorithm
from alf.data_structures import Experience
from alf.utils.checkpoint_utils import enable_checkpoint
from alf_layered.hierarchy.on_policy import OnPolicyOptions
from alf_layered.hierarchy.replay import LevelReplayBuffer
from alf_layered.hierarchy.transitions import is_outcome


class AuxiliaryPhase(nn.Module):
    """Keeps what a level decided, and trains by it after every `interval` rounds.

    PPG itself would keep each of its rollout steps, also those at which the level does not decide,
    and count iterations of the run instead of rounds.

    Args:
        algorithm: PPG's auxiliary part.
        training: how the level trains.
        name: of the level.
    """

    _rounds: torch.Tensor
    _algorithm: Any

    def __init__(self, algorithm: Any, training: OnPolicyOptions, *, name: str) -> None:
        super().__init__()
        self.__dict__["_algorithm"] = algorithm  # PPG's own child
        self._transitions = training.transitions
        self._name = f"{name}_auxiliary_replay_buffer"
        self.register_buffer("_rounds", torch.zeros((), dtype=torch.int64))
        algorithm.observe_for_aux_replay = _ignore
        algorithm._config.clear_replay_buffer = False  # at another time, see train_if_due()

    def observe(self, exp: Experience, num_envs: int) -> None:
        """Stores one decision of some of the environments, as the algorithm saw it."""
        algorithm = self._algorithm
        if algorithm._replay_buffer is None:
            share = algorithm.interval * self._transitions / num_envs
            algorithm.set_replay_buffer(num_envs, 2 * math.ceil(share) + 2)
            algorithm.observe_for_replay(exp)  # reads the specs off the first record
            buffer: Any = algorithm._replay_buffer
            algorithm._replay_buffer = LevelReplayBuffer.in_place_of(
                buffer, prioritized=False, name=self._name
            )
            enable_checkpoint(algorithm._replay_buffer, False)
        outcomes = is_outcome(exp.time_step.step_type)
        algorithm._replay_buffer.end_episodes(exp.time_step.env_id, ~outcomes)
        algorithm.observe_for_replay(exp)

    def train_if_due(self) -> None:
        """Called after each round."""
        algorithm = self._algorithm
        self._rounds.add_(1)
        buffer = algorithm._replay_buffer
        if int(self._rounds) % algorithm.interval != 0 or buffer is None:
            return
        if buffer.total_size < (algorithm._config.mini_batch_length or 1):
            return
        algorithm.train()
        algorithm.train_from_replay_buffer()
        buffer.keep_newest()


def auxiliary_part(algorithm: Algorithm) -> PPGAuxAlgorithm | None:
    """The auxiliary part of PPG; None where there is none."""
    return next((m for m in algorithm.modules() if isinstance(m, PPGAuxAlgorithm)), None)


def _ignore(exp: Any) -> None:
    """Instead of `PPGAuxAlgorithm.observe_for_aux_replay`."""
