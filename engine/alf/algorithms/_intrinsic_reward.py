"""What intrinsic reward modules share: the scale of their rewards, and what they know of the past.

As in ALF the statistics of rewards move in the rollout that makes them, and a reward is normalized
by statistics that know it already. `predict_step()` makes no reward and moves nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from alf.algorithms.algorithm import Algorithm
from alf.data_structures import StepType
from alf.utils._exe_mode import is_eval
from alf.utils.normalizers import Normalizer

__all__ = ["RewardScale", "check_has_history", "where_follows", "with_history"]


class RewardScale(torch.nn.Module):
    """Rewards normalized by the statistics of those so far and themselves.

    Args:
        normalizer: of scalars, without automatic updates; None leaves rewards as they are.
        clip_value: if positive, normalized rewards are clipped to this on both sides.
    """

    def __init__(self, normalizer: Normalizer | None, clip_value: float = -1.0) -> None:
        super().__init__()
        self._normalizer = normalizer
        self._clip_value = clip_value
        self._has_learned = False

    @torch.no_grad()
    def forward(self, reward: Tensor) -> Tensor:
        """The rewards [B] of a rollout step, which the statistics learn from first."""
        reward = reward.detach()
        if self._normalizer is None:
            return reward
        if not is_eval():
            self._normalizer.update(reward)
            self._has_learned = True
        return self._normalizer.normalize(reward, clip_value=self._clip_value)

    @torch.no_grad()
    def learn_from_elsewhere(self, reward: Tensor) -> None:
        """Learn from an iteration's rewards [T, B], unless its rollout was made by this object.

        With `TrainerConfig.async_unroll` another process makes it, and its statistics are replaced
        by those of the training.
        """
        if self._normalizer is not None and not self._has_learned:
            for step in reward:
                self._normalizer.update(step)
        self._has_learned = False


def where_follows(step_type: Tensor, x: Tensor) -> Tensor:
    """``x`` [B], 0 at FIRST, where no step comes before."""
    return torch.where(step_type != StepType.FIRST, x, torch.zeros_like(x))


def with_history(alg: Algorithm, loss: Tensor) -> Tensor:
    """``loss`` [T, B] of pairs of steps, 0 where the first of the pair is not known.

    That is the first step of replayed sequences whose states were not stored: its state is 0
    whatever came before. A state that happens to be 0 counts as any other.

    Raises:
        ValueError: such sequences are of one step, so nothing would ever be learned.
    """
    check_has_history(alg, loss)
    if loss.dim() < 2 or alg.on_policy or alg.use_rollout_state:
        return loss
    return torch.cat([torch.zeros_like(loss[:1]), loss[1:]])


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
