"""Implicit Q learning: expectiles, and a policy from data that a random one has left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_learners as small
import torch

from alf.algorithms.iql_algorithm import IqlAlgorithm, IqlCriticInfo
from alf.environments.suite_unittest import ActionType
from alf.summary import summary_ops as summary
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.checkpoint_utils import Checkpointer, enable_checkpoint

OBSERVATION, ACTION = TensorSpec((3,)), BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)


@pytest.fixture(autouse=True)
def _counter() -> Iterator[None]:
    summary.reset_global_counter()
    yield
    summary.reset_global_counter()


def _iql(**options: Any) -> IqlAlgorithm:
    return small.iql(config=small.replayed(), **options)(
        observation_spec=OBSERVATION, action_spec=ACTION
    )


def test_the_value_is_the_expectile_of_the_values_of_the_data() -> None:
    """Of half 0 and half 1 the tau-expectile is tau."""
    algorithm = _iql(expectile=0.8)
    q = torch.tensor([[0.0, 1.0]])
    value = torch.full((1, 1), 0.8, requires_grad=True)
    info = IqlCriticInfo(critics=(), target_value=q, value=value.expand_as(q))
    loss = algorithm._value_loss(info)
    torch.testing.assert_close(loss, torch.tensor([[0.2 * 0.64, 0.8 * 0.04]]))
    (gradient,) = torch.autograd.grad(loss.sum(), value)
    assert gradient.abs().item() < 1e-6


def test_good_actions_of_the_data_weigh_more_up_to_a_bound() -> None:
    algorithm = _iql(temperature=0.5, max_exp_advantage=10.0)
    advantage = torch.tensor([-1.0, 0.0, 1.0, 9.0])
    distribution, _ = algorithm._actor_network(torch.zeros(4, 3), ())
    taken = torch.full((4, 2), 0.1)
    log_pi = distribution.log_prob(taken)
    expected = -log_pi * torch.tensor([-2.0, 0.0, 2.0, 99.0]).exp().clamp(max=10.0)
    loss = algorithm._actor_loss(distribution, taken, advantage)
    torch.testing.assert_close(loss, expected)


def test_of_several_rewards_the_weighted_sum_of_advantages_counts() -> None:
    algorithm = _iql(reward_spec=TensorSpec((2,)), reward_weights=[1.0, -1.0], temperature=1.0)
    distribution, _ = algorithm._actor_network(torch.zeros(1, 3), ())
    taken = torch.zeros(1, 2)
    loss = algorithm._actor_loss(distribution, taken, torch.tensor([[3.0, 2.0]]))
    torch.testing.assert_close(loss, -torch.tensor([1.0]).exp() * distribution.log_prob(taken))


def test_a_discrete_action_is_refused() -> None:
    discrete = BoundedTensorSpec((), dtype=torch.int64, minimum=0, maximum=2)
    with pytest.raises(ValueError, match="needs bounded continuous actions"):
        small.iql()(observation_spec=OBSERVATION, action_spec=discrete)


@pytest.mark.parametrize(
    ("setting", "value"), [("expectile", 1.5), ("temperature", 0.0), ("max_exp_advantage", 0)]
)
def test_a_setting_out_of_its_range_is_refused(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"IqlAlgorithm\.{setting} is"):
        _iql(**{setting: value})


def _leave_random_data(folder: Path, env: Any) -> None:
    """A run that collects with random actions and learns nothing."""
    config = small.replayed(initial_collect_steps=16_384)
    collector = small.make(small.ddpg(rollout_random_action=1.0), env, config)
    for _ in range(60):
        collector.train_iter()
    enable_checkpoint(collector._replay_buffer, True)
    Checkpointer(str(folder), algorithm=collector).save(1)
    summary.reset_global_counter()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_policy_is_learned_from_random_data_without_interaction(
    tmp_path: Path, seed: int
) -> None:
    """Every action at random is paid 0.5, so is a policy that imitates the data."""
    torch.manual_seed(seed)
    env = small.bandit(ActionType.Continuous)
    _leave_random_data(tmp_path, env)
    config = small.replayed(offline_buffer_dir=str(tmp_path), rl_train_after_update_steps=10**9)
    algorithm = small.make(small.iql(temperature=0.05), env, config)
    algorithm.load_offline_replay_buffer(env.observation_spec())
    for _ in range(250):
        algorithm.train_iter()
    assert algorithm._replay_buffer is None or algorithm._replay_buffer.total_size == 0
    assert small.mean_reward(algorithm, ActionType.Continuous) > 0.85
