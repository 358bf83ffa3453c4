"""The examples run as their first lines say, and the pictures of plans show what they claim."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alf_layered import KnownModel, PlanObjective, StaticPredictor
from alf_layered.encoders import FixedEncoderNet
from alf_layered.environments import maze2d_alf
from alf_layered.models.rollout import Trajectories
from alf_layered.planning.records import PlanningStep
from alf_layered.plots.plans import (
    PlansOverEnvironment,
    best_plans,
    draw_rollout,
    draw_search,
    predicted_paths,
)
from tests.runs import run


@pytest.mark.parametrize(
    ("script", "options", "says"),
    [
        ("blackbox_planning.py", ["--iterations", "10"], "best scores"),
        ("ensemble_rollout.py", ["--updates", "20"], "members apart"),
        ("ensemble_rollout.py", ["--updates", "20", "--discrete"], "members apart"),
    ],
)
def test_an_example_runs_and_leaves_its_picture(
    script: str, options: list[str], says: str, tmp_path: Path
) -> None:
    picture = tmp_path / "folder" / "picture.png"
    done = run([sys.executable, f"examples/{script}", "--out", str(picture), *options])
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_quickstart_collects_learns_and_tests() -> None:
    options = ["--steps", "800", "--warm-up", "500"]
    done = run([sys.executable, "examples/quickstart.py", *options])
    assert done.returncode == 0, done.stderr
    assert "800 steps: success" in done.stdout
    assert "steps held" in done.stdout


def test_a_controller_acts_below_a_learner() -> None:
    done = run([sys.executable, "examples/controller_below_sac.py", "--steps", "800"])
    assert done.returncode == 0, done.stderr
    assert "800 steps: success" in done.stdout


def _planning_step(position: list[list[float]]) -> PlanningStep:
    """Three plans of two decisions for each position; the last one is the best."""
    predictor = StaticPredictor(
        KnownModel(lambda s, c, a: s + a),
        None,
        lambda s, c, a: a.sum(-1) + 0 * s[..., 0],
        FixedEncoderNet((2,), [0, 1]),
    )
    plans = torch.tensor([[0.1, 0.0], [0.0, 0.2], [0.3, 0.3]])[None, :, None]
    plans = plans.expand(len(position), 3, 2, 2)
    objective = PlanObjective()
    rollout = objective.rollout(
        predictor, torch.tensor(position), torch.zeros(len(position), 0), plans
    )
    env_id = torch.arange(len(position)).flip(0)
    return PlanningStep(env_id, rollout, objective.score(rollout))


def test_the_best_plan_of_an_environment_comes_last() -> None:
    step = _planning_step([[1.0, 2.0], [3.0, 4.0]])
    assert predicted_paths(step.rollout).shape == (2, 3, 3, 2)
    plans = best_plans(step, env_id=0, count=2)
    expected = [[[3.0, 4.0], [3.0, 4.2], [3.0, 4.4]], [[3.0, 4.0], [3.3, 4.3], [3.6, 4.6]]]
    np.testing.assert_allclose([p["trajectory"] for p in plans], expected, atol=1e-5)
    assert plans[0]["color"] != plans[1]["color"]
    assert best_plans(step, env_id=7) == []


def test_plans_are_drawn_over_the_maze() -> None:
    env = maze2d_alf.load("Maze2D-Medium-v0", batch_size=2)
    at = env.reset().observation["achieved_goal"]
    before = env.render()
    draw = PlansOverEnvironment(environment=lambda: env)
    draw(_planning_step(at.flip(0).tolist()))  # environment 0 comes last
    assert (env.render() != before).any(-1).sum() > 100
    draw(_planning_step([[0.5, 0.5], [0.5, 0.5]]))  # does not start at the agent
    assert (env.render() == before).all()


def test_searches_and_rollouts_are_drawn(tmp_path: Path) -> None:
    steps = [_planning_step([[1.0, 2.0]])] * 6
    seen: list[Any] = []
    draw_search(steps, tmp_path / "search.png", every=2, decorate=seen.append)
    assert len(seen) == 3
    found = Trajectories(state=torch.randn(2, 3, 4, 6, 2), term_prob=torch.zeros(2, 3, 4, 5))
    draw_rollout(found, tmp_path / "rollout.png", row=1)
    assert all(p.stat().st_size > 1000 for p in tmp_path.iterdir())
    with pytest.raises(ValueError, match="at least 1 iteration"):
        draw_search([], tmp_path / "none.png")
