"""Averagers, normalizers, schedulers, buffers, samplers, ``common``, checkpoints, summaries."""

import os
import tempfile

import torch
import torch.nn as nn
from harness import case, fill, pattern, refuses

import alf
from alf import layers

T, B = alf.TensorSpec, alf.BoundedTensorSpec


def x(*shape):
    return pattern(shape, 1.0, phase=0.7)


# ---- averagers -----------------------------------------------------------------


@case("averager.average_outer_dims")
def _():
    from alf.utils.averager import average_outer_dims

    return [average_outer_dims(x(2, 3, 2), T((2,))), average_outer_dims(x(4), T(()))]


@case("averager.Window.scalar")
def _():
    from alf.utils.averager import ScalarWindowAverager

    a = ScalarWindowAverager(3)
    out = [a.get()]
    for i in range(5):
        a.update(torch.tensor(float(i)))
        out.append(a.get())
    return out + [a.average(torch.tensor([10.0, 20.0]))]


@case("averager.Window.nested")
def _():
    from alf.utils.averager import WindowAverager

    a = WindowAverager({"a": T((2,)), "b": T(())}, 2)
    a.update({"a": x(3, 2), "b": x(3)})
    return a.average({"a": x(5, 2) + 1, "b": x(5) + 1})


@case("averager.EM.is_corrected_for_the_start")
def _():
    from alf.utils.averager import ScalarEMAverager

    a = ScalarEMAverager(0.1)
    return [a.get()] + [a.average(torch.tensor(v)) for v in (5.0, 5.0, 8.0, 2.0)]


@case("averager.EM.nested_with_outer_dims")
def _():
    from alf.utils.averager import EMAverager

    a = EMAverager({"a": T((2,))}, 0.3)
    a.update({"a": x(3, 2)})
    return a.average({"a": x(4, 5, 2)})


@case("averager.Adaptive.scalar")
def _():
    from alf.utils.averager import ScalarAdaptiveAverager

    a = ScalarAdaptiveAverager(speed=4)
    return [a.average(torch.tensor(v)) for v in (1.0, 2.0, 4.0, 8.0, 16.0)]


@case("averager.Adaptive.vector_default_speed")
def _():
    from alf.utils.averager import AdaptiveAverager

    a = AdaptiveAverager(T((2,)))
    return [a.average(x(3, 2) + i) for i in range(4)]


@case("averager.state_dict_round_trip")
def _():
    from alf.utils.averager import EMAverager

    a, b = EMAverager(T((2,)), 0.3), EMAverager(T((2,)), 0.3)
    a.update(x(3, 2))
    b.load_state_dict(a.state_dict())
    return [a.get(), b.get()]


# ---- normalizers -----------------------------------------------------------------


def batches():
    return [x(6, 2) * (i + 1) + i for i in range(4)]


@case("normalizers.EM.normalize_updates")
def _():
    """normalize() first takes the batch into the statistics."""
    from alf.utils.normalizers import EMNormalizer

    n = EMNormalizer(T((2,)), update_rate=0.2)
    return [n.normalize(b) for b in batches()]


@case("normalizers.EM.auto_update_false")
def _():
    from alf.utils.normalizers import EMNormalizer

    n = EMNormalizer(T((2,)), update_rate=0.2, auto_update=False)
    n.update(batches()[1])
    return [n.normalize(batches()[0]), n.normalize(batches()[0])]


@case("normalizers.Window.normalize")
def _():
    from alf.utils.normalizers import WindowNormalizer

    n = WindowNormalizer(T((2,)), window_size=2)
    return [n.normalize(b) for b in batches()]


@case("normalizers.ScalarWindow")
def _():
    from alf.utils.normalizers import ScalarWindowNormalizer

    n = ScalarWindowNormalizer(window_size=3)
    return [n.normalize(torch.tensor([1.0, 2.0, 3.0])), n.normalize(torch.tensor([10.0, 20.0]))]


@case("normalizers.Adaptive.normalize")
def _():
    from alf.utils.normalizers import AdaptiveNormalizer

    n = AdaptiveNormalizer(T((2,)))
    return [n.normalize(b) for b in batches()]


@case("normalizers.ScalarAdaptive.converges_to_zero_mean_unit_std")
def _():
    from alf.utils.normalizers import ScalarAdaptiveNormalizer

    n = ScalarAdaptiveNormalizer()
    v = x(50, 10) * 5 + 20
    for i in range(50):
        y = n.normalize(v[i])
    return [y.mean(), y.std()]


@case("normalizers.zero_mean_false")
def _():
    from alf.utils.normalizers import EMNormalizer

    n = EMNormalizer(T((2,)), update_rate=0.2, zero_mean=False)
    return [n.normalize(b) for b in batches()]


@case("normalizers.unit_std")
def _():
    from alf.utils.normalizers import EMNormalizer

    n = EMNormalizer(T((2,)), update_rate=0.2, unit_std=True)
    return [n.normalize(b) for b in batches()]


@case("normalizers.neither_refused")
def _():
    from alf.utils.normalizers import EMNormalizer

    return refuses(EMNormalizer, T((2,)), zero_mean=False, unit_std=True)


@case("normalizers.clip_value")
def _():
    from alf.utils.normalizers import EMNormalizer

    n = EMNormalizer(T((2,)), update_rate=0.2)
    return n.normalize(batches()[2], clip_value=0.5)


@case("normalizers.nested")
def _():
    from alf.utils.normalizers import AdaptiveNormalizer

    n = AdaptiveNormalizer({"a": T((2,)), "b": T(())})
    return n.normalize({"a": x(4, 3, 2), "b": x(4, 3)})


@case("normalizers.forward_updates_in_training_only")
def _():
    from alf.utils.normalizers import EMNormalizer

    n = EMNormalizer(T((2,)), update_rate=0.2)
    n(batches()[0])
    n.eval()
    first = n(batches()[1])
    return [first, n(batches()[1])]


@case("normalizers.constant_input")
def _():
    from alf.utils.normalizers import EMNormalizer

    n = EMNormalizer(T((1,)), update_rate=0.2)
    return bool(torch.isfinite(n.normalize(torch.full((3, 1), 7.0))).all())


# ---- schedulers --------------------------------------------------------------------


def at(schedule, kind, points):
    from alf.utils import schedulers

    out = []
    for p in points:
        schedulers.update_progress(kind, p)
        out.append(float(schedule()))
    schedulers.update_progress(kind, 0)
    return out


@case("schedulers.Step")
def _():
    from alf.utils.schedulers import StepScheduler

    s = StepScheduler("iterations", [(10, 1.0), (20, 0.5), (30, 0.1)])
    return [at(s, "iterations", (0, 9, 10, 19.5, 20, 29, 30, 1000)), s.final_value()]


@case("schedulers.Step.warm_up")
def _():
    from alf.utils.schedulers import StepScheduler

    s = StepScheduler("percent", [(0.5, 2.0), (1.0, 1.0)], warm_up_period=0.2, start=0.1)
    return at(s, "percent", (0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.9, 1.0))


@case("schedulers.Step.warm_up_longer_than_the_first_region")
def _():
    from alf.utils.schedulers import StepScheduler

    return refuses(
        StepScheduler, "percent", [(0.5, 2.0), (1.0, 1.0)], warm_up_period=0.5, start=0.1
    )


@case("schedulers.Linear")
def _():
    from alf.utils.schedulers import LinearScheduler

    s = LinearScheduler("percent", [(0, 1.0), (0.5, 0.0), (1.0, 0.2)])
    return [at(s, "percent", (0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5)), s.final_value()]


@case("schedulers.Linear.refusals")
def _():
    from alf.utils.schedulers import LinearScheduler

    return [
        refuses(LinearScheduler, "percent", [(0.1, 1.0), (0.5, 0.0)]),
        refuses(LinearScheduler, "percent", [(0, 1.0)]),
        refuses(LinearScheduler, "moons", [(0, 1.0), (1, 2.0)]),
    ]


@case("schedulers.Exponential")
def _():
    from alf.utils.schedulers import ExponentialScheduler

    s = ExponentialScheduler("env_steps", 2.0, 0.5, 100)
    return [at(s, "env_steps", (0, 50, 100, 300)), s.final_value()]


@case("schedulers.Cyclical.step")
def _():
    from alf.utils.schedulers import CyclicalScheduler

    s = CyclicalScheduler("iterations", 0.1, 0.5, 2)
    return [at(s, "iterations", range(9)), refuses(s.final_value)]


@case("schedulers.Cyclical.linear")
def _():
    from alf.utils.schedulers import CyclicalScheduler

    s = CyclicalScheduler("percent", 1.0, 0.0, 0.2, switch_mode="linear")
    return at(s, "percent", [i / 20 for i in range(13)])


@case("schedulers.Cyclical.unknown_mode")
def _():
    from alf.utils.schedulers import CyclicalScheduler

    return refuses(CyclicalScheduler, "percent", 1.0, 0.0, 0.2, switch_mode="cosine")


@case("schedulers.as_scheduler")
def _():
    from alf.utils.schedulers import LinearScheduler, as_scheduler

    s = LinearScheduler("percent", [(0, 1.0), (1, 0.0)])
    c = as_scheduler(0.3)
    return [as_scheduler(s) is s, c(), c.final_value()]


@case("schedulers.progress_types")
def _():
    from alf.utils import schedulers

    return sorted(schedulers.get_all_progresses())


@case("schedulers.update_all_progresses")
def _():
    from alf.utils import schedulers

    schedulers.update_all_progresses({"percent": 0.25, "iterations": 7.0})
    out = [schedulers.get_progress("percent"), schedulers.get_progress("iterations")]
    schedulers.update_all_progresses({"percent": 0.0, "iterations": 0.0})
    return out


# ---- data buffers -------------------------------------------------------------------


def data_buffer(capacity=4):
    from alf.utils.data_buffer import DataBuffer

    return DataBuffer({"a": T((2,)), "b": T((), torch.int64)}, capacity)


def rows(start, n):
    i = torch.arange(start, start + n)
    return {"a": torch.stack([i, -i], -1).float(), "b": i}


@case("data_buffer.DataBuffer.fill_and_overflow")
def _():
    d = data_buffer()
    d.add_batch(rows(0, 3))
    first = [int(d.current_size), bool(d.is_full()), d.get_all()["b"][:3].clone()]
    d.add_batch(rows(3, 3))
    return first + [int(d.current_size), bool(d.is_full()), sorted(d.get_all()["b"].tolist())]


@case("data_buffer.DataBuffer.batch_larger_than_capacity_keeps_the_last")
def _():
    d = data_buffer()
    d.add_batch(rows(0, 7))
    return [int(d.current_size), sorted(d.get_all()["b"].tolist())]


@case("data_buffer.DataBuffer.get_batch_by_indices")
def _():
    """Index 0 is the oldest record."""
    d = data_buffer()
    d.add_batch(rows(0, 3))
    d.add_batch(rows(3, 3))
    return d.get_batch_by_indices(torch.tensor([0, 1, 3, 0]))


@case("data_buffer.DataBuffer.get_batch_draws_what_is_there")
def _():
    d = data_buffer(10)
    d.add_batch(rows(5, 3))
    b = d.get_batch(50)
    return [b["a"].shape, sorted(set(b["b"].tolist()))]


def ring(envs=2, length=3):
    from alf.utils.data_buffer import RingBuffer

    return RingBuffer({"a": T((), torch.int64)}, envs, length)


def item(*v):
    return {"a": torch.tensor(v)}


@case("data_buffer.RingBuffer.enqueue_dequeue")
def _():
    r = ring()
    for i in range(4):
        r.enqueue(item(i, 10 + i))
    return [r.dequeue(n=2), r.dequeue(), r.num_environments, r.get_current_position()]


@case("data_buffer.RingBuffer.env_ids")
def _():
    r = ring(3)
    r.enqueue(item(1, 2), env_ids=torch.tensor([0, 2]))
    r.enqueue(item(3), env_ids=torch.tensor([2]))
    return [
        bool(r.has_data(torch.tensor([0, 2]))),
        bool(r.has_data(torch.tensor([1]))),
        bool(r.has_data(torch.tensor([2]), n=2)),
        r.dequeue(env_ids=torch.tensor([2]), n=2),
        r.get_current_position(),
    ]


@case("data_buffer.RingBuffer.has_space_and_remove")
def _():
    r = ring()
    for i in range(3):
        r.enqueue(item(i, i))
    e = torch.tensor([0, 1])
    out = [bool(r.has_space(e))]
    r.remove_up_to(2)
    out += [
        bool(r.has_space(e)),
        bool(r.has_data(e, 1)),
        bool(r.has_data(e, 2)),
        r.get_earliest_position(e),
    ]
    r.clear(torch.tensor([0]))
    return out + [bool(r.has_data(torch.tensor([0]))), bool(r.has_data(torch.tensor([1])))]


@case("data_buffer.RingBuffer.dequeue_from_empty")
def _():
    return refuses(ring().dequeue)


@case("data_buffer.RingBuffer.wrong_env_ids")
def _():
    return [
        refuses(ring().enqueue, item(1), env_ids=torch.tensor([5])),
        refuses(ring().enqueue, item(1, 2, 3)),
    ]


# ---- samplers -----------------------------------------------------------------------


@case("action_samplers.EpsilonGreedy.zero")
def _():
    from alf.utils.action_samplers import EpsilonGreedySampler

    return EpsilonGreedySampler(0.0)(torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]))


@case("action_samplers.EpsilonGreedy.share")
def _():
    from alf.utils.action_samplers import EpsilonGreedySampler

    a = EpsilonGreedySampler(0.5)(torch.tensor([[0.7, 0.3]]).repeat(5000, 1))
    return [a.dtype, a.shape, abs(float((a == 1).float().mean()) - 0.15) < 0.03]


@case("action_samplers.EpsilonGreedy.input_is_probabilities")
def _():
    """With epsilon 1 actions follow the probabilities given."""
    from alf.utils.action_samplers import EpsilonGreedySampler

    a = EpsilonGreedySampler(1.0)(torch.tensor([[0.9, 0.1]]).repeat(5000, 1))
    return abs(float((a == 1).float().mean()) - 0.1) < 0.03


@case("action_samplers.Multinomial.shares")
def _():
    from alf.utils.action_samplers import MultinomialSampler

    a = MultinomialSampler()(torch.tensor([[0.9, 0.1]]).repeat(5000, 1))
    return abs(float((a == 1).float().mean()) - 0.1) < 0.03


@case("action_samplers.Multinomial")
def _():
    from alf.utils.action_samplers import MultinomialSampler

    return MultinomialSampler()(torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))


@case("action_samplers.CategoricalSeed.state")
def _():
    from alf.utils.action_samplers import CategoricalSeedSampler

    s = CategoricalSeedSampler(3, new_noise_prob=0.0)
    p = torch.tensor([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]])
    e = torch.tensor([[0.3, 0.3, 0.9], [0.5, 0.5, 0.5]])
    a, new = s(p, e)
    a0, e0 = s(p, torch.zeros(2, 3))
    return [s.state_spec, new, a[1], bool((e0 > 0).all()), a0.shape]


# ---- common --------------------------------------------------------------------------


@case("common.as_list_tuplify")
def _():
    from alf.utils import common

    return [
        common.as_list(3),
        common.as_list([3]),
        common.as_list((1, 2)),
        common.tuplify2d(3),
        common.tuplify2d((1, 2)),
    ]


@case("common.expand_dims_as")
def _():
    from alf.utils import common

    return [
        common.expand_dims_as(x(2), x(2, 3, 4)).shape,
        common.expand_dims_as(x(2), x(3, 4, 2), end=False).shape,
    ]


@case("common.reset_state_if_necessary")
def _():
    from alf.utils import common

    return common.reset_state_if_necessary(
        {"a": torch.ones(3, 2)}, {"a": torch.zeros(3, 2)}, torch.tensor([True, False, True])
    )


@case("common.TargetUpdater.tau_and_period")
def _():
    from alf.utils import common

    a, b = fill(layers.FC(2, 2)), layers.FC(2, 2)
    u = common.TargetUpdater(a, b, tau=0.25, period=2)
    start = bool((a.weight == b.weight).all())
    with torch.no_grad():
        a.weight.add_(1.0)
    out = [start]
    for _ in range(4):
        u()
        out.append(b.weight.clone())
    return out


@case("common.TargetUpdater.no_initial_copy_and_lists")
def _():
    from alf.utils import common

    a, b = [fill(layers.FC(2, 2)), fill(layers.FC(2, 1))], [layers.FC(2, 2), layers.FC(2, 1)]
    for m in b:
        for p in m.parameters():
            nn.init.zeros_(p)
    u = common.TargetUpdater(a, b, tau=0.5, init_copy=False)
    before = b[0].weight.clone()
    u()
    return [before, b[0].weight, b[1].weight]


@case("common.TargetUpdater.copies_buffers")
def _():
    from alf.utils import common

    a, b = fill(layers.FC(2, 2, use_bn=True)), layers.FC(2, 2, use_bn=True)
    common.TargetUpdater(a, b, tau=0.5)
    return [v for n, v in b.named_buffers() if "running" in n]


@case("common.TargetUpdater.delayed_update")
def _():
    from alf.utils import common

    a, b = fill(layers.FC(1, 1)), layers.FC(1, 1)
    u = common.TargetUpdater(a, b, tau=1.0, period=2, delayed_update=True)
    out = []
    for _ in range(5):
        with torch.no_grad():
            a.weight.add_(1.0)
        u()
        out.append(b.weight.clone())
    return out


@case("common.TargetUpdater.scheduled_tau")
def _():
    from alf.utils import common, schedulers

    a, b = fill(layers.FC(1, 1)), layers.FC(1, 1)
    u = common.TargetUpdater(a, b, tau=schedulers.LinearScheduler("percent", [(0, 0.0), (1, 1.0)]))
    with torch.no_grad():
        a.weight.add_(1.0)
    schedulers.update_progress("percent", 0.5)
    u()
    schedulers.update_progress("percent", 0.0)
    return b.weight


@case("common.Periodically")
def _():
    from alf.utils import common

    count = []
    p = common.Periodically(lambda: count.append(1), 3)
    for _ in range(7):
        p()
    return len(count)


@case("common.exe_modes")
def _():
    from alf.utils import common

    out = [common.exe_mode_name()]
    with common.eval_context():
        out += [common.is_eval(), common.is_rollout()]
    with common.replay_context():
        out += [common.is_replay(), common.exe_mode_name()]
    with common.rollout_context():
        out += [common.is_rollout(), common.exe_mode_name()]
    with common.pretrain_context():
        out += [common.is_pretrain(), common.exe_mode_name()]
    return out + [common.exe_mode_name()]


@case("common.mark_decorators")
def _():
    from alf.utils import common

    return [
        f(lambda: common.exe_mode_name())()
        for f in (common.mark_eval, common.mark_replay, common.mark_rollout, common.mark_pretrain)
    ]


@case("common.detach")
def _():
    from alf.utils import common

    d = common.detach(
        {
            "a": torch.ones(1, requires_grad=True),
            "d": torch.distributions.Normal(torch.zeros(1, requires_grad=True), torch.ones(1)),
        }
    )
    return [d["a"].requires_grad, d["d"].loc.requires_grad]


@case("common.flattened_size")
def _():
    from alf.utils import common

    return [int(common.flattened_size(T((2, 3)))), int(common.flattened_size(T(())))]


@case("common.image_scale_transformer")
def _():
    from alf.utils import common

    return [
        common.image_scale_transformer(torch.tensor([0, 127, 255], dtype=torch.uint8)),
        common.image_scale_transformer(
            {"a": torch.tensor([255], dtype=torch.uint8), "b": torch.ones(1)},
            fields=["a"],
            min=0.0,
            max=2.0,
        ),
    ]


@case("common.cast_transformer")
def _():
    from alf.utils import common

    return common.cast_transformer({"a": torch.tensor([1, 2], dtype=torch.uint8)})


@case("common.get_initial_policy_state")
def _():
    from alf.utils import common

    return common.get_initial_policy_state(2, {"a": T((3,)), "b": T((), torch.int64)})


@case("common.get_all_parameters")
def _():
    from alf.utils import common

    m = nn.Sequential(layers.FC(2, 3), layers.FC(3, 1))
    return len(common.get_all_parameters(m))


@case("common.add_method")
def _():
    from alf.utils import common

    class A:
        pass

    @common.add_method(A)
    def three(self):
        return 3

    return A().three()


@case("common.set_random_seed")
def _():
    from alf.utils import common

    seed = common.set_random_seed(5)
    a = torch.rand(2)
    common.set_random_seed(5)
    same = bool((torch.rand(2) == a).all())
    torch.use_deterministic_algorithms(False)
    return [seed, same]


@case("common.compute_summary_or_eval_interval")
def _():
    from alf.trainers.policy_trainer import TrainerConfig
    from alf.utils import common

    c = TrainerConfig(root_dir="r", num_iterations=2000)
    return [
        common.compute_summary_or_eval_interval(c),
        common.compute_summary_or_eval_interval(c, 10),
    ]


# ---- checkpoints -----------------------------------------------------------------------


def small():
    """An algorithm of two layers, one of them in a list."""
    from alf.algorithms.algorithm import Algorithm

    class Small(Algorithm):
        def __init__(self):
            super().__init__(name="Small", optimizer=alf.optimizers.Adam(lr=0.1))
            self._fc = layers.FC(2, 1)
            self._plain = [layers.FC(1, 1)]

    return Small()


@case("checkpoint.state_dict_keys_of_an_algorithm")
def _():
    """Parameters by attribute path; the optimizer under its own number."""
    keys = sorted(small().state_dict())
    return [k for k in keys if "optimizer" not in k]


@case("checkpoint.state_dict_has_the_optimizer")
def _():
    return any("optimizer" in k for k in small().state_dict())


@case("checkpoint.save_and_load")
def _():
    from alf.utils.checkpoint_utils import Checkpointer

    where = tempfile.mkdtemp()
    a, b = small(), small()
    fill(a)
    Checkpointer(where, alg=a).save(3)
    c = Checkpointer(where, alg=b)
    step = c.load()
    return [step, b._fc.weight, c.has_checkpoint(), c.has_checkpoint(3), c.has_checkpoint(4)]


@case("checkpoint.latest_and_given_step")
def _():
    from alf.utils.checkpoint_utils import Checkpointer

    where = tempfile.mkdtemp()
    m = nn.Linear(1, 1)
    c = Checkpointer(where, m=m)
    for step in (1, 2, 10):
        nn.init.constant_(m.weight, float(step))
        c.save(step)
    out = []
    for g in ("latest", 2, 1):
        out.append([c.load(g), m.weight.clone()])
    return out


@case("checkpoint.nothing_there")
def _():
    from alf.utils.checkpoint_utils import Checkpointer

    c = Checkpointer(tempfile.mkdtemp(), m=nn.Linear(1, 1))
    return [c.has_checkpoint(), c.load()]


@case("checkpoint.missing_step_loads_minus_one")
def _():
    """The documented result for a step that is not there is -1."""
    from alf.utils.checkpoint_utils import Checkpointer

    c = Checkpointer(tempfile.mkdtemp(), m=nn.Linear(1, 1))
    c.save(1)
    return c.load(7)


@case("checkpoint.strict_and_not")
def _():
    from alf.utils.checkpoint_utils import Checkpointer

    where = tempfile.mkdtemp()
    Checkpointer(where, m=nn.Linear(1, 1, bias=False)).save(1)
    m = nn.Linear(1, 1)
    return [
        refuses(Checkpointer(where, m=m).load),
        refuses(Checkpointer(where, m=m).load, strict=False),
    ]


@case("checkpoint.strict_refuses_a_missing_parameter")
def _():
    from alf.utils.checkpoint_utils import Checkpointer

    where = tempfile.mkdtemp()
    Checkpointer(where, m=nn.Linear(1, 1, bias=False)).save(1)
    return refuses(Checkpointer(where, m=nn.Linear(1, 1)).load)


@case("checkpoint.strict_refuses_a_superfluous_parameter")
def _():
    from alf.utils.checkpoint_utils import Checkpointer

    where = tempfile.mkdtemp()
    Checkpointer(where, m=nn.Linear(1, 1)).save(1)
    return refuses(Checkpointer(where, m=nn.Linear(1, 1, bias=False)).load)


@case("checkpoint.load_an_older_step")
def _():
    from alf.utils.checkpoint_utils import Checkpointer

    m = nn.Linear(1, 1)
    c = Checkpointer(tempfile.mkdtemp(), m=m)
    for step in (1, 2, 3, 4):
        nn.init.constant_(m.weight, float(step))
        c.save(step)
    return [c.load(2), m.weight]


@case("checkpoint.ignored_parameter_prefixes")
def _():
    from alf.utils.checkpoint_utils import Checkpointer

    where = tempfile.mkdtemp()
    a = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    for p in a.parameters():
        nn.init.constant_(p, 5.0)
    Checkpointer(where, m=a).save(1)
    b = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    for p in b.parameters():
        nn.init.constant_(p, 1.0)
    Checkpointer(where, m=b).load(ignored_parameter_prefixes=["m.1"], strict=False)
    return [b[0].weight, b[1].weight]


@case("checkpoint.extract_sub_state_dict")
def _():
    from alf.utils.checkpoint_utils import Checkpointer, extract_sub_state_dict_from_checkpoint

    where = tempfile.mkdtemp()
    Checkpointer(where, alg=fill(nn.Sequential(nn.Linear(1, 2), nn.Linear(2, 1)))).save(4)
    s = extract_sub_state_dict_from_checkpoint("alg.1", os.path.join(where, "ckpt-4"))
    return {k: v for k, v in s.items()}


@case("checkpoint.enable_checkpoint")
def _():
    from alf.utils.checkpoint_utils import enable_checkpoint, is_checkpoint_enabled

    m = nn.Linear(1, 1)
    out = [is_checkpoint_enabled(m)]
    enable_checkpoint(m, False)
    return out + [is_checkpoint_enabled(m)]


@case("checkpoint.module_without_checkpoint_is_left_out")
def _():
    from alf.utils.checkpoint_utils import enable_checkpoint

    a = small()
    enable_checkpoint(a._fc, False)
    return [k for k in sorted(a.state_dict()) if "optimizer" not in k]


# ---- summaries, devices --------------------------------------------------------------------


@case("summary.global_counter")
def _():
    alf.summary.set_global_counter(5)
    alf.summary.increment_global_counter()
    out = [int(alf.summary.get_global_counter())]
    alf.summary.reset_global_counter()
    return out + [int(alf.summary.get_global_counter())]


@case("summary.scope_names")
def _():
    from alf.summary import summary_ops

    out = [summary_ops.scope_name()]
    with alf.summary.scope("a"):
        out += [summary_ops.scope_name()]
        with alf.summary.scope("b"):
            out += [summary_ops.scope_name()]
    return out + [summary_ops.scope_name()]


@case("summary.enable_and_record")
def _():
    out = [alf.summary.is_summary_enabled(), bool(alf.summary.should_record_summaries())]
    alf.summary.enable_summary(True)
    out += [alf.summary.is_summary_enabled(), bool(alf.summary.should_record_summaries())]
    alf.summary.disable_summary()
    return out + [alf.summary.is_summary_enabled()]


@case("summary.record_if")
def _():
    where = tempfile.mkdtemp()
    w = alf.summary.create_summary_writer(where)
    out = []
    alf.summary.enable_summary(True)
    with alf.summary.push_summary_writer(w):
        for c in (True, False):
            with alf.summary.record_if(lambda c=c: c):
                out.append(bool(alf.summary.should_record_summaries()))
    alf.summary.disable_summary()
    return out


@case("device.default_and_context")
def _():
    out = [alf.get_default_device()]
    with alf.device("cpu"):
        out.append(alf.get_default_device())
    return out + [refuses(alf.set_default_device, "tpu")]


@case("module.attributes_of_submodules")
def _():
    """A parameter list set as a module attribute is found by path."""
    m = nn.Module()
    m.fc = layers.FC(2, 1)
    return sorted(n for n, _ in m.named_parameters()).__len__()


# ---- trainer configuration --------------------------------------------------------------------


@case("trainer.TrainerConfig.defaults")
def _():
    import inspect

    from alf.trainers.policy_trainer import TrainerConfig

    return {
        n: (
            p.default
            if p.default is None or isinstance(p.default, (int, float, str, bool))
            else str(type(p.default).__name__)
        )
        for n, p in inspect.signature(TrainerConfig).parameters.items()
        if p.default is not inspect.Parameter.empty
    }


@case("trainer.TrainerConfig.priorities_as_schedulers")
def _():
    from alf.trainers.policy_trainer import TrainerConfig

    c = TrainerConfig(root_dir="r", num_iterations=10, priority_replay_alpha=0.6)
    return [c.priority_replay_alpha(), c.priority_replay_beta(), c.num_iterations, c.root_dir]


@case("trainer.TrainerConfig.only_one_length")
def _():
    from alf.trainers.policy_trainer import TrainerConfig

    return refuses(TrainerConfig, root_dir="r", num_iterations=5, num_env_steps=5)


@case("trainer.TrainerConfig.ml_type")
def _():
    from alf.trainers.policy_trainer import TrainerConfig

    return refuses(TrainerConfig, root_dir="r", num_iterations=5, ml_type="unsupervised")
