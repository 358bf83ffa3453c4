"""Rewards in units of their own deviation, kept with the level that learns from them."""

from __future__ import annotations

from torch import Tensor, nn

from alf_layered.networks.running_moments import RunningMoments


class RewardScale(nn.Module):
    """Divides rewards by their running deviation.

    No bound of the rewards holds after that. The mean stays, because to subtract it changes the
    task: where an episode's length depends on what is done, steps of less than the mean become
    worth avoiding.

    Args:
        momentum: weight of a new batch in the moments.
        center: whether the mean is subtracted all the same.
        offset: added after that.
    """

    def __init__(
        self, *, momentum: float = 0.005, center: bool = False, offset: float = 0.0
    ) -> None:
        super().__init__()
        self.moments = RunningMoments(1, momentum=momentum, eps=1e-6)
        self._center = center
        self._offset = offset

    def forward(self, reward: Tensor) -> Tensor:
        """`[...]`, scaled."""
        if self._center:
            reward = reward - self.moments.mean
        return reward / self.moments.scale + self._offset

    def update(self, reward: Tensor, valid: Tensor) -> None:
        """Takes rewards `[...]` where `valid` `[...]` into account."""
        self.moments.update(reward.reshape(-1, 1), valid.reshape(-1))
