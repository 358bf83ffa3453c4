"""Priorities of the spans of records that can be sampled from a ring buffer."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from alf.experience_replayers.segment_tree import SumSegmentTree


class PriorityTree(SumSegmentTree):
    """A `SumSegmentTree` that knows its largest entry and how many are not zero.

    What a checkpoint holds is the same.
    """

    _num_nonzero: torch.Tensor

    def __init__(self, capacity: int, device: str) -> None:
        super().__init__(capacity, device=device)
        for k in range(1, self._num_levels):
            self.register_buffer(f"_max{k}", torch.zeros_like(self._levels[k]), persistent=False)
        count = torch.zeros(len(self._level0), dtype=torch.int32, device=device)
        self.register_buffer("_num_nonzero", count, persistent=False)

    @property
    def nnz(self) -> torch.Tensor:
        """Number of entries that are not zero: int64 []."""
        return self._num_nonzero.sum()

    def largest(self) -> torch.Tensor:
        """The largest entry, 0 if there is none: a number []."""
        return self._maxima[-1][0].amax()

    @property
    def _maxima(self) -> list[torch.Tensor]:
        """As `_levels`, with the maximum of nodes in place of their sum."""
        above = [self._buffers[f"_max{k}"] for k in range(1, self._num_levels)]
        return [self._level0, *above]  # type: ignore[list-item]

    @torch.no_grad()
    def __setitem__(self, indices: torch.Tensor, values: torch.Tensor | float) -> None:
        super().__setitem__(indices, values)
        self._refresh(torch.as_tensor(indices, device=self._level0.device))

    def _refresh(self, indices: torch.Tensor) -> None:
        """Maxima and counts of the nodes above the entries at `indices`."""
        below, *above = self._maxima
        nodes = indices // below.shape[1]
        count = (below.index_select(0, nodes) != 0).sum(-1, dtype=torch.int32)
        self._num_nonzero.index_copy_(0, nodes, count)
        for level in above:
            indices = indices // below.shape[1]
            level.view(-1).index_copy_(0, indices, below.index_select(0, indices).amax(-1))
            below = level

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._refresh(torch.arange(len(self), device=self._level0.device))


class SpanPriorities(nn.Module):
    """A priority for each record at which a span can start; all other records have priority 0.

    A span can start at a record if it is followed by enough others, and if enough earlier ones are
    left (frames that a sample looks back to). Positions are those of `RingBuffer`.

    Args:
        num_environments: number of rings.
        max_length: length of each ring.
        num_ignored: so many of the oldest records start no span.
        initial_priority: what the priority of a new span is at least; it is the largest priority
            of all spans, so that each is seen soon (Schaul et al. 2016, algorithm 1).
        device: where the priorities are stored.

    Raises:
        ValueError: `initial_priority` is not a positive finite number.
    """

    _span: torch.Tensor
    _all_allowed: torch.Tensor

    def __init__(
        self,
        num_environments: int,
        max_length: int,
        num_ignored: int,
        initial_priority: float,
        device: torch.device,
    ) -> None:
        # Of more, the sum over all records could be infinite, and every draw the same record.
        self._most = torch.finfo(torch.float32).max / (num_environments * max_length)
        if not 0 < initial_priority <= self._most:
            raise ValueError(
                f"initial_priority is {initial_priority!r}; allowed: a positive finite number, as "
                f"spans of priority 0 are never drawn, {self._most:.1g} at most"
            )
        super().__init__()
        self._max_length = max_length
        self._num_ignored = num_ignored
        self._initial_priority = initial_priority
        self.tree = PriorityTree(num_environments * max_length, device=str(device))
        self.register_buffer("_span", torch.ones((), dtype=torch.int64, device=device))
        # On an accelerator, where a look at each update would wait, sample() looks for all.
        allowed = torch.ones((), dtype=torch.bool, device=device)
        self.register_buffer("_all_allowed", allowed, persistent=False)

    @property
    def of_new_spans(self) -> torch.Tensor:
        """Priority of a new span: a number []."""
        return self.tree.largest().clamp(min=self._initial_priority)

    def _rows(self, env_ids: torch.Tensor, pos: torch.Tensor) -> torch.Tensor:
        return env_ids * self._max_length + pos % self._max_length

    def add(self, env_ids: torch.Tensor, pos: torch.Tensor, size: torch.Tensor) -> None:
        """Enter the newest records at `pos` [n] of rings that now have `size` [n] records."""
        span = int(self._span)
        first_start = pos + 1 - size + self._num_ignored
        start = pos - (span - 1)
        is_start = start >= first_start
        rows = [self._rows(env_ids, torch.where(is_start, start, pos))]
        values = [is_start * self.of_new_spans]
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
            priorities: [n], not negative, and so large at most that the sum over all records of
                the buffer is finite.
            earliest: [n] position of the oldest record.
            current: [n] position of the next record.

        Raises:
            ValueError: a priority is negative, infinite, NaN or too large.
        """
        priorities = priorities.to(torch.float32)  # as they are kept; more would become infinite
        allowed = (priorities >= 0) & (priorities <= self._most)
        if priorities.device.type != "cpu":
            self._all_allowed = self._all_allowed & allowed.all()
        elif not bool(allowed.all()):
            wrong = priorities[~allowed]
            _refuse(f"{wrong[0].item()} ({len(wrong)} of {len(pos)})", self._most)
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
        self.tree[rows] = self.of_new_spans if span < old else 0.0

    def sample(self, n: int, with_replacement: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw rows [n] in proportion to their priority, and their probabilities [n].

        Unless `with_replacement`, one is drawn from each n-th part of the sum of priorities
        (Schaul et al. 2016, Prioritized Experience Replay, appendix B.2.1).
        """
        total = self.tree.summary()
        some, allowed = torch.stack((total > 0, self._all_allowed)).tolist()
        if not allowed:
            _refuse("some are negative, infinite, NaN or too large", self._most)
        if not some:
            raise ValueError(
                f"no span of {int(self._span)} records with a priority above 0 can be sampled "
                f"(the {self._num_ignored} oldest records of each environment start none)"
            )
        u = torch.rand(n, device=total.device)
        if not with_replacement:
            u = (u + torch.arange(n, device=u.device)) / n
        rows = self.tree.find_sum_bound(u * total)
        return rows, self.tree[rows] / total


def _refuse(what: str, most: float) -> None:
    raise ValueError(
        f"priorities given: {what}; allowed: finite numbers that are not negative, {most:.1g} at "
        "most, so that their sum is finite"
    )
