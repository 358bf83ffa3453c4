"""The trust region of TRAC, measured from outside."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import small_learners as small
import torch

from alf.algorithms.trac_algorithm import TracAlgorithm
from alf.data_structures import StepType
from alf.environments.suite_unittest import ActionType
from alf.optimizers import Adam


def _distances_after_updates(wrapped: Any, config: Any, clip: float) -> list[float]:
    """Root of the mean squared distance of the logits, over the steps of each update."""
    torch.manual_seed(0)
    ctor = small.trac(partial(wrapped, optimizer=Adam(lr=0.1)), action_dist_clip_per_dim=clip)
    algorithm: Any = small.make(ctor, small.bandit(ActionType.Discrete), config())
    found = []

    def after_update(root_inputs: Any, info: Any) -> None:
        TracAlgorithm.after_update(algorithm, root_inputs, info)
        with torch.no_grad():
            now = algorithm._ac_algorithm._actor_network(info.observation.flatten(0, 1))[0]
        before = info.action_distribution.logits.detach().flatten(0, 1)
        squares = (torch.log_softmax(now.logits, -1) - before).square().sum(-1)
        valid = (info.ac.step_type != StepType.LAST).flatten()
        found.append(float((squares * valid).mean().sqrt()))

    algorithm.after_update = after_update
    for _ in range(4):
        algorithm.train_iter()
    return found


@pytest.mark.parametrize("wrapped", ["actor_critic", "ppo"])
def test_no_update_leaves_the_trust_region(wrapped: str) -> None:
    args = (getattr(small, wrapped), small.whole)
    clip = 1e-3
    allowed = math.sqrt(clip * 2)  # one action with two choices
    within = _distances_after_updates(*args, clip)
    assert len(within) >= 4
    assert max(within) <= allowed * 1.001
    assert max(within) > 0.5 * allowed  # it is shortened, not undone
    assert max(_distances_after_updates(*args, 1e6)) > 3 * allowed


def test_an_algorithm_without_an_actor_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ac_algorithm_cls makes a DqnAlgorithm; allowed"):
        small.make(
            partial(TracAlgorithm, ac_algorithm_cls=small.dqn()),
            small.bandit(ActionType.Discrete),
            small.whole(),
        )
