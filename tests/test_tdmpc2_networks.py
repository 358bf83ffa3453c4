"""The parts of TD-MPC2's world model: two-hot values, SimNorm, ensembles, encoders, policy."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alf.tensor_specs import TensorSpec
from alf_layered import PlanningSettings, TDMPC2Settings, WorldModelSettings, model_of_size
from alf_layered.networks.mish import mish
from alf_layered.networks.normed_ensemble import NormedEnsemble
from alf_layered.networks.simnorm import simnorm
from alf_layered.planners.mppi import MPPI
from alf_layered.tdmpc2.pixel_encoder import ObservationEncoder, random_shift
from alf_layered.tdmpc2.q_scale import QScale
from alf_layered.tdmpc2.settings import SIZES
from alf_layered.tdmpc2.two_hot import TwoHot, symexp, symlog
from alf_layered.tdmpc2.world_model import WorldModel


@given(st.floats(-20000, 20000))
def test_two_hot_values_come_back(value: float) -> None:
    two_hot = TwoHot()
    x = torch.tensor([value], dtype=torch.float32)
    probabilities = two_hot.encode(x)
    assert int((probabilities > 0).sum()) <= 2
    assert float(probabilities.sum()) == pytest.approx(1)
    found = symexp(probabilities @ two_hot.bins)
    assert float(found) == pytest.approx(value, rel=1e-4, abs=1e-4)
    logits = probabilities.clamp(min=1e-30).log()
    assert float(two_hot.decode(logits)) == pytest.approx(value, rel=1e-4, abs=1e-4)


def test_two_hot_by_hand() -> None:
    two_hot = TwoHot(num_bins=5, vmin=-2, vmax=2)
    value = symexp(torch.tensor([0.25, -2.0, 9.0]))
    expected = [[0, 0, 0.75, 0.25, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]
    torch.testing.assert_close(two_hot.encode(value), torch.tensor(expected))
    assert float(symlog(torch.tensor(math.e - 1))) == pytest.approx(1)


def test_cross_entropy_is_that_of_the_probabilities_for_every_member() -> None:
    torch.manual_seed(0)
    two_hot = TwoHot(num_bins=11, vmin=-3, vmax=3)
    logits, value = torch.randn(5, 4, 7, 11), 10 * torch.randn(4, 7)
    slow = -(two_hot.encode(value) * torch.log_softmax(logits, -1)).sum(-1)
    torch.testing.assert_close(two_hot.cross_entropy(logits, value), slow)


def test_models_of_different_bins_do_not_share_them() -> None:
    one, other = TwoHot(5, -1, 1), TwoHot(7, -2, 2)
    assert len(one.bins) == 5
    assert len(other.bins) == 7
    with pytest.raises(ValueError, match="at least 2 bins"):
        TwoHot(1)


def test_simnorm_makes_groups_of_probabilities() -> None:
    x = torch.randn(3, 4, 24)
    y = simnorm(x, 8)
    for g in range(3):
        torch.testing.assert_close(y[..., g::3], torch.softmax(x[..., g::3], -1))


@given(st.integers(0, 3), st.sampled_from([1, 100, 70000]))
def test_mish_and_its_gradient_are_mish(scale: int, count: int) -> None:
    x = torch.randn(count) * 10.0**scale
    x[0] = [-1e4, -30.0, 30.0, 1e4][scale]
    x.requires_grad_()
    upstream = torch.randn(count)
    results = []
    for function in (mish, torch.nn.functional.mish):
        y = function(x)
        results.append((y, *torch.autograd.grad(y, x, upstream)))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def test_the_scale_follows_the_percentiles_and_is_at_least_one() -> None:
    scale = QScale(tau=0.5)
    q = torch.arange(101.0)  # percentiles 5 and 95
    assert float(scale.update(q)) == pytest.approx(1 + 0.5 * 89)
    assert float(scale.update(torch.zeros(4))) == pytest.approx(45.5 + 0.5 * (1 - 45.5))
    assert set(scale.state_dict()) == {"value"}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_scale_outlives_values_that_are_not_finite(bad: float) -> None:
    scale = QScale(tau=0.5)
    scale.update(torch.arange(101.0))
    assert float(scale.update(torch.tensor([0.0, 1.0, bad]))) == pytest.approx(45.5)
    assert float(scale.update(torch.zeros(4))) == pytest.approx(45.5 + 0.5 * (1 - 45.5))


def _slow_member(net: NormedEnsemble, n: int, x: torch.Tensor) -> torch.Tensor:
    for i in range(len(net.weights)):
        x = x @ net.weights[i][n] + net.biases[i][n, 0]
        if i < len(net.weights) - 1:
            x = torch.nn.functional.layer_norm(x, x.shape[-1:])
            x = torch.nn.functional.mish(x * net.gains[i][n, 0] + net.shifts[i][n, 0])
    return x


@pytest.mark.parametrize("shapes", [((4, 6), (4, 6)), ((4, 1), (4, 6)), ((4, 6), (4, 1)), ((), ())])
def test_members_compute_what_each_of_them_would_alone(shapes: Any) -> None:
    torch.manual_seed(0)
    net = NormedEnsemble([5, 2, 0], [8, 8], 3, n_members=4)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    a, b = torch.randn(*shapes[0], 5), torch.randn(*shapes[1], 2)
    rows = torch.broadcast_shapes(*shapes)
    x = torch.cat([a.expand(*rows, 5), b.expand(*rows, 2)], -1)
    nothing = a.new_empty(*shapes[0], 0)
    everything = net(a, b, nothing)
    assert everything.shape == (4, *rows, 3)
    for n in range(4):
        torch.testing.assert_close(everything[n], _slow_member(net, n, x), rtol=1e-4, atol=1e-5)
    some = net(a, b, nothing, members=torch.tensor([3, 1]))
    torch.testing.assert_close(some, everything[[3, 1]])


def test_a_frozen_ensemble_passes_gradients_to_its_inputs_alone() -> None:
    net = NormedEnsemble([2], [4], 1, n_members=2)
    x = torch.randn(3, 2, requires_grad=True)
    net(x, frozen=True, members=torch.tensor([1, 0])).sum().backward()
    assert x.grad is not None
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize(
    ("size", "millions"), [("1M", 1), ("5M", 5), ("19M", 19), ("48M", 48), ("317M", 317)]
)
def test_sizes_have_about_the_parameters_of_their_names(size: str, millions: float) -> None:
    with torch.device("meta"):
        model = WorldModel(TensorSpec((24,)), 6, settings=SIZES[size])
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert count == pytest.approx(millions, rel=0.5 if size == "1M" else 0.12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: model_of_size("2M"), "the sizes are"),
        (lambda: WorldModelSettings(latent_dim=12), "no multiple of simnorm_dim"),
        (lambda: WorldModelSettings(n_q=1), "n_q is 1; allowed: a whole number of at least 2"),
        (lambda: WorldModelSettings(vmin=3, vmax=2), "not below"),
        (lambda: PlanningSettings(acts_by="luck"), "acts_by is 'luck'"),  # type: ignore[arg-type]
        (lambda: PlanningSettings(early_updates=5), "give both or neither"),
        (lambda: PlanningSettings(mppi=MPPI(n_samples=16)), "more than the search's n_samples"),
        (lambda: TDMPC2Settings(horizon=0), "horizon is 0"),
        (lambda: TDMPC2Settings(rho=0.0), "rho is 0.0; allowed: a number above 0"),
        (
            lambda: TDMPC2Settings(horizon=2, planning=PlanningSettings(plan_interval=3)),
            "plan_interval 3 is longer than the horizon 2",
        ),
    ],
)
def test_contradictions_are_errors(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_the_search_has_more_iterations_for_many_actions_and_may_start_cheaply() -> None:
    cheap = MPPI(n_samples=32)
    settings = PlanningSettings(early_updates=10, early_mppi=cheap)
    assert settings.search(6, 9) is cheap
    assert settings.search(6, 10) == MPPI(n_samples=512, n_iterations=6)
    assert settings.search(20, 10).n_iterations == 8
    assert MPPI().n_elites == 64


@pytest.mark.parametrize("log_prob", ["density", "upstream"])
def test_log_prob_of_the_policy(log_prob: Any) -> None:
    torch.manual_seed(0)
    model = WorldModel(TensorSpec((3,)), 2, settings=model_of_size("small"), log_prob=log_prob)
    z = model.encode(torch.randn(5, 3))
    drawn = model.pi(z, torch.randn(5, 2))
    mean, spread = model.policy(z, z[:, :0])[0].chunk(2, -1)
    std = (-10 + 6 * (torch.tanh(spread) + 1)).exp()
    normal = torch.distributions.Normal(mean, std)
    plain = torch.distributions.TransformedDistribution(normal, torch.distributions.TanhTransform())
    density = plain.log_prob(drawn.action).sum(-1)
    if log_prob == "density":
        torch.testing.assert_close(drawn.log_prob, density, rtol=1e-3, atol=1e-2)
    else:
        assert not torch.allclose(drawn.log_prob, density, atol=0.1)
    torch.testing.assert_close(model.pi(z, torch.zeros(5, 2)).action, drawn.mean)


def test_goals_condition_rewards_and_not_the_dynamics() -> None:
    torch.manual_seed(0)
    model = WorldModel(TensorSpec((3,)), 2, TensorSpec((2,)), settings=model_of_size("small"))
    for head in (model._reward, model.q.weights[-1]):
        for p in head.parameters() if isinstance(head, torch.nn.Module) else [head]:
            torch.nn.init.normal_(p)
    z, action = model.encode(torch.randn(6, 3)), torch.rand(6, 2)
    one, other = (model.encode_goal(torch.randn(6, 2)) for _ in range(2))
    steps = [model.step(z, action, model.goal_term(goal)) for goal in (one, other)]
    torch.testing.assert_close(steps[0].latent, steps[1].latent)
    torch.testing.assert_close(steps[0].latent, model.next(z, action))
    for verb in (model.reward, model.termination):
        assert not torch.allclose(verb(z, action, one), verb(z, action, other), atol=1e-6)
    assert not torch.allclose(model.Q(z, action, one), model.Q(z, action, other))
    assert not torch.allclose(model.pi(z, action, one).mean, model.pi(z, action, other).mean)


def test_images_and_vectors_are_encoded_together() -> None:
    torch.manual_seed(0)
    spec = {
        "camera": TensorSpec((3, 64, 64), dtype=torch.uint8),
        "speed": TensorSpec((2,)),
        "time": TensorSpec(()),
    }
    encoder = ObservationEncoder(spec, model_of_size("small"))
    observation = {
        "camera": torch.randint(0, 256, (2, 3, 3, 64, 64), dtype=torch.uint8),
        "speed": torch.randn(2, 3, 2),
        "time": torch.randn(2, 3),
    }
    z = encoder(observation)
    assert z.shape == (2, 3, 64)
    torch.testing.assert_close(z.unflatten(-1, (8, 8)).sum(-2), torch.ones(2, 3, 8))
    for key in observation:
        changed = {**observation, key: observation[key] // 2}
        assert not torch.allclose(encoder(changed), z, atol=1e-5)
    torch.testing.assert_close(encoder({k: v[1] for k, v in observation.items()}), z[1])
    with pytest.raises(ValueError, match="too small"):
        ObservationEncoder(TensorSpec((3, 16, 16)), model_of_size("small"))


def test_random_shifts_move_images_by_up_to_three_pixels() -> None:
    rows = torch.arange(64.0)[:, None].expand(64, 64)
    columns = torch.arange(64.0)[None].expand(64, 64)
    image = torch.stack([rows, columns]).expand(200, 2, 64, 64)
    torch.manual_seed(0)
    shifted = random_shift(image)
    assert shifted.shape == image.shape
    moves = shifted[:, :, 30, 40] - torch.tensor([30.0, 40.0])
    assert {int(m) for m in moves[:, 0]} == set(range(-3, 4))
    assert {int(m) for m in moves[:, 1]} == set(range(-3, 4))
    inside = shifted[:, :, 5:-5, 5:-5] - image[:, :, 5:-5, 5:-5]
    torch.testing.assert_close(inside, moves[:, :, None, None].expand_as(inside))
    assert float(shifted.min()) == 0  # edges are repeated
    assert float(shifted.max()) == 63
