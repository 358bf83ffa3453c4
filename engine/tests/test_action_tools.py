"""Quantised actions, samplers of classes, pictures of critics."""

from __future__ import annotations

import pytest
import torch

from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.action_quantizer import ActionQuantizer
from alf.utils.action_samplers import (
    CategoricalSeedSampler,
    EpsilonGreedySampler,
    MultinomialSampler,
)
from alf.utils.visualizer import critic_network_visualizer

SPEC = BoundedTensorSpec((2,), minimum=(-1.0, 0.0), maximum=(1.0, 8.0))
PROBS = torch.tensor([0.1, 0.2, 0.7])


def test_bins_stand_for_their_centres_or_boundaries() -> None:
    centre = ActionQuantizer(SPEC, action_bins=4)
    index = torch.tensor([[0, 0], [3, 2]])
    assert centre.ind_to_action(index).tolist() == [[-0.75, 1.0], [0.75, 5.0]]
    boundary = ActionQuantizer(SPEC, action_bins=5, rep_mode="boundary")
    assert boundary.ind_to_action(torch.tensor([[0, 4], [2, 1]])).tolist() == [[-1, 8], [0, 2]]


@pytest.mark.parametrize("rep_mode", ["center", "boundary"])
def test_an_action_goes_to_its_bin(rep_mode: str) -> None:
    quantizer = ActionQuantizer(SPEC, action_bins=7, rep_mode=rep_mode)
    assert quantizer.action_bins == 7
    all_bins = torch.arange(7).unsqueeze(1).expand(7, 2)
    known = quantizer.ind_to_action(all_bins)
    assert torch.equal(quantizer.action_to_ind(known), all_bins)
    action = torch.rand(100, 2) * torch.tensor([2.0, 8.0]) + torch.tensor([-1.0, 0.0])
    if rep_mode == "center":
        expected = (action.unsqueeze(1) - known).abs().argmin(dim=1)
    else:  # that of the boundary below
        expected = (action.unsqueeze(1) >= known).sum(dim=1) - 1
    assert torch.equal(quantizer.action_to_ind(action), expected)
    outside = torch.tensor([[-9.0, 99.0]])
    assert quantizer.action_to_ind(outside).tolist() == [[0, 6]]


def test_what_cannot_be_quantised_is_refused() -> None:
    with pytest.raises(ValueError, match="continuous and bounded"):
        ActionQuantizer(TensorSpec((2,)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rep_mode must be"):
        ActionQuantizer(SPEC, rep_mode="left")


def _shares(classes: torch.Tensor) -> torch.Tensor:
    return torch.bincount(classes, minlength=3) / len(classes)


def test_samplers_draw_by_probability() -> None:
    probs = PROBS.expand(20_000, 3)
    torch.testing.assert_close(_shares(MultinomialSampler()(probs)), PROBS, atol=2e-2, rtol=0)
    greedy = EpsilonGreedySampler(0.5)
    expected = torch.tensor([0.05, 0.1, 0.85])
    torch.testing.assert_close(_shares(greedy(probs)), expected, atol=2e-2, rtol=0)
    assert EpsilonGreedySampler(0.0)(probs).eq(2).all()
    sampler = CategoricalSeedSampler(3)
    classes, _ = sampler(probs, sampler.state_spec.zeros((20_000,)))
    torch.testing.assert_close(_shares(classes), PROBS, atol=2e-2, rtol=0)
    never = torch.tensor([[0.0, 0.5, 0.5]]).expand(1000, 3)
    for classes in (MultinomialSampler()(never), sampler(never, torch.zeros(1000, 3))[0]):
        assert classes.ne(0).all()


def test_a_seed_sampler_mostly_repeats_itself() -> None:
    probs = torch.full((5000, 3), 1 / 3)
    sampler = CategoricalSeedSampler(3, new_noise_prob=0.1)
    first, state = sampler(probs, torch.zeros(5000, 3))
    second, new_state = sampler(probs, state)
    changed = (state != new_state).any(1).float().mean().item()
    assert changed == pytest.approx(0.1, abs=0.02)
    assert (first != second).float().mean().item() == pytest.approx(0.1 * 2 / 3, abs=0.02)
    assert (sampler(probs, torch.zeros(5000, 3))[1] > 0).all()


def test_concentration_prefers_likely_classes() -> None:
    sampler = CategoricalSeedSampler(3, concentration=50.0)
    classes, _ = sampler(PROBS.expand(500, 3), torch.zeros(500, 3))
    assert classes.eq(2).all()


@pytest.mark.parametrize("batch_size", [None, 4])
def test_a_critic_is_drawn_on_a_plane_of_actions(batch_size: int | None) -> None:
    def critic(inputs, state=()):  # type: ignore[no-untyped-def]
        observation, action = inputs
        return observation["x"][:, 0] + 10 * action[:, 0] + 100 * action[:, 1], state

    corners = [torch.tensor(c) for c in ([0.0, 0.0], [2.0, 0.0], [0.0, 1.0])]
    picture = critic_network_visualizer(
        critic, {"x": torch.tensor([1.0])}, *corners, H=2, W=3, batch_size=batch_size
    )
    assert picture.tolist() == [[1.0, 11.0, 21.0], [101.0, 111.0, 121.0]]
