"""A sure reward against a lottery: what a lottery is worth is its mean, not its best outcome."""

from __future__ import annotations

from typing import Any

import pytest
import small_learners as small
import torch

from alf.data_structures import StepType
from alf.environments.suite_unittest import StochasticBranchUnittestEnv

LEARNERS: dict[str, tuple[Any, Any, int]] = {
    "DQN": (small.dqn, small.replayed, 60),
    "MuZero": (small.muzero, small.searched, 20),
}


def test_the_lottery_pays_its_mean_and_the_other_branch_what_is_sure() -> None:
    env = StochasticBranchUnittestEnv(4000, chance=0.75)
    first = env.reset()
    assert first.observation[:, 0].eq(1).all()
    choice = torch.arange(4000) % 2
    middle, last = env.step(choice), env.step(choice)
    assert (middle.reward == 0).all()
    assert middle.observation.equal(last.observation)
    assert set(last.step_type.tolist()) == {int(StepType.LAST)}
    assert (last.reward[choice == 0] == 0.5).all()
    assert set(last.reward[choice == 1].tolist()) == {0.0, 1.0}
    assert float(last.reward[choice == 1].mean()) == pytest.approx(0.75, abs=0.05)
    assert env.step(choice).is_first().all()


@pytest.mark.parametrize(
    ("options", "text"),
    [({"episode_length": 1}, "at least 2"), ({"chance": 1.5}, "chance is 1.5; allowed")],
)
def test_a_branch_that_cannot_be_is_an_error(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        StochasticBranchUnittestEnv(1, **options)


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize(("chance", "better"), [(0.8, 1), (0.2, 0)])
def test_a_learner_prefers_the_better_mean(name: str, chance: float, better: int) -> None:
    ctor, config, iterations = LEARNERS[name]
    torch.manual_seed(1)
    env = StochasticBranchUnittestEnv(16, chance=chance)
    algorithm = small.make(ctor(), env, config())
    for _ in range(iterations):
        algorithm.train_iter()
    decided = algorithm.predict_step(env.reset(), algorithm.get_initial_predict_state(16)).output
    assert decided.tolist() == [better] * 16
