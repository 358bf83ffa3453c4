"""Batch normalisation with statistics for each recurrent step."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from alf.layers import FC
from alf.norm_layers import (
    BatchNorm1d,
    BatchNorm2d,
    prepare_rnn_batch_norm,
    set_batch_norm_current_step,
    set_batch_norm_max_steps,
)


def test_with_one_step_it_is_the_batch_norm_of_torch() -> None:
    ours, theirs = BatchNorm1d(3), nn.BatchNorm1d(3)
    for _ in range(3):
        x = torch.randn(6, 3) * 2 + 1
        torch.testing.assert_close(ours(x), theirs(x))
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x), theirs(x))
    images = torch.randn(4, 3, 5, 5)
    torch.testing.assert_close(BatchNorm2d(3)(images), nn.BatchNorm2d(3)(images))


def test_each_step_has_its_own_statistics() -> None:
    norm = BatchNorm1d(2, momentum=1.0)
    set_batch_norm_max_steps(norm, 2)
    for step, mean in enumerate([10.0, -10.0]):
        set_batch_norm_current_step(norm, step)
        norm(torch.randn(500, 2) + mean)
    norm.eval()
    for step, mean in [(0, 10.0), (1, -10.0), (7, -10.0)]:
        set_batch_norm_current_step(norm, step)
        assert norm(torch.full((1, 2), mean)).abs().max() < 0.3


def test_rows_of_different_steps_are_normalised_as_if_apart() -> None:
    steps = torch.tensor([0, 1, 0, 1, 1, 0])
    x = torch.randn(6, 2)
    apart, together = BatchNorm1d(2), BatchNorm1d(2)
    for norm in (apart, together):
        set_batch_norm_max_steps(norm, 3)
    set_batch_norm_current_step(together, steps)
    y = together(x)
    for step in range(2):
        set_batch_norm_current_step(apart, step)
        torch.testing.assert_close(y[steps == step], apart(x[steps == step]))
    torch.testing.assert_close(together.running_mean, apart.running_mean)
    torch.testing.assert_close(together.running_var, apart.running_var)
    together.eval()
    assert together(x).isfinite().all()


def test_a_fixed_weight_norm_ignores_the_scale_of_the_gain() -> None:
    norm = BatchNorm1d(4, fixed_weight_norm=True, use_bias=False)
    x = torch.randn(8, 4)
    before = norm(x)
    norm.weight.data.mul_(3)
    torch.testing.assert_close(norm(x), before)


@pytest.mark.parametrize(("affine", "use_bias"), [(False, True), (True, False), (False, False)])
def test_gain_and_bias_are_learned_each_for_itself(affine: bool, use_bias: bool) -> None:
    norm = BatchNorm1d(4, affine=affine, use_bias=use_bias)
    assert (norm.weight.requires_grad, norm.bias.requires_grad) == (affine, use_bias)
    x = torch.randn(8, 4)
    torch.testing.assert_close(norm(x), torch.nn.BatchNorm1d(4)(x))


def test_statistics_of_all_steps_are_saved() -> None:
    norm = BatchNorm1d(2)
    set_batch_norm_max_steps(norm, 3)
    norm(torch.randn(5, 2))
    other = BatchNorm1d(2)
    other.load_state_dict(norm.state_dict())
    torch.testing.assert_close(other.running_mean, norm.running_mean)
    assert "max_steps=3" in repr(other)


def test_torch_s_batch_norm_is_refused_in_a_recurrent_network() -> None:
    net = FC(2, 3, use_bn=True, bn_ctor=BatchNorm1d)
    assert prepare_rnn_batch_norm(net)
    for prepared in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        prepared.set_batch_norm_max_steps(4)
        prepared.set_batch_norm_current_step(2)
        assert (prepared._bn._max_steps, prepared._bn._current_step) == (4, 2)
        net.set_batch_norm_max_steps(9)  # a copy's methods are its own
        net.set_batch_norm_current_step(8)
    assert not prepare_rnn_batch_norm(FC(2, 3))
    with pytest.raises(ValueError, match="not torch's BatchNorm1d"):
        prepare_rnn_batch_norm(FC(2, 3, use_bn=True))
    with pytest.raises(ValueError, match="takes tensors of rank"):
        BatchNorm1d(3)(torch.zeros(2, 4))
