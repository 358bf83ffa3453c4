"""``alf.experience_replayers``: ReplayBuffer and segment trees."""

import torch
from harness import case, refuses

import alf
from alf.data_structures import Experience, StepType, TimeStep, namedtuple

Item = namedtuple("Item", ["env_id", "step_type", "t", "x", "reward", "discount"], default_value=())
SPEC = Item(
    env_id=alf.TensorSpec((), torch.int64),
    step_type=alf.TensorSpec((), torch.int32),
    t=alf.TensorSpec((), torch.int64),
    x=alf.TensorSpec((2,)),
    reward=alf.TensorSpec(()),
    discount=alf.TensorSpec(()),
)


def replay(envs=2, length=8, **options):
    from alf.experience_replayers.replay_buffer import ReplayBuffer

    return ReplayBuffer(SPEC, envs, max_length=length, **options)


def item(envs, t, steps=None, reward=1.0, discounts=None):
    """One record for each environment in ``envs``, at time ``t``."""
    envs = torch.as_tensor(envs)
    n = len(envs)
    steps = [StepType.MID] * n if steps is None else steps
    discounts = [1.0] * n if discounts is None else discounts
    return Item(
        env_id=envs,
        step_type=torch.tensor([int(s) for s in steps], dtype=torch.int32),
        t=torch.full((n,), t),
        x=torch.stack([envs.float(), torch.full((n,), float(t))], -1),
        reward=torch.full((n,), float(reward)),
        discount=torch.tensor(discounts),
    )


def add(buffer, count, start=0, envs=(0, 1)):
    for t in range(start, start + count):
        buffer.add_batch(item(envs, t), env_ids=torch.tensor(envs))
    return buffer


def seen(buffer, batch_length, draws=40, batch_size=16):
    """All (environment, first time) pairs drawn, and whether rows are consecutive."""
    pairs, ok = set(), True
    for _ in range(draws):
        b, info = buffer.get_batch(batch_size, batch_length)
        b = b.cpu() if hasattr(b, "cpu") else b
        ok = (
            ok
            and bool((b.t[:, 1:] - b.t[:, :-1] == 1).all())
            and bool((b.env_id == info.env_ids.unsqueeze(1)).all())
        )
        pairs |= set(zip(info.env_ids.tolist(), b.t[:, 0].tolist()))
    return [sorted(map(list, pairs)), ok]


@case("replay.total_size_and_position")
def _():
    b = add(replay(), 3)
    first = [int(b.total_size), b.get_current_position().clone(), b.num_environments]
    add(b, 10, 3)
    return first + [int(b.total_size), b.get_current_position()]


@case("replay.get_batch.starts_that_are_drawn")
def _():
    """Every start with a whole sequence after it, and no other."""
    return seen(add(replay(), 5), 2)


@case("replay.get_batch.starts_after_wrapping")
def _():
    return seen(add(replay(length=4), 11), 3)


@case("replay.get_batch.whole_buffer")
def _():
    return seen(add(replay(length=4), 6), 4)


@case("replay.get_batch.shapes_and_info")
def _():
    b, info = add(replay(), 5).get_batch(6, 3)
    return [
        b.x.shape,
        b.t.shape,
        b.x.dtype,
        info.env_ids.shape,
        info.env_ids.dtype,
        info.positions.dtype,
        info.importance_weights == (),
        info.discounted_return == (),
    ]


@case("replay.get_batch.positions_are_absolute")
def _():
    """Positions count all records ever added, so they equal the time here."""
    b, info = add(replay(length=4), 11).get_batch(20, 2)
    return bool((info.positions == b.t[:, 0]).all())


@case("replay.get_batch.too_few_data")
def _():
    return [refuses(add(replay(), 2).get_batch, 4, 3), refuses(replay().get_batch, 4, 1)]


@case("replay.get_batch.one_environment_without_data")
def _():
    b = replay()
    add(b, 5, envs=(0,))
    return refuses(b.get_batch, 4, 1)


@case("replay.get_batch.without_replacement_covers_everything")
def _():
    b, info = add(replay(), 8).get_batch(16, 1)
    return sorted(map(list, zip(info.env_ids.tolist(), b.t[:, 0].tolist())))


@case("replay.get_batch.environments_share_the_batch_evenly")
def _():
    _, info = add(replay(envs=3, length=8), 8, envs=(0, 1, 2)).get_batch(7, 1)
    return sorted(torch.bincount(info.env_ids, minlength=3).tolist())


@case("replay.get_batch.with_replacement_repeats")
def _():
    b, info = add(replay(with_replacement=True, length=64), 64).get_batch(128, 1)
    return len(set(zip(info.env_ids.tolist(), b.t[:, 0].tolist()))) < 128


@case("replay.get_batch.replay_buffer_in_info")
def _():
    r = add(replay(), 3)
    return r.get_batch(2, 1)[1].replay_buffer is r


@case("replay.add_batch.subset_of_environments")
def _():
    b = replay(envs=3)
    b.add_batch(item([0, 2], 0), env_ids=torch.tensor([0, 2]))
    b.add_batch(item([2], 1), env_ids=torch.tensor([2]))
    return [
        int(b.total_size),
        b.get_current_position(),
        b.get_field("t", torch.tensor([2, 2, 0]), torch.tensor([0, 1, 0])),
    ]


@case("replay.add_batch.unsorted_env_ids")
def _():
    b = replay(envs=3)
    b.add_batch(item([2, 0, 1], 0), env_ids=torch.tensor([2, 0, 1]))
    return b.get_field("env_id", torch.tensor([0, 1, 2]), torch.zeros(3, dtype=torch.int64))


@case("replay.add_batch.batch_of_other_size_without_ids")
def _():
    return [
        refuses(replay(envs=3).add_batch, item([0, 1], 0)),
        refuses(replay(envs=2).add_batch, item([0, 1], 0)),
    ]


@case("replay.num_earliest_frames_ignored.starts")
def _():
    return seen(add(replay(length=6, num_earliest_frames_ignored=2), 9), 2)


@case("replay.num_earliest_frames_ignored.too_few")
def _():
    return [
        refuses(add(replay(num_earliest_frames_ignored=3), 4).get_batch, 2, 2),
        refuses(add(replay(num_earliest_frames_ignored=3), 5).get_batch, 2, 2),
    ]


@case("replay.recent_data.ratio_one_draws_recent_starts_only")
def _():
    return seen(add(replay(length=16, recent_data_steps=3, recent_data_ratio=1.0), 16), 2)


@case("replay.recent_data.share")
def _():
    b = add(replay(length=64, recent_data_steps=2, recent_data_ratio=0.5), 64)
    got, _ = b.get_batch(64, 1)
    return int((got.t[:, 0] >= 62).sum()) >= 32


# ---- gather_all ------------------------------------------------------------------


@case("replay.gather_all.oldest_first")
def _():
    r, info = add(replay(length=4), 6).gather_all()
    return [r.t, r.env_id, info.positions, info.env_ids]


@case("replay.gather_all.not_full")
def _():
    r, info = add(replay(length=8), 3).gather_all()
    return [r.t, r.x.shape, info.positions]


@case("replay.gather_all.exactly_full")
def _():
    r, info = add(replay(length=4), 4).gather_all()
    return [r.t, info.positions]


@case("replay.gather_all.ignore_earliest_frames")
def _():
    b = add(replay(length=6, num_earliest_frames_ignored=2), 8)
    r, info = b.gather_all(ignore_earliest_frames=True)
    return [r.t, info.positions, b.gather_all()[0].t.shape]


@case("replay.gather_all.unequal_sizes_refused")
def _():
    b = add(replay(), 3)
    add(b, 1, 3, envs=(0,))
    return refuses(b.gather_all)


@case("replay.clear")
def _():
    b = add(replay(), 3)
    b.clear()
    out = [int(b.total_size)]
    add(b, 2)
    return out + [int(b.total_size), b.gather_all()[0].t]


# ---- get_field ---------------------------------------------------------------------


@case("replay.get_field.one_and_several")
def _():
    b = add(replay(length=4), 6)
    e, p = torch.tensor([0, 1, 1]), torch.tensor([5, 2, 3])
    return [b.get_field("t", e, p), b.get_field({"a": "x", "b": "t"}, e, p)]


@case("replay.get_field.broadcasts")
def _():
    b = add(replay(length=4), 6)
    return b.get_field("t", torch.tensor([[0], [1]]), torch.tensor([[3, 4, 5]]))


@case("replay.get_field.positions_that_are_not_there")
def _():
    b = add(replay(length=4), 6)
    return [refuses(b.get_field, "t", torch.tensor([0]), torch.tensor([p])) for p in (1, 2, 5, 6)]


@case("replay.get_field.nested_experience")
def _():
    from alf.experience_replayers.replay_buffer import ReplayBuffer

    spec = Experience(
        time_step=TimeStep(
            step_type=alf.TensorSpec((), torch.int32), observation={"a": alf.TensorSpec((2,))}
        )
    )
    b = ReplayBuffer(spec, 1, max_length=4)
    for t in range(3):
        b.add_batch(
            Experience(
                time_step=TimeStep(
                    step_type=torch.tensor([t], dtype=torch.int32),
                    observation={"a": torch.full((1, 2), float(t))},
                )
            )
        )
    return [
        b.get_field("time_step.observation.a", torch.tensor([0]), torch.tensor([1])),
        b.get_field("time_step.step_type", torch.tensor([0, 0]), torch.tensor([0, 2])),
    ]


# ---- priorities ------------------------------------------------------------------------


def prioritized(**options):
    return replay(length=4, prioritized_sampling=True, with_replacement=True, **options)


def shares(buffer, batch_length, draws=4000):
    """(environment, position, twelfths of the draws) of every start drawn."""
    _, info = buffer.get_batch(draws, batch_length)
    pairs = torch.stack([info.env_ids, info.positions])
    unique, counts = torch.unique(pairs, dim=1, return_counts=True)
    return [
        [e, p, round(float(c) / draws * 12)]
        for (e, p), c in zip(unique.t().tolist(), counts.tolist())
    ]


@case("replay.priority.equal_at_first")
def _():
    return [shares(add(prioritized(), 2), 1), float(add(prioritized(), 2).initial_priority)]


@case("replay.priority.after_update")
def _():
    b = add(prioritized(), 2)
    b.update_priority(
        torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]), torch.tensor([1.0, 0.0, 2.0, 1.0])
    )
    return shares(b, 1)


@case("replay.priority.of_a_new_record_is_the_largest_so_far")
def _():
    b = add(prioritized(), 2)
    b.update_priority(
        torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]), torch.tensor([0.0, 0.0, 0.0, 3.0])
    )
    add(b, 1, 2, envs=(0,))
    return [shares(b, 1), float(b.initial_priority)]


@case("replay.priority.of_a_new_record_is_at_least_the_initial")
def _():
    b = add(prioritized(initial_priority=2.0), 2)
    b.update_priority(
        torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]), torch.tensor([0.0, 0.0, 0.0, 1.0])
    )
    add(b, 1, 2, envs=(0,))
    return float(b.initial_priority)


@case("replay.priority.last_starts_have_none_for_long_sequences")
def _():
    return shares(add(prioritized(), 4), 3)


@case("replay.priority.importance_weights_are_relative_to_the_average")
def _():
    """Priority over the mean of all non-zero priorities."""
    b = add(prioritized(), 2)
    b.update_priority(
        torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]), torch.tensor([1.0, 0.0, 2.0, 1.0])
    )
    _, info = b.get_batch(200, 1)
    rows = sorted(
        set(
            zip(
                info.env_ids.tolist(),
                info.positions.tolist(),
                [round(v, 4) for v in info.importance_weights.tolist()],
            )
        )
    )
    return [list(r) for r in rows]


@case("replay.priority.overwritten_positions_are_ignored")
def _():
    b = add(prioritized(), 6)
    b.update_priority(
        torch.tensor([0, 0, 1]), torch.tensor([0, 5, 4]), torch.tensor([100.0, 3.0, 3.0])
    )
    return shares(b, 1)


@case("replay.priority.no_data")
def _():
    return refuses(prioritized().get_batch, 2, 1)


@case("replay.priority.num_earliest_frames_ignored")
def _():
    return shares(add(prioritized(num_earliest_frames_ignored=1), 4), 1)


@case("replay.priority.one_environment_with_data_is_enough")
def _():
    b = prioritized()
    add(b, 3, envs=(0,))
    return shares(b, 1)


# ---- episodes ----------------------------------------------------------------------------

F, M, L = StepType.FIRST, StepType.MID, StepType.LAST
PATTERN = [(F, F), (M, M), (L, M), (F, M), (M, L), (M, F), (L, M), (F, M)]


def episodes(length=8, count=8, **options):
    b = replay(length=length, keep_episodic_info=True, **options)
    for t in range(count):
        s = PATTERN[t % len(PATTERN)]
        b.add_batch(item((0, 1), t, s, reward=t, discounts=[0.0 if k == L else 1.0 for k in s]))
    return b


@case("replay.episodes.steps_to_episode_end")
def _():
    b = episodes()
    p = torch.arange(7)
    return [
        b.steps_to_episode_end(p, torch.zeros(7, dtype=torch.int64)),
        b.steps_to_episode_end(p, torch.ones(7, dtype=torch.int64)),
    ]


@case("replay.episodes.unfinished_episode_ends_at_the_newest_record")
def _():
    b = episodes(count=6)
    return b.steps_to_episode_end(torch.tensor([3, 4, 5]), torch.tensor([0, 0, 0]))


@case("replay.episodes.get_episode_begin_position")
def _():
    b = episodes()
    p = torch.arange(8)
    return [
        b.get_episode_begin_position(p, torch.zeros(8, dtype=torch.int64)),
        b.get_episode_begin_position(p, torch.ones(8, dtype=torch.int64)),
    ]


@case("replay.episodes.first_step_overwritten")
def _():
    """An episode whose head is gone still knows its end."""
    b = episodes(length=4, count=7)
    p = torch.arange(3, 7)
    z, o = torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.int64)
    return [
        b.steps_to_episode_end(p, z),
        b.steps_to_episode_end(p, o),
        b.get_episode_begin_position(p, z),
        b.get_episode_begin_position(p, o),
    ]


def returns_of(info):
    """(environment, position, return) of all records that are no last steps."""
    order = sorted(
        zip(
            info.env_ids.tolist(),
            info.positions.tolist(),
            [round(v, 4) for v in info.discounted_return.reshape(-1).tolist()],
        )
    )
    return [list(o) for o in order if PATTERN[o[1]][o[0]] != L]


@case("replay.episodes.recorded_returns")
def _():
    b = episodes(record_episodic_return=True, gamma=0.5, default_return=-7.0)
    got, info = b.get_batch(16, 1)
    return returns_of(info)


@case("replay.episodes.recorded_returns.shape")
def _():
    """One return for each sequence: [B]."""
    return episodes(record_episodic_return=True).get_batch(4, 2)[1].discounted_return.shape


@case("replay.episodes.recorded_returns_with_clipping")
def _():
    b = episodes(record_episodic_return=True, gamma=0.5, default_return=-7.0, reward_clip=(-1, 2))
    got, info = b.get_batch(16, 1)
    return returns_of(info)


@case("replay.episodes.recorded_returns_need_episodes")
def _():
    return refuses(replay, record_episodic_return=True, keep_episodic_info=False)


@case("replay.checkpoint.disabled_by_default")
def _():
    from alf.utils.checkpoint_utils import is_checkpoint_enabled

    return [is_checkpoint_enabled(replay()), is_checkpoint_enabled(replay(enable_checkpoint=True))]


@case("replay.checkpoint.round_trip_ends_the_running_episode")
def _():
    """After loading, the newest record counts as a last step."""
    a, b = (
        episodes(count=6, enable_checkpoint=True),
        replay(keep_episodic_info=True, enable_checkpoint=True),
    )
    b.load_state_dict(a.state_dict())
    r, _ = b.gather_all()
    return [r.t, r.step_type, int(b.total_size)]


@case("replay.record_of_other_structure")
def _():
    return refuses(replay().add_batch, {"a": torch.zeros(2)})


# ---- hindsight -----------------------------------------------------------------------------


@case("replay.hindsight.l2_distance_reward")
def _():
    from alf.algorithms.data_transformer import l2_dist_close_reward_fn

    a = torch.tensor([[[0.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [3.0, 4.0]]])
    g = torch.tensor([[[0.0, 0.01], [0.0, 0.0]], [[1.0, 0.0], [3.0, 4.04]]])
    return [l2_dist_close_reward_fn(a, g), l2_dist_close_reward_fn(a, g, threshold=2.0)]


# ---- segment trees ---------------------------------------------------------------------------


def trees():
    from alf.experience_replayers.segment_tree import MaxSegmentTree, MinSegmentTree, SumSegmentTree

    return SumSegmentTree, MaxSegmentTree, MinSegmentTree


@case("segment_tree.Sum.summary_and_items")
def _():
    t = trees()[0](5)
    out = [float(t.summary())]
    t[torch.tensor([0, 3, 4])] = torch.tensor([1.0, 2.0, 5.0])
    out += [float(t.summary()), t[torch.tensor([4, 1, 3])]]
    t[torch.tensor([4])] = torch.tensor([0.5])
    return out + [float(t.summary())]


@case("segment_tree.Sum.find_sum_bound")
def _():
    """The smallest index whose running sum is above the threshold."""
    t = trees()[0](6)
    t[torch.arange(6)] = torch.tensor([1.0, 0.0, 2.0, 3.0, 0.0, 1.0])
    return t.find_sum_bound(torch.tensor([0.0, 0.5, 0.999, 1.0, 2.9, 3.0, 5.9, 6.0, 6.5]))


@case("segment_tree.Sum.find_sum_bound_above_the_total")
def _():
    t = trees()[0](4)
    t[torch.arange(4)] = torch.ones(4)
    return refuses(t.find_sum_bound, torch.tensor([5.0]))


@case("segment_tree.Sum.nnz")
def _():
    t = trees()[0](6)
    out = [int(t.nnz)]
    t[torch.arange(4)] = torch.tensor([1.0, 0.0, 2.0, 3.0])
    out.append(int(t.nnz))
    t[torch.tensor([0])] = torch.tensor([0.0])
    return out + [int(t.nnz)]


@case("segment_tree.Max")
def _():
    t = trees()[1](5)
    out = []
    t[torch.tensor([0, 3])] = torch.tensor([1.0, 4.0])
    out += [float(t.summary())]
    t[torch.tensor([3])] = torch.tensor([0.5])
    return out + [float(t.summary())]


@case("segment_tree.Min")
def _():
    t = trees()[2](5)
    out = []
    t[torch.arange(5)] = torch.tensor([3.0, 1.0, 4.0, 1.0, 5.0])
    out += [float(t.summary())]
    t[torch.tensor([1, 3])] = torch.tensor([9.0, 8.0])
    return out + [float(t.summary())]


@case("segment_tree.sizes")
def _():
    out = []
    for n in (1, 2, 3, 7, 8, 9, 100):
        t = trees()[0](n)
        t[torch.arange(n)] = torch.arange(n).float() + 1
        out.append(
            [float(t.summary()), t.find_sum_bound(torch.tensor([0.0, float(t.summary()) - 0.5]))]
        )
    return out


@case("segment_tree.index_out_of_range")
def _():
    def write(i):
        t = trees()[0](5)
        t[torch.tensor([i])] = torch.tensor([1.0])

    return [refuses(write, 5), refuses(write, 4)]


@case("segment_tree.dtype")
def _():
    t = trees()[0](3, dtype=torch.float64)
    t[torch.arange(3)] = torch.ones(3, dtype=torch.float64)
    return float(t.summary())
