"""Priors, skill rewards, schedules and the reward's scale."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import IdentityEncoder, KnownModel, StaticPredictor, option, skill
from alf_layered.skills.information import skill_information
from alf_layered.skills.priors import BoxPrior, CategoricalPrior, SpherePrior, prior_of
from alf_layered.skills.reward_scale import RewardScale
from alf_layered.skills.rewards import clipped, diayn, information, potential_difference
from alf_layered.skills.schedules import (
    Constant,
    PiecewiseLinear,
    PiecewiseLogLinear,
    Ramp,
    ZeroThenLinear,
    value_at,
)

PUSH = torch.tensor([[2.0, 0.0], [0.0, 0.5]])


def _linear(push: torch.Tensor = PUSH) -> StaticPredictor:
    """A skill changes the state by `push @ skill`."""
    return StaticPredictor(
        KnownModel(lambda s, c, a: s + a @ push.T),
        None,
        lambda s, c, a: s.sum(-1) * 0,
        IdentityEncoder((2,)),
    )


def _informed(
    predictor: Any, state: torch.Tensor, z: torch.Tensor, others: torch.Tensor, points: torch.Tensor
) -> torch.Tensor:
    return skill_information(
        predictor, state, state[:, :0], z, others, points, std=torch.tensor([0.7, 0.4])
    )


# ---- priors -------------------------------------------------------------------------------------


def test_a_box_prior_stays_between_its_bounds_and_knows_its_density() -> None:
    spec = BoundedTensorSpec((2,), minimum=[-1.0, 2.0], maximum=[1.0, 6.0])
    drawn = BoxPrior(spec).sample((500, 3), generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (500, 3, 2)
    low, high = drawn.amin((0, 1)), drawn.amax((0, 1))
    assert bool(((low >= torch.tensor([-1.0, 2.0])) & (low < torch.tensor([-0.9, 2.2]))).all())
    assert bool(((high <= torch.tensor([1.0, 6.0])) & (high > torch.tensor([0.9, 5.8]))).all())
    torch.testing.assert_close(
        BoxPrior(spec).log_prob(drawn), torch.full((500, 3), -math.log(2 * 4))
    )


@pytest.mark.parametrize(("dim", "area"), [(1, 2.0), (2, 2 * math.pi * 3), (3, 4 * math.pi * 9)])
def test_a_sphere_prior_lies_on_its_surface_and_knows_its_area(dim: int, area: float) -> None:
    prior = SpherePrior(dim, radius=3.0)
    drawn = prior.sample((200,))
    torch.testing.assert_close(drawn.norm(dim=-1), torch.full((200,), 3.0))
    torch.testing.assert_close(prior.log_prob(drawn), torch.full((200,), -math.log(area)))


def test_a_categorical_prior_draws_every_option_equally_often() -> None:
    prior = prior_of(option(4))
    assert isinstance(prior, CategoricalPrior)
    drawn = prior.sample((8000,), generator=torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.int64
    counts = torch.bincount(drawn, minlength=4)
    assert len(counts) == 4
    assert bool(((counts - 2000).abs() < 200).all())
    torch.testing.assert_close(prior.log_prob(drawn[:3]), torch.full((3,), -math.log(4)))


def test_the_prior_of_a_joint_is_uniform_over_it() -> None:
    assert isinstance(prior_of(skill(3)), BoxPrior)
    with pytest.raises(ValueError, match=r"skill\(2\)"):
        prior_of(TensorSpec((2,)))


# ---- rewards ------------------------------------------------------------------------------------


def test_information_of_two_skills_by_hand() -> None:
    # densities 0.6 and, by the only other skill, 0.2: 0.6 / ((0.6 + 0.2) / 2) = 1.5
    found = information(torch.tensor([0.6]).log(), torch.tensor([[0.2]]).log())
    torch.testing.assert_close(found, torch.tensor([math.log(1.5)]))


@given(st.lists(st.floats(-200, 200), min_size=2, max_size=12))
def test_information_is_at_most_the_logarithm_of_the_number_of_skills(logs: list[float]) -> None:
    own, *others = torch.tensor(logs, dtype=torch.float64)
    found = information(own, torch.stack(others))
    assert float(found) <= math.log(len(logs)) + 1e-9


def test_rewards_equal_the_closed_form_of_a_linear_gaussian_model() -> None:
    torch.manual_seed(0)
    state, z, others = torch.randn(5, 2), torch.rand(5, 2) * 2 - 1, torch.rand(7, 2) * 2 - 1
    points = torch.randn(3, 5, 2)
    found = _informed(_linear(), state, z, others, points)
    gauss = torch.distributions.Normal(0.0, torch.tensor([0.7, 0.4]))
    for p in range(3):
        for r in range(5):
            means = state[r] + torch.cat([z[r : r + 1], others]) @ PUSH.T
            density = gauss.log_prob(points[p, r] - means).sum(-1).exp()
            assert float(found[p, r]) == pytest.approx(
                float((density[0] / density.mean()).log()), abs=1e-4
            )


def test_a_model_that_ignores_the_skill_gives_no_reward() -> None:
    found = _informed(
        _linear(torch.zeros(2, 2)),
        torch.randn(6, 2),
        torch.randn(6, 2),
        torch.randn(9, 2),
        torch.randn(1, 6, 2),
    )
    torch.testing.assert_close(found, torch.zeros(1, 6), atol=1e-5, rtol=0)


def test_a_skill_that_alone_explains_the_state_gets_the_most_there_is() -> None:
    z, others = torch.tensor([[1.0, 1.0]]), torch.full((9, 2), -50.0)
    found = _informed(_linear(), torch.zeros(1, 2), z, others, (z @ PUSH.T)[None])
    torch.testing.assert_close(found, torch.full((1, 1), math.log(10)))


def test_a_difference_of_potentials_can_be_more_than_there_is_information() -> None:
    z, others = torch.tensor([[1.0, 1.0]]), torch.full((9, 2), -1.0)
    points = torch.stack([others[:1] @ PUSH.T, z @ PUSH.T])
    before, after = _informed(_linear(), torch.zeros(1, 2), z, others, points)
    assert float(after) <= math.log(10) + 1e-5
    assert float(potential_difference(before, after)) > math.log(10)


def test_differences_of_potential_add_up_to_the_last_less_the_first() -> None:
    potential = torch.tensor([0.5, -2.0, 1.0, 3.0])
    steps = potential_difference(potential[:-1], potential[1:])
    assert float(steps.sum()) == 2.5


def test_diayn_is_the_log_ratio_of_posterior_and_prior() -> None:
    assert float(diayn(torch.tensor(0.5).log(), torch.tensor(0.25).log())) == pytest.approx(
        math.log(2)
    )


def test_what_is_no_number_counts_as_the_least() -> None:
    reward = torch.tensor([math.nan, -math.inf, math.inf, 1.0, -9.0])
    assert clipped(reward, -5.0, 3.0).tolist() == [-5.0, -5.0, 3.0, 1.0, -5.0]


# ---- schedules and scale ------------------------------------------------------------------------


def test_schedules_by_hand() -> None:
    ramp = Ramp(1.0, 3.0, warm_up=10, duration=20)
    assert [ramp(t) for t in (0, 10, 20, 30, 99)] == [1.0, 1.0, 2.0, 3.0, 3.0]
    line = PiecewiseLinear([(10, 1.0), (20, 5.0), (40, 3.0)])
    assert [line(t) for t in (0, 15, 20, 30, 99)] == [1.0, 3.0, 5.0, 4.0, 3.0]
    geometric = PiecewiseLogLinear([(0, 1.0), (10, 100.0)])
    assert geometric(5) == pytest.approx(10.0)
    late = ZeroThenLinear(zero_duration=10, duration=20, start_value=1.0, end_value=3.0)
    assert [late(t) for t in (0, 9, 10, 20, 30, 99)] == [0.0, 0.0, 1.0, 2.0, 3.0, 3.0]
    assert [Constant(0.7)(t) for t in (0, 99)] == [0.7, 0.7]
    assert value_at(0.3, 7) == 0.3
    assert value_at(ramp, 20) == 2.0


def test_schedules_that_make_no_sense_are_errors() -> None:
    with pytest.raises(ValueError, match="growing"):
        PiecewiseLinear([(5, 1.0), (5, 2.0)])
    with pytest.raises(ValueError, match="positive"):
        PiecewiseLogLinear([(0, 0.0), (5, 2.0)])
    with pytest.raises(ValueError, match="duration"):
        Ramp(0.0, 1.0, warm_up=0, duration=0)
    with pytest.raises(ValueError, match="zero_duration"):
        ZeroThenLinear(zero_duration=-1, duration=1, start_value=0.0, end_value=1.0)


def test_the_scale_divides_by_the_deviation_and_keeps_the_mean() -> None:
    reward = torch.tensor([1.0, 5.0, 77.0])
    valid = torch.tensor([True, True, False])
    kept, centred = RewardScale(), RewardScale(center=True, offset=1.0)
    for scale in (kept, centred):
        scale.update(reward, valid)  # mean 3, deviation 2
    torch.testing.assert_close(kept(reward[:2]), torch.tensor([0.5, 2.5]))
    torch.testing.assert_close(centred(reward[:2]), torch.tensor([0.0, 2.0]))


def test_the_scale_is_saved_with_its_module() -> None:
    one, other = RewardScale(), RewardScale()
    one.update(torch.randn(8), torch.ones(8))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(torch.ones(1)), other(torch.ones(1)))


@pytest.mark.parametrize("kind", [PiecewiseLinear, PiecewiseLogLinear])
@pytest.mark.parametrize("points", [5, [], [5], [(0, 1.0), (5, float("nan"))], [("x", 1.0)]])
def test_points_of_a_schedule_are_steps_and_finite_values(kind: Any, points: Any) -> None:
    with pytest.raises(ValueError, match=rf"{kind.__name__}\.points is .*; allowed: a list of"):
        kind(points)
