"""What plans are for: returns by hand numbers, auxiliary rewards, disagreement."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from alf_layered import (
    Disagreement,
    Exploration,
    IdentityEncoder,
    KnownModel,
    PlanObjective,
    StaticPredictor,
)
from tests.planning_points import (
    disagreeing,
    exploring_level,
)
from tests.small_predictors import small_predictor


def _lasting(*, value: float | None = None, ends: float = 0.0) -> StaticPredictor:
    """A decision lasts as many steps as its first entry says; the reward is the second."""
    return StaticPredictor(
        KnownModel(lambda s, c, a: s + a, lambda s, c, a: torch.full_like(a[..., 0], ends)),
        None if value is None else lambda s, c: torch.full_like(s[..., 0], value),
        lambda s, c, a: a[..., 1] + 0 * s[..., 0],
        IdentityEncoder((2,)),
        discount_func=lambda s, c, a: 0.5 ** a[..., 0] + 0 * s[..., 0],
    )


def _score(predictor: Any, plan: list[list[float]], **options: Any) -> float:
    objective = PlanObjective(**options)
    plans = torch.tensor([[plan]])
    rollout = objective.rollout(predictor, torch.zeros(1, 2), torch.zeros(1, 0), plans)
    return float(objective.score(rollout))


def test_later_rewards_are_discounted_by_the_duration_of_the_decisions_before() -> None:
    plan = [[2.0, 8.0], [1.0, 16.0], [3.0, 32.0]]  # steps, reward
    # 8 + 1/4 * 16 + 1/8 * 32 = 16, and 1/64 * V
    assert _score(_lasting(), plan) == 16.0
    assert _score(_lasting(value=640.0), plan) == 26.0
    assert _score(_lasting(value=640.0), plan, use_value_func=False) == 16.0
    assert _score(_lasting(value=640.0), plan, discounted=False) == 8 + 16 + 32 + 640


def test_what_comes_after_a_termination_counts_by_the_chance_to_be_alive() -> None:
    plan = [[2.0, 8.0], [1.0, 16.0], [3.0, 32.0]]
    # 8 + 1/4 * 1/2 * 16 + 1/8 * 1/4 * 32 = 11, and 1/64 * 1/8 * V
    assert _score(_lasting(ends=0.5), plan) == 11.0
    assert _score(_lasting(ends=0.5, value=512.0), plan) == 12.0
    assert _score(_lasting(ends=0.5), plan, use_term_prob=False) == 16.0
    assert _score(_lasting(ends=0.5), plan, discounted=False) == 8 + 16 / 2 + 32 / 4


def test_auxiliary_rewards_are_weighed_and_belong_to_each_plan() -> None:
    def first_entry(rollout: Any) -> torch.Tensor:
        return rollout.plans[..., 0][:, :, None, None]

    objective = PlanObjective(aux_rewards=((10.0, first_entry),), discounted=False)
    plans = torch.tensor([[[[1.0, 5.0], [2.0, 6.0]], [[3.0, 5.0], [4.0, 7.0]]]])
    rollout = objective.rollout(_lasting(), torch.zeros(1, 2), torch.zeros(1, 0), plans)
    assert objective.score(rollout).tolist() == [[11 + 30, 12 + 70]]


def test_disagreement_reaches_the_score_of_each_plan_of_the_curious() -> None:
    objective = PlanObjective()
    plans = torch.tensor([[[[0.0, 0.0]], [[1.0, 0.0]], [[1.0, 2.0]]]]).expand(2, -1, -1, -1)
    state = torch.zeros(2, 2)
    rollout = objective.rollout(disagreeing(), state, torch.zeros(2, 0), plans)
    score = objective.score(rollout, torch.tensor([True, False]))
    # variances of +-a^2 are a^4; their mean over two dimensions
    assert score.tolist() == [[0.0, 0.5, (1 + 16) / 2], [0.0, -1.0, -5.0]]


def test_two_learned_members_disagree_and_differently_for_each_plan() -> None:
    predictor = small_predictor(n_models=2)
    rollout = PlanObjective().rollout(
        predictor, torch.randn(5, 2), torch.zeros(5, 0), torch.randn(5, 6, 4, 1)
    )
    for standardized in (True, False):
        found = Disagreement(standardized)(rollout)
        assert found.shape == (5, 6, 1, 1, 4)
        assert (found > 0).all()
        assert len(found.flatten().unique()) == 4 * 30


def test_one_member_cannot_disagree() -> None:
    with pytest.raises(ValueError, match=r"use_ensemble_disagreement=True.*n_models=1"):
        exploring_level(Exploration(use_ensemble_disagreement=True))
    objective = PlanObjective()
    rollout = objective.rollout(
        _lasting(), torch.zeros(1, 2), torch.zeros(1, 0), torch.zeros(1, 1, 1, 2)
    )
    with pytest.raises(ValueError, match="n_models must be at least 2"):
        Disagreement()(rollout)


def test_an_auxiliary_reward_of_other_axes_is_an_error_that_names_it() -> None:
    """Time first, say, as it was before the axes of the batch came first."""

    def time_first(rollout: Any) -> torch.Tensor:
        return rollout.plans[..., 0].permute(2, 0, 1)[:, None, ..., None]

    objective = PlanObjective(aux_rewards=((1.0, time_first),))
    plans = torch.zeros(2, 3, 4, 2)
    rollout = objective.rollout(_lasting(), torch.zeros(2, 2), torch.zeros(2, 0), plans)
    with pytest.raises(ValueError, match=r"time_first.*\[4, 1, 2, 3, 1\].*\[2, 3, 1, 1, 4\]"):
        objective.score(rollout)
