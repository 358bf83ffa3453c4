"""SARSA: what it learns from when it replays, and how a deterministic actor explores."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import small_learners as small
import torch

from alf.algorithms import _action_noise as action_noise
from alf.algorithms.agent import Agent
from alf.algorithms.sarsa_algorithm import SarsaAlgorithm
from alf.environments.suite_unittest import ActionType
from alf.tensor_specs import BoundedTensorSpec, TensorSpec


def _collected(ctor: Any) -> Any:
    algorithm = small.make(ctor, small.bandit(ActionType.Continuous, 3), small.replayed())
    for _ in range(3):
        algorithm.train_iter()
    return algorithm


@pytest.mark.parametrize("inside", ["nothing", "an agent"])
def test_the_observation_before_the_first_step_of_a_mini_batch_is_known(inside: str) -> None:
    ctor: Any = small.sarsa()
    if inside == "an agent":
        ctor = partial(Agent, rl_algorithm_cls=ctor)
    algorithm = _collected(ctor)
    records, _ = algorithm._replay_buffer.gather_all()
    state = records.state if inside == "nothing" else records.state.rl
    observation, step_type = records.time_step.observation, records.time_step.step_type
    is_first = (step_type[:, 1:] == 0).reshape(-1)
    before = state.prev_observation[:, 1:].flatten(0, 1)
    # at the first step of an episode the trainer's state starts at 0, before the step is taken
    expected = observation[:, :-1].flatten(0, 1)
    torch.testing.assert_close(before[~is_first], expected[~is_first])
    assert int((~is_first).sum()) > 10


def test_a_missing_optimizer_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs actor_optimizer and critic_optimizer"):
        small.make(
            small.sarsa(critic_optimizer=None), small.bandit(ActionType.Continuous), small.whole()
        )


def test_a_temperature_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"SarsaAlgorithm\.initial_alpha is 0"):
        small.make(
            small.sarsa(initial_alpha=0.0), small.bandit(ActionType.Continuous), small.replayed()
        )


def test_the_smoothed_actor_acts_and_follows_the_trained_one() -> None:
    ctor = small.sarsa(use_smoothed_actor=True, target_update_tau=0.25, initial_alpha=None)
    env = small.bandit(ActionType.Continuous, 4)
    algorithm: SarsaAlgorithm = small.make(ctor, env, small.replayed(epsilon_greedy=0.0))  # type: ignore
    step, state = env.reset(), algorithm.get_initial_predict_state(4)
    at_first = algorithm.predict_step(step, state).output
    slow = [p.clone() for p in algorithm._smoothed_actor_network.parameters()]
    with torch.no_grad():
        for p in algorithm._actor_network.parameters():
            p.add_(1.0)
    torch.testing.assert_close(algorithm.predict_step(step, state).output, at_first)
    algorithm.after_update(None, None)
    for before, now in zip(slow, algorithm._smoothed_actor_network.parameters(), strict=True):
        torch.testing.assert_close(now, before + 0.25)
    smoothed = {id(p) for p in algorithm._smoothed_actor_network.parameters()}
    optimized = {id(p) for o in algorithm.optimizers() for g in o.param_groups for p in g["params"]}
    assert not smoothed & optimized


def test_each_reward_has_a_critic_and_the_policy_looks_at_their_sum() -> None:
    observation, action = TensorSpec((3,)), BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)
    algorithm = small.sarsa(reward_spec=TensorSpec((4,)), config=small.replayed())(
        observation_spec=observation, action_spec=action
    )
    values, _ = algorithm._values(
        algorithm._critic_networks, torch.randn(5, 3), torch.zeros(5, 2), ()
    )
    assert values.shape == (5, 2, 4)


def test_noise_is_bounded_and_leaves_the_gradient_of_the_action() -> None:
    spec = BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)
    action = torch.tensor([[0.9, -0.5]], requires_grad=True)
    noise = torch.tensor([[0.3, 0.25]])
    noisy, state = action_noise.with_noise(action, noise, [lambda s: (s, s)], spec)
    torch.testing.assert_close(noisy, torch.tensor([[1.0, -0.25]]))
    (gradient,) = torch.autograd.grad(noisy.sum(), action)
    assert gradient.tolist() == [[1.0, 1.0]]
    assert state is noise or state.equal(noise)
