"""Runs of the programs, as a user starts them: a process with a command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

REPOSITORY = Path(__file__).parents[1]


def train_command(root: Path, conf: str | Path | None, **parameters: Any) -> list[str]:
    """`python -m alf.bin.train`, with `--conf_param`s given as `Name__field=value`."""
    command = [sys.executable, "-m", "alf.bin.train", "--root_dir", str(root)]
    if conf is not None:
        command += ["--conf", str(conf)]
    for name, value in parameters.items():
        command += ["--conf_param", f"{name.replace('__', '.')}={value!r}"]
    return command


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
    folder = root / "train" / "algorithm"
    steps = [int(p.name[5:]) for p in folder.glob("ckpt-*") if p.name[5:].isdigit()]
    return torch.load(folder / f"ckpt-{max(steps)}{kind}", weights_only=True)


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
