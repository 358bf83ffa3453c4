"""SEditor on a bandit where the most useful action breaks a constraint."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import small_learners as small
import torch

from alf.algorithms.one_step_loss import OneStepTDLoss
from alf.algorithms.seditor_algorithm import SEditorAlgorithm
from alf.data_structures import StepType
from alf.environments.suite_unittest import ActionType, UnittestEnv
from alf.nest.utils import NestConcat
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec


class ConstrainedBandit(UnittestEnv):
    """Utility is (action + 1) / 2; what it is above 0.3 or 0.9, as shown, breaks the constraint.

    So the best action that breaks nothing has a mean utility of 0.6.
    """

    def __init__(self, batch_size: int) -> None:
        super().__init__(batch_size, 6, action_type=ActionType.Continuous, reward_dim=2)

    def _make_action_spec(self, action_type: ActionType) -> BoundedTensorSpec:
        return BoundedTensorSpec((1,), minimum=-1.0, maximum=1.0)

    def _observe(self, step_type: int, action: Any) -> tuple[torch.Tensor, torch.Tensor]:
        reward = torch.zeros(self._batch_size, 2)
        if step_type != StepType.FIRST:
            limit = 0.3 + 0.6 * self._shown_last[:, 0]
            utility = (action[:, 0] + 1) / 2
            reward = torch.stack([utility, -(utility - limit).relu()], dim=-1)
        return torch.randint(0, 2, self._zeros().shape).to(torch.float32), reward


def _trained(seed: int, iterations: int, **options: Any) -> Any:
    torch.manual_seed(seed)
    env = ConstrainedBandit(16)
    algorithm = SEditorAlgorithm(
        env.observation_spec(),
        env.action_spec(),
        env.reward_spec(),
        actor_network_ctor=small._actor,
        critic_network_ctor=partial(small._critic, action_preprocessing_combiner=NestConcat()),
        initial_alpha=0.1,
        target_entropy=-3.0,
        critic_loss_ctor=partial(OneStepTDLoss, gamma=0.5),
        optimizer=Adam(lr=small.LR),
        env=env,
        config=small.replayed(),
        **options,
    )
    algorithm.set_path("")
    for _ in range(iterations):
        algorithm.train_iter()
    return algorithm


@torch.no_grad()
def _mean_rewards(algorithm: Any) -> list[float]:
    """Utility and constraint per step of the greedy policy."""
    env = ConstrainedBandit(256)
    step, total = env.reset(), torch.zeros(2)
    for _ in range(5):
        step = env.step(algorithm.predict_step(step, ()).output)
        total += step.reward.mean(0) / 5
    return total.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_edited_action_is_useful_and_breaks_little(seed: int) -> None:
    """A random policy has (0.5, -0.12), the most useful one (1, -0.4)."""
    utility, constraint = _mean_rewards(_trained(seed, 250, reward_weights=[1.0, 5.0]))
    assert utility > 0.45
    assert constraint > -0.05


@pytest.mark.slow
def test_without_weight_the_constraint_is_broken() -> None:
    assert _mean_rewards(_trained(0, 250, reward_weights=[1.0, 0.0]))[1] < -0.2


def test_an_edit_that_could_only_raise_an_action_is_refused() -> None:
    env = small.bandit(ActionType.Continuous)  # its action is in [0, 1]
    with pytest.raises(ValueError, match="allowed: bounds around 0"):
        SEditorAlgorithm(env.observation_spec(), env.action_spec(), TensorSpec((2,)))


def test_a_reward_that_is_no_pair_is_refused() -> None:
    env = small.bandit(ActionType.Continuous)
    with pytest.raises(ValueError, match="allowed: two numbers, utility and constraint"):
        SEditorAlgorithm(env.observation_spec(), env.action_spec(), env.reward_spec())
