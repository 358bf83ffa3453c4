"""The hierarchy under ALF's trainer: training, resuming, evaluation, playing, by real processes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.runs import MAIN_CONF, SMALL, assert_same_tensors, checkpoint, run, train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained")
    train(root, MAIN_CONF, **SMALL)
    return root


def test_a_run_leaves_checkpoints_configuration_and_logs(trained: Path) -> None:
    assert (trained / "alf_config.py").exists()
    assert list((trained / "train").glob("events*"))
    assert list((trained / "eval").glob("events*"))
    buffers = checkpoint(trained, "-replay_buffer")["algorithm"]
    levels = {key.split(".")[1] for key in buffers}
    assert levels == {"level_0_subgoals", "level_1_reach"}
    optimizers = checkpoint(trained, "-optimizer")["algorithm"]
    assert len(optimizers) == 6  # actor, critic and alpha of two levels
    assert all(state["state"] for state in optimizers.values())


def test_both_levels_train_in_the_ratio_of_their_own_transitions(trained: Path) -> None:
    model = checkpoint(trained)["algorithm"]
    low = int(model["level_1_reach._update_clock.transitions"])
    top = int(model["level_0_subgoals._update_clock.transitions"])
    assert 400 <= low <= 430  # one for every environment step
    assert low / 20 < top < low / 3
    assert 0 <= float(model["level_0_subgoals._update_clock.debt"]) < 1


def test_a_run_goes_on_from_its_root_directory_alone(trained: Path) -> None:
    before = checkpoint(trained)
    train(trained, None, TrainerConfig__num_env_steps=700)
    after = checkpoint(trained)
    assert after["global_step"] > before["global_step"]
    name = "level_1_reach._update_clock.transitions"
    assert int(after["algorithm"][name]) >= int(before["algorithm"][name]) + 250


def test_equal_seeds_make_equal_runs_and_evaluation_changes_nothing(tmp_path: Path) -> None:
    results: list[dict[str, Any]] = []
    for name, evaluate in (("often", True), ("never", False)):
        train(
            tmp_path / name,
            MAIN_CONF,
            **SMALL | {"TrainerConfig__num_evals": None, "TrainerConfig__num_env_steps": 128},
            TrainerConfig__evaluate=evaluate,
            TrainerConfig__eval_interval=1,
        )
        results.append(
            {
                kind: checkpoint(tmp_path / name, kind)
                for kind in ("", "-optimizer", "-replay_buffer")
            }
        )
    assert_same_tensors(*results)


def test_a_trained_hierarchy_plays_and_records_a_video(trained: Path, tmp_path: Path) -> None:
    video = tmp_path / "play.mp4"
    command = [sys.executable, "-m", "alf.bin.play", "--root_dir", str(trained), "--norender"]
    done = run([*command, "--num_episodes", "1", "--record_file", str(video)])
    assert done.returncode == 0, done.stderr
    assert video.stat().st_size > 1000
    assert "episode 1: return" in done.stdout


@pytest.mark.parametrize(
    "conf",
    [
        "random_maze2d_conf.py",
        "three_levels_maze2d_conf.py",
        "random_over_sac_maze2d_conf.py",
    ],
)
def test_every_configuration_starts(conf: str, tmp_path: Path) -> None:
    train(
        tmp_path,
        f"alf_configs/{conf}",
        TrainerConfig__num_iterations=3,
        TrainerConfig__num_env_steps=0,
        TrainerConfig__evaluate=False,
    )
