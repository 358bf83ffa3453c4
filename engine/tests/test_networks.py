"""Networks: shapes, copies, replicas equal to separate networks, states, gradients."""

from __future__ import annotations

import copy
import functools
import math
import re

import pytest
import torch
import torch.distributions as td
from torch import nn

from alf import layers
from alf import networks as nets
from alf.nest import nest
from alf.nest.utils import NestConcat, NestSum
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import common, dist_utils

N, B = 3, 4
VECTOR = TensorSpec((5,))
IMAGE = TensorSpec((3, 12, 10))
ACTION = BoundedTensorSpec((2,), minimum=-1.0, maximum=3.0)
CHOICE = BoundedTensorSpec((), torch.int64, 0, 3)
NESTED = {"image": IMAGE, "vector": VECTOR, "index": CHOICE}

SQUASHED = functools.partial(
    nets.NormalProjectionNetwork, state_dependent_std=True, scale_distribution=True
)


def _nested_preprocessors():
    return {
        "image": nets.EncodingNetwork(IMAGE, conv_layer_params=((4, 3, 2),), fc_layer_params=(6,)),
        "vector": None,
        "index": nets.EmbeddingPreprocessor(CHOICE, 7),
    }


NETWORKS = {
    "encoding": lambda: nets.EncodingNetwork(VECTOR, fc_layer_params=(8, 6)),
    "encoding_ln": lambda: nets.EncodingNetwork(VECTOR, fc_layer_params=(8,), use_fc_ln=True),
    "encoding_last": lambda: nets.EncodingNetwork(
        VECTOR,
        TensorSpec((2, 3)),
        fc_layer_params=(8,),
        last_layer_size=6,
        last_activation=torch.tanh,
    ),
    "encoding_image": lambda: nets.EncodingNetwork(
        IMAGE, conv_layer_params=((4, 3, 2, 1),), fc_layer_params=(6,)
    ),
    "encoding_concat_only": lambda: nets.EncodingNetwork(
        [VECTOR, VECTOR], preprocessing_combiner=NestConcat()
    ),
    "encoding_sum": lambda: nets.EncodingNetwork(
        [VECTOR, VECTOR], preprocessing_combiner=NestSum(), fc_layer_params=(6,)
    ),
    "encoding_nested": lambda: nets.EncodingNetwork(
        NESTED,
        input_preprocessors=_nested_preprocessors(),
        preprocessing_combiner=NestConcat(),
        fc_layer_params=(8,),
    ),
    "lstm": lambda: nets.LSTMEncodingNetwork(
        VECTOR, pre_fc_layer_params=(6,), hidden_size=(7, 8), post_fc_layer_params=(3,)
    ),
    "lstm_all_layers": lambda: nets.LSTMEncodingNetwork(
        VECTOR, hidden_size=(7, 8), lstm_output_layers=None
    ),
    "actor_dist": lambda: nets.ActorDistributionNetwork(
        VECTOR, ACTION, fc_layer_params=(8,), continuous_projection_net_ctor=SQUASHED
    ),
    "actor_dist_mixed": lambda: nets.ActorDistributionNetwork(
        VECTOR, (CHOICE, {"c": ACTION}), fc_layer_params=(8,)
    ),
    "actor_dist_rnn": lambda: nets.ActorDistributionRNNNetwork(
        VECTOR, ACTION, lstm_hidden_size=6, actor_fc_layer_params=(5,)
    ),
    "actor": lambda: nets.ActorNetwork(VECTOR, ACTION, fc_layer_params=(8,)),
    "actor_rnn": lambda: nets.ActorRNNNetwork(VECTOR, [ACTION, ACTION], lstm_hidden_size=6),
    "critic": lambda: nets.CriticNetwork((VECTOR, ACTION), joint_fc_layer_params=(8, 8)),
    "critic_encoded": lambda: nets.CriticNetwork(
        (VECTOR, ACTION),
        output_tensor_spec=TensorSpec((2,)),
        observation_fc_layer_params=(6,),
        action_fc_layer_params=(4,),
        joint_fc_layer_params=(8,),
    ),
    "critic_half_encoded": lambda: nets.CriticNetwork(
        (VECTOR, ACTION), observation_fc_layer_params=(6,), joint_fc_layer_params=(8,)
    ),
    "critic_nested": lambda: nets.CriticNetwork(
        (NESTED, [ACTION, ACTION]),
        observation_input_processors=_nested_preprocessors(),
        observation_preprocessing_combiner=NestConcat(),
        action_preprocessing_combiner=NestConcat(),
        joint_fc_layer_params=(8,),
    ),
    "critic_naive": lambda: nets.CriticNetwork(
        (VECTOR, ACTION), joint_fc_layer_params=(8,), use_naive_parallel_network=True
    ),
    "critic_rnn": lambda: nets.CriticRNNNetwork(
        (VECTOR, ACTION), lstm_hidden_size=6, critic_fc_layer_params=(8,)
    ),
    "q": lambda: nets.QNetwork(VECTOR, CHOICE, fc_layer_params=(8,)),
    "q_rnn": lambda: nets.QRNNNetwork(VECTOR, CHOICE, lstm_hidden_size=6),
    "value": lambda: nets.ValueNetwork(VECTOR, fc_layer_params=(8,)),
    "value_vector": lambda: nets.ValueNetwork(VECTOR, TensorSpec((3,)), fc_layer_params=(8,)),
    "value_rnn": lambda: nets.ValueRNNNetwork(VECTOR, lstm_hidden_size=6),
    "normal": lambda: nets.NormalProjectionNetwork(5, ACTION),
    "normal_unbounded": lambda: nets.NormalProjectionNetwork(
        5, TensorSpec((2,)), squash_mean=False
    ),
    "stable_normal": lambda: nets.StableNormalProjectionNetwork(
        5, ACTION, state_dependent_std=True, min_std=0.1, max_std=2.0
    ),
    "cauchy": lambda: nets.CauchyProjectionNetwork(5, ACTION),
    "beta": lambda: nets.BetaProjectionNetwork(5, ACTION, projection_output_init_gain=0.5),
    "truncated": lambda: nets.TruncatedProjectionNetwork(5, ACTION, min_scale=0.1),
    "categorical": lambda: nets.CategoricalProjectionNetwork(5, CHOICE),
    "categorical_vector": lambda: nets.CategoricalProjectionNetwork(
        5, BoundedTensorSpec((2,), torch.int64, 0, 3)
    ),
    "one_hot": lambda: nets.OnehotCategoricalProjectionNetwork(5, CHOICE, mode="gumbel"),
    "residue": lambda: nets.Residue(layers.FC(5, 5)),
    "delay": lambda: nets.Delay(VECTOR, 2),
    "gru": lambda: nets.GRUCell(5, 6),
    "temporal_pool": lambda: nets.TemporalPool(5, 3, 2, mode="avg"),
    "noisy": lambda: nets.NoisyFC(5, 6),
    "action_encoder": lambda: nets.SimpleActionEncoder([CHOICE, ACTION]),
}


def _inputs(spec, outer=(B,)):
    """Random inputs, those of integers within their bounds."""

    def make(s):
        return s.sample(outer) if s.is_discrete else s.randn(outer)

    return nest.map_structure(make, spec)


def _zeros(spec, outer=(B,)):
    return nest.map_structure(lambda s: s.zeros(outer), spec)


def _params(output):
    return nest.flatten(dist_utils.distributions_to_params(output))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_outputs_and_states_fit_their_specs(name):
    net = NETWORKS[name]()
    output, state = net(_inputs(net.input_tensor_spec), _zeros(net.state_spec))
    spec = dist_utils.to_distribution_param_spec(net.output_spec)
    for tensor, tensor_spec in zip(_params(output), nest.flatten(spec), strict=True):
        assert tensor.shape == (B, *tensor_spec.shape)
    nest.assert_same_structure(state, net.state_spec)
    for tensor, tensor_spec in zip(nest.flatten(state), nest.flatten(net.state_spec), strict=True):
        assert tensor.shape == (B, *tensor_spec.shape)
        assert tensor.dtype == tensor_spec.dtype


@pytest.mark.parametrize("name", list(NETWORKS))
def test_rows_do_not_influence_one_another(name):
    net = NETWORKS[name]().eval()
    inputs = _inputs(net.input_tensor_spec)
    state = nest.map_structure(
        lambda s: s.zeros((B,)) if s.is_discrete else s.randn((B,)), net.state_spec
    )
    output = _params(net(inputs, state)[0])
    order = torch.tensor([2, 0, 3, 1])
    permuted = _params(
        net(
            nest.map_structure(lambda x: x[order], inputs),
            nest.map_structure(lambda x: x[order], state),
        )[0]
    )
    for a, b in zip(output, permuted, strict=True):
        torch.testing.assert_close(a[order], b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_copies_have_equal_shapes_and_parameters_of_their_own(name):
    net = NETWORKS[name]()
    twin = net.copy(name="twin") if name not in ("noisy", "action_encoder") else net.copy()
    mine, theirs = dict(net.named_parameters()), dict(twin.named_parameters())
    assert {k: v.shape for k, v in mine.items()} == {k: v.shape for k, v in theirs.items()}
    assert not {id(p) for p in mine.values()} & {id(p) for p in theirs.values()}
    weights = [k for k, v in mine.items() if v.ndim > 1 and "_std" not in k]
    assert all(not torch.equal(mine[k], theirs[k]) for k in weights)
    twin.load_state_dict(net.state_dict())
    net.eval(), twin.eval()
    inputs, state = _inputs(net.input_tensor_spec), _zeros(net.state_spec)
    for a, b in zip(_params(net(inputs, state)[0]), _params(twin(inputs, state)[0]), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_deep_copies_compute_the_same(name):
    net = NETWORKS[name]().eval()
    twin = copy.deepcopy(net)
    inputs, state = _inputs(net.input_tensor_spec), _zeros(net.state_spec)
    expected = _params(net(inputs, state)[0])
    for parameter in net.parameters():
        parameter.data.zero_()
    for a, b in zip(expected, _params(twin(inputs, state)[0]), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_gradients_reach_every_parameter(name):
    net = NETWORKS[name]()
    for parameter in net.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    state = nest.map_structure(
        lambda s: s.zeros((B,)) if s.is_discrete else s.randn((B,)), net.state_spec
    )
    output, _ = net(_inputs(net.input_tensor_spec), state)
    total = sum((x * torch.randn_like(x)).sum() for x in _params(output) if x.requires_grad)
    if not list(net.parameters()):
        assert total == 0
        return
    total.backward()
    without = [k for k, p in net.named_parameters() if p.grad is None]
    assert not without


def _separate(net, parallel):
    """N copies of ``net`` that hold the parameters of the replicas of ``parallel``."""
    copies = [net.copy() for _ in range(N)]
    for i, twin in enumerate(copies):
        sources = [
            source[i] if replica is None else source
            for name, source in parallel.named_parameters()
            for replica in [_replica_in(name)]
            if replica in (None, i)
        ]
        for target, source in zip(twin.parameters(), sources, strict=True):
            target.data.copy_(source)
    return copies


def _replica_in(name):
    """The replica that a parameter's name tells, None if one parameter holds all replicas."""
    found = re.search(r"(?:^|\.)_networks\.(\d+)\.", name)
    return int(found.group(1)) if found else None


PARALLEL = [
    name for name in NETWORKS if name not in ("action_encoder", "noisy", "temporal_pool", "delay")
]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", PARALLEL)
def test_parallel_network_equals_separate_networks(name, shared):
    net = NETWORKS[name]().eval()
    parallel = net.make_parallel(N).eval()
    for parameter in parallel.parameters():
        parameter.data.normal_(std=0.3)
    inputs = _inputs(net.input_tensor_spec, (B,) if shared else (B, N))
    if shared and name == "residue":
        inputs = layers.make_parallel_input(inputs, N)
    state_spec = layers.make_parallel_spec(net.state_spec, N)
    nest.assert_same_structure(parallel.state_spec, state_spec)
    state = nest.map_structure(lambda s: s.randn((B,)), parallel.state_spec)
    output, new_state = parallel(inputs, state)
    copies = _separate(net, parallel)
    flat_state = nest.flatten(state)
    for i, twin in enumerate(copies):
        own = nest.pack_sequence_as(net.state_spec, [x[:, i] for x in flat_state])
        spec = net.input_tensor_spec
        own_inputs = nest.map_structure(
            lambda x, s, i=i: x if x.ndim == s.ndim + 1 else x[:, i], inputs, spec
        )
        expected, expected_state = twin.eval()(own_inputs, own)
        pairs = zip(
            _params(output) + nest.flatten(new_state),
            _params(expected) + nest.flatten(expected_state),
            strict=True,
        )
        for a, b in pairs:
            torch.testing.assert_close(a[:, i], b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", PARALLEL)
def test_copies_of_parallel_networks_are_parallel_networks(name):
    parallel = NETWORKS[name]().make_parallel(N)
    twin = parallel.copy(name="target")
    assert twin.name == "target"
    mine, theirs = dict(parallel.named_parameters()), dict(twin.named_parameters())
    assert not {id(p) for p in mine.values()} & {id(p) for p in theirs.values()}
    twin.load_state_dict(parallel.state_dict())
    parallel.eval(), twin.eval()
    inputs, state = _inputs(parallel.input_tensor_spec), _zeros(parallel.state_spec)
    outputs = [_params(net(inputs, state)[0]) for net in (parallel, twin)]
    for a, b in zip(*outputs, strict=True):
        assert torch.equal(a, b)
        assert a.shape[:2] == (B, N)


def test_parallel_critic_is_batched_and_takes_mixed_inputs():
    parallel = nets.CriticNetwork((VECTOR, ACTION), joint_fc_layer_params=(8,)).make_parallel(N)
    assert sum(isinstance(m, layers.ParallelFC) for m in parallel.modules()) == 2
    observation, action = torch.randn(B, 5), torch.randn(B, 2)
    expected = parallel((observation, action))[0]
    assert expected.shape == (B, N)
    mixed = parallel((observation, layers.make_parallel_input(action, N)))[0]
    torch.testing.assert_close(mixed, expected)


def test_parallel_actor_gives_one_distribution_per_replica():
    net = NETWORKS["actor_dist"]().make_parallel(N)
    dist, _ = net(torch.randn(B, 5))
    assert dist.batch_shape == (B, N)
    assert dist.event_shape == (2,)
    assert dist.log_prob(dist.sample()).shape == (B, N)


def test_shared_gradient_is_the_sum_over_replicas():
    net = nets.CriticNetwork((VECTOR, ACTION), joint_fc_layer_params=(8,))
    parallel = net.make_parallel(N)
    action = torch.randn(B, 2, requires_grad=True)
    observation = torch.randn(B, 5)
    (grad,) = torch.autograd.grad(parallel((observation, action))[0].sum(), action)
    total = torch.zeros_like(action)
    for twin in _separate(net, parallel):
        (part,) = torch.autograd.grad(twin((observation, action))[0].sum(), action)
        total += part
    torch.testing.assert_close(grad, total)


def test_copy_takes_other_arguments():
    net = nets.EncodingNetwork(VECTOR, fc_layer_params=(8,), name="a")
    twin = net.copy(name="b", fc_layer_params=(4,), input_tensor_spec=TensorSpec((2,)))
    assert twin.name == "b"
    assert twin.output_spec == TensorSpec((4,))
    assert twin.input_tensor_spec == TensorSpec((2,))
    assert net.saved_args["fc_layer_params"] == (8,)


def test_singletons_are_shared_and_other_preprocessors_copied():
    own = nets.EmbeddingPreprocessor(CHOICE, 4)
    shared = nets.EmbeddingPreprocessor(CHOICE, 4).singleton()

    def make():
        return nets.EncodingNetwork(
            [CHOICE, CHOICE],
            input_preprocessors=[own, shared],
            preprocessing_combiner=NestConcat(),
            fc_layer_params=(3,),
        )

    first, second = make(), make()
    common = {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}
    assert common == {id(p) for p in shared.parameters()}
    assert shared.copy() is shared
    assert first.copy().copy() is not first


def test_preprocessors_may_be_made_by_a_constructor():
    net = nets.EncodingNetwork(
        CHOICE,
        input_preprocessors_ctor=functools.partial(nets.EmbeddingPreprocessor, embedding_dim=6),
        fc_layer_params=(3,),
    )
    assert net(torch.tensor([0, 3]))[0].shape == (2, 3)


def test_embedding_of_continuous_inputs_and_images():
    assert nets.EmbeddingPreprocessor(VECTOR, 6)(torch.randn(B, 5))[0].shape == (B, 6)
    image = BoundedTensorSpec((3, 8, 8), torch.uint8, 0, 255)
    net = nets.EmbeddingPreprocessor(image, 6, conv_layer_params=((4, 3, 2),))
    assert net(image.sample((B,)))[0].shape == (B, 6)


def test_cosine_embedding_hand_numbers():
    net = nets.CosineEmbeddingPreprocessor(TensorSpec((1,)), 3)
    expected = [[[math.cos(math.pi / 4), 0.0, -math.cos(math.pi / 4)]]]  # i = 1, 2, 3
    torch.testing.assert_close(net(torch.tensor([[0.25]]))[0], torch.tensor(expected))


def test_image_decoder_gives_images():
    net = nets.ImageDecodingNetwork(
        5, ((4, 3, 2, 1), (3, 4, 2, 1)), (3, 4), 6, preprocess_fc_layer_params=(7,)
    )
    assert net(torch.randn(B, 5))[0].shape == (B, 3, 10, 14)
    net = nets.ImageDecodingNetworkV2(5, (2, (4, 3, 1, 1), 2, (3, 3, 1, 1)), (3, 4), 6)
    assert net(torch.randn(B, 5))[0].shape == (B, 3, 12, 16)
    assert net(torch.randn(B, 5))[0].abs().max() <= 1.0


def test_wrong_inputs_of_encoders_are_named():
    with pytest.raises(ValueError, match="preprocessing_combiner"):
        nets.EncodingNetwork([VECTOR, VECTOR], fc_layer_params=(3,))
    with pytest.raises(ValueError, match="rank 1"):
        nets.EncodingNetwork(IMAGE, fc_layer_params=(3,))
    with pytest.raises(ValueError, match=r"\[C, H, W\]"):
        nets.EncodingNetwork(VECTOR, conv_layer_params=((4, 3, 2),))
    with pytest.raises(ValueError, match="last_activation"):
        nets.EncodingNetwork(VECTOR, last_layer_size=3)
    with pytest.raises(ValueError, match="observation_spec, action_spec"):
        nets.CriticNetwork(VECTOR)
    with pytest.raises(ValueError, match="discrete"):
        nets.QNetwork(VECTOR, ACTION)
    with pytest.raises(ValueError, match="rank 1"):
        nets.NormalProjectionNetwork(5, TensorSpec(()))
    with pytest.raises(ValueError, match="finite bounds"):
        nets.NormalProjectionNetwork(5, TensorSpec((2,)), scale_distribution=True)


def test_normal_projection_squashes_mean_or_samples():
    x = 100.0 * torch.randn(B, 5)
    mean = nets.NormalProjectionNetwork(5, ACTION, projection_output_init_gain=9.0)(x)[0].mean
    assert mean.min() >= -1.0
    assert mean.max() <= 3.0
    net = nets.NormalProjectionNetwork(5, ACTION, scale_distribution=True)
    sample = net(x)[0].sample((100,))
    assert sample.min() >= -1.0
    assert sample.max() <= 3.0
    unit = BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)
    assert len(SQUASHED(5, unit)(x)[0].transforms) == 1


def test_normal_projection_starts_with_the_std_of_its_bias():
    net = nets.NormalProjectionNetwork(5, ACTION, std_bias_initializer_value=2.0)
    std = net(torch.randn(B, 5))[0].stddev
    torch.testing.assert_close(std, torch.full((B, 2), math.log1p(math.exp(2.0))))


@pytest.mark.parametrize("transform", ["softplus", "exp"])
def test_stable_normal_starts_at_init_std_and_keeps_its_limits(transform):
    net = nets.StableNormalProjectionNetwork(
        5,
        ACTION,
        state_dependent_std=True,
        inverse_std_transform=transform,
        init_std=0.5,
        min_std=0.1,
        max_std=0.9,
    )
    x = torch.randn(B, 5)
    torch.testing.assert_close(net(x)[0].stddev, torch.full((B, 2), 0.5), atol=1e-3, rtol=0)
    for bias, limit in ((-80.0, 0.9), (80.0, 0.1)):
        net._spread._layer.bias.data.fill_(bias)
        torch.testing.assert_close(net(x)[0].stddev, torch.full((B, 2), limit), atol=0.02, rtol=0)
    with pytest.raises(ValueError, match="init_std"):
        nets.StableNormalProjectionNetwork(5, ACTION, init_std=0.5, min_std=0.6)


def test_beta_projection_starts_uniform_and_clips_gradients():
    net = nets.BetaProjectionNetwork(5, ACTION, grad_clip=0.01)
    dist, _ = net(torch.randn(B, 5))
    value = torch.tensor([[-0.5, 2.5]]).expand(B, 2)
    # uniform on a square of side 4
    torch.testing.assert_close(dist.log_prob(value), torch.full((B,), -2 * math.log(4.0)))
    concentration = []
    net._layer.register_forward_hook(lambda m, i, o: concentration.append(o))
    dist, _ = net(torch.randn(B, 5))
    concentration[0].retain_grad()
    (1e3 * dist.log_prob(value)).sum().backward()
    assert concentration[0].grad.norm().item() <= 0.0101


def test_mixture_projection_has_its_components():
    net = nets.MixtureProjectionNetwork(5, ACTION, 4, nets.NormalProjectionNetwork)
    dist, _ = net(torch.randn(B, 5))
    assert isinstance(dist, td.MixtureSameFamily)
    assert dist.component_distribution.batch_shape == (B, 4)
    assert dist.log_prob(dist.sample()).shape == (B,)
    assert net.num_components == 4


def test_unit_normal_actor_ignores_its_input():
    dist, _ = nets.UnitNormalActorDistributionNetwork(VECTOR, ACTION)(torch.randn(B, 5))
    assert torch.equal(dist.mean, torch.zeros(B, 2))
    assert torch.equal(dist.stddev, torch.ones(B, 2))


def test_actor_network_stays_within_the_action_bounds():
    net = nets.ActorNetwork(VECTOR, ACTION, fc_layer_params=(8,))
    net._action_layers.weight.data.normal_(std=50.0)
    action, _ = net(torch.randn(100, 5))
    assert action.min().item() == pytest.approx(-1.0, abs=1e-3)
    assert action.max().item() == pytest.approx(3.0, abs=1e-3)


def test_lstm_state_carries_information_and_zero_state_forgets():
    net = nets.LSTMEncodingNetwork(VECTOR, hidden_size=6)
    x = torch.randn(B, 5)
    zero = _zeros(net.state_spec)
    first, state = net(x, zero)
    second, _ = net(x, state)
    assert not torch.allclose(first, second)
    again, _ = net(x, zero)
    assert torch.equal(first, again)


def test_delay_returns_what_came_before():
    net = nets.Delay(TensorSpec(()), delay=2)
    state, outputs = _zeros(net.state_spec, (1,)), []
    for i in range(1, 6):
        output, state = net(torch.tensor([float(i)]), state)
        outputs.append(output.item())
    assert outputs == [0.0, 0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("skip", [[0, 1], [0, 1], [1, 3], [1, 3], [3, 5]]),
        ("avg", [[0, 0], [0, 1.5], [0, 1.5], [1.5, 3.5], [1.5, 3.5]]),
        ("max", [[0, 0], [0, 2], [0, 2], [2, 4], [2, 4]]),
    ],
)
def test_temporal_pool_hand_numbers(mode, expected):
    net = nets.TemporalPool(1, stack_size=2, pooling_size=2, mode=mode)
    state, outputs = _zeros(net.state_spec, (1,)), []
    for i in range(1, 6):
        output, state = net(torch.tensor([[float(i)]]), state)
        outputs.append(output[0, :, 0].tolist())
    assert outputs == expected


def test_noisy_layer_keeps_its_noise_until_it_is_renewed():
    net = nets.NoisyFC(5, 3, new_noise_prob=0.0)
    x = torch.randn(B, 5)
    first, state = net(x, _zeros(net.state_spec))
    second, _ = net(x, state)
    assert torch.equal(first, second)
    quiet, _ = net.eval()(x, state)
    assert not torch.allclose(first, quiet)


def test_sequential_network_keeps_states_and_named_results():
    net = nets.Sequential(
        nets.LSTMCell(5, 6),
        layers.FC(6, 4),
        a=layers.FC(4, 3),
        b=("input", layers.FC(5, 3)),
        c=(("a", "b"), layers.AddN()),
        output=("c", "a"),
    )
    assert net.input_tensor_spec == VECTOR
    x = torch.randn(B, 5)
    (c, a), state = net(x, _zeros(net.state_spec))
    torch.testing.assert_close(c - a, net[3](x))
    nest.assert_same_structure(state, net.state_spec)
    assert net.is_rnn


def test_branch_and_parallel_networks():
    net = nets.Branch(a=nets.LSTMCell(5, 6), b=layers.FC(5, 3))
    output, state = net(torch.randn(B, 5), _zeros(net.state_spec))
    assert {k: tuple(v.shape) for k, v in output.items()} == {"a": (B, 6), "b": (B, 3)}
    nest.assert_same_structure(state, net.state_spec)
    net = nets.Parallel((layers.FC(5, 3), nets.GRUCell(2, 4)))
    output, state = net((torch.randn(B, 5), torch.randn(B, 2)), _zeros(net.state_spec))
    assert [tuple(x.shape) for x in output] == [(B, 3), (B, 4)]
    nest.assert_same_structure(state, net.state_spec)
    plain = nets.Branch(layers.FC(5, 3), layers.FC(5, 2))
    assert [tuple(x.shape) for x in plain(torch.randn(B, 5))[0]] == [(B, 3), (B, 2)]
    assert plain.make_parallel(N)(torch.randn(B, N, 5))[0][1].shape == (B, N, 2)


def test_echo_feeds_back():
    spec = {"input": TensorSpec(()), "echo": TensorSpec(())}
    total = nets.NetworkWrapper(
        lambda x: {"output": x["input"] + x["echo"], "echo": x["input"] + x["echo"]}, spec
    )
    net = nets.Echo(total)
    state, outputs = _zeros(net.state_spec, (1,)), []
    for i in range(1, 5):
        output, state = net(torch.tensor([float(i)]), state)
        outputs.append(output.item())
    assert outputs == [1.0, 3.0, 6.0, 10.0]


def test_containers_need_an_input_spec():
    with pytest.raises(ValueError, match="input_tensor_spec"):
        nets.Sequential(layers.Scale(2.0))
    with pytest.raises(ValueError, match="input_tensor_spec"):
        nets.wrap_as_network(nn.Linear(2, 3), None)
    assert nets.wrap_as_network(nn.Linear(2, 3), TensorSpec((2,))).output_spec == TensorSpec((3,))


def test_batch_squash_takes_several_batch_axes():
    net = nets.BatchSquashNetwork(NETWORKS["actor_dist_mixed"]())
    (choice, rest), _ = net(torch.randn(2, B, 5))
    assert choice.batch_shape == (2, B)
    assert rest["c"].batch_shape == (2, B)
    with pytest.raises(ValueError, match="state"):
        nets.BatchSquashNetwork(nets.GRUCell(2, 3))


def test_output_spec_leaves_modes_and_random_numbers_alone():
    net = nets.Sequential(layers.FC(5, 4, use_bn=True), nn.Dropout(), input_tensor_spec=VECTOR)
    net[1].eval()
    before = torch.get_rng_state()
    mean = net[0]._bn.running_mean.clone()
    assert net.output_spec == TensorSpec((4,))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(net[0]._bn.running_mean, mean)
    assert net[0].training
    assert not net[1].training


def test_action_encoder_hand_numbers():
    net = nets.SimpleActionEncoder([CHOICE, ACTION])
    out, _ = net([torch.tensor([2]), torch.tensor([[-1.0, 2.0]])])
    # continuous actions pass as they are, whatever their bounds
    torch.testing.assert_close(out, torch.tensor([[0.0, 0.0, 1.0, 0.0, -1.0, 2.0]]))
    one, _ = net([torch.tensor(2), torch.tensor([-1.0, 2.0])])
    torch.testing.assert_close(one, out[0])
    unbounded = nets.SimpleActionEncoder(BoundedTensorSpec((2, 2), minimum=-3.4e38, maximum=3.4e38))
    x = torch.randn(B, 2, 2)
    assert torch.equal(unbounded(x)[0], x.flatten(1))


@pytest.mark.parametrize(
    ("make", "kinds"),
    [
        (lambda: nets.LSTMEncodingNetwork(VECTOR, hidden_size=(5, 4)), "cc"),
        (lambda: nets.LSTMEncodingNetwork(VECTOR, hidden_size=3, lstm_output_layers=0), "c"),
        (
            lambda: nets.LSTMEncodingNetwork(
                VECTOR, pre_fc_layer_params=(6,), hidden_size=(5, 4), post_fc_layer_params=(3,)
            ),
            "-cc-",
        ),
        (lambda: nets.ActorDistributionRNNNetwork(VECTOR, ACTION, lstm_hidden_size=6), "c"),
        (lambda: nets.CriticRNNNetwork((VECTOR, ACTION), lstm_hidden_size=6), "-c--"),
        (lambda: nets.ValueRNNNetwork(VECTOR, lstm_hidden_size=6), "c-"),
    ],
)
def test_the_state_of_a_recurrent_network_is_one_flat_list(make, kinds):
    """An entry for each part of the sequence: a pair for a cell, () for anything else."""
    net = make()
    assert isinstance(net.state_spec, list)
    assert (
        "".join("c" if isinstance(entry, tuple) and entry else "-" for entry in net.state_spec)
        == kinds
    )
    _, state = net(_inputs(net.input_tensor_spec), _zeros(net.state_spec))
    nest.assert_same_structure(state, net.state_spec)
    assert net.make_parallel(N).state_spec == layers.make_parallel_spec(net.state_spec, N)


def test_a_noisy_layer_has_no_noise_in_evaluation():
    net = nets.NoisyFC(5, 3, std_init=0.6)
    assert net._weight_std.unique().tolist() == pytest.approx([0.6 / 5**0.5])
    assert net._bias_std.unique().tolist() == pytest.approx([0.6 / 3**0.5])
    x, state = torch.randn(B, 5), _zeros(net.state_spec)
    mean = torch.nn.functional.linear(x, net.weight, net.bias)
    assert not torch.allclose(net(x, state)[0], mean)
    with common.eval_context():
        torch.testing.assert_close(net(x, state)[0], mean)
    net.reset_parameters()
    assert net._bias_std.unique().tolist() == pytest.approx([0.6 / 3**0.5])


@pytest.mark.parametrize(
    ("mode", "has_rsample", "is_hard"),
    [
        ("st", True, True),
        ("gumbel", True, False),
        ("st-gumbel", True, True),
        ("plain", False, True),
    ],
)
def test_one_hot_projections_in_all_modes(mode, has_rsample, is_hard):
    dist, _ = nets.OnehotCategoricalProjectionNetwork(5, CHOICE, mode=mode)(torch.randn(B, 5))
    assert dist.has_rsample == has_rsample
    sample = dist.rsample() if has_rsample else dist.sample()
    torch.testing.assert_close(sample.sum(-1), torch.ones(B))
    assert torch.allclose(sample, sample.round(), atol=1e-5) == is_hard
    with pytest.raises(ValueError, match="\"plain\", got 'soft'"):
        nets.OnehotCategoricalProjectionNetwork(5, CHOICE, mode="soft")


def test_moments_of_a_beta_policy_are_those_of_its_samples():
    torch.manual_seed(0)
    dist, _ = nets.BetaProjectionNetwork(5, ACTION, projection_output_init_gain=1.0)(
        torch.randn(1, 5)
    )
    samples = dist.sample((40000,))
    torch.testing.assert_close(dist.mean, samples.mean(0), atol=0.03, rtol=0)
    torch.testing.assert_close(dist.stddev, samples.std(0), atol=0.03, rtol=0)
    entropy = -dist.log_prob(samples).mean(0)
    torch.testing.assert_close(dist.entropy(), entropy, atol=0.03, rtol=0)


def test_an_embedding_of_indices_is_a_table_whatever_else_is_given():
    spec = BoundedTensorSpec((), torch.int64, 0, 4)
    net = nets.EmbeddingPreprocessor(spec, 3, fc_layer_params=(2,), last_activation=torch.tanh)
    assert [p.shape for p in net.parameters()] == [(5, 3)]


def test_delay_of_nothing_has_no_state():
    net = nets.Delay(VECTOR, 0)
    x = torch.randn(B, 5)
    assert net.state_spec == ()
    assert net(x, ()) == (x, ())


def test_functions_with_state_are_networks():
    net = nets.NetworkWrapper(lambda x, s: (x + s, x), VECTOR, VECTOR)
    x, s = torch.randn(B, 5), torch.randn(B, 5)
    y, new = net(x, s)
    assert torch.equal(y, x + s)
    assert new is x


def test_a_class_is_no_module():
    for make in (nets.Sequential, layers.Sequential):
        for element in (layers.FC, ("input", layers.FC)):
            with pytest.raises(ValueError, match="must be a module"):
                make(element, **({"input_tensor_spec": VECTOR} if make is nets.Sequential else {}))


@pytest.mark.parametrize("name", list(NETWORKS))
def test_state_dict_holds_each_parameter_once_and_nothing_else(name):
    net = NETWORKS[name]()
    keys = {key for key, _ in net.named_parameters()}
    assert set(net.state_dict()) == keys
