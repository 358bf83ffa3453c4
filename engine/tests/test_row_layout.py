"""Algorithms that leave out steps are told which time steps their rows are."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import small_learners as small

from alf.algorithms.agent import Agent
from alf.algorithms.training.row_layout import ReadsRowLayout, RowLayout, rows_are
from alf.environments.suite_unittest import ActionType

LEARNERS = {
    "SAC": (small.sac, ActionType.Continuous),
    "OAC": (small.oac, ActionType.Continuous),
    "DQN": (small.dqn, ActionType.Discrete),
    "DDPG": (small.ddpg, ActionType.Continuous),
    "IQL": (small.iql, ActionType.Continuous),
    "MDQ": (small.mdq, ActionType.Continuous),
}


def _made(name: str, within: str) -> tuple[Any, Any]:
    """The root that is trained, and the learner in it."""
    ctor, action_type = LEARNERS[name]
    made = ctor()
    root = partial(Agent, rl_algorithm_cls=made) if within == "agent" else made
    config = small.replayed(num_updates_per_train_iter=1)
    root = small.make(root, small.bandit(action_type), config)
    (learner,) = [m for m in root.modules() if isinstance(m, ReadsRowLayout)]
    return root, learner


@pytest.mark.parametrize("within", ["alone", "agent"])
@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_knows_its_rows_while_it_is_trained(name, within, monkeypatch):
    root, learner = _made(name, within)
    known = []
    train_step = learner.train_step

    def watched(inputs, *more):
        known.append(learner.sequences_of(inputs.step_type.shape[0]))
        return train_step(inputs, *more)

    monkeypatch.setattr(learner, "train_step", watched)
    while not known:
        root.train_iter()
    assert known == [RowLayout(num_steps=2, batch_size=64)]
    assert learner.row_layout is None


def test_of_other_numbers_of_rows_or_of_single_steps_nothing_is_known():
    learner = ReadsRowLayout()
    for layout, rows, known in (((2, 3), 6, True), ((2, 3), 4, False), ((1, 6), 6, False)):
        learner.row_layout = RowLayout(*layout)
        assert (learner.sequences_of(rows) is not None) == known


def test_rows_within_rows_are_those_of_the_inner_step_and_come_back_after_an_error():
    root, learner = _made("SAC", "agent")
    seen = []

    def failing():
        with rows_are(learner, 4, 5):
            seen.append(learner.row_layout)
            raise KeyError

    with rows_are(root, 2, 3):
        with pytest.raises(KeyError):
            failing()
        seen.append(learner.row_layout)
    assert [*seen, learner.row_layout] == [(4, 5), (2, 3), None]
