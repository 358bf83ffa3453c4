"""External memories."""

from __future__ import annotations

import math

import torch

from alf.networks.memory import FIFOMemory, MemoryWithUsage
from alf.tensor_specs import TensorSpec


def test_a_sharp_key_finds_what_was_written() -> None:
    memory = MemoryWithUsage(4, 3, scale=100.0)
    memory.build(2)
    rows = torch.randn(2, 3, 4)
    for i in range(3):
        memory.write(rows[:, i])
    for i in range(3):
        torch.testing.assert_close(memory.read(rows[:, i]), rows[:, i], atol=1e-2, rtol=0)
    several = memory.read(rows)
    torch.testing.assert_close(several, rows, atol=1e-2, rtol=0)


def test_the_least_used_slot_is_overwritten() -> None:
    memory = MemoryWithUsage(3, 3, scale=100.0)
    memory.build(1)
    for row in torch.eye(3):
        memory.write(row.unsqueeze(0))
    memory.read(torch.tensor([[1.0, 0.0, 0.0]]))
    memory.read(torch.tensor([[0.0, 0.0, 1.0]]))
    memory.write(torch.full((1, 3), 7.0))
    contents, usage = memory.states
    assert (contents == 7).all(-1).tolist() == [[False, True, False]]
    torch.testing.assert_close(usage, memory.usage)
    memory.reset()
    assert memory.states[0].eq(0).all()


def test_usage_of_a_write_decays() -> None:
    memory = MemoryWithUsage(1, 2, usage_decay=0.5)
    memory.build(1)
    memory.write(torch.ones(1, 1))
    memory.write(torch.ones(1, 1))
    assert memory.usage.tolist() == [[0.5, 1.0]]


def test_keys_and_scales_come_from_a_network() -> None:
    query = torch.randn(5, 6, requires_grad=True)
    for scale, size in [(None, 2 * 5), (1.0, 2 * 4)]:
        memory = MemoryWithUsage(4, 3, scale=scale)
        memory.build(5)
        memory.write(torch.randn(5, 4))
        keynet = memory.create_keynet(TensorSpec((6,)), 2)
        assert keynet.output_spec == TensorSpec((size,))
        assert memory.genkey_and_read(keynet, query).shape == (5, 8)
        result = memory.genkey_and_read(keynet, query, flatten_result=False)
        assert result.shape == (5, 2, 4)
        result.sum().backward()
        assert query.grad is not None


def test_a_snapshot_stops_gradients_of_earlier_writes() -> None:
    for snapshot_only in (False, True):
        first, second = (torch.ones(1, 2, requires_grad=True) for _ in range(2))
        memory = MemoryWithUsage(2, 2, snapshot_only=snapshot_only)
        memory.build(1)
        memory.write(first)
        memory.write(second)
        memory.read(torch.ones(1, 2)).sum().backward()
        assert (first.grad is None) == snapshot_only
        assert second.grad is not None


def test_a_fifo_memory_has_the_newest_first() -> None:
    memory = FIFOMemory(1, 3)
    memory.build(1)
    assert memory.read(torch.ones(1, 1)).tolist() == [[0.0]]
    seen = []
    for value in (1.0, 2.0, 3.0, 4.0):
        memory.write(torch.full((1, 1), value))
        seen.append((memory.memory().flatten().tolist(), memory.mask().tolist()[0]))
    assert seen[0] == ([1.0, 0.0, 0.0], [True, False, False])
    assert seen[1] == ([2.0, 1.0, 0.0], [True, True, False])
    assert seen[3] == ([4.0, 3.0, 2.0], [True, True, True])
    other = FIFOMemory(1, 3)
    other.from_states(memory.states)
    other.write(torch.tensor([[[5.0], [6.0]]]))
    assert other.memory().flatten().tolist() == [6.0, 5.0, 4.0]
    assert memory.memory().flatten().tolist() == [4.0, 3.0, 2.0]


def test_similarities_are_five_times_the_cosine_where_no_scale_is_given() -> None:
    memory = MemoryWithUsage(2, 3)
    memory.build(1)
    memory.write(torch.tensor([[3.0, 0.0]]))
    weight = math.exp(5) / (math.exp(5) + 2)
    torch.testing.assert_close(
        memory.read(torch.tensor([[0.1, 0.0]])), torch.tensor([[3 * weight, 0.0]])
    )


def test_a_memory_that_was_not_built_begins_empty() -> None:
    for make in (MemoryWithUsage, FIFOMemory):
        memory = make(2, 3)
        memory.write(torch.ones(4, 2))
        assert memory.states[0].shape == (4, 3, 2)
        assert memory.states[0].sum() == 8
        reader = make(2, 3)
        assert torch.equal(reader.read(torch.ones(4, 2)), torch.zeros(4, 2))


def test_rows_that_wrote_nothing_read_only_what_is_there() -> None:
    memory = FIFOMemory(2, 3)
    memory.from_states((torch.zeros(2, 3, 2), torch.tensor([0, 1])))
    memory.write(torch.ones(2, 2))
    torch.testing.assert_close(memory.read(torch.zeros(2, 2)), torch.tensor([[1.0] * 2, [0.5] * 2]))
