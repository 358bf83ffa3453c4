"""Rows, level replay buffers and the count of due updates."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alf.data_structures import Experience, TimeStep, namedtuple
from alf.experience_replayers.replay_buffer import ReplayBuffer
from alf.tensor_specs import TensorSpec
from alf.utils.dist_utils import extract_spec
from alf_layered import TrainingOptions
from alf_layered.hierarchy import replay
from alf_layered.hierarchy.replay import LevelReplayBuffer
from alf_layered.hierarchy.rows import on_rows, take_rows, where_rows
from alf_layered.hierarchy.training import UpdateClock

masks = st.lists(st.booleans(), min_size=1, max_size=9).map(torch.tensor)


@given(mask=masks)
def test_on_rows_equals_calling_row_by_row(mask: torch.Tensor) -> None:
    inputs = {"x": torch.arange(2.0 * len(mask)).reshape(-1, 2)}
    otherwise = {"y": torch.full((len(mask), 2), -1.0)}
    asked = []

    def double(rows: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        asked.append(len(rows["x"]))
        return {"y": 2 * rows["x"]}

    result = on_rows(mask, double, inputs, otherwise)
    for b, chosen in enumerate(mask.tolist()):
        expected = 2 * inputs["x"][b] if chosen else otherwise["y"][b]
        assert torch.equal(result["y"][b], expected)
    assert asked == ([int(mask.sum())] if mask.any() else [])
    assert (otherwise["y"] == -1).all()


@given(mask=masks)
def test_where_and_take_rows_follow_the_mask(mask: torch.Tensor) -> None:
    ones, zeros = torch.ones(len(mask), 3, 2), torch.zeros(len(mask), 3, 2)
    assert torch.equal(where_rows(mask, ones, zeros)[:, 0, 0], mask.float())
    assert take_rows(mask, torch.arange(len(mask))).tolist() == mask.nonzero()[:, 0].tolist()


Record = namedtuple("Record", ["step_type", "value"])


def _buffer(environments: int, length: int) -> LevelReplayBuffer:
    stock = ReplayBuffer(
        Record(TensorSpec((), torch.int32), TensorSpec(())),
        environments,
        max_length=length,
    )
    return LevelReplayBuffer.in_place_of(stock, prioritized=False, name="level")


def _fill(buffer: LevelReplayBuffer, counts: list[int]) -> None:
    """Record p of environment e has the value 1000 e + p."""
    for e, count in enumerate(counts):
        for p in range(count):
            record = Record(torch.tensor([1], dtype=torch.int32), torch.tensor([1000.0 * e + p]))
            buffer.add_batch(record, torch.tensor([e]))


@settings(max_examples=30, deadline=None)
@given(
    counts=st.lists(st.integers(0, 12), min_size=1, max_size=5),
    length=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_spans_are_consecutive_and_inside_what_is_stored(
    counts: list[int], length: int, seed: int
) -> None:
    buffer = _buffer(len(counts), 8)
    _fill(buffer, counts)
    if not buffer.has_spans(length):
        with pytest.raises(ValueError, match=f"span of {length} records"):
            buffer.get_batch(4, length)
        return
    torch.manual_seed(seed)
    batch, info = buffer.get_batch(64, length)
    for values, env, start in zip(
        batch.value.tolist(), info.env_ids.tolist(), info.positions.tolist(), strict=True
    ):
        assert values == [1000 * env + start + t for t in range(length)]
        assert max(counts[env] - 8, 0) <= start <= counts[env] - length


def test_every_span_is_as_likely_as_any_other() -> None:
    buffer = _buffer(3, 64)
    _fill(buffer, [1, 3, 21])
    torch.manual_seed(0)
    batch, _ = buffer.get_batch(22_000, 2)
    seen = Counter(batch.value[:, 0].tolist())
    assert set(seen) == {1000.0, 1001.0} | {2000.0 + p for p in range(20)}
    assert max(abs(n - 1000) for n in seen.values()) < 160  # 5 standard deviations


def test_contents_survive_saving_and_loading() -> None:
    buffer, other = _buffer(2, 4), _buffer(2, 4)
    _fill(buffer, [6, 2])
    other.load_state_dict(buffer.state_dict())
    torch.manual_seed(1)
    expected, _ = buffer.get_batch(32, 2)
    torch.manual_seed(1)
    found, _ = other.get_batch(32, 2)
    assert torch.equal(found.value, expected.value)


def test_updates_are_paid_for_by_transitions_after_the_warm_up() -> None:
    clock = UpdateClock(TrainingOptions(updates_per_transition=0.25, warm_up=10))
    due = []
    for _ in range(8):
        clock.add(3)
        due.append(clock.take_due())
    # 24 transitions, 10 of them free: 14 / 4 = 3.5 updates
    assert due == [0, 0, 0, 0, 1, 1, 0, 1]
    assert float(clock.debt) == 0.5
    assert int(clock.transitions) == 24


def test_specs_of_stored_data_are_kept() -> None:
    buffer = _buffer(2, 4)
    _fill(buffer, [3, 3])
    batch, _ = buffer.get_batch(2, 2)
    assert extract_spec(batch, from_dim=2) == Record(TensorSpec((), torch.int32), TensorSpec(()))


def test_a_buffer_that_does_not_fit_into_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record is a thousand numbers and its kind, 4 bytes each."""
    spec, kind = TensorSpec((1000,)), TensorSpec((), torch.int32)
    stock = ReplayBuffer(Experience(time_step=TimeStep(step_type=kind, reward=spec)), 4, 50)
    monkeypatch.setattr(replay, "_host_memory", lambda: 4 * 50 * 4004.0)
    LevelReplayBuffer.in_place_of(stock, prioritized=False, name="low_replay_buffer")
    monkeypatch.setattr(replay, "_host_memory", lambda: 4 * 50 * 4004.0 - 1)
    with pytest.raises(ValueError, match=r"low_replay_buffer.*50 records of each of 4 env.*lower"):
        LevelReplayBuffer.in_place_of(stock, prioritized=False, name="low_replay_buffer")
    monkeypatch.undo()
    assert 1e8 < replay._host_memory() < 1e15


def test_records_of_a_release_that_called_the_time_discount_passage_are_taken() -> None:
    kind = TensorSpec((), torch.int32)
    data_spec = Experience(
        time_step=TimeStep(step_type=kind, env_info={"time_discount": TensorSpec(())})
    )
    buffers = [
        LevelReplayBuffer.in_place_of(ReplayBuffer(data_spec, 2, 5), prioritized=False, name="low")
        for _ in range(2)
    ]
    for t in range(3):
        given = torch.tensor([t, 10.0 + t])
        kinds = torch.ones(2, dtype=torch.int32)
        step = TimeStep(step_type=kinds, env_info={"time_discount": given})
        buffers[0].add_batch(Experience(time_step=step))
    former = {
        key.replace("time_discount", "passage"): x for key, x in buffers[0].state_dict().items()
    }
    assert any(key.endswith("passage") for key in former)
    buffers[1].load_state_dict(former)
    held, _ = buffers[1].gather_all()
    found = held.time_step.env_info["time_discount"].flatten()
    assert found.tolist() == [0, 1, 2, 10, 11, 12]
