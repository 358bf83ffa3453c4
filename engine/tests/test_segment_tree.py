"""Segment trees against plain arrays."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alf.experience_replayers.segment_tree import (
    MaxSegmentTree,
    MinSegmentTree,
    SegmentTree,
    SumSegmentTree,
)


@st.composite
def writes(draw):
    capacity = draw(st.sampled_from([1, 2, 15, 16, 17, 256, 257, 300]))
    index = st.integers(0, capacity - 1)
    write = st.dictionaries(index, st.integers(0, 9), min_size=1, max_size=20)
    return capacity, draw(st.lists(write, min_size=1, max_size=5))


@settings(deadline=None, max_examples=60)
@given(writes())
def test_summary_is_that_of_the_array(history):
    capacity, calls = history
    sums, smallest, largest = (
        cls(capacity) for cls in (SumSegmentTree, MinSegmentTree, MaxSegmentTree)
    )
    array: dict[int, int] = {}
    for call in calls:
        array.update(call)
        for tree in (sums, smallest, largest):
            tree[torch.tensor(list(call))] = torch.tensor(list(call.values()), dtype=torch.float32)
    assert sums.summary() == sum(array.values())
    assert smallest.summary() == min(array.values())
    assert largest.summary() == max(array.values())
    assert sums.nnz == sum(v != 0 for v in array.values())
    assert sums[torch.tensor(list(array))].tolist() == list(array.values())


@settings(deadline=None, max_examples=60)
@given(writes())
def test_every_threshold_finds_the_entry_whose_share_it_falls_into(history):
    capacity, calls = history
    tree, array = SumSegmentTree(capacity), torch.zeros(capacity)
    for call in calls:
        indices, values = torch.tensor(list(call)), torch.tensor(list(call.values())).float()
        tree[indices] = values
        array[indices] = values
    total = int(array.sum())
    if total == 0:
        with pytest.raises(ValueError, match="all entries are zero"):
            tree.find_sum_bound(torch.zeros(1))
        return
    thresholds = torch.arange(total, dtype=torch.float32)
    expected = torch.repeat_interleave(torch.arange(capacity), array.long())
    assert torch.equal(tree.find_sum_bound(thresholds), expected)
    assert torch.equal(tree.find_sum_bound(thresholds + 0.5), expected)


def test_rounding_never_leads_to_an_entry_that_is_zero():
    torch.manual_seed(0)
    tree = SumSegmentTree(5000)
    indices = torch.randperm(5000)[:700]
    tree[indices] = torch.rand(700) * torch.logspace(-6, 6, 700)
    total = tree.summary()
    thresholds = torch.cat([torch.rand(20000) * total, total[None]])
    assert (tree[tree.find_sum_bound(thresholds)] > 0).all()


def test_repeated_indices_leave_a_consistent_tree():
    tree = SumSegmentTree(40)
    tree[torch.tensor([3, 3, 3, 20])] = torch.tensor([1.0, 2.0, 5.0, 1.0])
    assert tree.summary() == tree[torch.arange(40)].sum()


def test_integers_and_scalars_can_be_written():
    tree = SegmentTree(100, torch.max, dtype=torch.int64)
    tree[torch.tensor([4, 99])] = 7
    assert int(tree.summary()) == 7
    assert len(tree) == 100


def test_wrong_indices_and_operations_are_refused():
    tree = MinSegmentTree(4)
    with pytest.raises(ValueError, match=r"\[0, 4\)"):
        tree[torch.tensor([4])] = 1.0
    with pytest.raises(ValueError, match=r"\[0, 4\)"):
        tree[torch.tensor([-1])]
    with pytest.raises(ValueError, match="op has to be"):
        SegmentTree(4, torch.mul)
    with pytest.raises(ValueError, match="capacity"):
        SumSegmentTree(0)


def test_state_survives_save_and_load():
    tree, other = SumSegmentTree(300), SumSegmentTree(300)
    tree[torch.arange(300)] = torch.arange(300).float()
    other.load_state_dict(tree.state_dict())
    assert other.find_sum_bound(torch.tensor([44849.0])).tolist() == [299]


def test_a_threshold_beyond_the_sum_is_refused():
    tree = SumSegmentTree(4)
    tree[torch.arange(4)] = torch.ones(4)
    assert tree.find_sum_bound(torch.tensor([3.9, 4.0])).tolist() == [3, 3]
    with pytest.raises(ValueError, match=r"up to 5.0 .* 4.0"):
        tree.find_sum_bound(torch.tensor([1.0, 5.0]))
