"""Distributions: densities, round trips through parameters, modes, entropies."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributions as td
from hypothesis import given, settings
from hypothesis import strategies as st

from alf.data_structures import namedtuple
from alf.nest import nest
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils
from alf.utils.distributions import T2ITS, TruncatedCauchy, TruncatedNormal, TruncatedT2

Pair = namedtuple("Pair", ["a", "b"])


def _squashed_normal(loc, scale, low=-1.0, high=1.0):
    """tanh of a normal, stretched to (low, high)."""
    middle, half = (
        torch.full_like(loc[0], (low + high) / 2),
        torch.full_like(loc[0], (high - low) / 2),
    )
    return dist_utils.transformed_distribution(
        dist_utils.DiagMultivariateNormal(loc, scale),
        [dist_utils.StableTanh(), dist_utils.AffineTransform(middle, half)],
    )


def _distributions():
    torch.manual_seed(0)
    loc, scale = torch.randn(4, 3), torch.rand(4, 3) + 0.1
    logits = torch.randn(4, 3)
    normal = dist_utils.DiagMultivariateNormal(loc, scale)
    bounds = (-torch.ones(3), torch.full((3,), 2.0))
    return {
        "normal": td.Normal(loc, scale),
        "independent": td.Independent(td.Normal(loc, scale), 1),
        "diag_normal": normal,
        "diag_cauchy": dist_utils.DiagMultivariateCauchy(loc, scale),
        "diag_beta": dist_utils.DiagMultivariateBeta(scale + 1, scale + 2),
        "beta": dist_utils.Beta(scale + 1, scale + 2, eps=0.01),
        "categorical": td.Categorical(logits=logits),
        "categorical_from_probs": td.Categorical(probs=logits.softmax(-1)),
        "independent_categorical": td.Independent(td.Categorical(logits=torch.randn(4, 2, 5)), 1),
        "one_hot": td.OneHotCategorical(logits=logits),
        "straight_through": dist_utils.OneHotCategoricalStraightThrough(logits=logits),
        "gumbel": dist_utils.OneHotCategoricalGumbelSoftmax(tau=0.5, logits=logits),
        "bernoulli": td.Bernoulli(logits=logits),
        "squashed": _squashed_normal(loc, scale, -2.0, 3.0),
        "affine": dist_utils.AffineTransformedDistribution(normal, 2.0, torch.tensor(3.0)),
        "batched_affine": dist_utils.AffineTransformedDistribution(normal, loc, scale),
        "batched_transform": td.TransformedDistribution(
            normal, [dist_utils.StableTanh(), dist_utils.AffineTransform(loc, scale)]
        ),
        "softclip": dist_utils.transformed_distribution(normal, [dist_utils.SoftclipTF(-1.0, 2.0)]),
        "mixture": td.MixtureSameFamily(
            td.Categorical(logits=torch.randn(4, 5)),
            dist_utils.DiagMultivariateNormal(torch.randn(4, 5, 2), torch.rand(4, 5, 2) + 0.1),
        ),
        "truncated": TruncatedNormal(loc, scale, *bounds),
        "multivariate": td.MultivariateNormal(loc, scale_tril=torch.eye(3).expand(4, 3, 3)),
    }


@pytest.mark.parametrize("name", list(_distributions()))
def test_parameters_rebuild_the_distribution(name):
    dist = _distributions()[name]
    spec = dist_utils.extract_spec(dist)
    params = dist_utils.distributions_to_params(dist)
    rebuilt = dist_utils.params_to_distributions(params, spec)
    value = dist.sample()
    assert (rebuilt.batch_shape, rebuilt.event_shape) == (dist.batch_shape, dist.event_shape)
    torch.testing.assert_close(rebuilt.log_prob(value.clone()), dist.log_prob(value.clone()))
    torch.manual_seed(1)
    sample = dist.sample()
    torch.manual_seed(1)
    torch.testing.assert_close(rebuilt.sample(), sample)


@pytest.mark.parametrize("name", list(_distributions()))
def test_parameters_of_a_cut_batch_make_the_cut_distribution(name):
    dist = _distributions()[name]
    spec = dist_utils.extract_spec(dist)
    params = dist_utils.distributions_to_params({"d": dist})
    cut = nest.map_structure(lambda x: x[1:3], params)
    rebuilt = dist_utils.params_to_distributions(cut, {"d": spec})["d"]
    value = dist.sample()
    torch.testing.assert_close(rebuilt.log_prob(value[1:3]), dist.log_prob(value.clone())[1:3])


@pytest.mark.parametrize("name", list(_distributions()))
def test_specs_survive_pickling(name):
    dist = _distributions()[name]
    spec = pickle.loads(pickle.dumps(dist_utils.extract_spec(dist)))
    rebuilt = spec.build_distribution(dist_utils.extract_distribution_parameters(dist))
    value = dist.sample()
    torch.testing.assert_close(rebuilt.log_prob(value), dist.log_prob(value.clone()))


def test_normal_round_trip_is_bitwise_exact_and_keeps_gradients():
    loc = torch.randn(4, 3, requires_grad=True)
    dist = _squashed_normal(loc, torch.rand(4, 3) + 0.1)
    params = dist_utils.distributions_to_params(dist)
    assert torch.equal(params["loc"], loc)
    rebuilt = dist_utils.params_to_distributions(params, dist_utils.extract_spec(dist))
    dist_utils.rsample_action_distribution(rebuilt).sum().backward()
    assert loc.grad.abs().min() > 0


def test_tensors_and_distributions_mix_in_nests():
    dist, tensor = td.Normal(torch.zeros(4), torch.ones(4)), torch.arange(4.0)
    nested = Pair(a=[dist, tensor], b={"x": dist, "nothing": ()})
    spec = dist_utils.extract_spec(nested)
    assert spec.a[1] == TensorSpec(())
    params = dist_utils.distributions_to_params(nested)
    assert set(params.a[0]) == {"loc", "scale"}
    param_spec = dist_utils.to_distribution_param_spec(spec)
    assert param_spec.a[0] == {"loc": TensorSpec(()), "scale": TensorSpec(())}
    back = dist_utils.params_to_distributions(params, spec)
    assert isinstance(back.a[0], td.Normal)
    assert back.a[1] is tensor
    assert back.b["nothing"] == ()


def test_unknown_distribution_is_named():
    with pytest.raises(ValueError, match="VonMises"):
        dist_utils.extract_spec(td.VonMises(torch.ones(2), torch.ones(2)))
    with pytest.raises(ValueError, match="Weibull"):
        dist_utils.extract_spec(td.Weibull(torch.ones(2), torch.ones(2)))


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("loc", [-4.0, 0.0, 1.5])
def test_density_of_squashed_normal_integrates_to_one(loc, scale):
    # Integrated over u, with x = tanh(u), the slopes of density and x cancel: any error in the log
    # determinant shows.
    dist = _squashed_normal(
        torch.full((1, 1), loc, dtype=torch.float64),
        torch.full((1, 1), scale, dtype=torch.float64),
        -2.0,
        5.0,
    )
    u = torch.linspace(-16.0, 16.0, 20001, dtype=torch.float64)
    x = 1.5 + 3.5 * torch.tanh(u)
    slope = 3.5 / torch.cosh(u) ** 2
    total = torch.trapezoid(dist.log_prob(x[:, None]).exp() * slope, u)
    assert total.item() == pytest.approx(1.0, abs=1e-3)


def test_density_of_squashed_normal_equals_hand_number():
    # tanh(0) = 0 with slope 1: the density is that of the normal there, over the half width 2.
    dist = _squashed_normal(torch.zeros(1, 1), torch.ones(1, 1), -2.0, 2.0)
    expected = -0.5 * math.log(2 * math.pi) - math.log(2.0)
    assert dist.log_prob(torch.zeros(1, 1)).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loc", [-60.0, -20.0, 9.0, 60.0])
def test_log_prob_of_own_sample_is_exact_far_in_the_tails(loc):
    torch.manual_seed(0)
    dist = _squashed_normal(torch.full((100, 1), loc), torch.full((100, 1), 0.5))
    base = dist.base_dist
    with torch.no_grad():
        action = dist.rsample()
        x = dist.transforms[0]._cached_x_y[0]
    exact = base.log_prob(x.double()) - 2.0 * (
        math.log(2.0) - x.double() - torch.nn.functional.softplus(-2.0 * x.double())
    ).sum(-1)
    torch.testing.assert_close(dist.log_prob(action).double(), exact, rtol=1e-5, atol=1e-5)


def test_log_prob_at_the_bounds_is_finite_with_finite_gradient():
    loc = torch.zeros(2, 1, requires_grad=True)
    dist = _squashed_normal(loc, torch.ones(2, 1))
    log_prob = dist.log_prob(torch.tensor([[-1.0], [1.0]]))
    log_prob.sum().backward()
    assert torch.isfinite(log_prob).all()
    assert torch.isfinite(loc.grad).all()


def test_two_distributions_with_one_transform_do_not_share_a_cache():
    transform = dist_utils.StableTanh()
    torch.manual_seed(0)
    base = dist_utils.DiagMultivariateNormal(torch.full((5, 1), 12.0), torch.ones(5, 1))
    first = dist_utils.transformed_distribution(base, [transform])
    second = dist_utils.transformed_distribution(base, [transform])
    action, log_prob = dist_utils.rsample_action_distribution(first, return_log_prob=True)
    second.sample()
    assert torch.equal(first.log_prob(action), log_prob)
    assert transform._cached_x_y == (None, None)


TRANSFORMS = {
    "tanh": dist_utils.StableTanh(),
    "softplus": dist_utils.Softplus(0.5),
    "softsign": dist_utils.Softsign(),
    "softclip": dist_utils.Softclip(-1.0, 2.0, 0.3),
    "softclip_tf": dist_utils.SoftclipTF(-1.0, 2.0, 0.3),
    "softlower": dist_utils.Softlower(-1.0),
    "softupper": dist_utils.Softupper(2.0, 0.7),
    "sigmoid": dist_utils.SigmoidTransform(),
    "exp": dist_utils.ExpTransform(),
    "affine": dist_utils.AffineTransform(1.0, -2.0),
}


@pytest.mark.parametrize("name", list(TRANSFORMS))
@given(x=st.floats(-3.0, 3.0))
@settings(max_examples=30, deadline=None)
def test_transform_inverts_and_its_log_determinant_is_the_slope(name, x):
    transform = copy.deepcopy(TRANSFORMS[name])
    point = torch.tensor([x], dtype=torch.float64, requires_grad=True)
    y = transform(point)
    (slope,) = torch.autograd.grad(y.sum(), point)
    log_slope = transform.log_abs_det_jacobian(point, y)
    torch.testing.assert_close(log_slope.detach(), slope.abs().log(), rtol=1e-6, atol=1e-8)
    inverse = transform.inv(y.detach().clone())
    torch.testing.assert_close(inverse, point.detach(), atol=1e-6, rtol=0)


def test_softclips_stay_in_their_range_and_reach_it():
    x = torch.tensor([-30.0, 0.5, 30.0])
    for transform in (dist_utils.Softclip(-1.0, 2.0, 0.1), dist_utils.SoftclipTF(-1.0, 2.0, 0.1)):
        torch.testing.assert_close(transform(x), torch.tensor([-1.0, 0.5, 2.0]))


def test_equal_transforms_compare_equal_so_that_kl_divergence_works():
    p = dist_utils.transformed_distribution(
        dist_utils.DiagMultivariateNormal(torch.zeros(1, 2), torch.ones(1, 2)),
        [dist_utils.StableTanh()],
    )
    q = dist_utils.transformed_distribution(
        dist_utils.DiagMultivariateNormal(torch.ones(1, 2), torch.ones(1, 2)),
        [dist_utils.StableTanh()],
    )
    # KL between unit normals 1 apart in each of two dimensions: 2 * 1/2
    assert td.kl_divergence(p, q).item() == pytest.approx(1.0)
    assert dist_utils.Softplus(1.0) != dist_utils.Softplus(2.0)


@pytest.mark.parametrize("cls", [TruncatedNormal, TruncatedCauchy, TruncatedT2])
@pytest.mark.parametrize("loc", [-3.0, 0.2, 6.0])
def test_density_of_truncated_distributions_integrates_to_one(cls, loc):
    low, high = torch.tensor([-1.0]).double(), torch.tensor([2.0]).double()
    dist = cls(torch.tensor([[loc]]).double(), torch.tensor([[0.7]]).double(), low, high)
    x = torch.linspace(-1.0, 2.0, 10001, dtype=torch.float64)
    total = torch.trapezoid(dist.log_prob(x[:, None]).exp(), x)
    assert total.item() == pytest.approx(1.0, abs=1e-4)
    assert dist.log_prob(torch.tensor([[2.1]]).double()).item() == -math.inf


@pytest.mark.parametrize("cls", [TruncatedNormal, TruncatedCauchy, TruncatedT2])
@pytest.mark.parametrize("loc", [-8.0, 0.2, 8.0])
def test_truncated_samples_follow_the_density(cls, loc):
    torch.manual_seed(0)
    low, high = torch.tensor([-1.0]), torch.tensor([2.0])
    dist = cls(torch.tensor([[loc]]), torch.tensor([[1.0]]), low, high)
    sample = dist.sample((20000,))[:, 0, 0]
    x = torch.linspace(-1.0, 2.0, 4001)
    mean = torch.trapezoid(dist.log_prob(x[:, None]).exp() * x, x)
    assert sample.min() >= -1.0
    assert sample.max() <= 2.0
    assert sample.mean().item() == pytest.approx(mean.item(), abs=0.02)


def test_truncated_gradients_reach_location_and_scale():
    loc = torch.tensor([[0.5]], requires_grad=True)
    scale = torch.tensor([[0.5]], requires_grad=True)
    dist = TruncatedNormal(loc, scale, torch.tensor([-1.0]), torch.tensor([1.0]))
    value = dist.rsample()
    (value.sum() + dist.log_prob(value.detach()).sum()).backward()
    assert torch.isfinite(loc.grad).all()
    assert scale.grad.abs().item() > 0


def test_mode_of_each_kind():
    loc = torch.tensor([[0.3, -0.2]])
    assert torch.equal(dist_utils.get_mode(td.Normal(loc, torch.ones(1, 2))), loc)
    squashed = _squashed_normal(loc, torch.ones(1, 2), 0.0, 2.0)
    torch.testing.assert_close(dist_utils.get_mode(squashed), 1.0 + torch.tanh(loc))
    categorical = td.Categorical(logits=torch.tensor([[0.0, 2.0, 1.0]]))
    assert dist_utils.get_mode(categorical).tolist() == [1]
    independent = td.Independent(td.Categorical(logits=torch.tensor([[[0.0, 2.0], [3.0, 1.0]]])), 1)
    assert dist_utils.get_mode(independent).tolist() == [[1, 0]]
    one_hot = td.OneHotCategorical(logits=torch.tensor([[0.0, 2.0, 1.0]]))
    assert dist_utils.get_mode(one_hot).tolist() == [[0.0, 1.0, 0.0]]
    mixture = td.MixtureSameFamily(
        td.Categorical(logits=torch.tensor([[0.0, 1.0]])),
        dist_utils.DiagMultivariateNormal(
            torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.ones(1, 2, 2)
        ),
    )
    assert dist_utils.get_mode(mixture).tolist() == [[3.0, 4.0]]


def test_mode_of_beta():
    one = torch.tensor([2.0, 2.0, 0.5, 0.5, 1.0])
    zero = torch.tensor([3.0, 0.5, 2.0, 0.5, 1.0])
    expected = [1.0 / 3.0, 1.0, 0.0, 0.5, 0.5]
    assert dist_utils.Beta(one, zero).mode.tolist() == pytest.approx(expected)


def test_rmode_has_gradients_where_there_are_any():
    logits = torch.zeros(1, 3, requires_grad=True)
    dist = dist_utils.OneHotCategoricalStraightThrough(logits=logits)
    (dist_utils.get_rmode(dist) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert logits.grad.abs().sum() > 0
    loc = torch.zeros(1, 3, requires_grad=True)
    dist_utils.get_rmode(_squashed_normal(loc, torch.ones(1, 3))).sum().backward()
    assert torch.equal(loc.grad, torch.ones(1, 3))
    with pytest.raises(ValueError, match="Categorical"):
        dist_utils.get_rmode(td.Categorical(logits=torch.zeros(1, 3)))


def test_gumbel_samples_are_one_hot_with_gradients():
    logits = torch.randn(5, 3, requires_grad=True)
    sample = dist_utils.OneHotCategoricalGumbelSoftmax(tau=0.7, logits=logits).rsample()
    torch.testing.assert_close(sample.sum(-1), torch.ones(5))
    torch.testing.assert_close(sample.max(-1).values, torch.ones(5))
    (sample * torch.arange(3.0)).sum().backward()
    assert logits.grad.abs().sum() > 0


def test_log_probabilities_and_entropies_of_a_nest_add_up():
    loc = torch.randn(4, 3)
    normal = dist_utils.DiagMultivariateNormal(loc, torch.ones(4, 3))
    categorical = td.Categorical(logits=torch.randn(4, 5))
    nested = (normal, {"d": categorical})
    actions, log_prob = dist_utils.sample_action_distribution(nested, return_log_prob=True)
    expected = normal.log_prob(actions[0]) + categorical.log_prob(actions[1]["d"])
    torch.testing.assert_close(log_prob, expected)
    torch.testing.assert_close(dist_utils.compute_log_probability(nested, actions), expected)
    torch.testing.assert_close(
        dist_utils.compute_entropy(nested), normal.entropy() + categorical.entropy()
    )


def test_entropy_without_a_formula_names_the_way_out():
    with pytest.raises(ValueError, match="entropy_with_fallback"):
        dist_utils.compute_entropy(_squashed_normal(torch.zeros(1, 1), torch.ones(1, 1)))


def test_estimated_entropy_and_its_gradient_approach_the_exact_ones():
    torch.manual_seed(0)
    scale = torch.full((2, 1), 0.8, requires_grad=True)
    normal = dist_utils.DiagMultivariateNormal(torch.zeros(2, 1), scale)
    estimate, for_gradient = dist_utils.estimated_entropy(normal, num_samples=20000)
    torch.testing.assert_close(estimate, normal.entropy(), atol=0.02, rtol=0)
    (gradient,) = torch.autograd.grad(for_gradient.sum(), scale)
    torch.testing.assert_close(gradient, 1.0 / scale.detach(), atol=0.05, rtol=0)


def test_estimated_entropy_gradient_is_right_without_reparameterisation():
    torch.manual_seed(0)
    logits = torch.tensor([[0.5, -0.3, 0.1]], requires_grad=True)
    dist = td.Categorical(logits=logits)
    (exact,) = torch.autograd.grad(dist.entropy().sum(), logits, retain_graph=True)
    _, for_gradient = dist_utils.estimated_entropy(dist, num_samples=100000)
    (gradient,) = torch.autograd.grad(for_gradient.sum(), logits)
    torch.testing.assert_close(gradient, exact, atol=0.01, rtol=0)


def test_entropy_with_fallback_uses_formulas_where_it_can():
    normal = dist_utils.DiagMultivariateNormal(torch.zeros(3, 2), torch.ones(3, 2))
    squashed = _squashed_normal(torch.zeros(3, 2), torch.ones(3, 2))
    entropy, for_gradient = dist_utils.entropy_with_fallback([normal, squashed], return_sum=False)
    assert torch.equal(entropy[0], normal.entropy())
    assert entropy[1].shape == for_gradient[1].shape == (3,)
    total, _ = dist_utils.entropy_with_fallback([normal, squashed])
    assert total.shape == (3,)


def test_affine_distribution_has_moments_and_entropy():
    normal = dist_utils.DiagMultivariateNormal(torch.ones(1, 2), torch.full((1, 2), 0.5))
    dist = dist_utils.AffineTransformedDistribution(normal, 3.0, -2.0)
    twin = dist_utils.DiagMultivariateNormal(torch.ones(1, 2), torch.ones(1, 2))
    assert dist.mean.tolist() == [[1.0, 1.0]]
    assert dist.stddev.tolist() == [[1.0, 1.0]]
    assert dist.variance.tolist() == [[1.0, 1.0]]
    torch.testing.assert_close(dist.entropy(), twin.entropy())
    value = torch.randn(1, 2)
    torch.testing.assert_close(dist.log_prob(value), twin.log_prob(value))


def test_epsilon_greedy_samples_whole_rows_in_the_right_share():
    torch.manual_seed(0)
    rows = 4000
    dist = td.Normal(torch.zeros(rows, 2), torch.ones(rows, 2))
    nested = [dist, td.Normal(torch.zeros(rows), torch.ones(rows))]
    assert dist_utils.epsilon_greedy_sample(nested, 0.0)[0].abs().sum() == 0
    assert (dist_utils.epsilon_greedy_sample(nested, 1.0)[0] != 0).all()
    first, second = dist_utils.epsilon_greedy_sample(nested, 0.25)
    explored = (first != 0).all(-1)
    assert torch.equal(explored, (first != 0).any(-1))
    assert torch.equal(explored, second != 0)
    assert explored.float().mean().item() == pytest.approx(0.25, abs=0.03)
    with pytest.raises(ValueError, match="eps"):
        dist_utils.epsilon_greedy_sample(nested, 1.5)


def test_base_distribution_lies_under_all_layers():
    normal = td.Normal(torch.zeros(1, 2), torch.ones(1, 2))
    dist = td.TransformedDistribution(td.Independent(normal, 1), [dist_utils.StableTanh()])
    assert dist_utils.get_base_dist(dist) is normal


def test_target_entropies_are_the_documented_numbers():
    continuous = BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)
    # uniform on a tenth of the width 2, twice
    assert dist_utils.calc_default_target_entropy(continuous) == pytest.approx(2 * math.log(0.2))
    discrete = BoundedTensorSpec((), torch.int64, 0, 3)
    expected = -0.9 * math.log(0.9) - 0.1 * math.log(0.1 / 3)
    assert dist_utils.calc_default_target_entropy(discrete) == pytest.approx(expected)
    lone = BoundedTensorSpec((), torch.int64, 0, 0)
    assert dist_utils.calc_default_target_entropy(lone) == 0.0
    assert dist_utils.calc_uniform_log_prob(continuous) == pytest.approx(-2 * math.log(2))
    assert dist_utils.calc_uniform_log_prob(discrete) == pytest.approx(-math.log(4))
    assert dist_utils.calc_default_max_entropy(discrete, 0.5) == pytest.approx(0.5 * math.log(4))
    narrow = BoundedTensorSpec((1,), minimum=0.0, maximum=0.5)
    assert dist_utils.calc_default_max_entropy(narrow) < math.log(0.5)
    quantized = dist_utils.calc_default_target_entropy_quantized(continuous, 10)
    assert quantized == pytest.approx(2 * (-1.0 + math.log(10 / 2)))
    with pytest.raises(ValueError, match="BoundedTensorSpec"):
        dist_utils.calc_default_target_entropy(TensorSpec((2,), torch.int64))


def test_cauchy_samples_stay_finite():
    torch.manual_seed(0)
    dist = dist_utils.DiagMultivariateCauchy(torch.zeros(1000, 3), torch.ones(1000, 3))
    # tan(0.49 pi) = 31.8
    assert dist.rsample().abs().max() < 32.0


def test_expanded_distributions_keep_their_class():
    dist = _squashed_normal(torch.zeros(1, 2), torch.ones(1, 2)).expand((5,))
    assert dist.batch_shape == (5,)
    assert dist.log_prob(torch.zeros(5, 2)).shape == (5,)


@pytest.mark.parametrize("scale_shape", [(4, 3), (3,)])
def test_the_density_of_a_normal_vector_is_that_of_its_elements(scale_shape):
    torch.manual_seed(0)
    loc = torch.randn(4, 3, requires_grad=True)
    scale = (torch.rand(scale_shape) + 0.1).requires_grad_()
    value = torch.randn(5, 4, 3, requires_grad=True)
    found = dist_utils.DiagMultivariateNormal(loc, scale).log_prob(value)
    wanted = td.Independent(td.Normal(loc, scale), 1).log_prob(value)
    torch.testing.assert_close(found, wanted)
    inputs = (loc, scale, value)
    for ours, theirs in zip(
        torch.autograd.grad(found.sum(), inputs),
        torch.autograd.grad(wanted.sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_kl_of_truncated_normals_is_the_integral() -> None:
    bounds = (
        torch.tensor([-1.0, 0.0], dtype=torch.float64),
        torch.tensor([1.0, 2.0], dtype=torch.float64),
    )

    def make(loc: list[float], scale: list[float]) -> TruncatedNormal:
        return TruncatedNormal(
            *(torch.tensor(x, dtype=torch.float64) for x in (loc, scale)), *bounds
        )

    p, q = make([2.0, -3.0], [2.0, 1.0]), make([0.0, 1.0], [1.0, 0.5])
    grid = torch.stack(
        [torch.linspace(a, b, 20001, dtype=torch.float64) for a, b in ((-1, 1), (0, 2))], -1
    )

    def log_density(dist: TruncatedNormal) -> torch.Tensor:
        x = (grid - dist.loc) / dist.scale
        mass = torch.trapezoid(torch.exp(-0.5 * x * x), grid, dim=0)
        return -0.5 * x * x - mass.log()

    lp, lq = log_density(p), log_density(q)
    expected = torch.trapezoid(lp.exp() * (lp - lq), grid, dim=0).sum()
    torch.testing.assert_close(td.kl_divergence(p, q), expected, atol=1e-6, rtol=1e-6)
    assert td.kl_divergence(p, p).abs() < 1e-12
    wider = TruncatedNormal(p.loc, p.scale, bounds[0] - 1, bounds[1])
    assert td.kl_divergence(wider, q) == torch.inf


def test_t2_is_scaled_so_that_its_density_is_the_derivative_of_its_distribution() -> None:
    its = T2ITS()
    x = torch.linspace(-3, 3, 7, dtype=torch.float64, requires_grad=True)
    (density,) = torch.autograd.grad(its.cdf(x).sum(), x)
    torch.testing.assert_close(density, 0.5 * (1 + x.detach() ** 2) ** -1.5)
    torch.testing.assert_close(its.log_prob(x), density.log())
    torch.testing.assert_close(its.icdf(its.cdf(x)), x)


@pytest.mark.parametrize(
    "convert",
    [
        dist_utils.distributions_to_params,
        dist_utils.extract_spec,
        dist_utils.to_distribution_param_spec,
    ],
)
def test_leaves_of_another_kind_are_refused(convert: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match="got 3"):
        convert([3])


def test_the_largest_entropy_is_divided_for_narrow_dimensions() -> None:
    """0.5 ln 2 for the width 2, and ln 0.5 / 0.5 for the width 0.5."""
    spec = BoundedTensorSpec((2,), minimum=[-1, 0], maximum=[1, 0.5])
    expected = 0.5 * math.log(2) + math.log(0.5) / 0.5
    assert dist_utils.calc_default_max_entropy(spec, fraction=0.5) == pytest.approx(expected)
