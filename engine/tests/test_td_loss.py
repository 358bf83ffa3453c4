"""Temporal difference losses by hand numbers and identities."""

from __future__ import annotations

import collections

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alf.algorithms.one_step_loss import OneStepTDLoss, OneStepTDQRLoss
from alf.algorithms.td_loss import TDLoss, TDQRLoss
from alf.utils.losses import element_wise_huber_loss

Info = collections.namedtuple("Info", ["reward", "step_type", "discount"])

INFO = Info(
    reward=torch.tensor([[0.0], [1.0], [2.0], [0.0], [4.0]]),
    step_type=torch.tensor([[0], [1], [2], [0], [1]], dtype=torch.int32),
    discount=torch.tensor([[1.0], [1.0], [0.0], [1.0], [1.0]]),
)
VALUE = torch.tensor([[10.0], [20.0], [30.0], [40.0], [50.0]])


def test_one_step_loss_by_hand():
    result = OneStepTDLoss(gamma=0.5)(INFO, VALUE, VALUE)
    # targets 1 + 0.5 * 20, 2 + 0, 0 at the real end, 4 + 0.5 * 50; the last step is padding
    assert result.loss.flatten().tolist() == [1.0, 18.0**2, 30.0**2, 11.0**2, 0.0]
    assert result.extra.flatten().tolist() == [1.0, -18.0, -30.0, -11.0, 0.0]
    assert result.scalar_loss == ()


def test_lambda_return_lies_between_one_step_and_full():
    targets = [
        TDLoss(gamma=0.5, td_lambda=x).compute_td_target(INFO, VALUE)[0] for x in (0.0, 0.5, 1.0)
    ]
    assert [float(t) for t in targets] == [11.0, 6.5, 2.0]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.floats(0.01, 0.99), st.integers(2, 6))
def test_lambda_return_is_the_mixture_of_n_step_returns(seed, td_lambda, length):
    """Sutton and Barto 2018, equation 12.3, on one episode that goes on."""
    g = torch.Generator().manual_seed(seed)
    reward, value = torch.randn(2, length, 1, generator=g)
    info = Info(reward, torch.ones(length, 1, dtype=torch.int32), torch.ones(length, 1))
    gamma, end = 0.9, length - 1
    n_step = [
        sum(gamma**i * reward[i + 1] for i in range(n)) + gamma**n * value[n]
        for n in range(1, end + 1)
    ]
    weights = [(1 - td_lambda) * td_lambda**i for i in range(end - 1)] + [td_lambda ** (end - 1)]
    expected = sum(w * x for w, x in zip(weights, n_step, strict=True))
    target = TDLoss(gamma=gamma, td_lambda=td_lambda).compute_td_target(info, value)[0]
    assert torch.allclose(target, expected, atol=1e-5)


def test_gradient_reaches_the_value_and_not_the_target():
    value, target = VALUE.clone().requires_grad_(), VALUE.clone().requires_grad_()
    OneStepTDLoss()(INFO, value, target).loss.sum().backward()
    assert value.grad.abs().sum() > 0
    assert target.grad is None


def test_reward_dimensions_have_their_own_discounts_and_are_averaged():
    reward = torch.cat([INFO.reward, 2 * INFO.reward], dim=1).unsqueeze(1)
    value = torch.cat([VALUE, VALUE], dim=1).unsqueeze(1)
    info = INFO._replace(reward=reward)
    loss = OneStepTDLoss(gamma=[0.5, 0.0])
    assert loss.gamma.tolist() == [0.5, 0.0]
    assert loss.compute_td_target(info, value)[:2, 0].tolist() == [[11.0, 2.0], [2.0, 4.0]]
    # (1 + 8^2) / 2, (18^2 + 16^2) / 2
    assert loss(info, value, value).loss[:2, 0].tolist() == [32.5, 290.0]


def test_the_error_loss_gets_target_and_value():
    def signed(target, value):
        return target - value

    assert OneStepTDLoss(0.5, signed)(INFO, VALUE, VALUE).loss[0, 0] == 1.0
    huber = OneStepTDLoss(0.5, element_wise_huber_loss)(INFO, VALUE, VALUE).loss
    assert huber.flatten().tolist() == [0.5, 17.5, 29.5, 10.5, 0.0]


def test_normalized_targets_change_the_scale_of_the_loss_only():
    loss = TDLoss(gamma=0.5, td_lambda=0.0, normalize_target=True)
    plain = TDLoss(gamma=0.5, td_lambda=0.0)(INFO, VALUE, VALUE).loss
    variance = loss.compute_td_target(INFO, VALUE).var(correction=0)
    assert torch.allclose(loss(INFO, VALUE, VALUE).loss, plain / variance, rtol=1e-4)


def test_each_reward_dimension_has_its_own_scale_which_is_saved():
    info = INFO._replace(reward=torch.stack([INFO.reward, 100 * INFO.reward], dim=-1))
    value = torch.stack([VALUE, 100 * VALUE], dim=-1)
    loss = TDLoss(gamma=0.5, td_lambda=0.0, normalize_target=True)
    one = TDLoss(gamma=0.5, td_lambda=0.0, normalize_target=True)(INFO, VALUE, VALUE).loss
    torch.testing.assert_close(loss(info, value, value).loss, one)
    other = TDLoss(gamma=0.5, td_lambda=0.0, normalize_target=True)
    other.load_state_dict(loss.state_dict())
    torch.testing.assert_close(other(info, value, value).loss, loss(info, value, value).loss)


def test_shapes_that_would_be_broadcast_are_refused():
    with pytest.raises(ValueError, match="shape of the reward"):
        OneStepTDLoss()(INFO, VALUE.unsqueeze(-1), VALUE.unsqueeze(-1))
    with pytest.raises(ValueError, match="shape of the reward"):
        OneStepTDQRLoss()(INFO, VALUE, VALUE)


def quantiles(n: int, spread: float = 0.0) -> torch.Tensor:
    return VALUE.unsqueeze(-1) + torch.linspace(-spread, spread, n)


def test_equal_quantiles_give_the_huber_loss_of_their_value():
    """With all quantiles equal, sum over i of |tau_i - 1(u < 0)| / N is 1/2."""
    value = quantiles(4)
    loss = OneStepTDQRLoss(num_quantiles=4, gamma=0.5)(INFO, value, value).loss
    scalar = OneStepTDLoss(0.5, element_wise_huber_loss)(INFO, VALUE, VALUE).loss
    assert torch.allclose(loss, scalar / 2)
    summed = OneStepTDQRLoss(num_quantiles=4, gamma=0.5, sum_over_quantiles=True)
    assert torch.allclose(summed(INFO, value, value).loss, 4 * loss)


def test_quantile_targets_are_moved_by_reward_and_discount():
    value = quantiles(3, spread=2.0)
    one_step = OneStepTDQRLoss(num_quantiles=3, gamma=0.5).compute_td_target(INFO, value)
    assert one_step[:, 0].tolist() == [[10, 11, 12], [2, 2, 2], [0, 0, 0], [28, 29, 30]]
    full = TDQRLoss(num_quantiles=3, gamma=0.5).compute_td_target(INFO, value)
    assert full[:, 0].tolist() == [[2, 2, 2], [2, 2, 2], [28, 30, 32], [28, 29, 30]]


def test_given_fractions_and_weights_replace_the_fixed_ones():
    torch.manual_seed(0)
    value, target = torch.randn(2, 5, 1, 4)
    loss = OneStepTDQRLoss(num_quantiles=4)
    plain = loss(INFO, value, target).loss
    tau = ((torch.arange(4) + 0.5) / 4).expand_as(value)
    weight = torch.full_like(value, 0.25)
    # weights sum up to one and the mean is taken over four
    assert torch.allclose(loss(INFO, value, target, tau, weight, weight).loss, plain / 4)
    # all weight on quantile 2 of the target, which is that of the next step
    only = torch.zeros_like(value)
    only[..., 2] = 1.0
    single = loss(INFO, value, target[..., 2:3]).loss
    assert torch.allclose(loss(INFO, value, target, tau, weight, only).loss, single / 4)


def test_quantiles_with_reward_dimensions():
    reward = torch.cat([INFO.reward, INFO.reward], dim=1).unsqueeze(1)
    value = torch.stack([quantiles(4, 1.0), quantiles(4, 1.0)], dim=2)
    both = OneStepTDQRLoss(num_quantiles=4)(INFO._replace(reward=reward), value, value).loss
    one = OneStepTDQRLoss(num_quantiles=4)(INFO, quantiles(4, 1.0), quantiles(4, 1.0)).loss
    assert torch.allclose(both, one)


def test_quantiles_know_only_lambda_0_and_1():
    with pytest.raises(ValueError, match="td_lambda"):
        TDQRLoss(td_lambda=0.5)


def test_losses_have_no_state_to_save():
    assert not OneStepTDLoss().state_dict()
    assert not OneStepTDQRLoss().state_dict()
