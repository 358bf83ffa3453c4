"""The parts of distributional soft actor-critic and of its optimistic exploration, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import small_learners as small
import torch

from alf.algorithms._optimistic_exploration import optimistic_policy, upper_bound
from alf.environments.suite_unittest import ActionType
from alf.utils.dist_utils import DiagMultivariateNormal, StableTanh, transformed_distribution


def _make(**options: Any) -> Any:
    env = small.bandit(ActionType.Continuous)
    return small.make(small.dsac(**options), env, small.replayed())


@pytest.mark.parametrize("tau_type", ["fixed", "iqn"])
def test_fractions_are_the_middles_of_parts_of_the_unit_interval(tau_type: str) -> None:
    tau, delta = _make(tau_type=tau_type)._draw_taus(4)
    assert tau.shape == delta.shape == (4, small.NUM_QUANTILES)
    torch.testing.assert_close(delta.sum(-1), torch.ones(4))
    ends = delta.cumsum(-1)
    torch.testing.assert_close(2 * tau, ends + ends - delta)
    assert (delta[0] == delta[1]).all() == (tau_type == "fixed")


def test_pessimism_is_the_least_quantile_the_least_mean_or_a_deviation_less() -> None:
    quantiles = torch.tensor([[[1.0, 5.0], [2.0, 3.0]]])
    delta = torch.tensor([[0.5, 0.5]])
    assert _make()._pessimistic(quantiles, delta).tolist() == [[1.0, 3.0]]
    by_mean = _make(min_critic_by_critic_mean=True)
    assert by_mean._pessimistic(quantiles, delta).tolist() == [[2.0, 3.0]]
    three = torch.tensor([[[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]]])
    found = _make(num_critic_replicas=3)._pessimistic(three, delta)
    torch.testing.assert_close(found, torch.tensor([[1.0, 5.0]]))  # 2 - 1, 5 - 0


def test_without_alpha_optimizer_critics_that_agree_leave_no_entropy_bonus() -> None:
    algorithm = _make(alpha_optimizer=None)
    assert [name for name, _ in algorithm.named_parameters() if "alpha" in name] == []
    step = small.bandit(ActionType.Continuous).reset()
    rolled = algorithm.rollout_step(step, algorithm.get_initial_rollout_state(16))

    def bonus() -> torch.Tensor:
        state = algorithm.get_initial_train_state(16)
        actor = algorithm.train_step(step, state, rolled.info).info.actor
        return actor.loss - actor.extra.actor_loss

    assert bonus().abs().max() > 0
    first, second = algorithm._critic_networks._networks
    second.load_state_dict(first.state_dict())
    assert bonus().abs().max() == 0


def test_one_critic_has_no_deviation_for_a_temperature() -> None:
    with pytest.raises(ValueError, match="num_critic_replicas is 1, allowed: at least 2"):
        _make(alpha_optimizer=None, num_critic_replicas=1)


def test_the_optimistic_mean_is_moved_up_the_upper_bound_by_delta() -> None:
    base = DiagMultivariateNormal(torch.zeros(2, 2), 0.5 * torch.ones(2, 2))
    policy = transformed_distribution(base, [StableTanh()])
    slope = torch.tensor([[1.0, 0.0], [0.0, -2.0]])
    moved = optimistic_policy(
        policy, lambda a: (slope * a).sum(-1), explore_delta=0.3, clipping=None
    )
    assert isinstance(moved, torch.distributions.TransformedDistribution)
    # s^2 g = g / 4 (tanh has slope 1 at 0), the norm is sqrt((1 + 4) / 4)
    expected = 0.3 * slope / 4 / (5 / 4) ** 0.5
    torch.testing.assert_close(moved.base_dist.mean, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(moved.base_dist.stddev, base.stddev)
    with pytest.raises(ValueError, match="needs a squashed normal policy"):
        optimistic_policy(base, lambda a: a.sum(-1), explore_delta=0.3, clipping=None)


def test_the_upper_bound_is_deviations_above_the_mean() -> None:
    values = torch.tensor([[1.0, 3.0], [2.0, 2.0]])
    torch.testing.assert_close(upper_bound(values, 2.0), torch.tensor([2 + 2 * 2**0.5, 2.0]))
    assert upper_bound(values[:, :1], 2.0).tolist() == [1.0, 2.0]
