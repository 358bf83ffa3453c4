"""Two processes train together: as one with the joined batch, from start to resume."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import data_parallel_worker
import pytest
import torch
from small_conf import write_conf

from alf.algorithms.config import TrainerConfig
from alf.trainers.policy_trainer import RLTrainer

_HERE = Path(__file__).parent


def torchrun(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_two_processes_learn_what_one_learns_from_the_joined_batch(tmp_path: Path) -> None:
    done = torchrun(_HERE / "data_parallel_worker.py", tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    joined = data_parallel_worker.train(0, 1)
    losses = [(a + b) / 2 for a, b in zip(first["losses"], second["losses"], strict=True)]
    torch.testing.assert_close(losses, joined["losses"])
    for kind in ("Spy", "TinyOnPolicy"):
        torch.testing.assert_close(first[kind], second[kind], rtol=0, atol=0)
        torch.testing.assert_close(first[kind], joined[kind])
    # a parameter without gradient anywhere stays without; one of process 1 alone counts for both
    assert first["no gradient"]
    assert float(first["Spy"]["sometimes"]) > 0.1
    assert "different values of the parameters layer.bias:" in first["difference"]
    for outcome in (first, second):
        assert outcome["checkpoint"].endswith("for process 0 7, process 1 none")
    # a thread that is left when the interpreter ends can abort the process
    if sys.platform == "linux":
        assert first["threads"]
    assert first["threads afterwards"] == second["threads afterwards"] == []


def _train(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return torchrun(
        *("-m", "alf.bin.train", "--root_dir", root, "--nostore_snapshot"),
        *("--distributed", "multi-gpu", *arguments),
    )


def test_a_run_of_two_processes_is_started_and_continued(tmp_path: Path) -> None:
    more = "alf.config('TrainerConfig', ddp_paras_check_interval=1, num_env_steps=80)\n"
    conf = write_conf(tmp_path, more + "alf.config('TrainerConfig', num_iterations=0)\n")
    root = tmp_path / "run"
    done = _train(root, "--conf", str(conf))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("training is complete") == 1
    assert {"py_train.INFO", "py_train_rank1.INFO", "alf_config.py"} <= set(os.listdir(root))
    algorithm = root / "train" / "algorithm"
    (checkpoint,) = (p for p in algorithm.glob("ckpt-*") if p.name[5:].isdigit())
    content = torch.load(checkpoint, weights_only=True)
    # each process made half of the steps, with half of the environments
    assert 40 <= int(content["trainer_progress"]["_env_steps"]) <= 44
    side = torch.load(f"{checkpoint}-replay_buffer", weights_only=True)["algorithm"]
    assert side["_replay_buffer._current_size"].shape == (2,)
    assert len(list((root / "train").glob("events*"))) == 1

    done = _train(root, "--conf_param", "TrainerConfig.num_env_steps=120")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("from checkpoint") == 1


def test_a_run_whose_files_only_one_machine_has_is_not_continued(tmp_path: Path) -> None:
    conf = write_conf(tmp_path)
    (tmp_path / "run0" / "train" / "algorithm").mkdir(parents=True)
    (tmp_path / "run0" / "train" / "algorithm" / "ckpt-5").touch()
    command = (
        f"exec {sys.executable} -m alf.bin.train --root_dir {tmp_path}/run$RANK --conf {conf} "
        "--nostore_snapshot --distributed multi-gpu"
    )
    done = torchrun("--no-python", "bash", "-c", command)
    assert done.returncode != 0
    assert "root_dir must be the same folder on all machines" in done.stderr


def test_processes_may_not_train_from_whatever_steps_are_there() -> None:
    config = TrainerConfig(
        root_dir="/nowhere", async_unroll=True, unroll_length=0, max_unroll_length=8
    )
    with pytest.raises(ValueError, match=r"unroll_length=0.*--distributed"):
        RLTrainer(config, ddp_rank=0)


def test_torchrun_without_the_flag_is_refused(tmp_path: Path) -> None:
    environment = {**os.environ, "WORLD_SIZE": "2", "RANK": "0", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "alf.bin.train", "--root_dir", tmp_path / "run"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "add --distributed=multi-gpu" in done.stderr
