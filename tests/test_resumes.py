"""Every configuration goes on where it stopped, to the last bit; what begins anew is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import alf
from alf_layered.environments import maze2d_alf
from benchmarks.torture import resumes
from benchmarks.torture.smoke import CONFIGURATIONS, PointEnvironment, fresh, play, trainer_of


@pytest.fixture(autouse=True)
def _fresh_process_state() -> Iterator[None]:
    yield
    fresh()


@pytest.mark.filterwarnings("default")
@pytest.mark.slow
@pytest.mark.configurations
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_resumed_run_equals_one_that_was_not_stopped_and_plays(name: str, tmp_path: Path) -> None:
    assert resumes.resume_differences(name, tmp_path) == []
    episodes = play(name, tmp_path / "stopped", resumes.more_settings(name, tmp_path))
    assert len(episodes) == 4
    assert all(episode.length > 0 for episode in episodes)


@pytest.mark.parametrize("push", [0.0, 0.3])
def test_a_maze_goes_on_where_its_state_was_saved(push: float) -> None:
    def load() -> Any:
        return maze2d_alf.load(
            "Maze2D-UMaze-v0", batch_size=3, max_episode_steps=5, action_push=push
        )

    torch.manual_seed(0)
    actions = torch.rand(20, 3, 2) * 2 - 1
    one, other = load(), load()
    one.reset()
    for action in actions[:8]:
        one.step(action)
    other.load_state_dict(one.state_dict())
    for action in actions[8:]:
        for a, b in zip(*(alf.nest.flatten(e.step(action)) for e in (one, other)), strict=True):
            assert torch.equal(a, b)


def test_the_state_of_another_number_of_mazes_is_refused() -> None:
    one, other = (maze2d_alf.load("Maze2D-UMaze-v0", batch_size=n) for n in (3, 2))
    one.reset()
    with pytest.raises(ValueError, match="of 3 instances, this environment has 2"):
        other.load_state_dict(one.state_dict())


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ("all", "the environments go on in their episodes"),
        ("no environment", "the environments begin new episodes"),
        ("no records", "_replay_buffer is empty, as it is not saved"),
    ],
)
def test_a_resume_says_what_goes_on(
    kept: str, told: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"ReplayBuffer.enable_checkpoint": False} if kept == "no records" else {}
    if kept == "no environment":
        monkeypatch.delattr(PointEnvironment, "state_dict")
    for end in (6, 8):
        trainer_of("muzero_cartpole", tmp_path, end, more).train()
    assert told in capsys.readouterr().err
