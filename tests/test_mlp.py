"""The multilayer perceptron of rewards, values and discriminators."""

from __future__ import annotations

import pytest
import torch

from alf_layered.networks.mlp import MLP, ROWS_IN_CACHE


@pytest.mark.parametrize(
    "rows",
    [(), (0,), (1,), (2, 3), (2, 0, 3), (ROWS_IN_CACHE,), (ROWS_IN_CACHE + 1,), (3, ROWS_IN_CACHE)],
)
def test_outputs_are_the_same_with_and_without_gradients(rows: tuple[int, ...]) -> None:
    net = MLP([3, 0, 2], (8, 6), 2)
    parts = torch.randn(*rows, 3), torch.zeros(0), torch.randn(*rows, 2)
    expected = net(*parts)
    assert expected.shape == (*rows, 2)
    with torch.no_grad():
        found = net(*parts)
    torch.testing.assert_close(found, expected.detach())


def test_outputs_without_gradients_are_not_overwritten_by_the_next_call() -> None:
    net = MLP([2], (4,), 1)
    with torch.no_grad():
        first = net(torch.ones(3, 2))
        kept = first.clone()
        net(torch.zeros(3, 2))
    assert torch.equal(first, kept)
