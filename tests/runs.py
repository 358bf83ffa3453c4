"""Runs of the programs, as a user starts them: a process with a command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from alf_layered import newest_checkpoint

REPOSITORY = Path(__file__).parents[1]
MAIN_CONF = "alf_configs/sac_over_sac_maze2d_conf.py"
SMALL: dict[str, Any] = {
    "create_environment__num_parallel_environments": 4,
    "_CONFIG___USER__subgoals_warm_up": 10,
    "_CONFIG___USER__reach_warm_up": 100,
    "TrainerConfig__num_env_steps": 400,
    "TrainerConfig__num_checkpoints": 3,
    "TrainerConfig__num_evals": 1,
    "TrainerConfig__num_eval_episodes": 2,
    "TrainerConfig__num_eval_environments": 2,
}
"""The main run in small: every mechanism of it, in seconds."""


def train_command(root: Path, conf: str | Path | None, **parameters: Any) -> list[str]:
    """`python -m alf.bin.train`, with `--conf_param`s given as `Name__field=value`."""
    command = [sys.executable, "-m", "alf.bin.train", "--root_dir", str(root)]
    if conf is not None:
        command += ["--conf", str(conf)]
    for name, value in parameters.items():
        command += ["--conf_param", f"{_config_name(name)}={value!r}"]
    return command


def _config_name(name: str) -> str:
    return name.replace("_CONFIG___USER__", "_CONFIG._USER.").replace("__", ".")


def environment() -> dict[str, str]:
    """This process's environment, on one thread, so that equal runs are equal to the last bit."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def run(command: list[str], *, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Runs a command in the repository's folder to its end."""
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def train(root: Path, conf: str | Path | None, **parameters: Any) -> str:
    """Trains to the end and returns what was printed; fails with that where the run failed."""
    done = run(train_command(root, conf, **parameters))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def checkpoint(root: Path, kind: str = "") -> dict[str, Any]:
    """The newest checkpoint's contents; `kind` is the suffix of one of its other files."""
    content = torch.load(newest_checkpoint(str(root)) + kind, weights_only=True)
    content.pop("set_id")  # drawn anew for each set of files
    return content


def assert_same_tensors(one: Any, other: Any, path: str = "") -> None:
    """Asserts that two checkpoints hold the same, to the last bit."""
    assert type(one) is type(other), path
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_same_tensors(one[key], other[key], f"{path}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), path
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same_tensors(a, b, f"{path}/{i}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    else:
        assert one == other, path
