"""Causal convolutions, weighted sums of layers, fixed bases, residual blocks, guided features."""

from __future__ import annotations

import pytest
import torch

from alf.layers import (
    GFT,
    BottleneckBlock,
    CausalConv1D,
    CompositionalFC,
    FixedDecodingLayer,
    ResidueBlock,
)


@pytest.mark.parametrize(("dilation", "hide_current"), [(1, False), (3, False), (1, True)])
def test_a_causal_convolution_does_not_look_ahead(dilation: int, hide_current: bool) -> None:
    layer = CausalConv1D(2, 3, 2, dilation, hide_current, activation=torch.tanh)
    x = torch.randn(1, 2, 10, requires_grad=True)
    y = layer(x)
    assert y.shape == (1, 3, 10)
    for t in range(10):
        (grad,) = torch.autograd.grad(y[0, :, t].sum(), x, retain_graph=True)
        seen = grad.abs().sum((0, 1)).nonzero().flatten().tolist()
        last = t - 1 if hide_current else t
        assert seen == [s for s in (last - dilation, last) if s >= 0]


def test_a_dilated_convolution_does_not_hide_the_current_step() -> None:
    with pytest.raises(ValueError, match="needs dilation=1, got 2"):
        CausalConv1D(1, 1, 2, dilation=2, hide_current=True)


def test_a_composition_of_one_hot_weights_is_one_layer() -> None:
    layer = CompositionalFC(3, 2, 4, activation=torch.tanh, bias_init_value=0.5)
    x = torch.randn(4, 3)
    y, w = layer((x, torch.eye(4)))
    assert torch.equal(w, torch.eye(4))
    expected = torch.tanh(torch.einsum("bi,boi->bo", x, layer.weight) + layer.bias)
    torch.testing.assert_close(y, expected)
    for inputs in (x, (x, None)):  # all weights are 1
        total, no_weights = layer(inputs)
        assert no_weights is None
        torch.testing.assert_close(total, layer((x, torch.ones(4, 4)))[0])
    assert CompositionalFC(3, 2, 4, output_comp_weight=False)((x, w)).shape == (4, 2)
    with pytest.raises(ValueError, match=r"weights must be \[B, 4\]"):
        layer((x, torch.ones(4, 3)))


def test_fixed_bases_have_their_known_values() -> None:
    poly = FixedDecodingLayer(3, 3, "poly", tau=0.5)
    assert poly.weight.tolist() == [[1.0, -0.5, 0.25], [1.0, 0.0, 0.0], [1.0, 0.5, 0.25]]
    cheb = FixedDecodingLayer(4, 5, "cheb", tau=1.0)
    x = torch.linspace(-1, 1, 5)
    torch.testing.assert_close(cheb.weight[:, 3], 4 * x**3 - 3 * x, atol=1e-6, rtol=0)
    haar = FixedDecodingLayer(4, 4, "haar", tau=1.0).weight
    half = 0.5**0.5
    expected = [[0.5, 0.5, half, 0], [0.5, 0.5, -half, 0], [0.5, -0.5, 0, half]]
    torch.testing.assert_close(haar, torch.tensor([*expected, [0.5, -0.5, 0, -half]]))
    haar = FixedDecodingLayer(16, 16, "haar", tau=0.5).weight
    scale = torch.tensor([1.0] + [0.5] + [0.25] * 2 + [0.125] * 4 + [0.0625] * 8)
    torch.testing.assert_close(haar.T @ haar, torch.diag(scale**2))  # tau acts by level
    rbf = FixedDecodingLayer(3, 3, "rbf", sigma=0.1)
    torch.testing.assert_close(rbf(torch.eye(3)), torch.eye(3), atol=1e-6, rtol=0)
    assert not any(p.requires_grad for p in rbf.parameters())
    for basis, size in (("rbf", (3, 4)), ("haar", (2, 4)), ("haar", (6, 6))):
        with pytest.raises(ValueError, match="basis"):
            FixedDecodingLayer(*size, basis)
    with pytest.raises(ValueError, match="basis_type must be one of"):
        FixedDecodingLayer(1, 1, "fourier")


@pytest.mark.parametrize("transpose", [False, True])
def test_residual_blocks_change_size_by_their_stride(transpose: bool) -> None:
    x = torch.randn(2, 4, 8, 8)
    size = 16 if transpose else 4
    block = ResidueBlock(4, 6, 3, 2, transpose=transpose)
    assert block(x).shape == (2, 6, size, size)
    for v1_5 in (False, True):
        bottleneck = BottleneckBlock(4, 3, (2, 2, 6), 2, transpose=transpose, v1_5=v1_5)
        assert bottleneck(x).shape == (2, 6, size, size)
        assert bottleneck.calc_output_shape((4, 8, 8)) == (6, size, size)
        assert bottleneck.training


def test_a_block_without_weights_is_its_shortcut() -> None:
    x = torch.randn(2, 4, 5, 5)
    blocks = (
        ResidueBlock(4, 4, 3, 1, with_batch_normalization=False, activation=torch.relu),
        BottleneckBlock(4, 3, (2, 2, 4), 1, with_batch_normalization=False),
    )
    for block in blocks:
        for parameter in block.parameters():
            parameter.data.zero_()
        torch.testing.assert_close(block(x), x.relu())


def test_guided_features_are_affine_maps_of_each_pixel() -> None:
    layer = GFT(2, 3, 5)
    image, sentence = torch.randn(2, 3, 4, 4), torch.randn(2, 5)
    y = layer((image, sentence))
    assert y.shape == image.shape
    pixel = image[1, :, 2, 3]
    for part in layer._maps:
        matrix = part(sentence[1]).reshape(3, 4)
        pixel = torch.relu(matrix @ torch.cat([pixel, torch.ones(1)]))
    torch.testing.assert_close(y[1, :, 2, 3], pixel)
    before = y.clone()
    layer.reset_parameters()
    assert not torch.equal(layer((image, sentence)), before)
