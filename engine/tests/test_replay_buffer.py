"""ReplayBuffer, RingBuffer, DataBuffer against list-based twins and hand numbers."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import alf.nest as nest
from alf.data_structures import Experience, StepType, TimeStep
from alf.experience_replayers._priorities import PriorityTree
from alf.experience_replayers.replay_buffer import ReplayBuffer
from alf.tensor_specs import TensorSpec
from alf.utils.checkpoint_utils import is_checkpoint_enabled
from alf.utils.data_buffer import DataBuffer, RingBuffer

FIRST, MID, LAST = StepType.FIRST, StepType.MID, StepType.LAST

INT = TensorSpec((), torch.int32)
EXPERIENCE_SPEC = Experience(
    time_step=TimeStep(
        step_type=INT,
        reward=TensorSpec(()),
        discount=TensorSpec(()),
        observation={"place": TensorSpec((2,)), "id": TensorSpec((), torch.int64)},
        env_id=INT,
    ),
    action=TensorSpec((3,)),
)


def records(env_ids, times, step_types=None, rewards=None, discounts=None) -> Experience:
    """Records whose contents say where they belong: "place" is (env id, time)."""
    ids, t = torch.tensor(env_ids), torch.tensor(times)
    n = len(env_ids)
    return Experience(
        time_step=TimeStep(
            step_type=torch.tensor(step_types or [MID] * n, dtype=torch.int32),
            reward=torch.tensor(rewards or [0.0] * n, dtype=torch.float32),
            discount=torch.tensor(discounts or [1.0] * n, dtype=torch.float32),
            observation={"place": torch.stack([ids, t], dim=-1).float(), "id": ids * 1000 + t},
            env_id=ids.to(torch.int32),
        ),
        action=t.float().unsqueeze(-1).expand(n, 3),
    )


def filled(num_envs: int, steps: int, **kwargs) -> ReplayBuffer:
    """A buffer to which each environment added `steps` records."""
    buffer = ReplayBuffer(EXPERIENCE_SPEC, num_envs, **kwargs)
    for t in range(steps):
        buffer.add_batch(records(list(range(num_envs)), [t] * num_envs))
    return buffer


class Twin:
    """The same buffer with Python lists of (position, step type)."""

    def __init__(self, num_envs: int, max_length: int):
        self.max_length = max_length
        self.rings: list[list[tuple[int, int, int]]] = [[] for _ in range(num_envs)]
        self.pos = [0] * num_envs
        self.begin = [0] * num_envs

    def add(self, env: int, step_type: int) -> None:
        if step_type == FIRST or not self.rings[env]:
            self.begin[env] = self.pos[env]
        self.rings[env].append((self.pos[env], self.begin[env], step_type))
        self.rings[env] = self.rings[env][-self.max_length :]
        self.pos[env] += 1

    def end(self, env: int, begin: int) -> int:
        return max(p for p, b, _ in self.rings[env] if b == begin)


@st.composite
def histories(draw):
    """(number of environments, length, list of calls); a call is a removal or step types by id."""
    num_envs = draw(st.integers(1, 4))
    step_types = st.sampled_from([FIRST, MID, MID, LAST])
    adding = st.dictionaries(st.integers(0, num_envs - 1), step_types, max_size=num_envs)
    removing = st.tuples(st.integers(0, num_envs - 1), st.integers(1, 7))
    calls = draw(st.lists(st.one_of(adding, adding, adding, adding, removing), max_size=40))
    return num_envs, draw(st.integers(1, 6)), calls


def replay(history, **kwargs) -> tuple[ReplayBuffer, Twin]:
    num_envs, length, calls = history
    buffer = ReplayBuffer(EXPERIENCE_SPEC, num_envs, max_length=length, **kwargs)
    twin = Twin(num_envs, length)
    for call in calls:
        if isinstance(call, tuple):
            env, n = call
            buffer.remove_up_to(n, torch.tensor([env]))
            twin.rings[env] = twin.rings[env][n:]
            continue
        ids = list(call)
        batch = records(ids, [twin.pos[i] for i in ids], [call[i] for i in ids] or None)
        if not ids:
            batch = nest.map_structure(lambda s: s.zeros((0,)), EXPERIENCE_SPEC)
        buffer.add_batch(batch, torch.tensor(ids, dtype=torch.int32))
        for env, step_type in call.items():
            twin.add(env, step_type)
    return buffer, twin


@settings(deadline=None, max_examples=150)
@given(histories())
def test_contents_and_episodes_equal_those_of_the_list_based_twin(history):
    buffer, twin = replay(history, keep_episodic_info=True)
    assert buffer._current_size.tolist() == [len(r) for r in twin.rings]
    assert buffer._current_pos.tolist() == twin.pos == buffer.get_current_position().tolist()
    assert buffer.total_size == sum(len(r) for r in twin.rings)
    for env, ring in enumerate(twin.rings):
        if not ring:
            continue
        pos, ids = torch.tensor([p for p, _, _ in ring]), torch.tensor(env)
        place = buffer.get_field("time_step.observation.place", ids, pos)
        assert place.tolist() == [[env, p] for p, _, _ in ring]
        assert buffer.get_field("step_type", ids, pos).tolist() == [s for _, _, s in ring]
        begins = buffer.get_episode_begin_position(pos, ids)
        assert begins.tolist() == [b for _, b, _ in ring]
        to_end = buffer.steps_to_episode_end(pos, ids)
        assert to_end.tolist() == [twin.end(env, b) - p for p, b, _ in ring]
        earliest = buffer.get_earliest_position(torch.tensor([env]))
        assert earliest.tolist() == [ring[0][0]]


@settings(deadline=None, max_examples=100)
@given(histories(), st.integers(1, 3), st.integers(0, 2), st.booleans())
def test_priorities_cover_exactly_the_spans_that_exist(history, length, ignored, change_later):
    num_envs, max_length, calls = history
    first = (num_envs, max_length, calls[: len(calls) // 2])
    kwargs = {"prioritized_sampling": True, "num_earliest_frames_ignored": ignored}
    if change_later:  # the span length becomes known, or changes, in the middle
        buffer, _ = replay(first, **kwargs)
        buffer._priorities.set_span(length + 1, buffer._current_size, buffer._current_pos)
        buffer, twin = _continue(buffer, history)
        buffer._priorities.set_span(length, buffer._current_size, buffer._current_pos)
    else:
        buffer, twin = replay(history, **kwargs)
        buffer._priorities.set_span(length, buffer._current_size, buffer._current_pos)
    expected = torch.zeros(num_envs, max_length)
    for env, ring in enumerate(twin.rings):
        for p, _, _ in ring[ignored : max(len(ring) - length + 1, 0)]:
            expected[env, p % max_length] = 1.0
    tree = buffer._priorities.tree
    assert (
        tree[torch.arange(num_envs * max_length)].view(num_envs, -1).tolist() == expected.tolist()
    )
    assert tree.summary() == expected.sum()


def _continue(buffer: ReplayBuffer, history) -> tuple[ReplayBuffer, Twin]:
    """Make the second half of the calls to a buffer that has seen the first half."""
    num_envs, length, calls = history
    twin = Twin(num_envs, length)
    for i, call in enumerate(calls):
        is_new = i >= len(calls) // 2
        if isinstance(call, tuple):
            env, n = call
            twin.rings[env] = twin.rings[env][n:]
            if is_new:
                buffer.remove_up_to(n, torch.tensor([env]))
            continue
        if is_new and call:
            ids = list(call)
            batch = records(ids, [twin.pos[i] for i in ids], list(call.values()))
            buffer.add_batch(batch, torch.tensor(ids))
        for env, step_type in call.items():
            twin.add(env, step_type)
    return buffer, twin


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 5),
    st.integers(1, 12),
    st.integers(1, 3),
    st.integers(1, 40),
    st.booleans(),
    st.booleans(),
)
def test_every_sampled_span_is_consecutive_and_says_where_it_came_from(
    num_envs, steps, length, batch_size, prioritized, with_replacement
):
    buffer = filled(
        num_envs,
        steps + length,
        max_length=steps + length - 1,
        prioritized_sampling=prioritized,
        with_replacement=with_replacement,
    )
    batch, info = buffer.get_batch(batch_size, length)
    place = batch.observation["place"]
    assert place.shape == (batch_size, length, 2)
    assert batch.action.shape == (batch_size, length, 3)
    times = info.positions[:, None] + torch.arange(length)
    assert torch.equal(place[..., 0].long(), info.env_ids[:, None].expand(-1, length))
    assert torch.equal(place[..., 1].long(), times)
    assert torch.equal(batch.observation["id"], info.env_ids[:, None] * 1000 + times)
    assert info.replay_buffer is buffer
    assert times.min() >= 1
    assert times.max() <= steps + length - 1


@pytest.mark.parametrize("batch_size", [2, 4, 6, 9])
def test_uniform_sampling_takes_equally_many_spans_from_each_environment(batch_size):
    buffer = filled(4, 20)
    buffer.add_batch(records([2], [20]), torch.tensor([2]))
    _, info = buffer.get_batch(batch_size, 2)
    counts = torch.bincount(info.env_ids, minlength=4)
    assert counts.sum() == batch_size
    assert counts.max() - counts.min() <= 1
    assert torch.equal(info.env_ids, info.env_ids.sort().values)


def test_without_replacement_no_span_occurs_twice():
    buffer = filled(3, 11)
    for _ in range(50):
        _, info = buffer.get_batch(30, 2)
        assert len(set(zip(info.env_ids.tolist(), info.positions.tolist(), strict=True))) == 30


@pytest.mark.parametrize("with_replacement", [False, True])
def test_every_span_is_equally_probable(with_replacement):
    torch.manual_seed(0)
    buffer = filled(2, 8, with_replacement=with_replacement)
    counts = torch.zeros(2, 7)
    for _ in range(2000):
        _, info = buffer.get_batch(6, 2)
        counts.index_put_((info.env_ids, info.positions), torch.ones(6), accumulate=True)
    share = counts / counts.sum()
    assert (share - 1 / 14).abs().max() < 0.01


def test_a_batch_larger_than_the_buffer_contains_everything():
    _, info = filled(1, 5).get_batch(50, 2)
    assert torch.bincount(info.positions).tolist() == pytest.approx([12.5] * 4, abs=1)


def test_empty_subset_changes_nothing():
    buffer = filled(3, 4, keep_episodic_info=True, prioritized_sampling=True)
    before = copy.deepcopy(buffer.state_dict())
    empty = nest.map_structure(lambda s: s.zeros((0,)), EXPERIENCE_SPEC)
    buffer.add_batch(empty, torch.zeros(0, dtype=torch.int32))
    for key, value in buffer.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_unequal_fill_is_refused_with_the_numbers():
    buffer = filled(3, 1)
    buffer.add_batch(records([0], [1]), torch.tensor([0]))
    with pytest.raises(ValueError, match=r"needs 2 records .* 2 of 3 .* has 1"):
        buffer.get_batch(3, 2)


def test_ignored_earliest_frames_start_no_span():
    buffer = filled(2, 6, num_earliest_frames_ignored=3)
    for _ in range(20):
        _, info = buffer.get_batch(4, 2)
        assert info.positions.min() >= 3
    with pytest.raises(ValueError, match="3 earliest ones ignored"):
        buffer.get_batch(2, 4)


@pytest.mark.parametrize(
    "env_ids", [[0, 0], [0, 3], [-1, 0], [*range(65), 0], [-1, *range(65)], [70, *range(65)]]
)
def test_wrong_environment_ids_are_refused(env_ids):
    buffer = ReplayBuffer(EXPERIENCE_SPEC, 3 if len(env_ids) == 2 else 66, max_length=4)
    with pytest.raises(ValueError, match="env_ids"):
        buffer.add_batch(records(env_ids, [0] * len(env_ids)), torch.tensor(env_ids))
    assert buffer.total_size == 0


def test_a_record_that_does_not_match_the_first_is_refused_by_name():
    buffer = filled(2, 1)
    batch = records([0, 1], [0, 0])
    double = batch._replace(action=batch.action.double())
    with pytest.raises(ValueError, match=r"_buffer/action.*float32.*float64"):
        buffer.add_batch(double)
    with pytest.raises(ValueError, match="_buffer/action"):
        buffer.add_batch(batch._replace(action=batch.action[:, :2]))
    with pytest.raises(ValueError):
        buffer.add_batch(batch._replace(state=batch.action))
    with pytest.raises(ValueError, match="2 records came"):
        buffer.add_batch(records([0], [0]))


def test_get_field_outside_of_what_is_stored_is_refused():
    buffer = filled(2, 6, max_length=4)
    with pytest.raises(ValueError, match=r"position 1 .* \[2, 6\)"):
        buffer.get_field("reward", torch.tensor([0]), torch.tensor([1]))
    with pytest.raises(ValueError, match="position 6"):
        buffer.get_field("reward", torch.tensor([0]), torch.tensor([6]))


def test_get_field_broadcasts_and_returns_nests():
    buffer = filled(3, 6, max_length=4)
    ids, pos = torch.tensor([[2], [0]]), torch.tensor([[3, 4, 5]])
    observation = buffer.get_field("time_step.observation", ids, pos)
    assert observation["id"].tolist() == [[2003, 2004, 2005], [3, 4, 5]]


def test_gather_all_is_oldest_first_also_where_positions_differ():
    buffer = filled(2, 6, max_length=4)
    buffer.add_batch(records([1], [6]), torch.tensor([1]))
    batch, info = buffer.gather_all()
    assert batch.observation["id"].tolist() == [[2, 3, 4, 5], [1003, 1004, 1005, 1006]]
    assert info.positions.tolist() == [2, 3]
    assert info.env_ids.tolist() == [0, 1]


def test_gather_all_needs_equal_sizes_and_can_leave_out_the_earliest():
    buffer = filled(2, 3, num_earliest_frames_ignored=1)
    batch, info = buffer.gather_all(ignore_earliest_frames=True)
    assert batch.observation["id"].tolist() == [[1, 2], [1001, 1002]]
    assert info.positions.tolist() == [1, 1]
    buffer.add_batch(records([1], [3]), torch.tensor([1]))
    with pytest.raises(ValueError, match="from 3 to 4"):
        buffer.gather_all()


def test_clear_forgets_everything_and_positions_go_on():
    buffer = filled(2, 3, prioritized_sampling=True, keep_episodic_info=True)
    buffer.get_batch(2, 2)
    buffer.clear(torch.tensor([1]))
    assert buffer._current_size.tolist() == [3, 0]
    _, info = buffer.get_batch(16, 2)
    assert set(info.env_ids.tolist()) == {0}
    buffer.clear()
    assert buffer.total_size == 0
    with pytest.raises(ValueError):
        buffer.get_batch(2, 2)
    buffer.add_batch(records([0, 1], [3, 3]))
    begin = buffer.get_episode_begin_position(torch.tensor([3, 3]), torch.tensor([0, 1]))
    assert begin.tolist() == [3, 3]


def test_dequeue_takes_the_oldest():
    buffer = filled(2, 3, prioritized_sampling=True)
    assert buffer.dequeue().observation["id"].tolist() == [[0], [1000]]
    assert buffer.dequeue(torch.tensor([1])).observation["id"].tolist() == [[1001]]
    assert buffer._current_size.tolist() == [2, 1]
    buffer.get_batch(2, 1)
    assert buffer._priorities.tree.summary() == 3


def test_spans_are_drawn_in_proportion_to_their_priorities():
    torch.manual_seed(0)
    buffer = filled(2, 4, prioritized_sampling=True)
    buffer.get_batch(1, 2)
    ids, pos = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 1, 2, 0, 1, 2])
    priorities = torch.tensor([1.0, 2.0, 0.0, 3.0, 4.0, 0.0])
    buffer.update_priority(ids, pos, priorities)
    _, info = buffer.get_batch(4000, 2)
    counts = torch.zeros(2, 3)
    counts.index_put_((info.env_ids, info.positions), torch.ones(4000), accumulate=True)
    assert torch.allclose(counts.view(-1) / 400, priorities, atol=0.01)
    # probability of a span times the number of spans whose priority is not 0
    expected = priorities.view(2, 3)[info.env_ids, info.positions] / 10 * 4
    assert torch.allclose(info.importance_weights, expected)


@pytest.mark.parametrize("num_priorities", [1, 3, 50, 300])
def test_importance_weights_have_mean_one_over_priorities_that_are_not_zero(num_priorities):
    """Also where spans got their priority more than once, and where records were overwritten."""
    torch.manual_seed(num_priorities)
    buffer = filled(4, 120, max_length=100, prioritized_sampling=True)
    ids = torch.randint(4, (num_priorities,))
    pos = torch.randint(20, 120, (num_priorities,))
    buffer.update_priority(ids, pos, torch.rand(num_priorities).round(decimals=1))
    tree = buffer._priorities.tree
    assert tree.nnz == torch.count_nonzero(tree._level0)
    _, info = buffer.get_batch(64, 1)
    priority = tree[info.env_ids * 100 + info.positions % 100]
    entries = tree._level0[tree._level0 > 0]
    assert torch.allclose(info.importance_weights, priority / entries.mean(), rtol=1e-5)


def test_fields_are_found_by_a_nest_of_paths():
    buffer = filled(2, 3)
    ids, pos = torch.tensor([0, 1]), torch.tensor([2, 0])
    found = buffer.get_field({"a": "reward", "b": ["observation.id"]}, ids, pos)
    assert torch.equal(found["a"], buffer.get_field("reward", ids, pos))
    assert found["b"][0].tolist() == [2, 1000]


def test_importance_weights_are_one_without_updates():
    buffer = filled(3, 5, prioritized_sampling=True, initial_priority=7.0)
    _, info = buffer.get_batch(32, 2)
    assert torch.allclose(info.importance_weights, torch.ones(32))
    assert buffer.initial_priority == 7.0


def test_priorities_of_overwritten_records_are_not_set():
    buffer = filled(1, 4, max_length=4, prioritized_sampling=True)
    buffer.get_batch(8, 2)
    buffer.add_batch(records([0], [4]))
    buffer.update_priority(
        torch.tensor([0, 0, 0]), torch.tensor([0, 1, 4]), torch.tensor([50.0, 5.0, 60.0])
    )
    tree = buffer._priorities.tree
    assert tree[torch.arange(4)].tolist() == [0.0, 5.0, 1.0, 1.0]


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("initial", [1.0, 300.0])
def test_a_new_record_has_the_largest_priority_there_is_or_the_initial_one(length, initial):
    torch.manual_seed(0)
    buffer = filled(1, 32, max_length=64, prioritized_sampling=True, initial_priority=initial)
    buffer.get_batch(1, length)
    count = 32 - (length - 1)
    pos = torch.arange(count)
    buffer.update_priority(torch.zeros_like(pos), pos, torch.full((count,), 100.0))
    buffer.add_batch(records([0], [32]))
    wanted = max(100.0, initial)
    assert buffer.initial_priority == wanted
    _, info = buffer.get_batch(9900, length)
    drawn = int((info.positions == count).sum())
    assert abs(drawn - 9900 * wanted / (wanted + count * 100)) < 2  # draws are spread evenly


def test_the_largest_priority_is_the_present_one_not_that_of_the_past():
    buffer = filled(1, 4, max_length=4, prioritized_sampling=True)
    ids = torch.zeros(4, dtype=torch.int64)
    buffer.update_priority(ids, torch.arange(4), torch.tensor([9.0, 2.0, 3.0, 2.0]))
    assert buffer.initial_priority == 9
    buffer.update_priority(ids[:1], torch.tensor([0]), torch.tensor([0.5]))
    assert buffer.initial_priority == 3


def test_the_largest_priority_is_known_after_loading():
    buffer, other = (filled(2, 300, max_length=300, prioritized_sampling=True) for _ in range(2))
    one = torch.tensor([1])
    buffer.update_priority(one, torch.tensor([256]), torch.tensor([5.0]))
    state = buffer.state_dict()
    assert not any("_max" in key.rpartition(".")[2] for key in state)
    other.load_state_dict(state)
    assert other.initial_priority == 5


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 600),
    st.lists(st.lists(st.tuples(st.integers(0, 599), st.floats(0, 9, width=32))), max_size=6),
)
def test_the_largest_entry_is_that_of_a_list(capacity, writes):
    tree, twin = PriorityTree(capacity, "cpu"), [0.0] * capacity
    for write in writes:
        entries = {i % capacity: v for i, v in write}
        for i, v in entries.items():
            twin[i] = v
        tree[torch.tensor(list(entries), dtype=torch.int64)] = torch.tensor(list(entries.values()))
        assert tree.largest() == max(twin)


def test_the_largest_priorities_are_drawn_evenly():
    """Their sum was infinite: every draw was the same record, with weight 0."""
    torch.manual_seed(0)
    buffer = filled(1, 4, max_length=4, prioritized_sampling=True)
    ids, most = torch.zeros(4, dtype=torch.int64), torch.finfo(torch.float32).max / 4
    with pytest.raises(ValueError, match="at most, so that their sum is finite"):
        buffer.update_priority(ids, torch.arange(4), torch.full((4,), 2 * most))
    buffer.update_priority(ids, torch.arange(4), torch.full((4,), 0.999 * most))
    _, info = buffer.get_batch(400, 1)
    assert info.positions.bincount().tolist() == pytest.approx([100] * 4, abs=1)
    assert info.importance_weights.tolist() == pytest.approx([1.0] * 400)


@pytest.mark.parametrize("bad", [-1e-6, math.inf, -math.inf, math.nan, 1e39, 3e38])
def test_priorities_that_are_none_are_refused_where_they_are_given(bad):
    buffer = filled(1, 4, prioritized_sampling=True)
    two = torch.tensor([0, 0])
    given = torch.tensor([1.0, bad], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"priorities given.*allowed: finite.*not negative"):
        buffer.update_priority(two, torch.tensor([1, 2]), given)
    assert buffer._priorities.tree[torch.arange(4)].tolist() == [1, 1, 1, 1]
    with pytest.raises(ValueError, match="initial_priority is"):
        filled(1, 4, prioritized_sampling=True, initial_priority=bad)


def test_recent_data_get_their_part_of_the_batch():
    buffer = filled(2, 50, recent_data_steps=3, recent_data_ratio=0.5)
    _, info = buffer.get_batch(20, 2)
    # spans of 2 records start at 0 ... 48
    assert (info.positions[10:] >= 46).all()
    assert torch.bincount(info.env_ids[10:]).tolist() == [5, 5]


def test_recent_data_have_importance_weights_of_the_mixture():
    torch.manual_seed(0)
    buffer = filled(2, 11, recent_data_steps=2, recent_data_ratio=0.25, prioritized_sampling=True)
    _, info = buffer.get_batch(40, 2)
    expected = 0.75 + 0.25 * (info.positions >= 8) * 20 / 4
    assert torch.allclose(info.importance_weights, expected.float())


def episode(buffer, start, rewards, last_discount):
    """Adds FIRST, MID ..., LAST to a buffer of one environment."""
    n = len(rewards)
    for i, reward in enumerate(rewards):
        step_type = FIRST if i == 0 else (LAST if i == n - 1 else MID)
        discount = last_discount if i == n - 1 else 1.0
        buffer.add_batch(records([0], [start + i], [step_type], [reward], [discount]))


def test_returns_are_known_after_termination_and_not_after_a_time_limit():
    spec = {"gamma": 0.5, "record_episodic_return": True, "default_return": -7.0}
    buffer = ReplayBuffer(EXPERIENCE_SPEC, 1, max_length=20, **spec)
    episode(buffer, 0, [0.0, 1.0, 2.0, 4.0], last_discount=0.0)
    episode(buffer, 4, [0.0, 1.0, 2.0], last_discount=1.0)
    buffer.add_batch(records([0], [7], [FIRST], [0.0]))
    _, info = buffer.gather_all()
    # 1 + 0.5 * (2 + 0.5 * 4) = 3, 2 + 0.5 * 4 = 4, 4, and 0 at the end
    assert info.discounted_return.tolist() == [[3.0, 4.0, 4.0, 0.0, -7.0, -7.0, -7.0, -7.0]]
    _, info = buffer.get_batch(5, 3)
    assert info.discounted_return.shape == (5, 3)


def test_returns_of_an_episode_longer_than_the_ring_are_those_of_what_is_left():
    buffer = ReplayBuffer(
        EXPERIENCE_SPEC,
        1,
        max_length=3,
        record_episodic_return=True,
        gamma=1.0,
        reward_clip=(-1, 1),
    )
    episode(buffer, 0, [0.0, 1.0, 1.0, -5.0, 3.0], last_discount=0.0)
    _, info = buffer.gather_all()
    assert info.discounted_return.tolist() == [[0.0, 1.0, 0.0]]


def test_returns_of_environments_that_end_together_have_their_own_lengths():
    buffer = ReplayBuffer(EXPERIENCE_SPEC, 2, max_length=5, record_episodic_return=True, gamma=1.0)
    steps = [(FIRST, MID), (MID, FIRST), (LAST, LAST)]
    for t, types in enumerate(steps):
        ends = [0.0 if s == LAST else 1.0 for s in types]
        buffer.add_batch(records([0, 1], [t, t], list(types), [1.0, 10.0], ends))
    _, info = buffer.gather_all()
    assert info.discounted_return.tolist() == [[2.0, 1.0, 0.0], [-1000.0, 10.0, 0.0]]


def test_two_records_of_one_step_close_one_segment_and_open_the_next():
    """A level below a joint: F M L | F M L, where L and F belong to one step."""
    buffer = ReplayBuffer(EXPERIENCE_SPEC, 3, max_length=20, keep_episodic_info=True)
    for t, step_type in enumerate([FIRST, MID, LAST, FIRST, MID, LAST, FIRST]):
        buffer.add_batch(records([1], [t], [step_type]), torch.tensor([1]))
    pos, ids = torch.arange(7), torch.ones(7, dtype=torch.int64)
    assert buffer.get_episode_begin_position(pos, ids).tolist() == [0, 0, 0, 3, 3, 3, 6]
    assert buffer.steps_to_episode_end(pos, ids).tolist() == [2, 1, 0, 2, 1, 0, 0]


def test_state_survives_save_and_load_and_sampling_goes_on_identically():
    kwargs = {"prioritized_sampling": True, "record_episodic_return": True, "max_length": 5}
    buffer = filled(2, 8, **kwargs)
    buffer.add_batch(records([0, 1], [8, 8], [LAST, LAST]))
    buffer.get_batch(4, 2)
    buffer.update_priority(torch.tensor([0]), torch.tensor([5]), torch.tensor([9.0]))
    other = ReplayBuffer(EXPERIENCE_SPEC, 2, **kwargs)
    other.load_state_dict(buffer.state_dict())
    for b in (buffer, other):
        b.add_batch(records([0, 1], [9, 9], [FIRST, FIRST]))
    torch.manual_seed(3)
    batch, info = buffer.get_batch(16, 2)
    torch.manual_seed(3)
    other_batch, other_info = other.get_batch(16, 2)
    assert torch.equal(batch.observation["id"], other_batch.observation["id"])
    assert torch.equal(info.importance_weights, other_info.importance_weights)


def test_loading_ends_the_newest_episode_of_each_environment():
    buffer = filled(3, 2, max_length=4)
    buffer.clear(torch.tensor([2]))
    other = ReplayBuffer(EXPERIENCE_SPEC, 3, max_length=4)
    other.load_state_dict(buffer.state_dict())
    ids, pos = torch.tensor([[0], [1]]), torch.tensor([[0, 1]])
    assert other.get_field("step_type", ids, pos).tolist() == [[MID, LAST], [MID, LAST]]
    assert not (other._stored("step_type")[2] == LAST).any()


def test_data_without_step_types_are_stored_and_loaded():
    spec = (TensorSpec((2,)), TensorSpec((), torch.int64))
    buffer = ReplayBuffer(spec, 2, max_length=4)
    buffer.add_batch((torch.ones(2, 2), torch.tensor([5, 6])))
    other = ReplayBuffer(spec, 2, max_length=4)
    other.load_state_dict(buffer.state_dict())
    assert other.gather_all()[0][1].tolist() == [[5], [6]]
    with pytest.raises(ValueError, match="keep_episodic_info needs"):
        ReplayBuffer(spec, 2, keep_episodic_info=True)


def test_buffers_stay_out_of_checkpoints_unless_asked_for():
    assert not is_checkpoint_enabled(ReplayBuffer(EXPERIENCE_SPEC, 1))
    assert is_checkpoint_enabled(ReplayBuffer(EXPERIENCE_SPEC, 1, enable_checkpoint=True))


def test_a_copy_is_independent():
    buffer = filled(2, 3, max_length=4)
    other = copy.deepcopy(buffer)
    other.add_batch(records([0, 1], [77, 77]))
    assert buffer.gather_all()[0].observation["id"].tolist() == [[0, 1, 2], [1000, 1001, 1002]]
    assert other.gather_all()[0].observation["id"][0].tolist() == [0, 1, 2, 77]


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"allow_multiprocess": True}, "allow_multiprocess"),
        ({"recent_data_ratio": 1.5}, "recent_data_ratio"),
        ({"max_length": 0}, "max_length"),
        ({"record_episodic_return": True, "keep_episodic_info": False}, "keep_episodic_info"),
    ],
)
def test_settings_that_cannot_work_are_refused(kwargs, text):
    with pytest.raises(ValueError, match=text):
        ReplayBuffer(EXPERIENCE_SPEC, 2, **kwargs)


def test_what_was_not_asked_for_cannot_be_looked_up():
    buffer = filled(2, 3)
    one = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match="keep_episodic_info"):
        buffer.steps_to_episode_end(one, one)
    with pytest.raises(ValueError, match="prioritized_sampling"):
        buffer.update_priority(one, one, torch.ones(1))
    with pytest.raises(ValueError, match="not supported"):
        buffer.get_disc_0_begin_position(one, one)


def test_ring_buffer_is_a_queue_per_environment():
    ring = RingBuffer(TensorSpec((), torch.int64), 2, max_length=3)
    for i in range(4):
        ring.enqueue(torch.tensor([i, 10 + i]))
    ring.enqueue(torch.tensor([99]), torch.tensor([0]))
    assert not ring.has_space(torch.tensor([0]))
    assert ring.dequeue(n=2).tolist() == [[2, 3], [11, 12]]
    assert ring.has_space(torch.tensor([0, 1]))
    assert ring.has_data(torch.tensor([0, 1]), 1)
    with pytest.raises(ValueError, match="cannot take 2"):
        ring.dequeue(n=2)
    assert ring.circular(torch.tensor([2, 3, 7])).tolist() == [2, 0, 1]
    with pytest.raises(ValueError, match="blocking"):
        ring.enqueue(torch.tensor([0, 0]), blocking=True)


def test_data_buffer_keeps_the_newest_samples():
    data = DataBuffer(TensorSpec((), torch.int64), capacity=5)
    with pytest.raises(ValueError, match="empty"):
        data.get_batch(1)
    data.add_batch(torch.arange(3))
    assert not data.is_full()
    data.add_batch(torch.arange(3, 7))
    assert data.is_full()
    assert data.get_all().tolist() == [2, 3, 4, 5, 6]
    assert int(data.current_size) == 5
    assert int(data.current_pos) == 2
    assert data.get_batch_by_indices(torch.tensor([4, 0])).tolist() == [6, 2]
    assert set(data.get_batch(200).tolist()) == {2, 3, 4, 5, 6}
    data.add_batch(torch.arange(100, 112))
    assert data.get_all().tolist() == [107, 108, 109, 110, 111]
    data.clear()
    assert int(data.current_size) == 0


def test_a_buffer_on_the_cpu_works_whatever_the_default_device_is():
    """Anything made on the default device instead of the buffer's would be without data here."""
    kwargs = {"max_length": 8, "record_episodic_return": True, "recent_data_ratio": 0.5}
    batches = [records([0, 1], [t, t], [FIRST if t == 0 else LAST] * 2) for t in range(10)]
    batches[5].time_step.discount.zero_()
    some_ids, pos = torch.tensor([1]), torch.tensor([5])
    for prioritized in (False, True):
        with torch.device("meta"):
            buffer = ReplayBuffer(EXPERIENCE_SPEC, 2, prioritized_sampling=prioritized, **kwargs)
            for batch in batches:
                buffer.add_batch(batch)
            _, info = buffer.get_batch(7, 2)
            buffer.gather_all()
            assert info.env_ids.device.type == "cpu"
            assert buffer.steps_to_episode_end(pos, some_ids).device.type == "cpu"
            if prioritized:
                buffer.update_priority(info.env_ids, info.positions, info.importance_weights)
            buffer.dequeue()
            buffer.clear(some_ids)
