"""Dynamics networks and exploration noise."""

from __future__ import annotations

import pytest
import torch

from alf.networks.dynamics_networks import DynamicsNetwork
from alf.networks.ou_process import OUProcess
from alf.tensor_specs import TensorSpec

SPECS = (TensorSpec((3,)), TensorSpec((2,)))


def test_a_prediction_is_a_vector_or_a_distribution() -> None:
    inputs = (torch.randn(4, 3), torch.randn(4, 2))
    net = DynamicsNetwork(SPECS, TensorSpec((5,)), joint_fc_layer_params=(8,))
    assert net(inputs)[0].shape == (4, 5)
    prob = DynamicsNetwork(
        SPECS,
        TensorSpec((5,)),
        joint_fc_layer_params=(8,),
        prob=True,
        continuous_projection_net_ctor=_unbounded,
    )
    dist, _ = prob(inputs)
    assert dist.sample().shape == (4, 5)
    assert dist.log_prob(torch.zeros(4, 5)).shape == (4,)


def _unbounded(size: int, spec: TensorSpec):  # type: ignore[no-untyped-def]
    from alf.networks import NormalProjectionNetwork

    return NormalProjectionNetwork(size, spec, squash_mean=False)


@pytest.mark.parametrize("prob", [False, True])
def test_replicas_are_independent(prob: bool) -> None:
    net = DynamicsNetwork(
        SPECS,
        TensorSpec((5,)),
        joint_fc_layer_params=(8,),
        prob=prob,
        continuous_projection_net_ctor=_unbounded,
    )
    ensemble = net.make_parallel(3)
    assert ensemble.name == "parallel_DynamicsNetwork"
    inputs = (torch.randn(4, 3, 3), torch.randn(4, 3, 2))
    output, _ = ensemble(inputs)
    y = output.mean if prob else output
    assert y.shape == (4, 3, 5)
    changed = (inputs[0].clone(), inputs[1])
    changed[0][:, 1] += 1
    other, _ = ensemble(changed)
    same = (other.mean if prob else other).isclose(y).all(-1).all(0)
    assert same.tolist() == [True, False, True]


def test_the_inputs_must_be_a_pair() -> None:
    with pytest.raises(ValueError, match="must be \\(observation_spec, action_spec\\)"):
        DynamicsNetwork(SPECS[0], TensorSpec((5,)))


def test_ou_noise_has_its_known_variance_and_correlation() -> None:
    process = OUProcess(TensorSpec((2,)), damping=0.2, stddev=0.3)
    assert process.state_spec == TensorSpec((2,))
    assert process.is_rnn
    state = torch.zeros(50_000, 2)
    for _ in range(40):
        before = state
        noise, state = process(state)
    assert noise is state
    variance = 0.3**2 / (1 - 0.8**2)
    torch.testing.assert_close(state.var(), torch.tensor(variance), atol=5e-3, rtol=0)
    correlation = (state * before).mean() / state.var()
    torch.testing.assert_close(correlation, torch.tensor(0.8), atol=2e-2, rtol=0)
    with pytest.raises(ValueError, match=r"damping is 2.0; allowed: a number in \[0, 1\]"):
        OUProcess(TensorSpec(()), damping=2.0)
