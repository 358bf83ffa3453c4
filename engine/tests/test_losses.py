"""Losses by hand numbers and by what minimises them."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from alf.norm_layers import BatchNorm1d
from alf.utils.losses import (
    AsymmetricSimSiamLoss,
    BipartiteMatchingLoss,
    DiscreteRegressionLoss,
    MeanSquaredLoss,
    OrderedDiscreteRegressionLoss,
    QuantileRegressionLoss,
    SquareLoss,
    element_wise_huber_loss,
    element_wise_squared_loss,
    huber_function,
    iqn_huber_loss,
    multi_quantile_huber_loss,
)
from alf.utils.math_ops import Sqrt1pTransform, SqrtLinearTransform


def test_huber_is_quadratic_inside_and_linear_outside():
    x = torch.tensor([-3.0, -0.5, 0.0, 0.5, 2.0])
    assert huber_function(x).tolist() == [2.5, 0.125, 0.0, 0.125, 1.5]
    assert huber_function(x, 2.0).tolist() == [4.0, 0.125, 0.0, 0.125, 2.0]
    assert torch.equal(element_wise_huber_loss(x, torch.zeros(5)), huber_function(x))
    assert element_wise_squared_loss(x, torch.ones(5)).tolist() == [16.0, 2.25, 1.0, 0.25, 1.0]


def test_quantile_loss_by_hand():
    value, target = torch.tensor([[0.0, 4.0]]), torch.tensor([[1.0, 3.0]])
    # fractions 1/4, 3/4; u = [[1, 3], [-3, -1]]; huber(u) = [[.5, 2.5], [2.5, .5]]
    expected = (0.25 * (0.5 + 2.5) + 0.25 * (2.5 + 0.5)) / 2
    tau = torch.tensor([0.25, 0.75])
    loss, error = iqn_huber_loss(value, target, fixed_tau=tau)
    assert float(loss) == pytest.approx(expected)
    assert error.tolist() == [[[1.0, 3.0], [-3.0, -1.0]]]
    mean, _ = iqn_huber_loss(value, target, fixed_tau=tau, sum_over_quantiles=False)
    assert float(mean) == pytest.approx(expected / 2)
    fixed, _ = iqn_huber_loss(value, target, fixed_tau=torch.tensor([0.5, 0.5]))
    assert float(fixed) == pytest.approx(0.5 * 6 / 2)
    # weights stand within the mean over the targets: 0.9 of 1 and -3, 0.1 of 3 and -1
    weights = torch.tensor([[0.9, 0.1]])
    weighted, _ = iqn_huber_loss(value, target, tau_hat=tau[None], next_delta_tau=weights)
    by_hand = 0.25 * (0.9 * 0.5 + 0.1 * 2.5) / 2 + 0.25 * (0.9 * 2.5 + 0.1 * 0.5) / 2
    assert float(weighted) == pytest.approx(by_hand)
    with pytest.raises(ValueError, match="tau_hat or fixed_tau is needed"):
        iqn_huber_loss(value, target)


@pytest.mark.parametrize("delta", [0.0, 0.01])
def test_minimum_of_the_quantile_loss_is_the_quantiles(delta):
    target = torch.linspace(0, 1, 1001)
    right = torch.tensor([[0.1, 0.3, 0.5, 0.7, 0.9]])

    def loss(quantiles):
        return multi_quantile_huber_loss(quantiles, target.unsqueeze(0), delta)

    for i, shift in itertools.product(range(5), (-0.05, 0.05)):
        wrong = right.clone()
        wrong[0, i] += shift
        assert loss(wrong) > loss(right)


def test_multi_quantile_loss_takes_one_or_several_targets():
    quantiles = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    one = multi_quantile_huber_loss(quantiles, torch.tensor([0.5, 0.0]), delta=0)
    # fractions 1/4, 3/4: |.25| * .5 and |.75 - 1| * .5; |.25 - 1| * 2 and |.75 - 1| * 3
    assert one.tolist() == [0.125, 1.125]
    several = multi_quantile_huber_loss(quantiles, torch.tensor([[0.5, 0.5], [0.0, 0.0]]), delta=0)
    assert torch.equal(one, several)


DISCRETE = [DiscreteRegressionLoss, OrderedDiscreteRegressionLoss]


@pytest.mark.parametrize("cls", DISCRETE)
@pytest.mark.parametrize("n", [10, 11])
@pytest.mark.parametrize("inverse_after_mean", [False, True])
@pytest.mark.parametrize("transform", [None, Sqrt1pTransform(), SqrtLinearTransform(0.1)])
def test_fitted_logits_expect_the_target(cls, n, inverse_after_mean, transform):
    target = torch.tensor([-2.0, 0.0, 0.25, 3.5] if transform is None else [-2.0, 0.0, 0.25, 5.0])
    loss = cls(transform, inverse_after_mean=inverse_after_mean)
    logits = torch.zeros(4, n, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        total = loss(logits, target).sum()
        total.backward()
        return total

    optimizer.step(closure)
    assert torch.allclose(loss.calc_expectation(logits), target, atol=0.01)


@pytest.mark.parametrize("cls", DISCRETE)
def test_loss_is_per_row_and_targets_outside_count_as_the_outermost(cls):
    logits = torch.randn(3, 7)
    loss = cls()(logits, torch.tensor([100.0, 3.0, -100.0]))
    assert loss.shape == (3,)
    assert loss[0] == cls()(logits[:1], torch.tensor([3.0]))[0]
    assert loss[2] == cls()(logits[2:], torch.tensor([-3.0]))[0]


def test_cross_entropy_by_hand():
    logits = torch.tensor([[0.1, 0.2, 0.7]]).log()
    loss = DiscreteRegressionLoss()(logits, torch.tensor([0.25]))
    expected = -0.75 * torch.tensor(0.2).log() - 0.25 * torch.tensor(0.7).log()
    assert torch.allclose(loss, expected)
    assert torch.allclose(DiscreteRegressionLoss().calc_expectation(logits), torch.tensor(0.6))


@pytest.mark.parametrize("cls", [*DISCRETE, QuantileRegressionLoss, SquareLoss])
def test_initial_predictions_are_near_zero(cls):
    bias = torch.full((21,), 3.0)
    loss = cls()
    loss.initialize_bias(bias)
    if cls is not SquareLoss:
        assert loss.calc_expectation(bias.unsqueeze(0)).abs() < 0.3
    assert torch.isfinite(bias).all()


def test_transforms_are_undone():
    transform = Sqrt1pTransform()
    x = torch.tensor([-8.0, 3.0])
    assert torch.allclose(SquareLoss(transform)(transform.transform(x), x), torch.zeros(2))
    assert torch.allclose(SquareLoss(transform).calc_expectation(transform.transform(x)), x)
    sharp = torch.full((1, 9), -50.0)
    sharp[0, 6] = 50.0  # outcome 2
    for after in (False, True):
        mean = DiscreteRegressionLoss(transform, after).calc_expectation(sharp)
        assert torch.allclose(mean, transform.inverse_transform(torch.tensor(2.0)))


def test_order_of_mean_and_inverse_matters():
    transform = Sqrt1pTransform()
    quantiles = torch.tensor([[0.0, 4.0]])
    before = QuantileRegressionLoss(transform).calc_expectation(quantiles)
    after = QuantileRegressionLoss(transform, inverse_after_mean=True).calc_expectation(quantiles)
    assert torch.allclose(before, transform.inverse_transform(quantiles).mean())
    assert torch.allclose(after, transform.inverse_transform(torch.tensor(2.0)))


def test_mean_squared_loss_keeps_batch_dimensions():
    pred, target = torch.zeros(2, 3, 4), torch.arange(24.0).view(2, 3, 4)
    result = MeanSquaredLoss()(pred, target)
    assert torch.allclose(result, (target**2).flatten(1).mean(1))
    assert MeanSquaredLoss(batch_dims=2)(pred, target).shape == (2, 3)
    assert MeanSquaredLoss(batch_dims=3)(pred, target).shape == (2, 3, 4)


def test_rising_logits_count_as_the_smaller():
    """At least -1: 0.9; at least 0: 0.5; at least 1: 0.8, which says at least 0 no less."""
    probs = torch.tensor([[0.9, 0.5, 0.8]])
    mean = OrderedDiscreteRegressionLoss().calc_expectation(torch.logit(probs))
    assert mean.item() == pytest.approx(-2 + 0.9 + 0.5 + 0.5)
    loss = OrderedDiscreteRegressionLoss()(torch.logit(probs), torch.tensor([0.25]))
    by_hand = -sum(math.log(p) for p in (0.9, 0.5)) - 0.25 * math.log(0.8) - 0.75 * math.log(0.2)
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)


def test_matching_is_the_cheapest_of_all():
    torch.manual_seed(0)
    for n in (1, 2, 5, 6):
        costs = torch.randn(8, n, n).round(decimals=1)
        loss, columns = BipartiteMatchingLoss(reduction="sum")(costs)
        rows = torch.arange(n)
        for i in range(8):
            best = min(float(costs[i, rows, list(p)].sum()) for p in itertools.permutations(rows))
            assert float(loss[i]) == pytest.approx(best, abs=1e-5)
            assert sorted(columns[i].tolist()) == rows.tolist()


def test_matching_can_be_decided_by_other_costs():
    decides = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    costs = torch.tensor([[[5.0, 0.0], [0.0, 7.0]]], requires_grad=True)
    loss, _ = BipartiteMatchingLoss()(decides, costs)
    assert loss.tolist() == [6.0]
    loss.sum().backward()
    assert costs.grad.tolist() == [[[0.5, 0.0], [0.0, 0.5]]]
    assert BipartiteMatchingLoss("none")(decides, costs)[0].tolist() == [[5.0, 7.0]]
    with pytest.raises(ValueError, match="reduction"):
        BipartiteMatchingLoss("max")
    with pytest.raises(ValueError, match=r"\[B, N, N\]"):
        BipartiteMatchingLoss()(torch.zeros(1, 2, 3))


def test_simsiam_has_gradient_to_the_prediction_only():
    torch.manual_seed(0)
    loss = AsymmetricSimSiamLoss(input_size=5, output_size=6, proj_last_use_bn=True, lr=0.5)
    pred, target = torch.randn(2, 8, 5).unbind()
    pred.requires_grad_()
    target.requires_grad_()
    result = loss(pred, target)
    assert result.loss.shape == (8,)
    assert (result.loss.abs() <= 1 + 1e-5).all()
    result.loss.sum().backward()
    assert pred.grad.abs().sum() > 0
    assert target.grad is None
    assert all(p.opt_args == {"lr": 0.5} for p in loss.parameters())
    with pytest.raises(ValueError, match="input_size"):
        AsymmetricSimSiamLoss()


def test_a_fixed_weight_norm_of_simsiam_ignores_the_scale_of_all_gains() -> None:
    loss = AsymmetricSimSiamLoss(
        input_size=3, output_size=4, proj_last_use_bn=True, fixed_weight_norm=True
    )
    pred, target = torch.randn(2, 5, 3)
    before = loss(pred, target).loss
    gains = [m.weight for m in loss.modules() if isinstance(m, BatchNorm1d)]
    assert len(gains) == 4
    with torch.no_grad():
        for gain in gains:
            gain.mul_(3.0)
    torch.testing.assert_close(loss(pred, target).loss, before)
