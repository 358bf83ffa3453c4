"""Hierarchies in several processes: levels that update together, and rollouts made elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.runs import MAIN_CONF, SMALL, checkpoint, run, train, train_command


def transitions(root: Path) -> list[int]:
    """The transitions of each level, most abstract first."""
    state = checkpoint(root)["algorithm"]
    return [int(v) for key, v in sorted(state.items()) if key.endswith("clock.transitions")]


@pytest.mark.slow
def test_two_processes_keep_their_levels_equal(tmp_path: Path) -> None:
    root = tmp_path / "run"
    settings = {
        **SMALL,
        "TrainerConfig__num_env_steps": 300,
        "TrainerConfig__ddp_paras_check_interval": 1,
        "TrainerConfig__evaluate": False,
    }
    command = [*train_command(root, MAIN_CONF, **settings), "--distributed=multi-gpu"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = run([*launcher, *command[1:]])
    assert done.returncode == 0, done.stderr
    upper, lower = transitions(root)
    # both have got over their share of the warm-up, 5 and 50, and learnt
    assert upper > 5
    assert lower > 100


@pytest.mark.slow
def test_levels_learn_from_rollouts_of_another_process(tmp_path: Path) -> None:
    root = tmp_path / "run"
    settings = {**SMALL, "TrainerConfig__evaluate": False, "TrainerConfig__async_unroll": True}
    train(root, MAIN_CONF, **settings)
    upper, lower = transitions(root)
    assert upper > 10
    # every environment step is one of the lower level, but for closing records at joints
    assert 300 <= lower <= 440
    state = checkpoint(root)["algorithm"]
    assert any("update_clock.debt" in key for key in state)
    optimizers = checkpoint(root, "-optimizer")["algorithm"]
    assert all(o["state"] for o in optimizers.values() if o["param_groups"][-1]["params"])
