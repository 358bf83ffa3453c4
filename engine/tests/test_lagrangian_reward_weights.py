"""Reward weights that find the multiplier at which a constraint holds."""

from __future__ import annotations

import pytest
import torch

import alf
from alf.algorithms.lagrangian_reward_weight_algorithm import (
    LagInfo,
    LagrangianPredRewardWeightAlgorithm,
    LagrangianRewardWeightAlgorithm,
)
from alf.data_structures import TimeStep
from alf.optimizers import SGD
from alf.tensor_specs import TensorSpec

PAIR = TensorSpec((2,))


@pytest.mark.parametrize("transform", [torch.nn.functional.softplus, torch.exp])
def test_a_weight_settles_where_its_threshold_is_met(transform: object) -> None:
    """The task gives each reward its share of the weights, with noise."""
    torch.manual_seed(0)
    algorithm = LagrangianRewardWeightAlgorithm(
        PAIR, [0.7, None], SGD(lr=0.3), lambda_transform=transform
    )
    assert algorithm.reward_weights.tolist() == [0.5, 0.5]
    for _ in range(400):
        rewards = algorithm.reward_weights + 0.1 * torch.randn(4, 8, 2)
        algorithm.after_train_iter(None, LagInfo(rollout_reward=rewards))
    torch.testing.assert_close(
        algorithm.reward_weights, torch.tensor([0.7, 0.3]), atol=0.02, rtol=0
    )


def test_the_reward_itself_counts_where_nothing_transforms_it() -> None:
    algorithm = LagrangianRewardWeightAlgorithm(PAIR, [0.7, 0.0], SGD(lr=1.0))
    step = TimeStep(reward=torch.ones(3, 2))._replace(untransformed=())
    assert algorithm.rollout_step(step).info.rollout_reward is step.reward
    raw = step._replace(untransformed=step._replace(reward=torch.zeros(3, 2)))
    assert algorithm.rollout_step(raw).info.rollout_reward.sum() == 0


def test_predicted_rewards_that_there_are_not_yet_change_nothing() -> None:
    alf.reset_configs()
    alf.config("TrainerConfig", evaluate=True, async_eval=False)
    try:
        algorithm = LagrangianPredRewardWeightAlgorithm(PAIR, [0.5, -0.5], SGD(lr=1.0))
    finally:
        alf.reset_configs()
    before = algorithm.reward_weights
    algorithm.after_train_iter(None, None)
    assert algorithm.reward_weights.equal(before)
    step = TimeStep(reward=torch.ones(3, 2))._replace(untransformed=())
    algorithm.predict_step(step)
    algorithm.after_train_iter(None, None)
    assert algorithm.reward_weights[0] > algorithm.reward_weights[1]


def test_the_optimizer_survives_saving() -> None:
    def make() -> LagrangianRewardWeightAlgorithm:
        return LagrangianRewardWeightAlgorithm(PAIR, [0.7, 0.2], alf.optimizers.Adam(lr=0.1))

    info = LagInfo(rollout_reward=torch.tensor([[[0.1, 0.9]]]))
    first, second = make(), make()
    for _ in range(3):
        first.after_train_iter(None, info)
    second.load_state_dict(first.state_dict())
    for algorithm in (first, second):
        algorithm.after_train_iter(None, info)
    assert first.reward_weights.equal(second.reward_weights)
