"""Proximal policy optimization: the surrogate by hand, what is prepared, what has no successor."""

from __future__ import annotations

import math
from functools import partial

import pytest
import small_learners as small
import torch
import torch.distributions as td

from alf.algorithms.actor_critic_algorithm import ActorCriticInfo
from alf.algorithms.actor_critic_loss import ActorCriticLoss
from alf.algorithms.ppo_algorithm import PPOInfo
from alf.algorithms.ppo_loss import PPOLoss
from alf.data_structures import StepType
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

OBSERVATION = TensorSpec((2,))
ACTION = BoundedTensorSpec((), torch.int64, 0, 1)


def _info(logits: list[float], advantages: list[float], step_type: StepType = StepType.MID):
    """Steps [1, B] whose first action was taken with probability 1/2 and returned 2."""
    B = len(logits)
    pairs = torch.tensor([[[x, 0.0] for x in logits]])
    return PPOInfo(
        step_type=torch.full((1, B), int(step_type), dtype=torch.int32),
        action=torch.zeros(1, B, dtype=torch.int64),
        rollout_log_prob=torch.full((1, B), math.log(0.5)),
        rollout_action_distribution=td.Categorical(logits=torch.zeros(1, B, 2)),
        action_distribution=td.Categorical(logits=pairs),
        returns=torch.full((1, B), 2.0),
        advantages=torch.tensor([advantages]),
        value=torch.ones(1, B),
    )


def _logit(ratio: float) -> float:
    """The logit of the first action at which it is ``ratio`` times as probable as 1/2."""
    return math.log(ratio / 2 / (1 - ratio / 2))


def test_the_ratio_is_clipped_where_that_makes_the_objective_smaller():
    ratios = [1.1, 1.5, 0.5, 1.5, 0.5]
    advantages = [1.0, 1.0, 1.0, -1.0, -1.0]
    # 1.5 is clipped to 1.2 if it pays; 0.5 to 0.8 if it costs
    expected = [-1.1, -1.2, -0.5, 1.5, 0.8]
    loss = PPOLoss(normalize_advantages=False)
    result = loss(_info([_logit(r) for r in ratios], advantages))
    torch.testing.assert_close(result.extra.pg_loss, torch.tensor([expected]))
    torch.testing.assert_close(result.extra.td_loss, torch.ones(1, 5))


def test_nothing_is_gained_beyond_the_clipped_ratio():
    logits = torch.tensor([_logit(1.5), _logit(1.1)], requires_grad=True)
    info = _info([0.0, 0.0], [1.0, 1.0])
    pairs = torch.stack([logits, torch.zeros(2)], dim=-1).unsqueeze(0)
    info = info._replace(action_distribution=td.Categorical(logits=pairs))
    PPOLoss(normalize_advantages=False)(info).extra.pg_loss.sum().backward()
    assert logits.grad is not None
    assert logits.grad[0] == 0
    assert logits.grad[1] < 0


def test_advantages_are_normalized_over_the_whole_batch():
    # mean 1, deviation sqrt(6 / 4), last steps included
    info = _info([0.0] * 4, [1.0, 3.0, 0.0, 0.0])
    last = int(StepType.LAST)
    step_type = torch.tensor([[1, 1, last, last]], dtype=torch.int32)
    result = PPOLoss()(info._replace(step_type=step_type))
    expected = torch.tensor([0.0, -2.0, 1.0, 1.0]) / math.sqrt(1.5)
    torch.testing.assert_close(result.extra.pg_loss[0], expected)


def test_a_vector_reward_is_normalized_and_clipped_in_each_dimension_and_then_weighted():
    info = _info([0.0, 0.0], [0.0, 0.0])._replace(
        advantages=torch.tensor([[[1.0, 10.0], [3.0, 30.0]]]),
        returns=torch.zeros(1, 2, 2),
        value=torch.zeros(1, 2, 2),
        reward_weights=torch.tensor([[[0.75, 0.25], [0.75, 0.25]]]),
    )
    normalized = PPOLoss(advantage_clip=10.0)(info).extra.pg_loss
    torch.testing.assert_close(normalized, torch.tensor([[1.0, -1.0]]))
    clipped = PPOLoss(normalize_advantages=False, advantage_clip=2.0)(info).extra.pg_loss
    torch.testing.assert_close(clipped, torch.tensor([[-(0.75 + 0.5), -(1.5 + 0.5)]]))


def test_the_log_probability_is_clipped_on_request():
    info = _info([_logit(0.1)], [1.0])
    # log 0.05 becomes -1
    loss = PPOLoss(normalize_advantages=False, log_prob_clipping=1.0, importance_ratio_clipping=9.0)
    torch.testing.assert_close(
        loss(info).extra.pg_loss, -torch.tensor([[math.exp(-1.0 - math.log(0.5))]])
    )


def test_a_ratio_that_is_not_finite_is_found_on_request():
    info = _info([0.0], [1.0])._replace(rollout_log_prob=torch.tensor([[-math.inf]]))
    with pytest.raises(ValueError, match="not finite"):
        PPOLoss(check_numerics=True)(info)


def _algorithm(**options):
    return small.ppo(**options)(
        observation_spec=OBSERVATION, action_spec=ACTION, config=small.whole()
    )


def _rollout(value):
    """One environment, [B, T] = [1, 4]: rewards 0, 1, 2, 3."""
    shape = (1, len(value))
    inputs = small.in_time(
        reward=torch.arange(float(len(value))).reshape(shape), observation=torch.zeros(*shape, 2)
    )
    info = ActorCriticInfo(
        action=torch.zeros(shape, dtype=torch.int64),
        log_prob=torch.zeros(shape),
        action_distribution=td.Categorical(logits=torch.zeros(*shape, 2)),
        value=torch.tensor([value]),
    )
    return inputs, info


def test_returns_and_advantages_are_those_of_the_rollout():
    loss = partial(PPOLoss, gamma=0.5, td_lambda=0.5)
    inputs, info = _rollout([1.0, 2.0, 3.0, 4.0])
    inputs, info = _algorithm(loss_class=loss).preprocess_experience(inputs, info, ())
    # delta_t = r_{t+1} + V_{t+1} / 2 - V_t = 1, 1.5, 2; A_t = delta_t + A_{t+1} / 4
    expected = torch.tensor([[1 + (1.5 + 0.5) / 4, 1.5 + 0.5, 2.0, 0.0]])
    torch.testing.assert_close(info.advantages, expected)
    torch.testing.assert_close(info.returns, expected + torch.tensor([[1.0, 2.0, 3.0, 4.0]]))


def test_the_newest_step_has_no_advantage_and_its_value_as_return():
    inputs, info = _rollout([1.0, 2.0, 3.0, 4.0])
    prepared, info = _algorithm().preprocess_experience(inputs, info, ())
    assert prepared.step_type.equal(inputs.step_type)
    assert info.advantages[0, -1] == 0.0
    assert info.returns[0, -1] == 4.0


def test_advantages_computed_inside_the_loss_are_the_same():
    loss = partial(PPOLoss, gamma=0.5, td_lambda=0.5)
    inputs, info = _rollout([1.0, 2.0, 3.0, 4.0])
    _, outside = _algorithm(loss_class=loss).preprocess_experience(inputs, info, ())
    inside = _algorithm(loss_class=partial(loss, compute_advantages_internally=True))
    inputs, prepared = inside.preprocess_experience(inputs, info, ())
    assert prepared.advantages == ()
    sequence = prepared._replace(
        reward=inputs.reward.T,
        step_type=inputs.step_type.T,
        discount=inputs.discount.T,
        rollout_value=prepared.rollout_value.T,
    )
    value_now = torch.randn_like(info.value.T)
    returns, advantages = inside._loss._returns_and_advantages(sequence, value_now)
    torch.testing.assert_close(advantages.T, outside.advantages)
    torch.testing.assert_close(returns.T, outside.returns)


def test_advantages_inside_the_loss_need_the_values_of_the_rollout():
    with pytest.raises(ValueError, match="rollout_value"):
        PPOLoss(compute_advantages_internally=True)(_info([0.0, 0.0], [1.0, 1.0]))


def test_a_loss_for_one_update_is_refused():
    inputs, info = _rollout([1.0, 2.0])
    with pytest.raises(ValueError, match="loss_class=PPOLoss"):
        _algorithm(loss_class=ActorCriticLoss).preprocess_experience(inputs, info, ())


def test_it_trains_from_the_replay_buffer():
    assert _algorithm().on_policy is False
