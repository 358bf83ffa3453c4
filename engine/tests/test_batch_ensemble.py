"""Layers whose ensemble members share a kernel."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from alf.layers import Conv2DBatchEnsemble, FCBatchEnsemble
from alf.networks import EncodingNetwork, ImageEncodingNetwork
from alf.tensor_specs import TensorSpec


def test_each_member_is_a_dense_layer_of_its_own() -> None:
    layer = FCBatchEnsemble(3, 2, 4, activation=torch.tanh, bias_init_range=1.0)
    layer._r.data.normal_()
    layer._s.data.normal_()
    x, ids = torch.randn(6, 3), torch.tensor([0, 3, 1, 2, 3, 0])
    y, same_ids = layer((x, ids))
    assert torch.equal(same_ids, ids)
    for row in range(6):
        i = int(ids[row])
        kernel = layer.weight * torch.outer(layer._s[i], layer._r[i])
        bias = layer._ensemble_bias[i]
        torch.testing.assert_close(y[row], torch.tanh(F.linear(x[row], kernel, bias)))


def test_each_member_is_a_convolution_of_its_own() -> None:
    layer = Conv2DBatchEnsemble(2, 3, 3, 4, padding=1, bias_init_range=1.0)
    x, ids = torch.randn(5, 2, 6, 6), torch.tensor([2, 0, 1, 3, 2])
    y, _ = layer((x, ids))
    for row in range(5):
        i = int(ids[row])
        kernel = layer.weight * torch.outer(layer._s[i], layer._r[i])[..., None, None]
        expected = F.conv2d(x[row : row + 1], kernel, layer._ensemble_bias[i], padding=1)
        torch.testing.assert_close(y[row], expected.relu()[0])


def test_rows_without_a_member_get_one_at_random() -> None:
    layer = FCBatchEnsemble(1, 1, 3)
    _, ids = layer(torch.zeros(200, 1))
    assert ids.shape == (200,)
    assert set(ids.tolist()) == {0, 1, 2}
    assert FCBatchEnsemble(1, 1, 3, output_ensemble_ids=False)(torch.zeros(2, 1)).shape == (2, 1)


def test_member_parameters_are_signs_and_tell_their_group() -> None:
    layer = FCBatchEnsemble(5, 4, 3, bias_init_range=0.5, ensemble_group=7)
    for parameter in (layer._r, layer._s):
        assert parameter.abs().eq(1).all()
    assert layer._ensemble_bias.abs().max() <= 0.5
    members = [p for p in layer.parameters() if getattr(p, "ensemble_group", None) == 7]
    assert [p.shape[0] for p in members] == [3, 3, 3]
    before = layer._r.clone(), layer.weight.clone()
    layer.reset_parameters()
    assert not torch.equal(before[0], layer._r)
    assert not torch.equal(before[1], layer.weight)


def test_gradients_reach_only_the_members_that_took_part() -> None:
    layer = FCBatchEnsemble(2, 2, 3)
    y, _ = layer((torch.ones(2, 2), torch.tensor([0, 2])))
    y.sum().backward()
    assert layer._ensemble_bias.grad is not None
    assert layer._ensemble_bias.grad.sum(1).tolist() == [2.0, 0.0, 2.0]


def ensemble_network(**kwargs: Any) -> EncodingNetwork:
    """Two images of one member each: convolution, hidden layer, two outputs.

    Units of tanh tell members apart, where rectified ones can all be 0 in two of them.
    """
    return EncodingNetwork(
        TensorSpec((2, 4, 4)),
        conv_layer_params=((3, 3, 1),),
        fc_layer_params=(5,),
        activation=torch.tanh,
        last_layer_size=2,
        last_activation=torch.tanh,
        use_batch_ensemble=True,
        ensemble_size=4,
        **kwargs,
    )


def test_all_layers_of_a_network_take_the_same_member() -> None:
    net = ensemble_network(input_with_ensemble_ids=True)
    x, ids = torch.randn(6, 2, 4, 4), torch.tensor([0, 3, 1, 2, 3, 0])
    (y, given), _ = net((x, ids))
    conv, hidden, last = (m for m in net.modules() if hasattr(m, "_ensemble_size"))
    pair = conv((x, ids))
    pair = hidden((pair[0].flatten(1), pair[1]))
    torch.testing.assert_close(y, last(pair)[0])
    assert net.output_spec == (TensorSpec((2,)), TensorSpec((), torch.int64))
    assert torch.equal(given, ids)
    # a row depends on its own member only
    (other, _), _ = net((x, torch.tensor([0, 3, 2, 2, 3, 1])))
    assert (y != other).any(1).tolist() == [False, False, True, False, False, True]


def test_a_network_without_members_in_its_input_draws_them() -> None:
    net = ensemble_network()
    (y, ids), _ = net(torch.ones(200, 2, 4, 4))
    assert len(y.unique(dim=0)) == 4
    assert all(len(y[ids == i].unique(dim=0)) == 1 for i in range(4))


def test_replicas_of_an_ensemble_are_ensembles_of_their_own() -> None:
    net = ensemble_network(input_with_ensemble_ids=True).make_parallel(3)
    x, ids = torch.ones(4, 2, 4, 4), torch.tensor([0, 1, 2, 1])
    (y, members), _ = net((x.unsqueeze(1).expand(-1, 3, -1, -1, -1), ids))
    assert torch.equal(members, ids.unsqueeze(1).expand(-1, 3))
    assert y.shape == (4, 3, 2)
    assert torch.equal(y[1], y[3])
    assert len(y.flatten(0, 1).unique(dim=0)) == 9


def test_an_image_network_hands_the_members_on() -> None:
    net = ImageEncodingNetwork(2, 4, ((3, 3, 1),), use_batch_ensemble=True, flatten_output=True)
    (y, ids), _ = net((torch.randn(2, 2, 4, 4), torch.tensor([7, 2])))
    assert (y.shape, ids.tolist()) == ((2, 12), [7, 2])


def test_members_in_the_input_need_an_ensemble() -> None:
    with pytest.raises(ValueError, match="input_with_ensemble_ids=True needs use_batch_ensemble"):
        EncodingNetwork(TensorSpec((2,)), input_with_ensemble_ids=True)


def test_members_of_sequences_are_those_of_their_rows() -> None:
    layer = FCBatchEnsemble(3, 2, 4, output_ensemble_ids=False)
    x, ids = torch.randn(2, 5, 3), torch.tensor([3, 1])
    expected = torch.stack([layer((x[:, i], ids)) for i in range(5)], dim=1)
    torch.testing.assert_close(layer((x, ids)), expected)
