"""Planning levels under ALF's trainer: seeds, evaluation, resuming, playing with plans drawn."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.runs import assert_same_tensors, checkpoint, run, train

CONF = "alf_configs/planner_over_sac_maze2d_conf.py"
SMALL_RUN: dict[str, Any] = {
    "create_environment__num_parallel_environments": 4,
    "maze2d_alf.load__max_episode_steps": 40,
    "_CONFIG___USER__planner_warm_up": 10,
    "_CONFIG___USER__reach_warm_up": 100,
    "TrainerConfig__num_env_steps": 400,
    "TrainerConfig__num_checkpoints": 2,
    "TrainerConfig__num_evals": None,
    "TrainerConfig__num_eval_episodes": 2,
    "TrainerConfig__num_eval_environments": 2,
}


def test_equal_seeds_make_equal_runs_whether_evaluated_or_not(tmp_path: Path) -> None:
    results: list[dict[str, Any]] = []
    for name, evaluate in (("often", True), ("never", False)):
        train(
            tmp_path / name,
            CONF,
            **SMALL_RUN,
            TrainerConfig__evaluate=evaluate,
            TrainerConfig__eval_interval=10,
        )
        results.append(
            {k: checkpoint(tmp_path / name, k) for k in ("", "-optimizer", "-replay_buffer")}
        )
    assert_same_tensors(*results)
    model = results[0][""]["algorithm"]
    assert int(model["level_0_planner._predictor.updates"]) > 10


def test_a_run_goes_on_and_plays_with_its_plans_drawn(tmp_path: Path) -> None:
    train(tmp_path, CONF, **SMALL_RUN, TrainerConfig__evaluate=False)
    name = "level_0_planner._predictor.updates"
    before = int(checkpoint(tmp_path)["algorithm"][name])
    train(tmp_path, None, TrainerConfig__num_env_steps=600)
    assert int(checkpoint(tmp_path)["algorithm"][name]) > before
    video = tmp_path / "play.mp4"
    command = [sys.executable, "-m", "alf.bin.play", "--root_dir", str(tmp_path), "--norender"]
    command += ["--num_episodes", "1", "--record_file", str(video)]
    done = run([*command, "--conf_param", "_CONFIG._USER.draw_plans=True"])
    assert done.returncode == 0, done.stderr
    assert video.stat().st_size > 1000


def test_the_pendulum_configuration_starts(tmp_path: Path) -> None:
    pytest.importorskip("mujoco", reason="an extra: pip install alf-layered[mujoco]")
    train(
        tmp_path,
        "alf_configs/planner_inverted_pendulum_conf.py",
        TrainerConfig__num_iterations=3,
        TrainerConfig__num_env_steps=0,
        TrainerConfig__evaluate=False,
    )
