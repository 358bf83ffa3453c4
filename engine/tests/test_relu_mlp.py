"""Closed-form Jacobians equal those of autograd."""

from __future__ import annotations

import pytest
import torch
from torch.func import jacrev, vmap

from alf.networks.relu_mlp import ReluMLP
from alf.tensor_specs import TensorSpec


@pytest.mark.parametrize("hidden", [(), (7,), (7, 6)])
def test_jacobians_equal_those_of_autograd(hidden: tuple[int, ...]) -> None:
    net = ReluMLP(TensorSpec((4,)), hidden_layers=hidden)
    x, v = torch.randn(5, 4), torch.randn(5, 4)
    expected = vmap(jacrev(lambda row: net(row.unsqueeze(0))[0][0]))(x).detach()
    torch.testing.assert_close(
        net.compute_jac(x).expand_as(expected), expected, atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(
        net.compute_jac_diag(x).expand(5, 4),
        expected.diagonal(dim1=1, dim2=2),
        atol=1e-5,
        rtol=1e-4,
    )
    vjp, y = net.compute_vjp(x, v)
    torch.testing.assert_close(vjp, torch.einsum("bo,boi->bi", v, expected), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(y, net(x)[0])
    jvp, _ = net.compute_jvp(x, v)
    torch.testing.assert_close(jvp, torch.einsum("boi,bi->bo", expected, v), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("hidden", [(), (7, 6)])
def test_one_vector_is_taken_for_all_rows_and_one_input_alone(hidden: tuple[int, ...]) -> None:
    net = ReluMLP(TensorSpec((4,)), hidden_layers=hidden)
    x, v = torch.randn(5, 4), torch.randn(4)
    for product in (net.compute_vjp, net.compute_jvp):
        of_rows, _ = product(x, v.expand(5, 4))
        torch.testing.assert_close(product(x, v)[0], of_rows)
        single, y = product(x[2], v)
        torch.testing.assert_close(single, of_rows[2])
        torch.testing.assert_close(y, net(x)[0][2])
    if hidden:
        torch.testing.assert_close(net.compute_jac(x[2]), net.compute_jac(x)[2])
        torch.testing.assert_close(net.compute_jac_diag(x[2]), net.compute_jac_diag(x)[2])


def test_some_outputs_may_be_asked_for() -> None:
    net = ReluMLP(TensorSpec((3,)), output_size=4, hidden_layers=(8,))
    x, some = torch.randn(2, 3), [3, 1]
    full = net.compute_jac(x)
    torch.testing.assert_close(net.compute_jac(x, some), full[:, some])
    v = torch.randn(2, 2)
    vjp, y = net.compute_vjp(x, v, some)
    torch.testing.assert_close(vjp, torch.einsum("bo,boi->bi", v, full[:, some]))
    torch.testing.assert_close(y, net(x)[0])  # of all outputs
    jvp, y = net.compute_jvp(x, torch.ones(2, 3), some)
    torch.testing.assert_close(jvp, full[:, some].sum(-1))
    assert y.shape == (2, 4)
    (output, jacobian), _ = net(x, requires_jac=True)
    assert output.shape == (2, 4)
    torch.testing.assert_close(jacobian, full)
    with pytest.raises(ValueError, match="the diagonal needs equal sizes"):
        net(x, requires_jac_diag=True)
    with pytest.raises(ValueError, match=r"takes \[B, 3\]"):
        net(torch.zeros(2, 4))
