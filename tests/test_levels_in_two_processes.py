"""Two processes train one hierarchy: levels update together although their data come apart."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.runs import MAIN_CONF, SMALL, checkpoint, run, train_command


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
    state = checkpoint(root)["algorithm"]
    counts = {key: int(v) for key, v in state.items() if key.endswith("clock.transitions")}
    assert len(counts) == 2
    # both levels have got over their warm-up (100 transitions of the lower one) and learnt
    assert all(int(v) > 0 for v in counts.values())
    assert max(counts.values()) > 100
