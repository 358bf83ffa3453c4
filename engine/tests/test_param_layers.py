"""Layers with given weights equal layers that own the same weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from alf.layers import FC, ParamConv2D, ParamFC
from alf.norm_layers import ParamLayerNorm1d, ParamLayerNorm2d


@pytest.mark.parametrize("use_ln", [False, True])
def test_param_fc_equals_fc_with_the_same_weights(use_ln: bool) -> None:
    layers = [FC(3, 4, activation=torch.tanh, use_ln=use_ln) for _ in range(2)]
    for layer in layers:
        for parameter in layer.parameters():
            parameter.data.normal_()
    theta = torch.stack([nn.utils.parameters_to_vector(layer.parameters()) for layer in layers])
    param = ParamFC(3, 4, activation=torch.tanh, use_ln=use_ln, n_groups=2)
    assert param.param_length == theta.shape[1] == 3 * 4 + 4 + (8 if use_ln else 0)
    param.set_parameters(theta)
    x = torch.randn(5, 3)
    torch.testing.assert_close(param(x), torch.stack([layer(x) for layer in layers], 1))
    each = torch.randn(5, 2, 3)
    expected = torch.stack([layer(each[:, i]) for i, layer in enumerate(layers)], 1)
    torch.testing.assert_close(param(each), expected)


def test_gradients_flow_into_theta() -> None:
    theta = torch.randn(1, 3, requires_grad=True)
    param = ParamFC(2, 1, activation=torch.tanh, n_groups=1)
    param.set_parameters(theta)
    param(torch.ones(4, 2)).sum().backward()
    assert theta.grad is not None
    assert theta.grad.abs().min() > 0
    assert list(param.parameters()) == []


def test_one_group_needs_no_group_axis() -> None:
    param = ParamFC(2, 3)
    assert param(torch.ones(4, 2)).shape == (4, 3)
    param.set_parameters(torch.ones(param.param_length))
    assert param(torch.ones(4, 2)).eq(3).all()
    param.set_parameters(torch.ones(5, param.param_length))
    assert param(torch.ones(4, 2)).shape == (4, 5, 3)


def test_reinitialize_fills_theta() -> None:
    theta = torch.full((2, 12), torch.nan)
    param = ParamFC(3, 3, n_groups=2, bias_init_value=0.25)
    param.set_parameters(theta, reinitialize=True)
    assert theta.isfinite().all()
    assert theta[:, 9:].eq(0.25).all()
    assert not torch.equal(theta[0], theta[1])


def test_wrong_theta_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must have shape \[n, 12\], got \[3, 11\]"):
        ParamFC(3, 3, n_groups=2).set_parameters(torch.zeros(3, 11))


def test_param_conv_equals_a_convolution_for_each_group() -> None:
    param = ParamConv2D(
        2, 3, 3, activation=torch.relu, padding=1, pooling_kernel=2, use_bias=True, n_groups=4
    )
    theta = torch.randn(4, param.param_length)
    param.set_parameters(theta)
    x = torch.randn(5, 2, 6, 6)
    y = param(x)
    assert y.shape == (5, 4, 3, 3, 3)
    for i in range(4):
        weight, bias = theta[i, :54].reshape(3, 2, 3, 3), theta[i, 54:]
        expected = F.max_pool2d(F.conv2d(x, weight, bias, padding=1).relu(), 2)
        torch.testing.assert_close(y[:, i], expected)
    torch.testing.assert_close(param(x, keep_group_dim=False), y.flatten(1, 2))
    repeated = x.unsqueeze(1).expand(-1, 4, -1, -1, -1)
    torch.testing.assert_close(param(repeated), y)


def test_param_layer_norms_equal_torch_s() -> None:
    norm = ParamLayerNorm1d(2, 4)
    norm.set_parameters(torch.randn(2, 8))
    x = torch.randn(3, 2, 4)
    for i in range(2):
        expected = F.layer_norm(x[:, i], (4,), norm.weight[i], norm.bias[i])
        torch.testing.assert_close(norm(x)[:, i], expected)
    torch.testing.assert_close(norm(x, keep_group_dim=False), norm(x).flatten(1, 2))

    image_norm = ParamLayerNorm2d(2, 4)
    images = torch.randn(3, 8, 5, 5) * 3 + 1
    y = image_norm(images)
    assert y.shape == (3, 2, 4, 5, 5)
    torch.testing.assert_close(y.flatten(2).mean(2), torch.zeros(3, 2), atol=1e-5, rtol=0)
