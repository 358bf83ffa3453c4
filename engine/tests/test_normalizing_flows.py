"""Normalising flows invert themselves and know their volume change."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from alf.networks.normalizing_flow_networks import RealNVPNetwork
from alf.tensor_specs import TensorSpec

SPEC, Z_SPEC = TensorSpec((5,)), TensorSpec((3,))


def _flow(conditional: bool, cache: bool = False, **kwargs: object) -> RealNVPNetwork:
    return RealNVPNetwork(
        SPEC,
        conditional_input_tensor_spec=Z_SPEC if conditional else None,
        fc_layer_params=(16,),
        activation=torch.tanh,
        use_transform_cache=cache,
        **kwargs,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("mask_mode", ["contiguous", "distributed"])
def test_the_inverse_undoes_the_flow(conditional: bool, mask_mode: str) -> None:
    flow = _flow(conditional, mask_mode=mask_mode, num_layers=3)
    x, z = torch.randn(4, 5), torch.randn(4, 3)
    inputs = (x, z) if conditional else x
    y, state = flow(inputs)
    assert state == ()
    assert not torch.allclose(x, y)
    back, _ = flow.inverse((y, z) if conditional else y)
    torch.testing.assert_close(back, x, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("conditional", [False, True])
def test_log_det_is_that_of_the_jacobian(conditional: bool) -> None:
    flow = _flow(conditional)
    x, z = torch.randn(3, 5), torch.randn(3, 3)
    transform = flow.make_invertible_transform(z if conditional else None)
    log_det = transform.log_abs_det_jacobian(x, transform(x))
    for row in range(3):
        one = flow.make_invertible_transform(z[row : row + 1] if conditional else None)

        def single(v: Tensor, one=one) -> Tensor:
            return one(v.unsqueeze(0))[0]

        jacobian = torch.autograd.functional.jacobian(single, x[row])
        expected = torch.linalg.slogdet(jacobian)[1]
        torch.testing.assert_close(log_det[row], expected, atol=1e-4, rtol=1e-4)


def test_the_first_part_passes_one_layer_unchanged() -> None:
    flow = _flow(False, num_layers=1, sub_dim=2)
    x = torch.randn(4, 5)
    y, _ = flow(x)
    assert torch.equal(y[:, :2], x[:, :2])
    assert (y[:, 2:] != x[:, 2:]).all()


def test_the_density_of_a_flow_integrates_to_one() -> None:
    torch.manual_seed(0)
    flow = RealNVPNetwork(TensorSpec((2,)), fc_layer_params=(8,), activation=torch.tanh)
    base = torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))
    dist = torch.distributions.TransformedDistribution(base, [flow.make_invertible_transform()])
    axis = torch.linspace(-20, 20, 801)
    grid = torch.cartesian_prod(axis, axis)
    density = dist.log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 2
    torch.testing.assert_close(density, torch.ones(()), atol=1e-2, rtol=0)


def test_a_cached_transform_inverts_its_output_exactly() -> None:
    transform = _flow(True, cache=True).make_invertible_transform(torch.randn(4, 3))
    x = torch.randn(4, 5)
    y = transform(x)
    assert transform.inv(y) is x  # type: ignore[operator]


def test_conditional_inputs_must_fit() -> None:
    with pytest.raises(ValueError, match="conditional inputs are needed"):
        _flow(True).make_invertible_transform()
    with pytest.raises(ValueError, match=r"sub_dim must be within 0\.\.4"):
        _flow(False, sub_dim=5)
    with pytest.raises(ValueError, match="mask_mode must be"):
        _flow(False, mask_mode="checker")


@pytest.mark.parametrize(
    ("kwargs", "kept"),
    [
        ({"sub_dim": 2}, [0, 1]),
        ({"mask_mode": "distributed"}, [0, 2]),
        ({"mask_mode": "distributed", "sub_dim": 1}, [0]),
        ({"mask_mode": "distributed", "sub_dim": 3}, [0, 1, 2]),
        ({"sub_dim": 0}, []),
    ],
)
def test_the_first_layer_keeps_these_elements(kwargs: dict, kept: list[int]) -> None:
    x = torch.randn(1, 5)
    flow = _flow(False, num_layers=1, **kwargs)
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter)
    y = flow.make_invertible_transform()(x)
    assert isinstance(y, Tensor)
    assert (y == x)[0].nonzero().flatten().tolist() == kept


def test_random_masks_are_saved() -> None:
    torch.manual_seed(1)
    flow = _flow(False, mask_mode="random")
    assert flow._masks[0].sum() == 2
    other = _flow(False, mask_mode="random")
    while torch.equal(other._masks, flow._masks):
        other = _flow(False, mask_mode="random")
    other.load_state_dict(flow.state_dict())
    x = torch.randn(3, 5)
    torch.testing.assert_close(other(x)[0], flow(x)[0])


def test_a_flow_of_one_number_depends_on_its_condition() -> None:
    flow = RealNVPNetwork(TensorSpec((1,)), TensorSpec((3,)), fc_layer_params=(8,))
    assert flow._masks[0].tolist() == [False]
    x, z = torch.randn(4, 1), torch.randn(4, 3)
    y, _ = flow((x, z))
    assert not torch.allclose(y, x)
    torch.testing.assert_close(flow.inverse((y, z))[0], x)


@pytest.mark.parametrize("cache", [False, True])
def test_rows_may_have_several_axes(cache: bool) -> None:
    flow = _flow(True, cache=cache)
    x, z = torch.randn(3, 4, 5), torch.randn(3, 4, 3)
    y, _ = flow((x, z))
    flat, _ = flow((x.flatten(0, 1), z.flatten(0, 1)))
    torch.testing.assert_close(y.flatten(0, 1), flat)
    transform = flow.make_invertible_transform(z[0])  # samples [3] in front of rows [4]
    torch.testing.assert_close(transform(x)[1], flow((x[1], z[0]))[0])
