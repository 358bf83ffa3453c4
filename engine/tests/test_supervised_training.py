"""`TrainerConfig.ml_type="sl"`: a regression from the command line, without any environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

_CONF = """
import alf
import torch
from alf.algorithms.algorithm import Algorithm
from alf.data_structures import LossInfo
from alf.optimizers import SGD
from alf.summary import summary_ops as summary


class Line(Algorithm):
    "Fits y = 2 x by full batches; reports itself in a file."

    def __init__(self, config=None, optimizer=None):
        super().__init__(config=config, optimizer=optimizer)
        self.slope = torch.nn.Parameter(torch.tensor(0.0))

    def train_iter(self):
        summary.increment_global_counter()
        x = torch.tensor([1.0, -1.0])
        self.update_with_gradient(LossInfo(loss=(self.slope * x - 2 * x) ** 2))
        return 2

    def _report(self, what):
        with open(self._config.root_dir + "/report", "a") as file:
            file.write(f"{what} {float(self.slope.detach()):.4f}\\n")

    def evaluate(self):
        self._report("evaluate")

    def eval_uncertainty(self):
        self._report("uncertainty")


alf.config(
    "TrainerConfig",
    ml_type="sl",
    algorithm_ctor=lambda config: Line(config=config, optimizer=SGD(lr=0.25)),
    num_iterations=2,
    evaluate=True,
    eval_interval=1,
    eval_uncertainty=True,
    confirm_checkpoint_upon_crash=False,
)
"""


def _train(*arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "alf.bin.train", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_supervised_run_trains_evaluates_and_continues(tmp_path: Path) -> None:
    conf = tmp_path / "line_conf.py"
    conf.write_text(_CONF)
    root = tmp_path / "run"
    _train("--root_dir", root, "--conf", conf, "--nostore_snapshot")
    # (s - 2)^2 with a step of 0.25: the distance to 2 halves each time
    assert (root / "report").read_text().splitlines() == [
        "evaluate 0.0000",
        "evaluate 1.0000",
        "evaluate 1.5000",
        "uncertainty 1.5000",
    ]
    _train("--root_dir", root, "--conf_param", "TrainerConfig.num_iterations=3")
    assert (root / "report").read_text().splitlines()[4:] == [
        "evaluate 1.7500",
        "uncertainty 1.7500",
    ]
    content = torch.load(root / "train" / "algorithm" / "ckpt-3", weights_only=True)
    assert float(content["algorithm"]["slope"]) == 1.75
