"""Image decoders, quantile critics, latent actors, and copies of parallel networks."""

from __future__ import annotations

import pytest
import torch
import torch.distributions as td

from alf.data_structures import namedtuple
from alf.nest import nest
from alf.networks import (
    AutoShapeImageDeconvNetwork,
    CriticNetwork,
    CriticQuantileNetwork,
    EncodingNetwork,
    LatentActorDistributionNetwork,
    LSTMEncodingNetwork,
    Network,
    SpatialBroadcastDecodingNetwork,
)
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils

OBSERVATION, ACTION = TensorSpec((3,)), BoundedTensorSpec((2,), minimum=-2.0, maximum=4.0)


@pytest.mark.parametrize("shape", [(3, 17, 22), (3, 32, 32), (3, 21, 30)])
def test_a_deconvolution_finds_its_shapes(shape: tuple[int, ...]) -> None:
    layers = ((8, 3, 2), (4, (4, 3), (2, 3), 1), (3, 3, 2, 1))
    net = AutoShapeImageDeconvNetwork(5, layers, shape, 6, preprocess_fc_layer_params=(7,))
    y, _ = net(torch.randn(2, 5))
    assert y.shape == (2, *shape)
    assert y.abs().max() <= 1
    with pytest.raises(ValueError, match="C the filters of the last layer"):
        AutoShapeImageDeconvNetwork(5, layers, (1, 8, 8), 6)
    with pytest.raises(ValueError, match="too small for its layers"):
        AutoShapeImageDeconvNetwork(5, layers, (3, 2, 2), 6)


def test_a_broadcast_decoder_sees_coordinates() -> None:
    net = SpatialBroadcastDecodingNetwork(4, 8, ((6, 3, 1), (3, 1, 1)), 10, fc_layer_params=(5,))
    y, _ = net(torch.randn(2, 4))
    assert y.shape == (2, 3, 8, 10)
    assert y.std(dim=(2, 3)).gt(0).all()


def _quantiles(**kwargs: object) -> CriticQuantileNetwork:
    return CriticQuantileNetwork(
        (OBSERVATION, ACTION),
        TensorSpec((5,)),
        obs_act_joint_fc_layer_params=(8,),
        tau_embedding_dim=4,
        tau_fc_layer_params=(8,),
        obs_act_tau_joint_fc_layer_params=(6,),
        **kwargs,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("naive", [False, True])
def test_each_quantile_has_a_value_of_its_own(naive: bool) -> None:
    critic = _quantiles(use_naive_parallel_network=naive)
    obs_act = (torch.randn(4, 3), torch.randn(4, 2))
    tau = torch.rand(4, 5)
    values, _ = critic((obs_act, tau))
    assert values.shape == (4, 5)
    torch.testing.assert_close(critic((obs_act, tau.flip(1)))[0], values.flip(1))
    replicas, _ = critic.make_parallel(3)((obs_act, tau))
    assert replicas.shape == (4, 3, 5)
    vector = _quantiles(output_tensor_spec=TensorSpec((2,)))
    assert vector((obs_act, tau))[0].shape == (4, 5, 2)
    assert vector.make_parallel(3)((obs_act, tau))[0].shape == (4, 3, 5, 2)


@pytest.mark.parametrize("tau_layers", [None, (7,), (6, 3)])
def test_encodings_that_are_multiplied_have_one_size(tau_layers: tuple[int, ...] | None) -> None:
    critic = CriticQuantileNetwork(
        (OBSERVATION, ACTION),
        TensorSpec((5,)),
        obs_act_joint_fc_layer_params=(8,),
        tau_fc_layer_params=tau_layers,
    )
    size = (tau_layers or (64,))[-1]
    assert critic._obs_act.output_spec == critic._tau.output_spec == TensorSpec((size,))


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_latent_actor_is_a_density_that_survives_its_parameters(
    conditional: bool, scaled: bool
) -> None:
    torch.manual_seed(0)
    net = LatentActorDistributionNetwork(
        OBSERVATION, ACTION, conditional_flow=conditional, scale_distribution=scaled
    )
    x = torch.randn(4, 3)
    dist, _ = net(x)
    assert isinstance(dist, td.TransformedDistribution)
    action = dist.rsample()
    assert action.shape == (4, 2)
    if scaled:
        assert (action >= -2).all()
        assert (action <= 4).all()
    spec = dist_utils.extract_spec(dist)
    params = dist_utils.distributions_to_params(dist)
    again = dist_utils.params_to_distributions(params, spec)
    inside = action.detach().clamp(-1.5, 3.5)  # where tanh can be inverted
    torch.testing.assert_close(again.log_prob(inside), dist.log_prob(inside), atol=1e-4, rtol=1e-4)
    dist.log_prob(action).sum().backward()
    assert all(p.grad is not None for p in net._flow.parameters())


def test_rows_of_a_stored_conditional_flow_can_be_permuted() -> None:
    pair = namedtuple("Pair", ["a", "b"])
    spec = pair(a=OBSERVATION, b=TensorSpec((1,)))
    net = LatentActorDistributionNetwork(spec, ACTION)
    dist, _ = net(pair(a=torch.randn(4, 3), b=torch.randn(4, 1)))
    dist_spec, order = dist_utils.extract_spec(dist), torch.tensor([2, 0, 3, 1])
    params = dist_utils.distributions_to_params(dist)
    permuted = dist_utils.params_to_distributions(
        nest.map_structure(lambda p: p[order], params), dist_spec
    )
    action = torch.randn(4, 2)
    torch.testing.assert_close(permuted.log_prob(action[order]), dist.log_prob(action)[order])


@pytest.mark.parametrize(
    "network",
    [
        EncodingNetwork(OBSERVATION, fc_layer_params=(4,)),
        LSTMEncodingNetwork(OBSERVATION, hidden_size=4),
        CriticNetwork((OBSERVATION, ACTION), joint_fc_layer_params=(4,)),
    ],
    ids=lambda network: network.name,
)
def test_parallel_networks_can_be_copied_under_another_name(network: Network) -> None:
    parallel = network.make_parallel(2)
    other = parallel.copy(name="other")
    assert other.name == "other"
    assert parallel.copy().name == parallel.name
    assert [p.shape for p in other.parameters()] == [p.shape for p in parallel.parameters()]
    assert not set(map(id, other.parameters())) & set(map(id, parallel.parameters()))


def test_a_latent_policy_takes_parameters_of_whole_sequences() -> None:
    net = LatentActorDistributionNetwork(OBSERVATION, ACTION)
    dist, _ = net(torch.randn(4, 3))
    spec = dist_utils.extract_spec(dist)
    params = dist_utils.distributions_to_params(dist)
    sequence = nest.map_structure(lambda x: torch.stack([x, x + 0.1]), params)
    both = dist_utils.params_to_distributions(sequence, spec)
    assert both.batch_shape == (2, 4)
    action = both.sample()
    first = dist.log_prob(action[0])
    torch.testing.assert_close(both.log_prob(action)[0], first, atol=1e-4, rtol=1e-4)
