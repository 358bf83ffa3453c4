"""Optimizers on spheres of neurons, and of particles that repel each other."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from alf.layers import FCBatchEnsemble
from alf.optimizers import SGD, NeroPlus
from alf.optimizers._parvi import rbf
from alf.optimizers.nero_plus import NeroPlus as BareNeroPlus


def _step(optimizer: torch.optim.Optimizer, params: list[nn.Parameter]) -> None:
    for p in params:
        p.grad = torch.randn_like(p)
    optimizer.step()


def test_neurons_keep_mean_zero_and_their_norm() -> None:
    weight, bias = nn.Parameter(torch.randn(4, 5) + 1), nn.Parameter(torch.zeros(4))
    optimizer = NeroPlus(lr=0.1, max_norm=2.0)
    optimizer.add_param_group({"params": [weight, bias]})
    for _ in range(3):
        torch.testing.assert_close(weight.mean(1), torch.zeros(4), atol=1e-6, rtol=0)
        torch.testing.assert_close(weight.norm(dim=1), torch.full((4,), 2.0))
        before = weight.detach().clone()
        _step(optimizer, [weight, bias])
        assert (weight != before).any()
    assert bias.abs().max() > 0


def test_a_step_is_that_of_adam() -> None:
    ours, theirs = (nn.Parameter(torch.tensor([2.0, -4.0])) for _ in range(2))
    ours.opt_args = {"lr_scale": 0.5}  # type: ignore[attr-defined]
    optimizer = BareNeroPlus([ours], lr=0.2)
    adam = torch.optim.Adam([theirs], lr=0.1, eps=1e-7)
    for i in range(3):
        for p in (ours, theirs):
            p.grad = torch.tensor([5.0, -1e-3 * i])
        optimizer.step()
        adam.step()
    torch.testing.assert_close(ours, theirs)


def test_a_step_by_norm_has_the_length_of_the_learning_rate() -> None:
    weight, bias = nn.Parameter(torch.randn(3, 6)), nn.Parameter(torch.randn(5))
    options = {"zero_mean": False, "fixed_norm": False, "max_norm": 10.0}
    optimizer = BareNeroPlus([weight, bias], lr=0.1, normalizing_grad_by_norm=True, **options)
    before, bias_before = weight.detach().clone(), bias.detach().clone()
    weight.grad, bias.grad = torch.randn(3, 6), torch.randn(5)
    optimizer.step()
    moved = (weight.detach() - before).norm(dim=1)
    torch.testing.assert_close(moved, torch.full((3,), 0.1), atol=1e-5, rtol=1e-4)
    assert (bias.detach() - bias_before).norm().item() == pytest.approx(0.1, rel=1e-4)


def test_limits_only_shrink_and_parameters_bring_their_own() -> None:
    layer = nn.Linear(3, 2)
    layer.weight.data = torch.tensor([[3.0, 4.0, 0.0], [0.3, 0.0, 0.4]])
    BareNeroPlus.initialize(layer, max_norm=1.0, fixed_norm=False, zero_mean=False)
    expected = torch.tensor([[0.6, 0.8, 0.0], [0.3, 0.0, 0.4]])
    torch.testing.assert_close(layer.weight.detach(), expected)
    layer.weight.opt_args = {"max_norm": 3.0, "zero_mean": False}  # type: ignore[attr-defined]
    NeroPlus().add_param_group({"params": [layer.weight]})
    torch.testing.assert_close(layer.weight.norm(dim=1), torch.full((2,), 3.0))
    with pytest.raises(ValueError, match="max_norm be positive"):
        BareNeroPlus(max_norm=0)


def test_training_goes_on_exactly_after_save_and_load() -> None:
    weight = nn.Parameter(torch.randn(4, 5))
    optimizer = NeroPlus(lr=0.1)
    optimizer.add_param_group({"params": [weight]})
    for _ in range(3):
        _step(optimizer, [weight])
    resumed = nn.Parameter(weight.detach().clone())
    other = NeroPlus(lr=0.1)
    other.add_param_group({"params": [resumed]})
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for o, p in ((optimizer, weight), (other, resumed)):
        torch.manual_seed(0)
        _step(o, [p])
    assert torch.equal(weight, resumed)


def test_decay_and_penalty_pull_towards_zero() -> None:
    for option in ("weight_decay", "l2_regularization"):
        bias = nn.Parameter(torch.full((3,), 2.0))
        optimizer = BareNeroPlus([bias], lr=0.1, **{option: 0.5})
        bias.grad = torch.zeros(3)
        optimizer.step()
        assert bias.max() < 2


def test_the_kernel_and_its_gradient_are_those_of_autograd() -> None:
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    kernel, kernel_grad = rbf(x.detach())
    distances = torch.cdist(x.detach(), x.detach()).square()
    width = distances.median() / math.log(4)  # those of particles from themselves too
    torch.testing.assert_close(kernel, torch.exp(-distances / width))
    fixed = x.detach()
    for i in range(4):
        total = torch.exp(-(x - fixed[i]).square().sum(1) / width).sum()
        (grad,) = torch.autograd.grad(total, x)
        torch.testing.assert_close(kernel_grad[i], grad.sum(0))


def test_two_particles_have_a_kernel_too() -> None:
    kernel, _ = rbf(torch.tensor([[0.0], [3.0]]))
    # median of the distance 9 alone, as that of 0, 0, 9, 9 is 0
    assert kernel[0, 1].item() == pytest.approx(math.exp(-math.log(2)))


@pytest.mark.parametrize("method", ["svgd", "gfsf"])
def test_particles_spread_where_plain_descent_collapses(method: str) -> None:
    spreads = {}
    for parvi in (None, method):
        torch.manual_seed(0)
        particles = nn.Parameter(2 + 0.1 * torch.randn(30, 1))
        particles.ensemble_group = 0  # type: ignore[attr-defined]
        optimizer = SGD(lr=0.03, parvi=parvi)
        optimizer.add_param_group({"params": [particles]})
        for _ in range(600):
            particles.grad = particles.detach().clone()  # of the standard normal distribution
            optimizer.step()
        spreads[parvi] = particles.std().item()
        assert abs(particles.mean().item()) < 0.2
    assert spreads[None] < 1e-3
    assert 0.6 < spreads[method] < 1.4


def test_only_parameters_of_ensembles_are_particles() -> None:
    layer = FCBatchEnsemble(3, 2, 4)
    optimizer = SGD(lr=1.0, parvi="svgd", repulsive_weight=0.5)
    optimizer.add_param_group({"params": list(layer.parameters())})
    shared = layer.weight.detach().clone()
    for p in layer.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), shared - 1)
    moved = {p.grad.flatten().tolist()[0] for p in layer.parameters() if p.grad is not None}
    assert len(moved) > 1
    odd = nn.Parameter(torch.ones(3, 1))
    odd.ensemble_group = 0  # type: ignore[attr-defined]
    odd.grad = torch.ones(3, 1)
    optimizer.add_param_group({"params": [odd]})
    with pytest.raises(ValueError, match=r"have \[3, 4\] particles"):
        optimizer.step()
    with pytest.raises(ValueError, match="parvi must be None or one of"):
        SGD(lr=1.0, parvi="minmax")
