"""Phases of exploration: drawn for each environment by itself, with the probabilities asked for."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from alf_layered import (
    Exploration,
)
from alf_layered.planning.exploration import Phase, next_phase
from tests.planning_points import (
    ACTION,
)


def _phases(options: Exploration, steps: int, rows: int, **kwargs: Any) -> list[Phase]:
    """The phases of one long episode."""
    phase = Phase(
        random=torch.zeros(rows, dtype=torch.bool),
        curious=torch.zeros(rows, dtype=torch.bool),
        action=torch.zeros(rows, 2),
    )
    found = []
    for t in range(steps):
        phase = next_phase(phase, torch.full((rows,), t == 0), ACTION, options, **kwargs)
        found.append(phase)
    return found


def test_phases_are_drawn_for_each_environment() -> None:
    torch.manual_seed(0)
    options = Exploration(
        alternate_with_noise=True, switch_random_prob=0.1, switch_planner_prob=0.3
    )
    random = torch.stack([p.random for p in _phases(options, 50, 4000)]).float()
    assert random.mean(1).sub(0.25).abs().max() < 0.04  # 0.1 / (0.1 + 0.3), from the first step on
    into = random[1:][random[:-1] == 0].mean()
    out = 1 - random[1:][random[:-1] == 1].mean()
    assert float(into) == pytest.approx(0.1, abs=0.01)
    assert float(out) == pytest.approx(0.3, abs=0.01)


def test_without_plans_everything_is_random_and_drawn_for_each_environment() -> None:
    for options, kwargs in (
        (Exploration(only_noise=True), {}),
        (Exploration(), {"may_plan": False}),
    ):
        found = _phases(options, 3, 10, **kwargs)
        assert all(bool(p.random.all()) for p in found)
        actions = torch.cat([p.action for p in found])
        assert len(actions.unique(dim=0)) == 30
        assert bool((actions.abs() <= 1).all())


def test_random_decisions_repeat_with_the_given_probability() -> None:
    torch.manual_seed(0)
    found = _phases(Exploration(only_noise=True, resample_random_action_prob=0.25), 40, 500)
    actions = torch.stack([p.action for p in found])
    changed = (actions[1:] != actions[:-1]).any(-1).float()
    assert float(changed.mean()) == pytest.approx(0.25, abs=0.02)
    assert float(changed.mean(1).std()) < 0.05  # not all environments at once


def test_with_resample_on_end_the_random_decision_lasts_as_long_as_the_episode() -> None:
    options = Exploration(only_noise=True, resample_on_end=True)
    found = _phases(options, 10, 20)
    assert all(torch.equal(p.action, found[0].action) for p in found)
    again = next_phase(found[-1], torch.arange(20) < 10, ACTION, options)
    changed = (again.action != found[0].action).all(-1)
    assert changed.tolist() == [True] * 10 + [False] * 10


def test_planning_is_for_disagreement_in_every_other_phase() -> None:
    torch.manual_seed(0)
    options = Exploration(
        alternate_with_noise=True,
        switch_random_prob=0.3,
        switch_planner_prob=0.5,
        use_ensemble_disagreement=True,
    )
    found = _phases(options, 60, 50)
    assert 0.3 < float(found[0].curious.float().mean()) < 0.7
    for row in range(50):
        phases: list[bool | None] = []
        for phase in found:
            kind = None if bool(phase.random[row]) else bool(phase.curious[row])
            if not phases or phases[-1] != kind:
                phases.append(kind)
        plans = [kind for kind in phases if kind is not None]
        assert all(a != b for a, b in pairwise(plans))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"switch_random_prob": 1.5}, "switch_random_prob is 1.5"),
        ({"no_planning_steps": -1}, "no_planning_steps is -1"),
        ({"only_noise": True, "use_ensemble_disagreement": True}, "only_noise=True"),
        ({"resample_on_end": True, "resample_random_action_prob": 0.5}, "resample_on_end=True"),
    ],
)
def test_bad_exploration_is_an_error(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Exploration(**arguments)
