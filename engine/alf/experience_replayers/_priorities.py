"""Priorities of the spans of records that can be sampled from a ring buffer."""

from __future__ import annotations

import torch
from torch import nn

from alf.experience_replayers.segment_tree import SumSegmentTree


class SpanPriorities(nn.Module):
    """A priority for each record at which a span can start; all other records have priority 0.

    A span can start at a record if it is followed by enough others, and if enough earlier ones are
    left (frames that a sample looks back to). Positions are those of `RingBuffer`.

    Args:
        num_environments: number of rings.
        max_length: length of each ring.
        num_ignored: so many of the oldest records start no span.
        initial_priority: priority of a span until it is updated.
        device: where the priorities are stored.
    """

    _span: torch.Tensor

    def __init__(
        self,
        num_environments: int,
        max_length: int,
        num_ignored: int,
        initial_priority: float,
        device: torch.device,
    ) -> None:
        super().__init__()
        self._max_length = max_length
        self._num_ignored = num_ignored
        self.initial_priority = initial_priority
        self.tree = SumSegmentTree(num_environments * max_length, device=str(device))
        self.register_buffer("_span", torch.ones((), dtype=torch.int64, device=device))

    def _rows(self, env_ids: torch.Tensor, pos: torch.Tensor) -> torch.Tensor:
        return env_ids * self._max_length + pos % self._max_length

    def add(self, env_ids: torch.Tensor, pos: torch.Tensor, size: torch.Tensor) -> None:
        """Enter the newest records at `pos` [n] of rings that now have `size` [n] records."""
        span = int(self._span)
        first_start = pos + 1 - size + self._num_ignored
        start = pos - (span - 1)
        is_start = start >= first_start
        rows = [self._rows(env_ids, torch.where(is_start, start, pos))]
        values = [is_start * self.initial_priority]
        if span > 1:
            rows.append(self._rows(env_ids, pos))
            values.append(torch.zeros_like(values[0]))
        if self._num_ignored > 0:
            rows.append(self._rows(env_ids, torch.minimum(first_start - 1, pos)))
            values.append(torch.zeros_like(values[0]))
        self.tree[torch.cat(rows)] = torch.cat(values)

    def remove(self, env_ids: torch.Tensor, earliest: torch.Tensor, n: int) -> None:
        """The `n` oldest records, the first at `earliest` [n], are gone."""
        n = min(n + self._num_ignored, self._max_length)
        pos = earliest.unsqueeze(-1) + torch.arange(n, device=earliest.device)
        self.tree[self._rows(env_ids.unsqueeze(-1), pos).flatten()] = 0.0

    def update(
        self,
        env_ids: torch.Tensor,
        pos: torch.Tensor,
        priorities: torch.Tensor,
        earliest: torch.Tensor,
        current: torch.Tensor,
    ) -> None:
        """Set priorities of spans starting at `pos`; of spans gone since then, nothing is set.

        Args:
            env_ids: [n].
            pos: [n].
            priorities: [n].
            earliest: [n] position of the oldest record.
            current: [n] position of the next record.
        """
        valid = (pos >= earliest + self._num_ignored) & (pos + self._span <= current)
        self.tree[self._rows(env_ids, pos)[valid]] = priorities[valid]

    def set_span(self, span: int, current_size: torch.Tensor, current_pos: torch.Tensor) -> None:
        """From now on, spans have `span` records."""
        old = int(self._span)
        if span == old:
            return
        self._span.fill_(span)
        shorter, longer = (min(x, self._max_length + 1) for x in sorted((span, old)))
        # The records that start a span of the one length and not of the other.
        reach = torch.arange(shorter, longer, device=current_pos.device)
        pos = current_pos.unsqueeze(-1) - reach
        earliest = (current_pos - current_size).unsqueeze(-1) + self._num_ignored
        env_ids = torch.arange(current_pos.shape[0], device=pos.device).unsqueeze(-1)
        rows = self._rows(env_ids, pos)[pos >= earliest]
        self.tree[rows] = self.initial_priority if span < old else 0.0

    def sample(self, n: int, with_replacement: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw rows [n] in proportion to their priority, and their probabilities [n].

        Unless `with_replacement`, one is drawn from each n-th part of the sum of priorities
        (Schaul et al. 2016, Prioritized Experience Replay, appendix B.2.1).
        """
        total = self.tree.summary()
        if not total > 0:
            raise ValueError(
                f"no span of {int(self._span)} records with a priority above 0 can be sampled "
                f"(the {self._num_ignored} oldest records of each environment start none)"
            )
        u = torch.rand(n, device=total.device)
        if not with_replacement:
            u = (u + torch.arange(n, device=u.device)) / n
        rows = self.tree.find_sum_bound(u * total)
        return rows, self.tree[rows] / total
