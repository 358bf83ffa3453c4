"""The critic of multi-dimensional Q learning agrees with sums over all bins of all dimensions."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from alf.networks.mdq_critic_networks import MdqCriticNetwork
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.action_quantizer import ActionQuantizer

OBSERVATION = TensorSpec((4,))
BINS = 3
ALPHA = 0.3


def _critic(dims: int = 3, replicas: int = 2, scale: float = 60.0) -> MdqCriticNetwork:
    torch.manual_seed(0)
    action = BoundedTensorSpec((dims,), minimum=-2.0, maximum=4.0)
    net = MdqCriticNetwork(
        (OBSERVATION, action),
        action_qt=ActionQuantizer(action, action_bins=BINS),
        num_critic_replicas=replicas,
        obs_encoding_layer_params=(16,),
        pre_encoding_layer_params=(16,),
        mid_encoding_layer_params=(16,),
        post_encoding_layer_params=(16,),
        free_form_fc_layer_params=(16,),
    )
    # Last layers begin near zero, where values would hardly differ.
    with torch.no_grad():
        net._post._last.weight.mul_(scale)
        net._free_form._last.weight.mul_(scale)
    return net


def _all_actions(net: MdqCriticNetwork, dims: int) -> Tensor:
    bins = torch.tensor(list(itertools.product(range(BINS), repeat=dims)))
    return net._action_qt.ind_to_action(bins)


def _values(net: MdqCriticNetwork, observation: Tensor, actions: Tensor) -> Tensor:
    """Values [number of actions, R] of one observation [4]."""
    return net((observation.expand(len(actions), -1), actions), ALPHA)[0][..., -1].detach()


@pytest.mark.parametrize("dims", [1, 2, 5])
@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("free_form", [False, True])
def test_both_forms_have_one_value_for_each_replica(
    dims: int, replicas: int, free_form: bool
) -> None:
    net = _critic(dims, replicas)
    value, state = net((torch.randn(6, 4), torch.zeros(6, dims)), ALPHA, free_form=free_form)
    assert value.shape == ((6, replicas) if free_form else (6, replicas, dims))
    assert state == ()
    assert net.output_spec == TensorSpec((replicas, dims))
    action, log_pi = net.get_action(torch.randn(6, 4), ALPHA, greedy=False)
    assert action.shape == log_pi.shape == (6, replicas, dims)


def test_without_hidden_layers_and_with_nested_observations_both_forms_work() -> None:
    action = BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)
    net = MdqCriticNetwork(({"x": OBSERVATION, "y": TensorSpec((1,))}, action))
    observation = {"x": torch.randn(5, 4), "y": torch.randn(5, 1)}
    for free_form in (False, True):
        value, _ = net((observation, torch.zeros(5, 2)), ALPHA, free_form=free_form)
        assert value.shape == ((5, 2) if free_form else (5, 2, 2))
    assert net.get_action(observation, ALPHA, greedy=True)[0].shape == (5, 2, 2)


def test_the_first_dimensions_are_worth_the_soft_maximum_over_the_next() -> None:
    net = _critic(dims=3)
    observation = torch.randn(4)
    values = _values(net, observation, _all_actions(net, 3)).reshape(BINS, BINS, BINS, 2)
    summed = ALPHA * ((values / ALPHA).logsumexp(dim=(1, 2)) - 2 * math.log(BINS))
    encoding = net._encode(observation[None])
    first = net._bin_values(encoding, torch.zeros(1, 1, 1, 3), slice(0, 2))[0, 0].T.detach()
    torch.testing.assert_close(summed, first + ALPHA * math.log(BINS))
    # and that is what the entries of the advantage form say
    actions = _all_actions(net, 3)
    form = net((observation.expand(len(actions), -1), actions), ALPHA)[0].detach()
    torch.testing.assert_close(
        form[..., 0].reshape(BINS, BINS, BINS, 2), summed[:, None, None].expand_as(values)
    )
    two = ALPHA * ((values / ALPHA).logsumexp(dim=2) - math.log(BINS))
    torch.testing.assert_close(
        form[..., 1].reshape(BINS, BINS, BINS, 2), two[:, :, None].expand_as(values)
    )
    assert bool((values.std(dim=(0, 1, 2)) > 0.1).all())


@pytest.mark.parametrize("dims", [1, 3])
def test_the_policy_of_one_replica_is_the_softmax_of_all_values(dims: int) -> None:
    net = _critic(dims, replicas=1)
    observation = torch.randn(4)
    actions = _all_actions(net, dims)
    log_pi = torch.log_softmax(_values(net, observation, actions)[:, 0] / ALPHA, dim=0)
    drawn, drawn_log_pi = net.get_action(observation.expand(4000, -1), ALPHA, greedy=False)
    which = (drawn == actions).all(dim=-1).int().argmax(dim=1)
    torch.testing.assert_close(drawn_log_pi[:, 0].sum(-1), log_pi[which])
    frequency = torch.bincount(which, minlength=len(actions)) / 4000
    assert (frequency - log_pi.exp()).abs().max() < 0.04


@pytest.mark.parametrize("replicas", [1, 2])
def test_the_greedy_choice_is_the_best_bin_of_each_dimension_given_those_before(
    replicas: int,
) -> None:
    net = _critic(dims=3, replicas=replicas)
    observations = torch.randn(8, 4)
    action, log_pi = net.get_action(observations, ALPHA, greedy=True)
    assert len(action.unique(dim=0)) > 1
    actions = _all_actions(net, 3)
    for row, r in itertools.product(range(8), range(replicas)):  # each replica by its own values
        values = _values(net, observations[row], actions)[:, r].reshape(BINS, BINS, BINS)
        q_1 = ALPHA * ((values / ALPHA).logsumexp(dim=(1, 2)) - 2 * math.log(BINS))
        q_2 = ALPHA * ((values / ALPHA).logsumexp(dim=2) - math.log(BINS))
        expected, expected_log_pi = [], []
        for q in (q_1, q_2, values):
            of_bins = q[tuple(expected)]
            expected.append(int(of_bins.argmax()))
            expected_log_pi.append(float(torch.log_softmax(of_bins / ALPHA, dim=0).max()))
        assert net._action_qt.action_to_ind(action[row, r]).tolist() == expected
        assert log_pi[row, r].tolist() == pytest.approx(expected_log_pi, abs=1e-4)


def test_the_advantage_form_knows_bins_and_the_free_form_the_action() -> None:
    net = _critic(dims=2)
    observation = torch.randn(5, 4)
    # Bins of width 2 in [-2, 4]: both actions lie in bins (0, 2).
    one, other = torch.tensor([[-1.9, 2.1]]).expand(5, 2), torch.tensor([[-0.1, 3.9]]).expand(5, 2)
    torch.testing.assert_close(
        net((observation, one), ALPHA)[0], net((observation, other), ALPHA)[0]
    )
    action = one.clone().requires_grad_()
    free, _ = net((observation, action), ALPHA, free_form=True)
    assert not torch.allclose(free, net((observation, other), ALPHA, free_form=True)[0])
    (gradient,) = torch.autograd.grad(free.sum(), action)
    assert bool((gradient != 0).any(dim=1).all())


def test_the_advantage_form_learns_what_the_free_form_says() -> None:
    net = _critic(dims=2)
    observation = torch.randn(32, 4)
    action = _all_actions(net, 2)[torch.arange(32) % 9]
    target = net((observation, action), ALPHA, free_form=True)[0].detach()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(150):
        loss = (net((observation, action), ALPHA)[0][..., -1] - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01 * float(target.var())


def test_replicas_are_independent() -> None:
    net = _critic(dims=3, replicas=3)
    observation, action = torch.randn(5, 4), torch.zeros(5, 3)
    for free_form in (False, True):
        parameters = [p for p in net.parameters() if p.requires_grad]
        value = net((observation, action), ALPHA, free_form=free_form)[0][:, 1].sum()
        grads = torch.autograd.grad(value, parameters, allow_unused=True)
        for grad in (g for g in grads if g is not None):
            of_replica = grad.unflatten(0, (-1, 3))
            assert bool((of_replica[:, [0, 2]] == 0).all())


def test_made_parallel_it_has_replicas_of_its_own() -> None:
    net = _critic(replicas=1).make_parallel(4)
    value, _ = net((torch.randn(6, 4), torch.zeros(6, 3)), ALPHA)
    assert value.shape == (6, 4, 3)
    assert len(value[0, :, -1].unique()) == 4
    with pytest.raises(ValueError, match="num_critic_replicas"):
        _critic(replicas=2).make_parallel(4)


def test_the_prior_is_uniform_over_all_bins() -> None:
    net = _critic(dims=3, scale=0.0)
    assert math.exp(net.get_uniform_prior_logpi()) == pytest.approx(1 / BINS)
    net.sync_net()
    with torch.no_grad():
        net._post._last.bias.zero_()
    _, log_pi = net.get_action(torch.randn(2, 4), ALPHA, greedy=False)
    torch.testing.assert_close(log_pi, torch.full((2, 2, 3), net.get_uniform_prior_logpi()))


def test_a_small_temperature_stays_finite() -> None:
    net = _critic()
    value, _ = net((torch.randn(6, 4), torch.zeros(6, 3)), torch.tensor(1e-6))
    assert bool(value.isfinite().all())
    net.get_action(torch.randn(6, 4), torch.tensor(1e-6), greedy=False)


def test_unfit_settings_are_refused() -> None:
    action = BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)
    with pytest.raises(ValueError, match="num_critic_replicas"):
        MdqCriticNetwork((OBSERVATION, action), num_critic_replicas=0)
    with pytest.raises(ValueError, match="continuous"):
        MdqCriticNetwork((OBSERVATION, TensorSpec((2,))))
    with pytest.raises(ValueError, match="rank 1"):
        MdqCriticNetwork((TensorSpec((3, 4, 4)), action))
