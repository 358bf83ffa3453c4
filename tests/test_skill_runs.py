"""Skills are learned without a task, kept, and planned with in another maze; all runs run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.runs import checkpoint, train

SMALL = {
    "create_environment__num_parallel_environments": 4,
    "_CONFIG___USER__planner_warm_up": 8,
    "TrainerConfig__num_env_steps": 400,
    "TrainerConfig__num_checkpoints": 1,
}
EVALUATED = {
    "TrainerConfig__num_evals": 1,
    "TrainerConfig__num_eval_episodes": 2,
    "TrainerConfig__num_eval_environments": 2,
}
SKILLS = "alg.level_1_skills._algorithm."


def test_skills_are_pretrained_saved_and_reused_as_they_are(tmp_path: Path) -> None:
    first, second = tmp_path / "pretrain", tmp_path / "reuse"
    conf = "alf_configs/splates_pretrain_maze2d_conf.py"
    train(first, conf, **SMALL, _CONFIG___USER__skills_warm_up=50)
    conf = "alf_configs/splates_reuse_maze2d_conf.py"
    train(second, conf, **SMALL, **EVALUATED, _CONFIG___USER__skills=str(first))
    learned, reused = checkpoint(first), checkpoint(second)
    weights = [k for k in learned["algorithm"] if _is_skill(k)]
    assert len(weights) > 10
    for key in weights:
        assert torch.equal(learned["algorithm"][key], reused["algorithm"][key]), key


def _is_skill(key: str) -> bool:
    return key.startswith(SKILLS.removeprefix("alg."))


@pytest.mark.parametrize("name", ["splates_maze2d", "dads_maze2d"])
def test_the_skill_runs_run(tmp_path: Path, name: str) -> None:
    conf = f"alf_configs/{name}_conf.py"
    said = train(tmp_path, conf, **SMALL, **EVALUATED, _CONFIG___USER__skills_warm_up=50)
    assert "training is complete" in said


def test_the_run_with_td_mpc2_plans_and_learns(tmp_path: Path) -> None:
    small = SMALL | {"TrainerConfig__num_env_steps": 200, "TrainerConfig__evaluate": False}
    conf = "alf_configs/splates_tdmpc2_maze2d_conf.py"
    said = train(tmp_path, conf, **small, _CONFIG___USER__skills_warm_up=50)
    assert "training is complete" in said
    assert int(checkpoint(tmp_path)["algorithm"][SKILLS.removeprefix("alg.") + "_updates"]) > 10


def test_the_ant_run_runs(tmp_path: Path) -> None:
    pytest.importorskip("mujoco", reason="an extra: pip install alf-layered[mujoco]")
    said = train(
        tmp_path, "alf_configs/splates_ant_conf.py", **SMALL, _CONFIG___USER__skills_warm_up=50
    )
    assert "training is complete" in said
