"""Means of losses over time steps and rows, as a gradient step takes them."""

from __future__ import annotations

import pytest
import torch

from alf.algorithms.training.gradient_step import mean_loss
from alf.data_structures import LossInfo

MASKS = torch.tensor([[1.0, 1.0], [1.0, 0.0]])


def test_what_is_masked_out_counts_as_zero_in_the_loss_and_in_all_extras():
    loss = torch.tensor([[1.0, 2.0], [3.0, 9.0]], requires_grad=True)
    extra = {"a": loss * 2, "b": (loss * 4, ())}
    found = mean_loss(LossInfo(loss=loss, extra=extra), MASKS)
    assert found.loss.item() == 1.5
    assert found.extra["a"].item() == 3.0
    assert found.extra["b"][0].item() == 6.0
    assert found.extra["b"][1] == ()
    found.loss.backward()
    torch.testing.assert_close(loss.grad, MASKS / 4)


@pytest.mark.parametrize("masks", [None, MASKS])
def test_extras_of_different_kinds_are_averaged_one_by_one(masks: torch.Tensor | None):
    rows, one, count = torch.tensor([1.0, 3.0]), torch.tensor(5.0), torch.tensor([[2, 4], [4, 7]])
    found = mean_loss(LossInfo(loss=rows, extra=[rows, one, count, "text"]), masks)
    assert [x.item() for x in found.extra[:3]] == [2.0, 5.0, 4.25 if masks is None else 2.5]
    assert found.extra[3] == "text"


def test_extras_have_no_graph():
    loss = torch.ones(2, 2, requires_grad=True)
    found = mean_loss(LossInfo(loss=loss, extra={"a": loss, "b": loss}), MASKS)
    assert not any(x.requires_grad for x in found.extra.values())


def test_no_extras_stay_no_extras():
    assert mean_loss(LossInfo(loss=torch.ones(2, 2)), MASKS).extra == ()
