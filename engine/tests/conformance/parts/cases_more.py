"""Names and values of summaries, gym wrappers, threads and processes of environments."""

import numpy as np
import torch
import torch.nn as nn
from harness import case, fill, pattern, refuses

import alf
from alf import layers
from alf.data_structures import LossInfo, TimeStep

T, B = alf.TensorSpec, alf.BoundedTensorSpec


def x(*shape):
    return pattern(shape, 1.0, phase=0.7)


# ---- summaries, seen through a writer that notes what it is given ---------------------


class Notes:
    """Stands for a SummaryWriter: keeps (kind, name, step) and scalar values."""

    def __init__(self):
        self.all = []

    def __getattr__(self, name):
        if not name.startswith("add_"):
            raise AttributeError(name)

        def note(tag, value=None, *args, **kwargs):
            step = kwargs.get("global_step", args[0] if args else None)
            if name == "add_scalar":
                self.all.append(
                    [
                        tag,
                        float(torch.as_tensor(value).float().mean()),
                        None if step is None else int(step),
                    ]
                )
            else:
                self.all.append([tag, name])

        return note

    def flush(self):
        pass

    def close(self):
        pass


def notes(function):
    """What ``function`` writes, sorted by name."""
    writer = Notes()
    alf.summary.enable_summary(True)
    alf.summary.set_global_counter(7)
    try:
        with alf.summary.push_summary_writer(writer):
            with alf.summary.record_if(lambda: True):
                function()
    finally:
        alf.summary.disable_summary()
        alf.summary.reset_global_counter()
    return sorted(writer.all, key=lambda row: row[0])


def su():
    from alf.utils import summary_utils

    return summary_utils


@case("summary.scalar.name_value_step")
def _():
    return notes(
        lambda: (alf.summary.scalar("a", torch.tensor(2.5)), alf.summary.scalar("b", 3, step=11))
    )


@case("summary.scope.prefixes_names")
def _():
    def write():
        with alf.summary.scope("s"):
            with alf.summary.scope("t"):
                alf.summary.scalar("a", 1.0)
            alf.summary.scalar("b", 1.0)

    return notes(write)


@case("summary.nothing_when_not_recording")
def _():
    def write():
        with alf.summary.record_if(lambda: False):
            alf.summary.scalar("a", 1.0)

    return notes(write)


@case("summary.enter_summary_scope.uses_the_name_of_the_object")
def _():
    class Thing:
        _name = "thing"

        @alf.summary.enter_summary_scope
        def go(self):
            alf.summary.scalar("a", 1.0)

    return notes(Thing().go)


@case("summary_utils.summarize_variables")
def _():
    m = fill(nn.Linear(2, 1))
    return notes(lambda: su().summarize_variables(m.named_parameters()))


@case("summary_utils.summarize_variables.without_histogram")
def _():
    m = fill(nn.Linear(2, 1))
    return notes(lambda: su().summarize_variables(m.named_parameters(), with_histogram=False))


@case("summary_utils.summarize_gradients")
def _():
    m = fill(nn.Linear(2, 1))
    m.weight.grad = x(1, 2)
    return notes(lambda: su().summarize_gradients(m.named_parameters()))


@case("summary_utils.add_nested_summaries")
def _():
    return notes(
        lambda: su().add_nested_summaries(
            "p", {"a": torch.tensor(1.0), "b": {"c": torch.tensor(2.0)}, "d": ()}
        )
    )


@case("summary_utils.summarize_loss")
def _():
    info = LossInfo(loss=torch.tensor(3.0), extra={"q": torch.tensor(1.0)}, gns=torch.tensor(0.5))
    return notes(lambda: su().summarize_loss(info))


@case("summary_utils.summarize_per_category_loss")
def _():
    info = LossInfo(loss=torch.tensor([1.0, 2.0, 4.0]), batch_label=torch.tensor([0, 1, 1]))
    return [
        notes(lambda: su().summarize_per_category_loss(info, summarize_count=True)),
        notes(lambda: su().summarize_per_category_loss(info, label_names=["zero", "one"])),
    ]


@case("summary_utils.summarize_action.discrete_and_continuous")
def _():
    spec = {"d": B((), torch.int64, 0, 2), "c": B((2,), minimum=-1, maximum=1)}
    return notes(lambda: su().summarize_action({"d": torch.tensor([0, 2]), "c": x(2, 2)}, spec))


@case("summary_utils.summarize_distribution")
def _():
    d = torch.distributions.Independent(torch.distributions.Normal(x(3, 2), x(3, 2).abs() + 0.5), 1)
    return notes(lambda: su().summarize_distribution("d", {"a": d, "t": x(3, 2)}))


@case("summary_utils.add_mean_hist_summary")
def _():
    return [
        notes(lambda: su().add_mean_hist_summary("v", x(4))),
        notes(lambda: su().add_mean_summary("v", x(4))),
    ]


@case("summary_utils.safe_mean_hist_summary.mask")
def _():
    v = torch.tensor([1.0, 2.0, 30.0])
    return [
        notes(lambda: su().safe_mean_hist_summary("v", v, mask=torch.tensor([True, True, False]))),
        notes(lambda: su().safe_mean_hist_summary("v", v, mask=torch.tensor([False] * 3))),
        notes(lambda: su().safe_mean_summary("v", v)),
    ]


@case("summary_utils.summarize_nest")
def _():
    return notes(lambda: su().summarize_nest("p", {"a": x(3), "b": [x(2)]}))


@case("summary_utils.summarize_tensor_gradients")
def _():
    def write():
        v = torch.ones(2, 3, requires_grad=True)
        y = su().summarize_tensor_gradients("g", v, clone=True)
        (y * 2).sum().backward()

    return notes(write)


@case("metrics.gen_summaries.names")
def _():
    t = TimeStep(
        step_type=torch.tensor([2, 1], dtype=torch.int32),
        reward=torch.ones(2),
        discount=torch.ones(2),
        env_id=torch.arange(2),
        observation=torch.zeros(2),
    )
    m = alf.metrics.AverageReturnMetric(example_time_step=t)
    e = alf.metrics.EnvironmentSteps()
    for _ in range(2):
        m(t)
        e(t)
    return notes(
        lambda: m.gen_summaries(train_step=5, step_metrics=[e], other_steps={"iterations": 9})
    )


@case("metrics.gen_summaries.vector_and_named")
def _():
    t = TimeStep(
        step_type=torch.tensor([2, 1], dtype=torch.int32),
        reward=torch.ones(2, 2),
        discount=torch.ones(2),
        env_id=torch.arange(2),
        observation=torch.zeros(2),
        env_info={"a": torch.ones(2), "b@max": torch.ones(2)},
    )
    m, i = (
        alf.metrics.AverageReturnMetric(example_time_step=t),
        alf.metrics.AverageEnvInfoMetric(example_time_step=t),
    )
    for _ in range(2):
        m(t)
        i(t)
    return [
        notes(lambda: m.gen_summaries(train_step=5)),
        notes(lambda: i.gen_summaries(train_step=5)),
    ]


# ---- gym wrappers ---------------------------------------------------------------------


def gym():
    import importlib

    from alf.environments import alf_gym_wrapper

    for name in ("gym", "gymnasium"):
        m = getattr(alf_gym_wrapper, name, None)
        if m is not None:
            return m
    return importlib.import_module("gymnasium")


def is_new():
    return gym().__name__ == "gymnasium"


def make_env(image=False, nested=False, length=5, low=-2.0, high=3.0):
    g = gym()

    class Env(g.Env):
        metadata = {"render_modes": [], "render.modes": []}

        def __init__(self):
            box = (
                g.spaces.Box(0, 255, (2, 3, 1), dtype=np.uint8)
                if image
                else g.spaces.Box(-10.0, 10.0, (2,), dtype=np.float32)
            )
            self.observation_space = (
                g.spaces.Dict({"a": box, "b": g.spaces.Box(-10.0, 10.0, (2,), dtype=np.float32)})
                if nested
                else box
            )
            self.action_space = g.spaces.Box(low, high, (1,), dtype=np.float32)
            self.n, self.actions = 0, []

        def look(self):
            o = (
                np.full((2, 3, 1), self.n, np.uint8)
                if image
                else np.array([self.n, -self.n], np.float32)
            )
            if image:
                o[0, 1, 0] = 100 + self.n
            return {"a": o, "b": np.zeros(2, np.float32)} if nested else o

        def reset(self, *, seed=None, options=None):
            self.n = 0
            return (self.look(), {}) if is_new() else self.look()

        def step(self, action):
            self.n += 1
            self.actions.append(np.asarray(action).copy())
            done = self.n >= length
            return (
                (self.look(), float(self.n), done, False, {})
                if is_new()
                else (self.look(), float(self.n), done, {})
            )

    return Env()


def first(env):
    r = env.reset()
    return r[0] if is_new() else r


def step(env, action=0.0):
    """(observation, reward, done, info) for either API."""
    r = env.step(np.array([action], np.float32))
    return (
        (r[0], float(r[1]), bool(r[2] or r[3]), r[4])
        if is_new()
        else (r[0], float(r[1]), bool(r[2]), r[3])
    )


def gw():
    from alf.environments import gym_wrappers

    return gym_wrappers


@case("gym_wrappers.FrameSkip.sums_rewards_and_counts_frames")
def _():
    e = gw().FrameSkip(make_env(), 2)
    first(e)
    return [list(step(e)) for _ in range(3)]


@case("gym_wrappers.FrameSkip.stops_at_the_end")
def _():
    e = gw().FrameSkip(make_env(length=3), 4)
    first(e)
    return list(step(e))


@case("gym_wrappers.FrameStack.channels_last")
def _():
    e = gw().FrameStack(make_env(image=True), stack_size=3)
    out = [first(e)]
    out += [step(e)[0] for _ in range(2)]
    s = e.observation_space
    return out + [list(s.shape), s.low.reshape(-1)[:1], s.high.reshape(-1)[:1]]


@case("gym_wrappers.FrameStack.channels_first_of_a_field")
def _():
    e = gw().FrameStack(
        make_env(nested=True), stack_size=2, channel_order="channels_first", fields=["a"]
    )
    out = [first(e)["a"], step(e)[0]["a"], step(e)[0]["b"]]
    return out + [list(e.observation_space["a"].shape), list(e.observation_space["b"].shape)]


@case("gym_wrappers.ImageChannelFirst")
def _():
    e = gw().ImageChannelFirst(make_env(image=True))
    return [first(e), list(e.observation_space.shape), str(e.observation_space.dtype)]


@case("gym_wrappers.FrameCrop")
def _():
    e = gw().FrameCrop(make_env(image=True), sx=1, sy=0, width=2, height=1)
    return [first(e), list(e.observation_space.shape)]


@case("gym_wrappers.ContinuousActionClip")
def _():
    inner = make_env()
    e = gw().ContinuousActionClip(inner, min_v=-1.0, max_v=0.5)
    first(e)
    for a in (-5.0, 0.2, 5.0):
        step(e, a)
    return [inner.actions, e.action_space.low, e.action_space.high]


@case("gym_wrappers.ContinuousActionMapping")
def _():
    inner = make_env()
    e = gw().ContinuousActionMapping(inner, 0.0, 10.0)
    first(e)
    for a in (0.0, 2.0, 10.0):
        step(e, a)
    return [
        [np.asarray(a, np.float32) for a in inner.actions],
        e.action_space.low,
        e.action_space.high,
    ]


@case("gym_wrappers.NormalizedAction")
def _():
    inner = make_env()
    e = gw().NormalizedAction(inner)
    first(e)
    for a in (-1.0, 0.0, 0.5):
        step(e, a)
    return [
        [np.asarray(a, np.float32) for a in inner.actions],
        e.action_space.low,
        e.action_space.high,
    ]


@case("gym_wrappers.NonEpisodicEnv")
def _():
    e = gw().NonEpisodicEnv(make_env(length=2))
    first(e)
    return [step(e)[2] for _ in range(3)]


# ---- environments in threads and processes ------------------------------------------------


def small_env(env_id=0):
    from alf.data_structures import StepType
    from alf.environments.alf_environment import AlfEnvironment

    class Small(AlfEnvironment):
        n = 0

        @property
        def batched(self):
            return False

        @property
        def is_tensor_based(self):
            return False

        def observation_spec(self):
            return T((2,))

        def action_spec(self):
            return B((1,), minimum=-1, maximum=1)

        def env_info_spec(self):
            return {"k": T(())}

        def close(self):
            pass

        def seed(self, seed):
            pass

        def _make(self, kind, action):
            return TimeStep(
                step_type=np.int32(kind),
                reward=np.float32(self.n),
                discount=np.float32(0.0 if kind == StepType.LAST else 1.0),
                observation=np.full(2, self.n, np.float32),
                prev_action=action,
                env_id=np.int32(env_id),
                env_info={"k": np.float32(self.n)},
            )

        def _reset(self):
            self.n, self.over = 0, False
            return self._make(StepType.FIRST, np.zeros(1, np.float32))

        def _step(self, action):
            if getattr(self, "over", True):
                return self._reset()
            self.n += 1
            self.over = self.n >= 2
            return self._make(StepType.LAST if self.over else StepType.MID, action)

    return Small()


def fields(t):
    return [t.step_type, t.reward, t.discount, t.observation, t.prev_action, t.env_id, t.env_info]


@case("thread_environment.sequence")
def _():
    from alf.environments.thread_environment import ThreadEnvironment

    e = ThreadEnvironment(small_env)
    out = [e.batched, e.batch_size, e.is_tensor_based, fields(e.reset())]
    for v in (0.5, -0.5, 0.1):
        out.append(fields(e.step(torch.tensor([[v]]))))
    e.close()
    return out


@case("thread_environment.specs")
def _():
    from alf.environments.thread_environment import ThreadEnvironment

    e = ThreadEnvironment(small_env)
    out = [e.observation_spec(), e.action_spec(), e.reward_spec(), e.env_info_spec()]
    e.close()
    return out


def parallel(name):
    import importlib

    module, cls = {
        "parallel": ("alf.environments.parallel_environment", "ParallelAlfEnvironment"),
        "fast": ("alf.environments.fast_parallel_environment", "FastParallelEnvironment"),
    }[name]
    make = getattr(importlib.import_module(module), cls)
    e = make([small_env] * 2, start_serially=False)
    try:
        out = [
            e.batched,
            e.batch_size,
            e.is_tensor_based,
            e.observation_spec(),
            e.action_spec(),
            fields(e.reset()),
        ]
        for _ in range(3):
            out.append(fields(e.step(torch.tensor([[0.25], [0.75]]))))
    finally:
        e.close()
    return out


@case("parallel_environment.ParallelAlfEnvironment")
def _():
    return parallel("parallel")


@case("parallel_environment.FastParallelEnvironment")
def _():
    return parallel("fast")


@case("parallel_environment.different_specs_are_refused")
def _():
    from alf.environments.parallel_environment import ParallelAlfEnvironment

    def other(env_id=0):
        e = small_env()
        e.action_spec = lambda: B((3,))
        return e

    return refuses(ParallelAlfEnvironment, [small_env, other], start_serially=False)


# ---- rest ---------------------------------------------------------------------------------


@case("layers.names_of_parallel_versions")
def _():
    return [
        type(layers.make_parallel_net(layers.Conv2D(1, 1, 1), 2)).__name__,
        type(layers.make_parallel_net(layers.ConvTranspose2D(1, 1, 1), 2)).__name__,
        type(layers.make_parallel_net(layers.Identity(), 2)).__name__,
    ]


@case("sl_utils.regression_loss")
def _():
    from alf.utils import sl_utils

    return sl_utils.regression_loss(x(4, 2), x(4, 2) * 2).loss


@case("common.PeriodicReset.parameter_gets_its_initial_value")
def _():
    from alf.utils import common

    p = nn.Parameter(torch.tensor([1.0, 2.0]))
    done = []
    r = common.PeriodicReset([p], period=2, post_processings=[lambda: done.append(1)])
    out = []
    for _ in range(5):
        with torch.no_grad():
            p.add_(1.0)
        r()
        out.append(p.detach().clone())
    return [out, len(done)]


@case("common.PeriodicReset.network_with_its_own_reset_parameters")
def _():
    from alf.utils import common

    n = alf.networks.NoisyFC(2, 1, kernel_initializer=lambda w: w.fill_(3.0))
    with torch.no_grad():
        n.weight.fill_(1.0)
    common.PeriodicReset(n, period=1, post_processings=[])()
    return n.weight


@case("common.PeriodicReset.negative_period_never_resets")
def _():
    from alf.utils import common

    p = nn.Parameter(torch.tensor([1.0, 2.0]))
    r = common.PeriodicReset(p, period=-1, post_processings=[])
    with torch.no_grad():
        p.add_(1.0)
    r()
    return p


@case("layers.opt_args_of_other_layers")
def _():
    a = layers.ParallelFC(2, 2, 2, weight_opt_args={"lr": 1}, bias_opt_args={"lr": 2})
    c = layers.Conv2D(1, 1, 1, weight_opt_args={"lr": 3})
    return [a.weight.opt_args, a.bias.opt_args, c.weight.opt_args]
