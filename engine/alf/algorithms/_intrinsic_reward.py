"""What intrinsic reward modules share: normalizers that follow the data that is trained on.

Statistics move in the step that learns: the rollout on-policy, else the train step. A rollout
alone changes nothing, so that it may be made in another process or for some environments only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from alf.algorithms.algorithm import Algorithm
from alf.data_structures import StepType
from alf.utils.normalizers import Normalizer

__all__ = ["RewardScale", "check_has_history", "where_known"]


class RewardScale(torch.nn.Module):
    """Rewards normalized by the statistics so far.

    Args:
        normalizer: of scalars, without automatic updates; None leaves rewards as they are.
        clip_value: if positive, normalized rewards are clipped to this on both sides.
    """

    def __init__(self, normalizer: Normalizer | None, clip_value: float = -1.0) -> None:
        super().__init__()
        self._normalizer = normalizer
        self._clip_value = clip_value

    @torch.no_grad()
    def learn(self, reward: Tensor) -> None:
        """Take rewards [B] into the statistics."""
        if self._normalizer is not None:
            self._normalizer.update(reward)

    @torch.no_grad()
    def forward(self, reward: Tensor) -> Tensor:
        reward = reward.detach()
        if self._normalizer is None:
            return reward
        return self._normalizer.normalize(reward, clip_value=self._clip_value)


def where_known(step_type: Tensor, before: Tensor, x: Tensor) -> Tensor:
    """``x`` [B], 0 where nothing is known of the step before, whose state is ``before`` [B, N].

    That is so at FIRST steps, and at the first step of a sequence whose state was not stored: there
    the state is 0.
    """
    known = (step_type != StepType.FIRST) & (before != 0).any(-1)
    return torch.where(known, x, torch.zeros_like(x))


def check_has_history(alg: Algorithm, loss: Tensor) -> None:
    """Look for the error that would keep ``alg`` from ever learning.

    Raises:
        ValueError: replayed sequences of one step, without the state before it.
    """
    if loss.dim() == 2 and loss.shape[0] == 1 and not alg.on_policy and not alg.use_rollout_state:
        raise ValueError(
            f"{alg.name} learns from two steps that follow each other: it needs "
            "TrainerConfig.mini_batch_length of at least 2, or use_rollout_state=True; both are "
            "missing."
        )
