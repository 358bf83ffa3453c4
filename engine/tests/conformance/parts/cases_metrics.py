"""``alf.metrics`` over short batched sequences of time steps."""

import math

import torch
from harness import case, refuses

import alf
from alf.data_structures import TimeStep

# Two environments; the first has episodes of 3 and 2 transitions, the second one of 5.
STEP_TYPES = [[0, 0], [1, 1], [1, 1], [2, 1], [0, 1], [1, 2], [2, 0]]
REWARDS = [[9.0, 9.0], [1.0, 0.5], [2.0, 1.0], [3.0, 1.0], [7.0, 1.0], [4.0, 1.0], [5.0, 8.0]]


def time_step(t, reward=None, env_info=()):
    steps = torch.tensor(STEP_TYPES[t], dtype=torch.int32)
    return TimeStep(
        step_type=steps,
        reward=torch.tensor(REWARDS[t]) if reward is None else reward,
        discount=(steps != 2).float(),
        observation=torch.zeros(2, 1),
        prev_action=torch.zeros(2, 1),
        env_id=torch.arange(2),
        env_info=env_info,
    )


def results(metric, make=time_step):
    """The result after each step."""
    out = []
    for t in range(len(STEP_TYPES)):
        metric(make(t))
        r = metric.result()
        out.append(alf.nest.map_structure(lambda v: v.clone(), r))
    return out


def m(name, **options):
    return getattr(alf.metrics, name)(example_time_step=time_step(0), **options)


@case("metrics.EnvironmentSteps")
def _():
    """First steps are not counted."""
    return results(alf.metrics.EnvironmentSteps())


@case("metrics.NumberOfEpisodes")
def _():
    return results(alf.metrics.NumberOfEpisodes())


@case("metrics.AverageReturn")
def _():
    return results(m("AverageReturnMetric"))


@case("metrics.AverageReturn.buffer_of_two")
def _():
    return results(m("AverageReturnMetric", buffer_size=2))


@case("metrics.AverageReturn.std_and_latest")
def _():
    a = m("AverageReturnMetric")
    results(a)
    return [a.std(), a.latest()]


@case("metrics.AverageReturn.reset")
def _():
    a = m("AverageReturnMetric")
    results(a)
    a.reset()
    return a.result()


@case("metrics.AverageReturn.reset_clears_the_sum")
def _():
    a = m("AverageReturnMetric")
    for t in range(3):
        a(time_step(t))
    a.reset()
    a(time_step(3))
    return a.result()


@case("metrics.AverageReturn.vector_reward")
def _():
    def make(t):
        r = torch.tensor(REWARDS[t])
        return time_step(t, reward=torch.stack([r, -r], -1))

    return results(alf.metrics.AverageReturnMetric(example_time_step=make(0)), make)


@case("metrics.AverageReturn.non_finite_rewards_are_skipped")
def _():
    def make(t):
        r = torch.tensor(REWARDS[t])
        r[0] = math.nan if t == 1 else (math.inf if t == 2 else r[0])
        return time_step(t, reward=r)

    return results(alf.metrics.AverageReturnMetric(example_time_step=make(0)), make)


@case("metrics.AverageEpisodeLength")
def _():
    return results(m("AverageEpisodeLengthMetric"))


@case("metrics.AverageDiscountedReturn")
def _():
    return results(m("AverageDiscountedReturnMetric", discount=0.9))


@case("metrics.AverageDiscountedReturn.default_discount")
def _():
    return results(m("AverageDiscountedReturnMetric"))[-1]


@case("metrics.AverageDiscountedReturn.reward_transformer")
def _():
    return results(
        m("AverageDiscountedReturnMetric", discount=0.9, reward_transformer=lambda r: r * 10)
    )[-1]


@case("metrics.AverageDiscountedReturn.vector_reward")
def _():
    def make(t):
        r = torch.tensor(REWARDS[t])
        return time_step(t, reward=torch.stack([r, -r], -1))

    return results(
        alf.metrics.AverageDiscountedReturnMetric(example_time_step=make(0), discount=0.9), make
    )[-1]


@case("metrics.EpisodicStartAverageDiscountedReturn")
def _():
    return results(m("EpisodicStartAverageDiscountedReturnMetric"))


@case("metrics.AverageReward")
def _():
    return results(m("AverageRewardMetric"))


def with_info(t):
    v = torch.tensor([float(t), 10.0 * t])
    w = v.clone()
    if t == 2:
        w[1] = math.nan
    return time_step(
        t,
        env_info={
            "sum": v,
            "mean@step": v,
            "top@max": -v,
            "odd@step": w,
            "never": torch.full((2,), math.nan),
        },
    )


@case("metrics.AverageEnvInfo.suffixes")
def _():
    """@step averages over the episode, @max takes its largest value."""
    return results(alf.metrics.AverageEnvInfoMetric(example_time_step=with_info(0)), with_info)


@case("metrics.AverageEnvInfo.fields")
def _():
    return results(
        alf.metrics.AverageEnvInfoMetric(example_time_step=with_info(0), fields=["sum"]), with_info
    )[-1]


@case("metrics.AverageEnvInfo.vector_value_is_refused")
def _():
    def make(t):
        return time_step(t, env_info={"a": torch.zeros(2, 3)})

    return refuses(lambda: alf.metrics.AverageEnvInfoMetric(example_time_step=make(0))(make(1)))


@case("metrics.call_returns_the_time_step")
def _():
    t = time_step(1)
    return m("AverageReturnMetric")(t) is t


@case("metrics.names")
def _():
    return (
        [
            m(n).name
            for n in (
                "AverageReturnMetric",
                "AverageDiscountedReturnMetric",
                "AverageEpisodeLengthMetric",
                "AverageRewardMetric",
                "EpisodicStartAverageDiscountedReturnMetric",
                "AverageEnvInfoMetric",
            )
        ]
        if hasattr(m("AverageReturnMetric"), "name")
        else []
    )


@case("metrics.MetricBuffer")
def _():
    from alf.metrics.metrics import MetricBuffer

    b = MetricBuffer(3, torch.float32)
    out = [b.mean(), b.std()]
    b.append(torch.tensor([1.0, 2.0]))
    b.append(torch.tensor([3.0, 10.0]))
    return out + [b.mean(), b.std(), b.latest()]


@case("metrics.MetricBuffer.latest_of_empty")
def _():
    from alf.metrics.metrics import MetricBuffer

    return refuses(MetricBuffer(3, torch.float32).latest)


@case("metrics.MetricBuffer.clear")
def _():
    from alf.metrics.metrics import MetricBuffer

    b = MetricBuffer(3, torch.float32)
    b.append(torch.tensor([1.0, 2.0]))
    b.clear()
    return b.mean()


@case("metrics.AverageEnvInfo.step_average_of_one_environment")
def _():
    """@step divides the sum of an episode by its number of steps."""
    return results(
        alf.metrics.AverageEnvInfoMetric(example_time_step=with_info(0), fields=["mean@step"]),
        with_info,
    )[3]


@case("metrics.AverageEnvInfo.maximum_over_the_episode")
def _():
    return results(
        alf.metrics.AverageEnvInfoMetric(example_time_step=with_info(0), fields=["top@max"]),
        with_info,
    )[3]


@case("metrics.AverageEnvInfo.never_finite_is_left_out")
def _():
    """A value that is never finite in an episode does not count: the average stays 0."""
    return results(
        alf.metrics.AverageEnvInfoMetric(example_time_step=with_info(0), fields=["never"]),
        with_info,
    )[-1]


@case("metrics.AverageEnvInfo.step_average_skips_what_is_not_finite")
def _():
    return results(
        alf.metrics.AverageEnvInfoMetric(example_time_step=with_info(0), fields=["odd@step"]),
        with_info,
    )[-1]
