"""SEditor on a bandit where the most useful action breaks a constraint."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import small_learners as small
import torch

from alf.algorithms.one_step_loss import OneStepTDLoss
from alf.algorithms.seditor_algorithm import SEditorAlgorithm
from alf.environments.suite_unittest import ActionType
from alf.examples.constrained_bandit import ConstrainedBandit
from alf.nest.utils import NestConcat
from alf.optimizers import Adam
from alf.tensor_specs import TensorSpec


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
