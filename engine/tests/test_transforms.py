"""Transforms of random variables: there and back, and log determinants against autograd."""

from __future__ import annotations

import pytest
import torch
import torch.distributions as td

from alf.utils import dist_utils

INVERTIBLE = {
    "power": (dist_utils.PowerTransform(3.0), torch.tensor([0.5, 1.0, 2.0])),
    "root": (dist_utils.PowerTransform(0.5), torch.tensor([0.25, 1.0, 9.0])),
    "exp": (dist_utils.ExpTransform(), torch.tensor([-2.0, 0.0, 1.5])),
    "sigmoid": (dist_utils.SigmoidTransform(), torch.tensor([-2.0, 0.0, 1.5])),
    "affine": (dist_utils.AffineTransform(1.0, -2.0), torch.tensor([-2.0, 0.0, 1.5])),
}


@pytest.mark.parametrize("name", INVERTIBLE)
def test_a_transform_is_undone_and_knows_its_derivative(name: str) -> None:
    transform, x = INVERTIBLE[name]
    x = x.clone().requires_grad_()
    y = transform(x)
    # a fresh one has no cache to look the answer up in
    torch.testing.assert_close(transform.get_builder()().inv(y), x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(transform.log_abs_det_jacobian(x, y), slope.abs().log())


def test_powers_by_hand() -> None:
    assert dist_utils.PowerTransform(2.0)(torch.tensor([3.0, 0.5])).tolist() == [9.0, 0.25]


def test_an_absolute_value_remembers_the_sign_of_what_it_was_made_from() -> None:
    transform, x = dist_utils.AbsTransform(), torch.tensor([-3.0, 2.0])
    y = transform(x)
    assert y.tolist() == [3.0, 2.0]
    assert transform.inv(y).tolist() == [-3.0, 2.0]
    assert transform.inv(y.clone()).tolist() == [3.0, 2.0]


def test_softmax_gives_probabilities_and_its_logarithm_leads_back_to_them() -> None:
    transform, x = dist_utils.SoftmaxTransform(), torch.tensor([[0.0, 1.0, 1.0], [5.0, 5.0, 5.0]])
    y = transform(x)
    torch.testing.assert_close(y, x.softmax(-1))
    torch.testing.assert_close(transform(y.log()), y)


def test_a_stable_cauchy_has_the_density_of_a_cauchy_and_bounded_samples() -> None:
    loc, scale = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    stable, plain = dist_utils.StableCauchy(loc, scale), td.Cauchy(loc, scale)
    x = torch.tensor([0.0, 100.0])
    torch.testing.assert_close(stable.log_prob(x), plain.log_prob(x))
    samples = stable.rsample(torch.Size([2000]), clipping_value=0.25)
    # a quarter of the samples is cut off on each side, at one scale from the middle
    distance = (samples - loc) / scale
    assert float(distance.abs().max()) == pytest.approx(1.0, abs=1e-5)
    cut = (distance.abs() > 1 - 1e-5).float().mean(0)
    torch.testing.assert_close(cut, torch.tensor([0.5, 0.5]), atol=0.05, rtol=0)
    with pytest.raises(ValueError, match="clipping_value"):
        stable.rsample(clipping_value=0.5)
