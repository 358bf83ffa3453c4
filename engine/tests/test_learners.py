"""Each learner, small, through its own training loop: it learns a bandit, and survives saving."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import small_learners as small
import torch

from alf.environments.suite_unittest import ActionType
from alf.nest import nest
from alf.utils import common

DISCRETE, CONTINUOUS = ActionType.Discrete, ActionType.Continuous
LEARNERS: dict[str, tuple[Any, ActionType, Any, int]] = {
    "actor-critic": (small.actor_critic, DISCRETE, small.whole, 150),
    "PPG": (small.ppg, DISCRETE, small.sequences, 40),
    "PPG, continuous": (small.ppg, CONTINUOUS, small.sequences, 80),
    "TRAC": (small.trac, DISCRETE, small.whole, 150),
    "TRAC of PPO": (partial(small.trac, small.ppo), CONTINUOUS, small.whole, 80),
    "PPO": (small.ppo, DISCRETE, small.whole, 30),
    "PPO, continuous": (small.ppo, CONTINUOUS, small.whole, 80),
    "DQN": (small.dqn, DISCRETE, small.replayed, 60),
    "DDPG": (partial(small.ddpg, rollout_random_action=0.3), CONTINUOUS, small.replayed, 150),
    "SAC": (small.sac, CONTINUOUS, small.replayed, 150),
    "QRSAC": (small.qrsac, CONTINUOUS, small.replayed, 150),
    "SARSA": (small.sarsa, CONTINUOUS, small.replayed, 150),
    "SARSA, deterministic": (small.deterministic_sarsa, CONTINUOUS, small.replayed, 150),
    "SARSA, on-policy": (partial(small.sarsa, on_policy=True), CONTINUOUS, small.whole, 300),
    "IQL": (small.iql, CONTINUOUS, small.replayed, 150),
    "OAC": (small.oac, CONTINUOUS, small.replayed, 150),
    "TAAC": (small.taac, CONTINUOUS, small.spans, 150),
    "MDQ": (small.mdq, CONTINUOUS, small.replayed, 100),
    "DSAC": (small.dsac, CONTINUOUS, small.replayed, 150),
    "DOAC": (small.doac, CONTINUOUS, small.replayed, 150),
    "MuZero": (small.muzero, DISCRETE, small.searched, 20),
}


def _trained(name: str, iterations: int | None = None, seed: int = 1) -> Any:
    ctor, action_type, config, enough = LEARNERS[name]
    torch.manual_seed(seed)
    algorithm = small.make(ctor(), small.bandit(action_type), config())
    for _ in range(enough if iterations is None else iterations):
        algorithm.train_iter()
    return algorithm


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_does_what_a_random_policy_cannot(name: str, seed: int) -> None:
    """Every action at random is paid 0.5."""
    action_type = LEARNERS[name][1]
    assert small.mean_reward(_trained(name, seed=seed), action_type) > 0.85


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_acts_the_same_after_saving_and_loading(name: str) -> None:
    ctor, action_type, config, _ = LEARNERS[name]
    trained = _trained(name, iterations=6)
    fresh = small.make(ctor(), small.bandit(action_type), config())
    fresh.load_state_dict(trained.state_dict(), strict=False)
    step = small.bandit(action_type, 8).reset()
    state = trained.get_initial_predict_state(8)
    results = []
    for algorithm in (trained, fresh):
        torch.manual_seed(0)
        results.append(algorithm.predict_step(step, state).output)
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("name", LEARNERS)
def test_rows_do_not_influence_each_other(name: str) -> None:
    action_type = LEARNERS[name][1]
    algorithm = _trained(name, iterations=0)
    step = small.bandit(action_type, 8).reset()
    state = algorithm.get_initial_predict_state(8)
    with common.eval_context():  # TAAC, not trained yet, acts at random otherwise
        together = algorithm.predict_step(step, state).output
    changed = step.observation.clone()
    changed[0] += 3
    with common.eval_context():
        alone = algorithm.predict_step(step._replace(observation=changed), state).output
    torch.testing.assert_close(alone[1:], together[1:])


@pytest.mark.parametrize("name", ["DQN", "DDPG", "SAC", "QRSAC", "DSAC", "DOAC", "OAC", "TAAC"])
def test_the_state_of_a_train_step_is_what_was_announced(name: str) -> None:
    """Also where there is nothing in it: an agent's other parts may have a state."""
    algorithm = _trained(name, iterations=0)
    step = small.bandit(LEARNERS[name][1], 8).reset()
    rolled = algorithm.rollout_step(step, algorithm.get_initial_rollout_state(8))
    state = algorithm.get_initial_train_state(8)
    state = algorithm.train_step(step, state, rolled.info).state
    nest.assert_same_structure(state, algorithm.train_state_spec)
