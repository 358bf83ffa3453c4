"""Networks with given weights equal networks that own the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from alf.networks import EncodingNetwork
from alf.networks.param_networks import ParamConvNet, ParamNetwork
from alf.tensor_specs import TensorSpec


def test_a_param_network_equals_an_encoding_network_with_its_weights() -> None:
    layers = {"fc_layer_params": (4, 3), "last_layer_size": 2, "last_activation": torch.tanh}
    owners = [EncodingNetwork(TensorSpec((5,)), **layers) for _ in range(3)]
    network = ParamNetwork(TensorSpec((5,)), n_groups=3, **layers)
    theta = torch.stack([nn.utils.parameters_to_vector(net.parameters()) for net in owners])
    network.set_parameters(theta)
    x = torch.randn(6, 5)
    y, _ = network(x)
    torch.testing.assert_close(y, torch.stack([net(x)[0] for net in owners], 1))
    assert network.output_spec == TensorSpec((3, 2))


def test_images_of_all_groups_are_convolved_at_once() -> None:
    params = ((4, 3, 2, 1), (3, 3, 1, 1, 2))
    group = ParamConvNet(2, 8, params, n_groups=3, flatten_output=True, use_bias=True)
    single = ParamConvNet(2, 8, params, n_groups=1, flatten_output=True, use_bias=True)
    theta = torch.randn(3, group.param_length)
    group.set_parameters(theta)
    x = torch.randn(5, 2, 8, 8)
    y, _ = group(x)
    assert y.shape == (5, 3, 3 * 2 * 2)
    for i in range(3):
        single.set_parameters(theta[i])
        torch.testing.assert_close(y[:, i], single(x)[0])


def test_convolutions_and_layers_share_theta() -> None:
    network = ParamNetwork(
        TensorSpec((1, 6, 6)),
        conv_layer_params=((2, 3, 1),),
        fc_layer_params=(4, (3, False)),
        use_conv_ln=True,
        use_fc_ln=True,
        n_groups=10,
    )
    conv, first, second = 2 * 9 + 4, 32 * 4 + 4 + 8, 4 * 3 + 6
    assert network.param_length == conv + first + second
    theta = torch.randn(2, network.param_length, requires_grad=True)
    network.set_parameters(theta)
    y, _ = network(torch.randn(7, 1, 6, 6))
    assert y.shape == (7, 2, 3)
    y.square().sum().backward()
    assert theta.grad is not None
    assert theta.grad.isfinite().all()
    for groups in (1, 128):  # any number of parameter sets, whatever n_groups was
        network.set_parameters(torch.zeros(groups, network.param_length))
        y, _ = network(torch.randn(7, 1, 6, 6))
        assert y.numel() == 7 * groups * 3
    with pytest.raises(ValueError, match="theta must have shape"):
        network.set_parameters(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="must be given together"):
        ParamNetwork(TensorSpec((3,)), last_layer_size=2)
