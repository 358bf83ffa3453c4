"""Layers: replicas computed at once equal layers computed one by one, and initial values."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from alf import initializers, layers, networks
from alf.initializers import variance_scaling_init
from alf.nest.utils import NestConcat
from alf.networks import mdq_critic_networks, normalizing_flow_networks
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils
from alf.utils.distributions import TruncatedNormal

N, B = 3, 4


def _replica(parallel: nn.Module, single: nn.Module, i: int) -> nn.Module:
    """A copy of ``single`` with the parameters of replica ``i`` of ``parallel``."""
    single = copy.deepcopy(single)
    for (_, target), (_, source) in zip(
        single.named_parameters(), parallel.named_parameters(), strict=True
    ):
        rows = source if source.shape[0] == N else source.unflatten(0, (N, -1))
        target.data.copy_(rows[i])
    return single


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_bias": False},
        {"activation": torch.relu_},
        {"use_ln": True, "activation": torch.tanh},
        {"use_bn": True},
        {"use_bn": True, "use_ln": True},
    ],
)
@pytest.mark.parametrize("shared", [True, False])
def test_parallel_fc_equals_separate_layers(options, shared):
    torch.manual_seed(0)
    single = layers.FC(5, 4, **options)
    parallel = single.make_parallel(N)
    for parameter in parallel.parameters():
        parameter.data.normal_()
    x = torch.randn(7, 5) if shared else torch.randn(7, N, 5)
    y = parallel(x)
    assert y.shape == (7, N, 4)
    for i in range(N):
        expected = _replica(parallel, single, i)(x if shared else x[:, i])
        torch.testing.assert_close(y[:, i], expected, atol=1e-5, rtol=1e-5)


def test_parallel_fc_gradients_equal_those_of_separate_layers():
    torch.manual_seed(0)
    single = layers.FC(5, 4, activation=torch.relu_)
    parallel = single.make_parallel(N)
    x = torch.randn(7, 5)
    weight = torch.randn(7, N, 4)
    (parallel(x) * weight).sum().backward()
    for i in range(N):
        replica = _replica(parallel, single, i)
        (replica(x) * weight[:, i]).sum().backward()
        torch.testing.assert_close(parallel.weight.grad[i], replica.weight.grad)
        torch.testing.assert_close(parallel.bias.grad[i], replica.bias.grad)


def test_parallel_fc_names_the_shapes_it_takes():
    with pytest.raises(ValueError, match=r"\[B, 5\] or \[B, 3, 5\]"):
        layers.ParallelFC(5, 4, N)(torch.zeros(7, 2, 5))


@pytest.mark.parametrize("use_ln", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_parallel_conv_equals_separate_layers(use_ln, shared):
    torch.manual_seed(0)
    single = layers.Conv2D(2, 4, 3, strides=2, padding=1, use_ln=use_ln)
    parallel = single.make_parallel(N)
    x = torch.randn(5, 2, 8, 6) if shared else torch.randn(5, N, 2, 8, 6)
    y = parallel(x)
    assert y.shape == (5, N, 4, 4, 3)
    for i in range(N):
        expected = _replica(parallel, single, i)(x if shared else x[:, i])
        torch.testing.assert_close(y[:, i], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_parallel_transposed_conv_equals_separate_layers(shared):
    torch.manual_seed(0)
    single = layers.ConvTranspose2D(2, 4, 3, strides=2, padding=1, output_padding=1)
    parallel = single.make_parallel(N)
    x = torch.randn(5, 2, 3, 4) if shared else torch.randn(5, N, 2, 3, 4)
    y = parallel(x)
    assert y.shape == (5, N, 4, 6, 8)
    for i in range(N):
        expected = _replica(parallel, single, i)(x if shared else x[:, i])
        torch.testing.assert_close(y[:, i], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.Reshape(3, 2), (6,)),
        (layers.Reshape((-1,)), (2, 3)),
        (layers.Transpose(), (2, 3)),
        (layers.Transpose(-1, -2), (2, 3)),
        (layers.Permute(2, 0, 1), (2, 3, 4)),
        (layers.Sum(0), (2, 3)),
        (layers.Sum(-1), (2, 3)),
        (layers.Scale(2.0), (2,)),
        (layers.Identity(), (2,)),
        (layers.Cast(torch.float64), (2,)),
        (layers.Detach(), (2,)),
        (layers.Sequential(layers.Reshape(6), layers.Scale(3.0)), (2, 3)),
        (layers.Branch(a=layers.Identity(), b=layers.Sum(0)), (2, 3)),
    ],
)
def test_layers_without_parameters_act_on_each_replica(layer, shape):
    x = torch.randn(5, N, *shape)
    y = layers.make_parallel_net(layer, N)(x)
    for i in range(N):
        torch.testing.assert_close(
            {k: v[:, i] for k, v in y.items()} if isinstance(y, dict) else y[:, i], layer(x[:, i])
        )


def test_one_hot_and_permutation_hand_numbers():
    assert layers.OneHot(3)(torch.tensor([2, 0])).tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    assert layers.Permute(1, 0)(torch.arange(6).reshape(1, 2, 3)).tolist() == [
        [[0, 3], [1, 4], [2, 5]]
    ]
    with pytest.raises(ValueError, match="permutation"):
        layers.Permute(0, 2)


def test_sequential_passes_named_results():
    net = layers.Sequential(
        layers.Scale(2.0),
        a=layers.Scale(3.0),
        b=("input", layers.Scale(5.0)),
        c=(("a", "b"), layers.AddN()),
        output={"sum": "c", "first": "a"},
    )
    out = net(torch.tensor([1.0]))
    assert out["sum"].item() == 11.0
    assert out["first"].item() == 6.0


def test_sequential_of_fc_is_parallelised_layer_by_layer():
    net = layers.Sequential(layers.FC(3, 4, activation=torch.relu_), layers.FC(4, 2))
    parallel = net.make_parallel(N)
    assert all(isinstance(parallel[i], layers.ParallelFC) for i in range(2))
    assert parallel(torch.randn(5, N, 3)).shape == (5, N, 2)


def test_any_module_gets_independent_replicas():
    parallel = layers.make_parallel_net(nn.Linear(3, 2), N)
    assert isinstance(parallel, layers.NaiveParallelLayer)
    x = layers.make_parallel_input(torch.randn(5, 3), N)
    y = parallel(x)
    assert y.shape == (5, N, 2)
    assert not torch.allclose(y[:, 0], y[:, 1])


def test_parallel_input_and_spec_have_the_replicas_first():
    x = layers.make_parallel_input({"a": torch.arange(4.0)}, N)
    assert x["a"].shape == (4, N)
    assert layers.make_parallel_spec([TensorSpec((2,))], N) == [TensorSpec((N, 2))]
    bounded = BoundedTensorSpec((2,), minimum=[0.0, 1.0], maximum=[2.0, 3.0])
    sample = layers.make_parallel_spec(bounded, N).sample((B,))
    assert sample.shape == (B, N, 2)
    assert sample[..., 1].min() >= 1.0


def test_copied_sequential_shares_nothing():
    net = layers.Sequential(layers.FC(3, 4), layers.FC(4, 2))
    twin = copy.deepcopy(net)
    x = torch.randn(5, 3)
    before = twin(x)
    for parameter in net.parameters():
        parameter.data.zero_()
    assert torch.equal(twin(x), before)
    assert len(list(twin.parameters())) == 4


def test_reset_parameters_draws_anew_and_refuses_unknown_modules():
    net = layers.Sequential(layers.FC(3, 4), nn.Sequential(nn.Linear(4, 2)))
    before = [parameter.clone() for parameter in net.parameters()]
    layers.reset_parameters(net)
    weights = [(a, b) for a, b in zip(before, net.parameters(), strict=True) if a.ndim == 2]
    assert all(not torch.equal(a, b) for a, b in weights)

    class Strange(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

    with pytest.raises(ValueError, match="Strange"):
        layers.reset_parameters(nn.Sequential(Strange()))


def test_options_for_the_optimizer_lie_on_the_parameter():
    layer = layers.FC(2, 3, weight_opt_args={"lr": 0.1}).make_parallel(2)
    assert layer.weight.opt_args == {"lr": 0.1}
    assert not hasattr(layer.bias, "opt_args")


@pytest.mark.parametrize("distribution", ["truncated_normal", "untruncated_normal", "uniform"])
@pytest.mark.parametrize(("mode", "fan"), [("fan_in", 300), ("fan_out", 200), ("fan_avg", 250)])
def test_initial_weights_have_the_documented_variance(distribution, mode, fan):
    torch.manual_seed(0)
    weight = variance_scaling_init(
        torch.empty(200, 300), gain=2.0, mode=mode, distribution=distribution
    )
    assert weight.std().item() == pytest.approx(2.0 / math.sqrt(fan), rel=0.02)
    assert weight.mean().item() == pytest.approx(0.0, abs=2e-3)


def test_gain_keeps_the_variance_through_relu():
    torch.manual_seed(0)
    weight = variance_scaling_init(torch.empty(200, 300), nonlinearity=torch.relu_)
    # half of the second moment is lost in relu
    assert weight.std().item() == pytest.approx(math.sqrt(2.0 / 300), rel=0.02)


def test_gain_zero_gives_zeros_and_wrong_names_are_refused():
    assert variance_scaling_init(torch.ones(2, 3), gain=0.0).abs().sum() == 0
    with pytest.raises(ValueError, match="fan_in"):
        variance_scaling_init(torch.ones(2, 3), mode="fan")
    with pytest.raises(ValueError, match="uniform"):
        variance_scaling_init(torch.ones(2, 3), distribution="cauchy")


def test_torch_initialisation_has_torch_bounds():
    layer = layers.FC(100, 50, use_torch_init=True)
    bound = 1.0 / math.sqrt(100)
    assert layer.weight.abs().max() <= bound
    assert 0 < layer.bias.abs().max() <= bound


def test_random_crops_are_windows_of_the_image():
    torch.manual_seed(0)
    image = torch.arange(2 * 6 * 5.0).reshape(1, 2, 6, 5).expand(20, 2, 6, 5)
    crop = layers.RandomCrop((3, 2))(image)
    assert crop.shape == (20, 2, 3, 2)
    origin = crop[:, 0, 0, 0]
    # neighbours differ by 1 in a row, by 5 in a column, by 30 between channels
    assert torch.equal(crop[:, 0, 2, 1] - origin, torch.full((20,), 11.0))
    assert torch.equal(crop[:, 1, 0, 0] - origin, torch.full((20,), 30.0))
    assert origin.unique().numel() > 1


def test_normalisation_along_batch_axes():
    x = torch.tensor([[[3.0, 4.0]]])
    mean, variance = torch.tensor([1.0, 2.0]), torch.tensor([4.0, 1.0])
    out = layers.normalize_along_batch_dims(x, mean, variance, 0.0)
    assert out.tolist() == [[[1.0, 2.0]]]
    with pytest.raises(ValueError, match="mean"):
        layers.normalize_along_batch_dims(x, mean[:1], variance, 0.0)


def test_combiner_inside_a_sequential_has_replicas():
    net = layers.Sequential(NestConcat(), layers.FC(5, 2)).make_parallel(N)
    assert net([torch.randn(4, N, 2), torch.randn(4, N, 3)]).shape == (4, N, 2)


def test_normalisation_decides_on_the_biases():
    assert layers.FC(3, 2, use_bn=True).bias is None  # batch normalisation has one
    for layer in (
        layers.FC(3, 2, use_bias=False, use_ln=True),
        layers.ParallelFC(3, 2, 4, use_bias=False, use_ln=True),
    ):
        assert sorted(name for name, _ in layer.named_parameters()) == ["_ln.weight", "_weight"]
        layer.reset_parameters()
        assert layer(torch.randn(5, 3)).mean(-1).abs().max() < 1e-6


def test_gradient_scale_leaves_the_value():
    x = torch.ones(2, requires_grad=True)
    y = layers.ScaleGradient(0.5)(x)
    y.sum().backward()
    assert y.tolist() == [1.0, 1.0]
    assert x.grad.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("function", [torch.relu, torch.tanh, torch.sigmoid, torch.cos])
def test_the_gain_is_found_by_numbers(function):
    x = torch.randn(200_000, dtype=torch.float64)
    gain = function(x).square().mean().rsqrt().item()
    assert initializers._numerical_calculate_gain(function) == pytest.approx(gain, rel=0.02)
    assert initializers._calculate_gain(function) == pytest.approx(gain, rel=0.02)
    assert initializers._is_elementwise_op(function)


def test_what_mixes_elements_is_not_elementwise():
    assert not initializers._is_elementwise_op(lambda x: x.softmax(-1))
    assert not initializers._is_elementwise_op(lambda x: x.sum())
    assert initializers._calculate_gain("relu") == pytest.approx(2**0.5)


def test_algorithms_find_these_names_where_alf_has_them():
    """Classes and functions that modules written for ALF import from `alf.layers` and others."""
    for name in [
        "NestConcat",
        "NestSum",
        "NestMultiply",
        "NestOuterProduct",
        "get_nested_field",
        "get_outer_rank",
        "BatchNorm1d",
        "BatchNorm2d",
        "BatchSquash",
        "prepare_rnn_batch_norm",
        "ParamLayerNorm1d",
        "ParamLayerNorm2d",
        "identity",
    ]:
        assert callable(getattr(layers, name))
    assert networks.MdqCriticNetwork is mdq_critic_networks.MdqCriticNetwork
    assert dist_utils.TruncatedNormal is TruncatedNormal
    assert normalizing_flow_networks._RealNVPTransform
