"""The arithmetic of soft actor-critic, by hand."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from alf.algorithms.one_step_loss import OneStepTDLoss
from alf.algorithms.sac import losses as sac_losses
from alf.algorithms.sac import values as sac_values
from alf.algorithms.sac.temperatures import target_entropies
from alf.algorithms.sac_algorithm import SacCriticInfo, SacInfo
from alf.algorithms.td_loss import TDLoss
from alf.data_structures import StepType
from alf.tensor_specs import BoundedTensorSpec


def test_split_heads_puts_the_reward_axis_last():
    replicas, rewards, actions = 2, 3, 4
    output = torch.arange(5 * replicas * rewards * actions).reshape(5, -1, actions)
    values = sac_values.split_heads(output, replicas, (rewards,))
    assert values.shape == (5, replicas, actions, rewards)
    for r in range(replicas):
        for n in range(rewards):
            assert torch.equal(values[:, r, :, n], output[:, r * rewards + n])


def test_the_pessimistic_value_of_a_reward_with_negative_weight_is_the_greatest():
    values = torch.tensor([[[1.0, 1.0], [5.0, 5.0]]])
    weights = torch.tensor([2.0, -1.0])
    assert sac_values.least_replica(values, weights).tolist() == [[1.0, 5.0]]
    assert sac_values.scalarize(torch.tensor([[1.0, 5.0]]), weights).tolist() == [-3.0]


def test_a_scalar_reward_takes_the_least_replica():
    values = torch.tensor([[3.0, 2.0], [0.0, 1.0]])
    assert sac_values.least_replica(values, None).tolist() == [2.0, 0.0]


def test_the_discrete_policy_is_the_softmax_of_q_over_alpha():
    alpha = torch.tensor(0.5)
    q = torch.tensor([[0.0, 0.5 * math.log(2.0), 0.5 * math.log(5.0)]])
    torch.testing.assert_close(
        sac_values.boltzmann(q, alpha).probs, torch.tensor([[1 / 8, 2 / 8, 5 / 8]])
    )


def test_values_of_actions_are_picked_row_by_row():
    values = torch.arange(3 * 2 * 4 * 2).reshape(3, 2, 4, 2)
    picked = sac_values.values_of_actions(values, torch.tensor([3, 0, 2], dtype=torch.int32))
    assert torch.equal(picked, torch.stack([values[0, :, 3], values[1, :, 0], values[2, :, 2]]))
    scalar = sac_values.values_of_actions(values[..., 0], torch.tensor([3, 0, 2]))
    assert torch.equal(scalar, picked[..., 0])


def test_expected_value_is_the_mean_under_the_policy():
    values = torch.tensor([[[1.0, 10.0], [3.0, 30.0]]])
    probs = torch.tensor([[0.25, 0.75]])
    assert sac_values.expected_value(values, probs).tolist() == [[2.5, 25.0]]


@pytest.mark.parametrize(
    ("clipping", "expected"), [(None, [-2.0, 3.0]), (0, [-2.0, 3.0]), (1.0, [-1.0, 1.0])]
)
def test_the_actor_climbs_dq_da_which_can_be_clipped(clipping, expected):
    action = torch.tensor([[0.3, 0.4]], requires_grad=True)
    weight = torch.tensor([-2.0, 3.0], requires_grad=True)
    loss = sac_values.action_gradient_loss((action * weight).sum(1), [action], clipping)
    assert loss.shape == (1,)
    loss.sum().backward()
    torch.testing.assert_close(-action.grad, torch.tensor([expected]))
    assert weight.grad is None
    torch.testing.assert_close(loss.item(), 0.5 * sum(x * x for x in expected))


@pytest.mark.parametrize(("entropy", "direction"), [(2.0, -1.0), (0.5, 1.0), (1.0, 0.0)])
def test_alpha_falls_while_the_entropy_is_above_its_target(entropy, direction):
    log_alpha = torch.tensor(0.0, requires_grad=True)
    sac_values.temperature_loss(log_alpha, torch.tensor([-entropy]), 1.0).sum().backward()
    assert torch.sign(-log_alpha.grad).item() == direction


def info_of(reward, discount, step_type=None, log_pi=None, critics=None, target=None) -> SacInfo:
    reward = torch.as_tensor(reward)
    if step_type is None:
        step_type = torch.full(reward.shape[:2], StepType.MID)
    return SacInfo(
        reward=reward,
        step_type=step_type,
        discount=torch.as_tensor(discount),
        log_pi=() if log_pi is None else log_pi,
        critic=SacCriticInfo(critics=critics, target_critic=target),
    )


def test_the_entropy_counts_one_discount_later_than_the_reward():
    info = info_of(
        [[1.0, 1.0], [2.0, 2.0]], [[1.0, 1.0], [0.5, 0.0]], log_pi=(torch.tensor([[-3.0] * 2] * 2),)
    )
    reward = sac_losses.reward_with_entropy(info, [torch.tensor(0.1)], torch.tensor(0.9), None)
    # 1 + 0.9 * 1 * 0.1 * 3; 2 + 0.9 * 0.5 * 0.1 * 3; at a true end no entropy comes after.
    torch.testing.assert_close(reward, torch.tensor([[1.27, 1.27], [2.135, 2.0]]))


def test_the_entropies_of_the_parts_are_weighed_by_their_own_alphas():
    info = info_of([[0.0]], [[1.0]], log_pi=(torch.tensor([[-2.0]]), torch.tensor([[-5.0]])))
    alphas = [torch.tensor(0.1), torch.tensor(10.0)]
    reward = sac_losses.reward_with_entropy(info, alphas, torch.tensor(1.0), None)
    torch.testing.assert_close(reward, torch.tensor([[50.2]]))


def test_each_dimension_of_a_vector_reward_gets_the_entropy():
    info = info_of([[[1.0, 2.0]]], [[1.0]], log_pi=(torch.tensor([[-1.0]]),))
    gamma = torch.tensor([0.5, 0.25])
    reward = sac_losses.reward_with_entropy(info, [torch.tensor(2.0)], gamma, None)
    torch.testing.assert_close(reward, torch.tensor([[[2.0, 2.5]]]))


def test_termination_does_not_bootstrap_and_truncation_does():
    first_mid, last = [StepType.MID] * 2, [StepType.LAST] * 2
    info = info_of(
        [[0.0, 0.0], [1.0, 1.0]],
        [[1.0, 1.0], [0.0, 1.0]],
        step_type=torch.tensor([first_mid, last]),
        critics=torch.zeros(2, 2, 1),
        target=torch.tensor([[7.0, 7.0], [10.0, 10.0]]),
    )
    loss = sac_losses.loss_of_replicas([OneStepTDLoss(gamma=0.9)], info)
    torch.testing.assert_close(loss, torch.tensor([[1.0, 100.0], [0.0, 0.0]]))


@pytest.mark.parametrize("reward_shape", [(), (3,)])
@pytest.mark.parametrize(
    "ctor", [partial(OneStepTDLoss, gamma=0.9), partial(TDLoss, gamma=0.9, td_lambda=0.5)]
)
def test_the_loss_of_all_replicas_is_the_sum_of_the_loss_of_each(ctor, reward_shape):
    generator = torch.Generator().manual_seed(0)

    def rand(*shape):
        return torch.rand(*shape, generator=generator)

    info = info_of(
        rand(4, 5, *reward_shape),
        rand(4, 5),
        step_type=torch.randint(0, 3, (4, 5), generator=generator),
        critics=rand(4, 5, 2, *reward_shape),
        target=rand(4, 5, *reward_shape),
    )
    td_loss = ctor()
    expected = sum(
        td_loss(info, info.critic.critics[:, :, i], info.critic.target_critic).loss
        for i in range(2)
    )
    losses = sac_losses.CriticLosses(ctor, 2, False)
    assert losses.are_alike()
    torch.testing.assert_close(sac_losses.loss_of_replicas(losses, info), expected)
    losses[1] = TDLoss(gamma=0.5)  # a replaced one counts
    assert not losses.are_alike()
    other = losses[1](info, info.critic.critics[:, :, 1], info.critic.target_critic).loss
    first = td_loss(info, info.critic.critics[:, :, 0], info.critic.target_critic).loss
    torch.testing.assert_close(sac_losses.loss_of_replicas(losses, info), first + other)


def test_losses_with_a_state_are_computed_one_by_one():
    info = info_of(
        torch.rand(3, 4),
        torch.rand(3, 4),
        step_type=torch.ones(3, 4),
        critics=torch.rand(3, 4, 2),
        target=torch.rand(3, 4),
    )

    ctor = partial(TDLoss, gamma=0.9, td_lambda=0.5, normalize_target=True)

    def made():
        return sac_losses.CriticLosses(ctor, 2, False)

    one_by_one = made()
    expected = sum(
        one_by_one[i](info, info.critic.critics[:, :, i], info.critic.target_critic).loss
        for i in range(2)
    )
    torch.testing.assert_close(sac_losses.loss_of_replicas(made(), info), expected)


def test_the_priority_is_the_root_of_the_mean_loss_without_last_steps():
    step_type = torch.tensor([[StepType.MID, StepType.LAST], [StepType.MID, StepType.LAST]])
    loss = torch.tensor([[8.0, 5.0], [0.0, 5.0]])
    assert sac_losses.priority_of(step_type, loss).tolist() == [2.0, 0.0]


DISCRETE = BoundedTensorSpec((), torch.int64, 0, 3)
CONTINUOUS = BoundedTensorSpec((2,), torch.float32, -1.0, 1.0)


def test_target_entropies_are_one_for_each_part():
    def given(target, kld=None):
        return target_entropies(
            [DISCRETE, CONTINUOUS], target_entropy=target, target_kld_per_dim=kld
        )

    assert given(0.5) == [0.5, 0.5]
    assert given((0.5, lambda spec: -spec.numel)) == [0.5, -2.0]
    assert given(None, 3.0) == [-3.0, -6.0]
    with pytest.raises(ValueError, match="for each part of the action, here 2"):
        given((1.0, 2.0, 3.0))
