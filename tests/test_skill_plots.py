"""Skills that are tried out: where they end, how they are measured, and their picture."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from alf.data_structures import StepType, TimeStep
from alf_layered.plots.skill_samples import SkillSamples, sample_skills
from alf_layered.plots.skills import load_agent, reward_tag, spread
from tests.runs import run, train
from tests.skill_points import skill_agent
from tests.test_skill_runs import SMALL

FIRST, MID, LAST = int(StepType.FIRST), int(StepType.MID), int(StepType.LAST)


class Clock:
    """Four environments whose place is (episode, step), with episodes of 5 steps."""

    def __init__(self) -> None:
        self.t, self.episode = 0, 0

    def reset(self) -> TimeStep:
        return self._now()

    def step(self, action: torch.Tensor) -> TimeStep:
        self.t += 1
        if self.t > 5:
            self.t, self.episode = 0, self.episode + 1
        return self._now()

    def _now(self) -> TimeStep:
        kind = FIRST if self.t == 0 else LAST if self.t == 5 else MID
        place = torch.tensor([float(self.episode), float(self.t)]).expand(4, 2)
        return TimeStep(
            step_type=torch.full((4,), kind, dtype=torch.int32),
            reward=torch.zeros(4),
            discount=torch.ones(4),
            observation={"place": place, "speed": torch.zeros(4, 3)},
            prev_action=torch.zeros(4, 2),
            env_id=torch.arange(4, dtype=torch.int32),
            env_info=(),
        )


def test_tried_skills_last_their_time_inside_one_episode() -> None:
    found = sample_skills(skill_agent(interval=2), Clock(), 20)
    assert len(found.skill) >= 20
    # Two steps on, in the same episode; what is cut short does not count.
    assert torch.equal(found.displacement, torch.tensor([0.0, 2.0]).expand(len(found.skill), 2))
    torch.testing.assert_close(found.predicted, found.start + 3 * found.skill)
    assert set(found.start[:, 1].tolist()) <= {0.0, 1.0, 2.0, 3.0}


def _samples(way: Any) -> SkillSamples:
    torch.manual_seed(0)
    skill = torch.rand(500, 2) * 2 - 1
    start = torch.randn(500, 2)
    return SkillSamples(skill, start, start + way(skill), start + way(skill) + 0.3)


def test_spread_by_hand() -> None:
    moving, still = spread(_samples(lambda z: 2 * z)), spread(_samples(lambda z: 0 * z))
    assert moving["explained"] == pytest.approx(1.0, abs=1e-5)
    assert moving["error"] == pytest.approx(0.3 * 2**0.5, abs=1e-4)
    assert moving["coverage"] > 0.9
    assert still["reach"] == 0
    assert still["coverage"] == 0.01


def test_a_run_s_skills_are_drawn(tmp_path: Path) -> None:
    train(
        tmp_path,
        "alf_configs/splates_pretrain_maze2d_conf.py",
        **SMALL,
        _CONFIG___USER__skills_warm_up=50,
        TrainerConfig__summary_interval=1,
    )
    assert reward_tag(tmp_path).endswith("level_1_skills/intrinsic_reward")
    picture = tmp_path / "skills.png"
    module, names = "alf_layered.plots.skills", ["--root_dir", str(tmp_path), "--out", str(picture)]
    command = [sys.executable, "-m", module, *names, "--count", "8", "--environments", "4"]
    done = run(command)
    assert done.returncode == 0, done.stderr
    assert "coverage" in done.stdout
    assert picture.stat().st_size > 10_000


def test_a_folder_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        load_agent(tmp_path, 2)
