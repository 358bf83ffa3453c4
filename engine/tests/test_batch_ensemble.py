"""Layers whose ensemble members share a kernel."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from alf.layers import Conv2DBatchEnsemble, FCBatchEnsemble


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
