"""Where the episodes in a ring buffer begin and end, and what they returned."""

from __future__ import annotations

import torch
from torch import nn

from alf.utils._reverse_scan import reverse_linear_scan


class EpisodeIndex(nn.Module):
    """Begin and end of the episode of every record of B rings of length L.

    A record knows the position at which its episode began; the end is stored once per episode,
    with its first record. Of the one episode per ring whose first record has been overwritten, the
    end is kept per ring.
    """

    def __init__(self, num_environments: int, max_length: int, device: torch.device):
        super().__init__()
        self._max_length = max_length
        shape = (num_environments, max_length)
        # -L - 1 is the position of no record, not even of one that was overwritten.
        nowhere = torch.full(shape, -max_length - 1, dtype=torch.int64, device=device)
        self.register_buffer("_begin", nowhere)
        self.register_buffer("_end", torch.zeros(shape, dtype=torch.int64, device=device))
        headless = torch.zeros(num_environments, dtype=torch.int64, device=device)
        self.register_buffer("_headless_end", headless)

    def add(self, env_ids: torch.Tensor, pos: torch.Tensor, is_first: torch.Tensor) -> None:
        """Enter the records at `pos` [n], which lie directly behind what has been entered so far.

        Args:
            env_ids: [n], all different.
            pos: [n] positions of the new records.
            is_first: bool [n], whether an episode begins with them.
        """
        length = self._max_length
        slot = pos % length
        head_is_lost = self._begin[env_ids, slot] == pos - length
        headless_end = torch.where(
            head_is_lost, self._end[env_ids, slot], self._headless_end[env_ids]
        )
        begin = torch.where(is_first, pos, self._begin[env_ids, (pos - 1) % length])
        self._begin[env_ids, slot] = begin
        is_headless = begin <= pos - length
        self._headless_end[env_ids] = torch.where(is_headless, pos, headless_end)
        # Of a headless episode the end also goes to the slot of its newest record, where nobody
        # looks for it.
        self._end[env_ids, torch.where(is_headless, slot, begin % length)] = pos

    def begin(self, env_ids: torch.Tensor, pos: torch.Tensor) -> torch.Tensor:
        """Position of the first record of the episode; it may have been overwritten since."""
        return self._begin[env_ids, pos % self._max_length]

    def end(
        self, env_ids: torch.Tensor, pos: torch.Tensor, current_pos: torch.Tensor
    ) -> torch.Tensor:
        """Position of the last record of the episode so far.

        `current_pos` is the position that will be filled next.
        """
        begin = self.begin(env_ids, pos)
        is_headless = begin < current_pos - self._max_length
        stored = self._end[env_ids, begin % self._max_length]
        return torch.where(is_headless, self._headless_end[env_ids], stored)


class EpisodicReturns(nn.Module):
    """For every record of B rings the discounted return from there to the end of its episode.

    A return is known once its episode has terminated (LAST with discount 0). Records of episodes
    that go on or that were cut off by a time limit have `default_return`: what these collected so
    far is no return.

    Args:
        storage: [B, L, ...] tensor of the rewards stored; gives shape and device.
        default_return: the return of records whose return is not known.
        gamma: discount per step.
        reward_clip: (min, max) for each reward, or None.
    """

    def __init__(
        self,
        storage: torch.Tensor,
        default_return: float,
        gamma: float,
        reward_clip: tuple[float, float] | None,
    ):
        super().__init__()
        self._default_return = default_return
        self._gamma = gamma
        self._reward_clip = reward_clip
        self.register_buffer("_returns", torch.full_like(storage, default_return))

    def add(self, env_ids: torch.Tensor, slot: torch.Tensor) -> None:
        """Enter new records, whose returns are not known yet."""
        self._returns[env_ids, slot] = self._default_return

    def finish(
        self,
        env_ids: torch.Tensor,
        begin: torch.Tensor,
        end: torch.Tensor,
        rewards: torch.Tensor,
        discounts: torch.Tensor,
    ) -> None:
        """Enter the returns of terminated episodes.

        Args:
            env_ids: [n], all different.
            begin: [n] position of the oldest record that is still stored.
            end: [n] position of the record with LAST.
            rewards: [B, L, ...] storage of the rewards.
            discounts: [B, L] storage of the discounts.
        """
        max_length = rewards.shape[1]
        age = torch.arange(int((end - begin).max()) + 1, device=end.device)
        slot = (end - age.flip(0).unsqueeze(-1)) % max_length  # [T, n], aligned at the end
        reward, decay = rewards[env_ids, slot], discounts[env_ids, slot] * self._gamma
        if self._reward_clip is not None:
            reward = reward.clamp(*self._reward_clip)
        decay = decay.reshape(*decay.shape, *[1] * (reward.dim() - decay.dim()))
        # G[t] = r[t+1] + gamma d[t+1] G[t+1]; nothing comes after the end.
        returns = reverse_linear_scan(_behind(reward), _behind(decay))
        belongs = age.flip(0).unsqueeze(-1) <= end - begin
        ids = env_ids.expand_as(slot)
        self._returns[ids[belongs], slot[belongs]] = returns[belongs]

    def get(self, env_ids: torch.Tensor, slot: torch.Tensor) -> torch.Tensor:
        """The returns of the records in these slots."""
        return self._returns[env_ids, slot]


def _behind(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x[1:], torch.zeros_like(x[:1])])
