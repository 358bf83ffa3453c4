"""Trees that keep the sum, minimum or maximum over an array under vectorised changes of entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import nn

__all__ = ["MaxSegmentTree", "MinSegmentTree", "SegmentTree", "SumSegmentTree"]

# Children per node. A wide tree has few levels, and the number of tensor operations of a change or
# a search grows with the levels: 1e6 entries need 5 of them instead of 20.
_WIDTH = 16

_REDUCTIONS: dict[Callable, tuple[Callable, str]] = {
    torch.add: (lambda x: x.sum(dim=-1), "zero"),
    torch.min: (lambda x: x.amin(dim=-1), "largest"),
    torch.minimum: (lambda x: x.amin(dim=-1), "largest"),
    torch.max: (lambda x: x.amax(dim=-1), "smallest"),
    torch.maximum: (lambda x: x.amax(dim=-1), "smallest"),
}


def _neutral_element(kind: str, dtype: torch.dtype) -> float:
    if kind == "zero":
        return 0
    if dtype.is_floating_point:
        return float("inf") if kind == "largest" else float("-inf")
    info = torch.iinfo(dtype)
    return info.max if kind == "largest" else info.min


class SegmentTree(nn.Module):
    """An array of `capacity` numbers together with `op` over all of them.

    `tree[indices]` reads and `tree[indices] = values` writes entries, many at once; `summary()` is
    `op` over all. Entries never written to are neutral (0 for a sum). If an index occurs twice in
    one write, one of its values stays.

    Args:
        capacity: number of entries.
        op: `torch.add`, `torch.min` (`torch.minimum`) or `torch.max` (`torch.maximum`).
        dtype: of the entries.
        device: where they are stored.
        name: name of the tree.
    """

    _level0: torch.Tensor

    def __init__(
        self,
        capacity: int,
        op: Callable,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        name: str = "SegmentTree",
    ) -> None:
        if op not in _REDUCTIONS:
            raise ValueError(
                f"{name}: op has to be torch.add, torch.min or torch.max (or torch.minimum, "
                f"torch.maximum), got {op}"
            )
        if capacity < 1:
            raise ValueError(f"{name}: capacity has to be at least 1, got {capacity}")
        super().__init__()
        self.name = name
        self._capacity = int(capacity)
        self._reduce, kind = _REDUCTIONS[op]
        neutral = _neutral_element(kind, dtype)
        # Level 0 holds the entries; node i of level k is the reduction of the nodes
        # [i * _WIDTH, (i + 1) * _WIDTH) of level k - 1.
        self._num_levels = 0
        size = self._capacity
        while self._num_levels == 0 or size > 1:
            size = -(-size // _WIDTH)
            level = torch.full((size, _WIDTH), neutral, dtype=dtype, device=device)
            self.register_buffer(f"_level{self._num_levels}", level)
            self._num_levels += 1

    @property
    def _levels(self) -> list[torch.Tensor]:
        levels = [self._buffers[f"_level{k}"] for k in range(self._num_levels)]
        return cast("list[torch.Tensor]", levels)

    def __len__(self) -> int:
        return self._capacity

    def summary(self) -> torch.Tensor:
        """`op` over all entries: a number []."""
        return self._reduce(self._levels[-1][0])

    def __getitem__(self, indices: torch.Tensor) -> torch.Tensor:
        return self._levels[0].view(-1)[self._checked(indices)]

    @torch.no_grad()
    def __setitem__(self, indices: torch.Tensor, values: torch.Tensor | float) -> None:
        indices = self._checked(indices)
        below, *above = self._levels
        values = torch.as_tensor(values, dtype=below.dtype, device=below.device)
        below.view(-1).index_copy_(0, indices, values.expand(indices.shape))
        for level in above:
            indices = indices // _WIDTH
            level.view(-1).index_copy_(0, indices, self._reduce(below.index_select(0, indices)))
            below = level

    def _checked(self, indices: torch.Tensor) -> torch.Tensor:
        indices = torch.as_tensor(indices, device=self._level0.device)
        # On an accelerator, looking at the indices would wait for it.
        outside = (
            indices.device.type == "cpu"
            and indices.numel() > 0
            and (int(indices.min()) < 0 or int(indices.max()) >= self._capacity)
        )
        if indices.dim() != 1 or outside:
            raise ValueError(
                f"{self.name}: indices have to be a vector within [0, {self._capacity}), got "
                f"{indices}"
            )
        return indices


class SumSegmentTree(SegmentTree):
    """A `SegmentTree` over non-negative numbers that finds entries in proportion to their value."""

    def __init__(
        self,
        capacity: int,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        name: str = "SumSegmentTree",
    ) -> None:
        super().__init__(capacity, torch.add, dtype=dtype, device=device, name=name)

    @property
    def nnz(self) -> torch.Tensor:
        """Number of entries that are not zero: int64 []. Looks at all entries."""
        return torch.count_nonzero(self._levels[0])

    @torch.no_grad()
    def find_sum_bound(self, thresholds: torch.Tensor) -> torch.Tensor:
        """For each threshold t the index i with `sum(tree[:i]) <= t < sum(tree[:i + 1])`.

        Thresholds [n] lie within [0, summary()]; rounding never leads to an entry that is zero.

        Raises:
            ValueError: all entries are zero, or a threshold is larger than their sum.
        """
        levels = self._levels
        rest = torch.as_tensor(thresholds, dtype=levels[0].dtype, device=levels[0].device)
        total = self.summary()
        some, beyond = torch.stack((total > 0, (rest > total).any())).tolist()
        if not some:
            raise ValueError(f"{self.name}: all entries are zero, none can be found by its share")
        if beyond:
            raise ValueError(
                f"{self.name}: thresholds of up to {rest.max().item()} are beyond the sum of all "
                f"entries, {total.item()}"
            )
        node = torch.zeros_like(rest, dtype=torch.int64)
        for level in reversed(levels):
            sums = level.index_select(0, node).cumsum(dim=-1)
            # A node's stored value can be larger than the sum of its children by rounding errors,
            # and a threshold in between would find no child.
            rest = torch.minimum(rest, _just_below(sums[:, -1]))
            child = torch.searchsorted(sums, rest.unsqueeze(-1), right=True)
            before = nn.functional.pad(sums, (1, 0)).gather(1, child).squeeze(-1)
            rest = (rest - before).clamp_(min=0)
            node = node * _WIDTH + child.squeeze(-1)
        return node


def _just_below(x: torch.Tensor) -> torch.Tensor:
    if x.is_floating_point():
        return torch.nextafter(x, torch.zeros_like(x))
    return x - 1


class MinSegmentTree(SegmentTree):
    """A `SegmentTree` whose `summary()` is the smallest entry."""

    def __init__(
        self,
        capacity: int,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        name: str = "MinSegmentTree",
    ) -> None:
        super().__init__(capacity, torch.min, dtype=dtype, device=device, name=name)


class MaxSegmentTree(SegmentTree):
    """A `SegmentTree` whose `summary()` is the largest entry."""

    def __init__(
        self,
        capacity: int,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        name: str = "MaxSegmentTree",
    ) -> None:
        super().__init__(capacity, torch.max, dtype=dtype, device=device, name=name)
