"""Returns and advantages: hand numbers, identities, and a loop over time as a twin."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Independent, Normal

from alf.data_structures import StepType
from alf.utils._reverse_scan import reverse_linear_scan
from alf.utils.value_ops import (
    action_importance_ratio,
    discounted_return,
    generalized_advantage_estimation,
    one_step_discounted_return,
)


def trajectories(seed: int, length: int, batch: int):
    g = torch.Generator().manual_seed(seed)
    step_types = torch.randint(0, 3, (length, batch), generator=g, dtype=torch.int32)
    numbers = [torch.randn(length, batch, generator=g, dtype=torch.float64) for _ in range(2)]
    return *numbers, step_types, torch.rand(length, batch, generator=g, dtype=torch.float64)


def looped_return(rewards, values, step_types, discounts):
    result = [values[-1]]
    for t in reversed(range(rewards.shape[0] - 1)):
        onward = rewards[t + 1] + discounts[t + 1] * result[0]
        result.insert(0, torch.where(step_types[t] == StepType.LAST, values[t], onward))
    return torch.stack(result[:-1])


def looped_advantage(rewards, values, step_types, discounts, td_lambda):
    result = [torch.zeros_like(values[0])]
    for t in reversed(range(rewards.shape[0] - 1)):
        delta = rewards[t + 1] + discounts[t + 1] * values[t + 1] - values[t]
        onward = delta + td_lambda * discounts[t + 1] * result[0]
        result.insert(0, torch.where(step_types[t] == StepType.LAST, 0.0, onward))
    return torch.stack(result[:-1])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 1000), st.integers(2, 20), st.integers(1, 4), st.floats(0, 1))
def test_results_equal_those_of_a_loop_over_time(seed, length, batch, td_lambda):
    data = trajectories(seed, length, batch)
    assert torch.allclose(discounted_return(*data), looped_return(*data))
    assert torch.allclose(
        generalized_advantage_estimation(*data, td_lambda=td_lambda),
        looped_advantage(*data, td_lambda),
    )


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(2, 20))
def test_advantages_plus_values_are_returns_for_lambda_0_and_1(seed, length):
    data = trajectories(seed, length, 3)
    values = data[1]
    full = generalized_advantage_estimation(*data, td_lambda=1.0) + values[:-1]
    short = generalized_advantage_estimation(*data, td_lambda=0.0) + values[:-1]
    assert torch.allclose(full, discounted_return(*data))
    # at the end of an episode they differ: the one-step return is the discounted value
    _, values, step_types, discounts = data
    is_last = step_types[:-1] == StepType.LAST
    expected = torch.where(is_last, (discounts * values)[:-1], short)
    assert torch.allclose(expected, one_step_discounted_return(*data))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_batch_major_is_time_major_transposed(seed):
    data = trajectories(seed, 7, 3)
    transposed = [x.T for x in data]
    assert torch.equal(discounted_return(*transposed, time_major=False), discounted_return(*data).T)
    assert torch.equal(
        generalized_advantage_estimation(*transposed, td_lambda=0.5, time_major=False),
        generalized_advantage_estimation(*data, td_lambda=0.5).T,
    )


def test_returns_by_hand():
    rewards = torch.tensor([[0.0], [1.0], [2.0], [0.0], [4.0]])
    values = torch.tensor([[10.0], [20.0], [30.0], [40.0], [50.0]])
    step_types = torch.tensor([[0], [1], [2], [0], [1]])
    discounts = 0.5 * torch.tensor([[1.0], [1.0], [0.0], [1.0], [1.0]])
    data = rewards, values, step_types, discounts
    # 1 + 0.5 * 2; 2 + 0 * 30; value of LAST; 4 + 0.5 * 50
    assert discounted_return(*data).flatten().tolist() == [2.0, 2.0, 30.0, 29.0]
    # 1 + 0.5 * 20
    assert one_step_discounted_return(*data).flatten().tolist() == [11.0, 2.0, 0.0, 29.0]
    # an episode that was cut off goes on: 0.5 * 30
    cut = rewards, values, step_types, torch.full_like(discounts, 0.5)
    assert one_step_discounted_return(*cut).flatten().tolist() == [11.0, 17.0, 15.0, 29.0]
    # deltas 1, -18, 0, -11; 1 + 0.5 * 0.5 * -18
    advantages = generalized_advantage_estimation(*data, td_lambda=0.5)
    assert advantages.flatten().tolist() == [-3.5, -18.0, 0.0, -11.0]


def test_a_time_limit_bootstraps_and_a_termination_does_not():
    step_types = torch.tensor([[1, 1], [2, 2]])
    rewards, values = torch.ones(2, 2), torch.full((2, 2), 10.0)
    discounts = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    for op in (discounted_return, one_step_discounted_return):
        assert op(rewards, values, step_types, discounts).tolist() == [[11.0, 1.0]]


def test_reward_dimensions_are_independent():
    data = [trajectories(i, 6, 2) for i in range(3)]
    step_types, discounts = data[0][2:]
    rewards = torch.stack([d[0] for d in data], dim=-1)
    values = torch.stack([d[1] for d in data], dim=-1)
    result = discounted_return(rewards, values, step_types, discounts)
    for i in range(3):
        expected = discounted_return(rewards[..., i], values[..., i], step_types, discounts)
        assert torch.equal(result[..., i], expected)


def test_a_single_step_has_no_return():
    one = torch.zeros(1, 4)
    with pytest.raises(ValueError, match="at least 2 steps"):
        discounted_return(one, one, one.int(), one)


def test_long_scans_lose_no_precision():
    decays = torch.full((5000, 1), 0.9)
    result = reverse_linear_scan(torch.ones(5000, 1), decays)
    assert torch.allclose(result[:4000], torch.tensor(10.0))
    assert result[-1] == 1.0
    assert torch.allclose(result[-2], torch.tensor(1.9))


def distributions(mean: float):
    return Independent(Normal(torch.full((4, 1), mean), torch.ones(4, 1)), 1)


def ratio(mode: str, clipping: float = 0.2, log_clipping: float = 0.0, **kwargs):
    action = torch.tensor([[0.0], [0.5], [1.0], [-1.0]])
    now, then = distributions(1.0), distributions(0.0)
    return action_importance_ratio(
        now, then, action, mode, "ratio", clipping, log_clipping, True, False, **kwargs
    )


def test_importance_ratio_is_clipped_on_one_or_both_sides():
    # log p - log q = a - 1/2
    expected = torch.tensor([-0.5, 0.0, 0.5, -1.5]).exp()
    both, both_clipped = ratio("double_sided")
    _, upper_clipped = ratio("capping")
    assert torch.allclose(both, expected)
    assert torch.allclose(both_clipped, expected.clamp(0.8, 1.2))
    assert torch.allclose(upper_clipped, expected.clamp(max=1.2))
    now = distributions(1.0).log_prob(torch.tensor([[0.0], [0.5], [1.0], [-1.0]]))
    given = ratio("capping", log_clipping=1.0, rollout_log_prob=torch.zeros(4))[0]
    assert torch.allclose(given, now.clamp(-1.0, 1.0).exp())
    assert torch.equal(ratio("double_sided", clipping=0.0)[1], torch.ones(4))


def test_importance_ratio_refuses_unknown_modes_and_numbers_that_are_none():
    with pytest.raises(ValueError, match="clipping_mode"):
        ratio("both")
    with pytest.raises(ValueError, match="not finite"):
        ratio("capping", rollout_log_prob=torch.full((4,), float("nan")))
