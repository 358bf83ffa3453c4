"""Where the episodes in a ring buffer begin and end, and what they returned."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from alf.utils import _ring_state
from alf.utils._reverse_scan import reverse_linear_scan


class EpisodeIndex(nn.Module):
    """Begin and end of the episode of every record of B rings of length L.

    The episodes of a ring are numbered. A record knows its number, and where each of the newest L
    episodes begins is kept by number; no older one can have records left. An episode ends before
    the next one begins.
    """

    _number: torch.Tensor
    _begin: torch.Tensor
    _newest: torch.Tensor

    def __init__(self, num_environments: int, max_length: int, device: torch.device) -> None:
        super().__init__()
        self._max_length = max_length
        for name, shape in (
            ("_number", (num_environments, max_length)),
            ("_begin", (num_environments, max_length)),
            ("_newest", (num_environments,)),
        ):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.int64, device=device))

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Without the columns that were never written to."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in ("_number", "_begin"):
            destination[prefix + name] = _ring_state.used(destination[prefix + name], 0)

    def fit(
        self,
        state_dict: dict,
        prefix: str,
        num_slots: int,
        pos: torch.Tensor,
        size: torch.Tensor,
    ) -> None:
        """Replace saved entries by those of rings of this length; see `RingBuffer`."""
        if any(prefix + name not in state_dict for name in ("_number", "_begin", "_newest")):
            return
        number = _ring_state.padded(state_dict[prefix + "_number"], num_slots, 0)
        _ring_state.move(number, self._number, pos, size)
        # Numbers begin with 1, so that one more than the slots in use may have been given.
        begin = _ring_state.padded(state_dict[prefix + "_begin"], num_slots, 0)
        end = state_dict[prefix + "_newest"] + 1
        kept = end.clamp(max=min(begin.shape[1], self._max_length))
        _ring_state.move(begin, self._begin, end, kept)
        state_dict[prefix + "_number"] = self._number
        state_dict[prefix + "_begin"] = self._begin

    def _row(self, env_ids: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return env_ids * self._max_length + x % self._max_length

    def add(self, env_ids: torch.Tensor, pos: torch.Tensor, is_first: torch.Tensor) -> None:
        """Enter the records at `pos` [n], which lie directly behind what has been entered so far.

        Args:
            env_ids: [n], all different.
            pos: [n] positions of the new records.
            is_first: bool [n], whether an episode begins with them.
        """
        number = self._newest.index_select(0, env_ids) + is_first
        self._newest.index_copy_(0, env_ids, number)
        self._number.view(-1).index_copy_(0, self._row(env_ids, pos), number)
        begins, row = self._begin.view(-1), self._row(env_ids, number)
        begins.index_copy_(0, row, torch.where(is_first, pos, begins.index_select(0, row)))

    def begin(self, env_ids: torch.Tensor, pos: torch.Tensor) -> torch.Tensor:
        """Position of the first record of the episode; it may have been overwritten since."""
        number = self._number.view(-1)[self._row(env_ids, pos)]
        return self._begin.view(-1)[self._row(env_ids, number)]

    def end(
        self, env_ids: torch.Tensor, pos: torch.Tensor, current_pos: torch.Tensor
    ) -> torch.Tensor:
        """Position of the last record of the episode so far.

        `current_pos` is the position that will be filled next.
        """
        number = self._number.view(-1)[self._row(env_ids, pos)]
        next_begin = self._begin.view(-1)[self._row(env_ids, number + 1)]
        return torch.where(number == self._newest[env_ids], current_pos, next_begin) - 1


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

    _returns: torch.Tensor

    def __init__(
        self,
        storage: torch.Tensor,
        default_return: float,
        gamma: float,
        reward_clip: tuple[float, float] | None,
    ) -> None:
        super().__init__()
        self._default_return = default_return
        self._gamma = gamma
        self._reward_clip = reward_clip
        self.register_buffer("_returns", torch.full_like(storage, default_return))

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Without the columns that hold no return."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        saved = _ring_state.used(destination[prefix + "_returns"], self._default_return)
        destination[prefix + "_returns"] = saved

    def fit(
        self,
        state_dict: dict,
        prefix: str,
        num_slots: int,
        pos: torch.Tensor,
        size: torch.Tensor,
    ) -> None:
        """Replace saved returns by those of rings of this length; see `RingBuffer`."""
        saved = state_dict.get(prefix + "_returns")
        if saved is not None:
            saved = _ring_state.padded(saved, num_slots, self._default_return)
            _ring_state.move(saved, self._returns, pos, size)
            state_dict[prefix + "_returns"] = self._returns

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
