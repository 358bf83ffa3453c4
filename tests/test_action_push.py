"""Pushed actions: a push is the same for an episode, noise is not, and both keep the bounds."""

from __future__ import annotations

import pytest
import torch

from alf.data_structures import StepType
from alf_layered.environments import maze2d_alf
from alf_layered.environments.action_push import ActionPush

STAY = torch.zeros(3, 2)
NONE = torch.zeros(3, dtype=torch.bool)


def _push(push: float, noise: float = 0.0) -> ActionPush:
    generator = torch.Generator().manual_seed(0)
    return ActionPush(3, 2, push=push, noise=noise, generator=generator)


def test_without_push_and_noise_nothing_is_changed_and_nothing_is_drawn() -> None:
    push = _push(0.0)
    state = push._generator.get_state()
    assert push(STAY, NONE, 1.0) is STAY
    assert torch.equal(push._generator.get_state(), state)


def test_a_push_lasts_for_an_episode() -> None:
    push = _push(0.5)
    first = push(STAY, NONE, 1.0)
    torch.testing.assert_close(first.norm(dim=-1), torch.full((3,), 0.5))
    assert torch.equal(push(STAY, NONE, 1.0), first)
    again = push(STAY, torch.tensor([False, True, False]), 1.0)
    assert torch.equal(again[[0, 2]], first[[0, 2]])
    assert not torch.equal(again[1], first[1])


def test_noise_is_new_at_each_step_and_actions_keep_their_bounds() -> None:
    push = _push(0.0, noise=5.0)
    one, other = push(STAY, NONE, 1.0), push(STAY, NONE, 1.0)
    assert not torch.equal(one, other)
    assert float(one.abs().max()) == 1.0


def test_a_maze_pushes_who_stands_still() -> None:
    env = maze2d_alf.load("Maze2D-Simple-v0", batch_size=3, action_push=1.0)
    start = env.reset().observation["achieved_goal"]
    step = env.step(STAY)
    assert int(step.step_type[0]) == int(StepType.MID)
    moved = (step.observation["achieved_goal"] - start).norm(dim=-1)
    assert float(moved.max()) == pytest.approx(0.1, abs=0.03)


def test_a_negative_push_is_an_error() -> None:
    with pytest.raises(ValueError, match="action_push"):
        _push(-1.0)
