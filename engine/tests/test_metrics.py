"""Metrics against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import alf
from alf import metrics
from alf.data_structures import StepType, TimeStep
from alf.metrics._together import Together
from alf.trainers._console import interesting_numbers

F, M, L = StepType.FIRST, StepType.MID, StepType.LAST


def time_step(step_types, rewards, **env_info):
    return TimeStep(
        step_type=torch.tensor(step_types, dtype=torch.int32),
        reward=torch.tensor(rewards, dtype=torch.float32),
        discount=torch.ones(len(step_types)),
        env_info={k: torch.tensor(v, dtype=torch.float32) for k, v in env_info.items()},
    )


# Two environments: episodes with rewards (1, 2, 4) and (8, 16), then an unfinished one. A FIRST
# step's reward (100) counts for nothing.
STEPS = [
    time_step([F, F], [100.0, 100.0], success=[9.0, 9.0]),
    time_step([M, M], [1.0, 8.0], success=[0.0, 0.0]),
    time_step([M, L], [2.0, 16.0], success=[0.0, 1.0]),
    time_step([L, F], [4.0, 100.0], success=[2.0, 9.0]),
    time_step([F, M], [100.0, 32.0], success=[9.0, 5.0]),
]


def fed(metric, steps=STEPS):
    for step in steps:
        metric(step)
    return metric


def test_counts_leave_out_resets():
    assert fed(metrics.EnvironmentSteps()).result() == 6
    assert fed(metrics.NumberOfEpisodes()).result() == 2
    assert metrics.EnvironmentSteps().result().dtype == torch.int64


def test_returns_lengths_and_infos_of_finished_episodes_are_averaged():
    assert fed(metrics.AverageReturnMetric(STEPS[0])).result() == pytest.approx((7 + 24) / 2)
    assert fed(metrics.AverageEpisodeLengthMetric(STEPS[0])).result() == pytest.approx(2.5)
    info = fed(metrics.AverageEnvInfoMetric(STEPS[0])).result()
    assert info == {"success": 1.0}  # both episodes are one, however often and much it was said


@pytest.mark.parametrize("field", ["success", "is_success"])
def test_an_episode_is_a_success_or_not(field):
    """True at ten steps of an episode, it was a rate of 10."""
    B, length = 4, 12
    metric = metrics.AverageEnvInfoMetric(
        time_step([F] * B, [0.0] * B, **{field: [0.0] * B, "count": [0.0] * B}), buffer_size=8
    )
    for _ in range(2):
        for t in range(length + 1):
            kind = F if t == 0 else L if t == length else M
            # the first environment from step 3 on, the second at one step, the third half, never
            said = [float(t >= 3), float(t == 5), 0.5 * (t == 5), 0.0]
            metric(time_step([kind] * B, [0.0] * B, **{field: said, "count": said}))
    result = metric.result()
    assert result[field] == pytest.approx((1 + 1 + 0.5 + 0) / 4)
    assert result["count"] == pytest.approx((10 + 1 + 0.5 + 0) / 4)
    numbers = interesting_numbers([metric])
    assert numbers["success"] == pytest.approx(0.625)


def test_the_success_shown_is_the_first_of_its_names():
    """`is_success` took the place of `success`."""
    example = time_step([F], [0.0], success=[0.0], is_success=[0.0])
    metric = metrics.AverageEnvInfoMetric(example)
    for kind, success, is_success in ((F, 0, 0), (M, 0, 1), (L, 0, 1)):
        metric(time_step([kind], [0.0], success=[success], is_success=[is_success]))
    assert interesting_numbers([metric]) == {"success": 0.0}


def test_a_suffix_of_its_own_counts_for_success_too():
    metric = metrics.AverageEnvInfoMetric(time_step([F], [0.0], **{"success@step": [0.0]}))
    for kind, success in ((F, 0.0), (M, 1.0), (L, 0.0)):
        metric(time_step([kind], [0.0], **{"success@step": [success]}))
    assert metric.result() == {"success@step": 0.5}


def test_suffixes_say_how_the_values_of_an_episode_are_combined():
    """Values that are not finite are left out: sums of 15, 10 and nan before."""
    values = [([F], 100.0, 100.0, 100.0), ([M], 4.0, 1.0, 1.0), ([M], 5.0, 7.0, np.nan)]
    values.append(([L], 6.0, 2.0, 1.0))
    steps = [
        time_step(kind, [0.0], **{"v@step": [v], "m@max": [m], "s": [s], "never": [np.inf]})
        for kind, v, m, s in values
    ]
    metric = fed(metrics.AverageEnvInfoMetric(steps[0]), steps * 2)
    assert metric.result() == {"v@step": 5.0, "m@max": 7.0, "s": 2.0, "never": 0.0}
    together = metrics.AverageEnvInfoMetric(steps[0])
    for step in steps:
        Together([together]).call(step)
    assert together.result() == metric.result()


@pytest.mark.parametrize("last", [0, 1, 2, 70])
def test_suffixes_of_long_episodes_and_many_environments(last):
    """The largest of negative values; averages over as many steps as each episode had."""
    steps = [time_step([F, M], [0.0, 0.0], **{"a@max": [9.0, -50.0], "a@step": [9.0, -50.0]})]
    for t in range(last + 1):
        v = [-1.0 - t, -100.0 + t]
        kind = [L, M] if t == last else [M, M]
        steps.append(time_step(kind, [0.0, 0.0], **{"a@max": v, "a@step": v}))
    steps.append(time_step([F, L], [0.0, 0.0], **{"a@max": [0.0, -300.0], "a@step": [0.0, -300.0]}))
    metric = metrics.AverageEnvInfoMetric(steps[0], buffer_size=1)
    fed(metric, steps[:-1])
    assert metric.result() == {"a@max": -1.0, "a@step": pytest.approx(-1 - last / 2)}
    fed(metric, steps[-1:])
    mean = (-350 + sum(-100 + t for t in range(last + 1))) / (last + 3)
    assert metric.result() == {
        "a@max": -50.0 if last <= 50 else -30.0,
        "a@step": pytest.approx(mean),
    }


@pytest.mark.parametrize(
    "cls",
    [
        metrics.AverageReturnMetric,
        metrics.AverageDiscountedReturnMetric,
        metrics.EpisodicStartAverageDiscountedReturnMetric,
        metrics.AverageRewardMetric,
    ],
)
def test_rewards_that_are_not_finite_are_left_out(cls):
    steps = [time_step([k], [r]) for k, r in ((F, 0.0), (M, np.inf), (M, np.nan), (L, 3.0))]
    clean = [time_step([k], [r]) for k, r in ((F, 0.0), (M, 0.0), (M, 0.0), (L, 3.0))]
    assert fed(cls(steps[0]), steps).result() == fed(cls(steps[0]), clean).result()
    lost = fed(cls(steps[0]), [time_step([F], [0.0]), time_step([L], [np.nan])])
    assert not lost.has_result()


def test_average_reward_is_per_step_of_each_episode():
    result = fed(metrics.AverageRewardMetric(STEPS[0])).result()
    assert result == pytest.approx((7 / 3 + 12) / 2)


def test_discounted_return_from_the_start_of_episodes():
    metric = metrics.EpisodicStartAverageDiscountedReturnMetric(STEPS[0])
    first = 1 + 0.99 * 2 + 0.99**2 * 4
    assert fed(metric).result() == pytest.approx((first + 8 + 0.99 * 16) / 2)


def test_discounted_return_is_the_mean_over_all_start_steps():
    metric = fed(metrics.AverageDiscountedReturnMetric(STEPS[0], discount=0.5))
    # (1 + 1 + 1), (2 + 2), 4 and (8 + 8), 16
    assert metric.result() == pytest.approx(((3 + 4 + 4) / 3 + (16 + 16) / 2) / 2)
    assert metric.latest() == pytest.approx((3 + 4 + 4) / 3)


def test_rewards_are_transformed_first():
    metric = metrics.AverageDiscountedReturnMetric(
        STEPS[0], discount=0.0, reward_transformer=lambda r: r.clamp(max=2.0)
    )
    assert fed(metric).result() == pytest.approx((5 / 3 + 2) / 2)


def test_a_nan_reward_at_a_first_step_counts_for_nothing():
    steps = [time_step([F], [np.nan]), time_step([L], [3.0])]
    for cls in (
        metrics.AverageReturnMetric,
        metrics.AverageDiscountedReturnMetric,
        metrics.EpisodicStartAverageDiscountedReturnMetric,
        metrics.AverageRewardMetric,
    ):
        assert fed(cls(steps[0]), steps).result() == 3.0


def test_vector_rewards_have_one_result_per_component():
    steps = [
        time_step([F], [[0.0, 0.0]]),
        time_step([M], [[1.0, 2.0]]),
        time_step([L], [[3.0, 5.0]]),
    ]
    metric = fed(metrics.AverageReturnMetric(steps[0]), steps)
    assert metric.result() == [4.0, 7.0]
    assert metric.std() == [0.0, 0.0]


def test_only_the_last_episodes_are_averaged():
    steps = []
    for i in range(5):
        steps += [time_step([F, F], [0.0, 0.0]), time_step([L, L], [float(i), 10.0 + i])]
    metric = fed(metrics.AverageReturnMetric(steps[0], buffer_size=3), steps)
    # the last three episodes to end: 13, 4 and 14
    assert metric.result() == pytest.approx(31 / 3)
    assert metric.std() == pytest.approx(np.std([13, 4, 14], ddof=1))
    assert metric.latest() == 14


def test_a_buffer_smaller_than_the_batch_keeps_the_last_ones():
    steps = [time_step([F] * 5, [0.0] * 5), time_step([L] * 5, [1.0, 2.0, 3.0, 4.0, 5.0])]
    metric = fed(metrics.AverageReturnMetric(steps[0], buffer_size=2), steps)
    assert metric.result() == 4.5


def test_reset_forgets_everything():
    for metric in (
        metrics.AverageReturnMetric(STEPS[0]),
        metrics.EnvironmentSteps(),
        metrics.NumberOfEpisodes(),
        metrics.AverageDiscountedReturnMetric(STEPS[0]),
    ):
        fed(metric).reset()
        assert metric.result() == 0
        assert metric.std() == 0


def test_results_survive_saving_and_loading():
    old = [
        fed(m)
        for m in (
            metrics.EnvironmentSteps(),
            metrics.NumberOfEpisodes(),
            metrics.AverageReturnMetric(STEPS[0]),
            metrics.AverageEnvInfoMetric(STEPS[0]),
        )
    ]
    new = [
        metrics.EnvironmentSteps(),
        metrics.NumberOfEpisodes(),
        metrics.AverageReturnMetric(STEPS[0]),
        metrics.AverageEnvInfoMetric(STEPS[0]),
    ]
    for a, b in zip(old, new, strict=True):
        b.load_state_dict(a.state_dict())
        assert a.result() == b.result()
        # and the loaded one goes on like the saved one
        assert fed(a, STEPS).result() == fed(b, STEPS).result()


def test_a_time_step_changed_in_place_is_not_mistaken_for_the_old_one():
    step = time_step([M], [1.0])
    metric = metrics.NumberOfEpisodes()
    metric(step)
    step.step_type.fill_(L)
    metric(step)
    assert metric.result() == 1
    with torch.inference_mode():
        metric(time_step([L], [1.0]))
    assert metric.result() == 2


def test_env_info_fields_can_be_chosen_and_must_exist():
    step = time_step([F], [0.0], a=[1.0], b=[2.0])
    metric = metrics.AverageEnvInfoMetric(step, fields=["b"])
    assert set(metric.result()) == {"b"}
    with pytest.raises(ValueError, match=r"\['c'\].*\['a', 'b'\]"):
        metrics.AverageEnvInfoMetric(step, fields=["c"])
    assert metrics.AverageEnvInfoMetric(time_step([F], [0.0])).result() == {}


def test_summaries_are_written_against_other_metrics_too(monkeypatch):
    written = {}
    monkeypatch.setattr(alf.summary.summary_ops, "should_record_summaries", lambda: True)
    monkeypatch.setattr(
        alf.summary.summary_ops,
        "scalar",
        lambda name, data, step=None: written.update({name: (float(data), step)}),
    )
    steps, episodes = fed(metrics.EnvironmentSteps()), fed(metrics.NumberOfEpisodes())
    metrics.AverageReturnMetric(STEPS[0]).gen_summaries(5, [steps, episodes])
    assert written == {}  # no episode has ended yet
    fed(metrics.AverageReturnMetric(STEPS[0])).gen_summaries(5, [steps, episodes], {"Hours": 3})
    fed(metrics.AverageEnvInfoMetric(STEPS[0], name="AverageEnvInfo")).gen_summaries(5)
    steps.gen_summaries(5, [steps, episodes])
    assert written == {
        "Metrics/AverageReturn": (15.5, 5),
        "Metrics_vs_EnvironmentSteps/AverageReturn": (15.5, 6),
        "Metrics_vs_NumberOfEpisodes/AverageReturn": (15.5, 2),
        "Metrics_vs_Hours/AverageReturn": (15.5, 3),
        "Metrics/success": (1.0, 5),
        "Metrics/EnvironmentSteps": (6.0, 5),
        "Metrics_vs_NumberOfEpisodes/EnvironmentSteps": (6.0, 2),
    }


@given(
    st.lists(st.lists(st.integers(-4, 4), min_size=1, max_size=6), min_size=1, max_size=6),
    st.sampled_from([0.0, 0.5, 0.9, 1.0]),
)
def test_discounted_returns_equal_a_sum_written_out(episodes, gamma):
    metric = metrics.AverageDiscountedReturnMetric(STEPS[0], discount=gamma, buffer_size=10)
    expected = []
    for rewards in episodes:
        metric(time_step([F], [7.0]))
        for t, r in enumerate(rewards):
            metric(time_step([L if t == len(rewards) - 1 else M], [float(r)]))
        starts = [
            sum(gamma ** (j - t) * rewards[j] for j in range(t, len(rewards)))
            for t in range(len(rewards))
        ]
        expected.append(np.mean(starts))
    assert metric.result() == pytest.approx(np.mean(expected), abs=1e-5)


def episodes_of(seed, *, num_envs, num_steps, reward_shape=()):
    """Time steps of episodes that begin and end at random, in each environment by itself."""
    generator = np.random.default_rng(seed)
    step_type = np.full(num_envs, F)
    for _ in range(num_steps):
        reward = generator.normal(size=(num_envs, *reward_shape))
        yield time_step(step_type.tolist(), reward.tolist())
        ends = generator.random(num_envs) < 0.02
        step_type = np.where(step_type == L, F, np.where(ends, L, M))


def every_metric(example):
    class Largest(metrics.AverageReturnMetric):
        """A metric of a user, with its own way to gather."""

        def _gather(self, values, rows):
            self._accumulator = np.maximum(self._accumulator, values.max(0))

    return [
        metrics.NumberOfEpisodes(),
        metrics.EnvironmentSteps(),
        metrics.AverageReturnMetric(example),
        metrics.AverageEpisodeLengthMetric(example),
        metrics.AverageEnvInfoMetric(example),
        metrics.AverageDiscountedReturnMetric(example),
        metrics.AverageDiscountedReturnMetric(example, reward_transformer=lambda r: 2 * r),
        metrics.EpisodicStartAverageDiscountedReturnMetric(example),
        metrics.AverageRewardMetric(example),
        Largest(example),
    ]


def results_of(members):
    return [float(number) for metric in members for number in alf.nest.flatten(metric.result())]


@pytest.mark.parametrize(("num_envs", "reward_shape"), [(1, ()), (3, ()), (2, (2,))])
def test_metrics_fed_together_say_what_each_says_alone(num_envs, reward_shape):
    steps = list(episodes_of(5, num_envs=num_envs, num_steps=400, reward_shape=reward_shape))
    alone, fed_together = every_metric(steps[0]), every_metric(steps[0])
    together = Together(fed_together)
    for i, step in enumerate(steps):
        for metric in alone:
            metric(step)
        together.call(step)
        if i == 222:  # amid an episode, with rewards that wait
            together.gather()
            alone[2].reset()
            fed_together[2].reset()
        assert results_of(fed_together) == pytest.approx(results_of(alone), rel=1e-5)


def test_a_metric_that_is_added_later_is_fed_from_then_on():
    members = [metrics.AverageReturnMetric(STEPS[0])]
    together = Together(members)
    together.call(STEPS[0])
    together.call(STEPS[1])
    members.append(metrics.EnvironmentSteps())
    for step in STEPS[2:]:
        together.call(step)
    assert members[0].result() == pytest.approx((7 + 24) / 2)
    assert members[1].result() == 4
