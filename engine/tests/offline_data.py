"""Offline data for tests: the replay buffer that a scripted policy leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from alf.algorithms.config import TrainerConfig
from alf.algorithms.handcrafted_algorithm import HandcraftedAlgorithm
from alf.summary import summary_ops as summary
from alf.utils.checkpoint_utils import Checkpointer, enable_checkpoint


class Scripted(HandcraftedAlgorithm):
    """Acts by the function ``policy`` of observations."""

    policy: Callable[[torch.Tensor], torch.Tensor]

    def _policy_func(self, observation: Any) -> Any:
        return self.policy(observation)

    def train_from_replay_buffer(self, update_global_counter: bool = False) -> int:
        return 0


def leave_run(
    folder: Path,
    env: Any,
    specs: tuple[Any, Any],
    policy: Callable[[torch.Tensor], torch.Tensor],
    steps: int,
) -> str:
    """Runs ``policy`` for ``steps`` steps in ``env``; returns what ``offline_buffer_dir`` takes.

    Args:
        specs: of observations and actions.
    """
    config = TrainerConfig(
        root_dir="unused",
        unroll_length=1,
        mini_batch_length=1,
        whole_replay_buffer_training=False,
        clear_replay_buffer=False,
        replay_buffer_length=steps,
    )
    expert = Scripted(*specs, env=env, config=config)
    expert.policy = policy
    for _ in range(steps):
        expert.train_iter()
    enable_checkpoint(expert._replay_buffer, True)
    Checkpointer(str(folder), algorithm=expert).save(steps)
    summary.reset_global_counter()
    return str(folder)
