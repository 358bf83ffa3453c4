"""A hung environment is named and ends the run with a checkpoint; SIGTERM saves meanwhile."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_conf import write_conf

_ENGINE = str(Path(__file__).parents[1])

_HANGS = """
import os
import time

alf.config(
    "TrainerConfig",
    num_iterations=10000,
    evaluate={evaluate},
    environment_heartbeat_secs=1.0,
    environment_timeout_secs={timeout},
)
{settings}
_step = Count.step


def _hang(self, action):
    if os.environ.get("HANGS") == "1" and Count.total >= 40 and self.number > 0:
        open(os.environ["HANG_FILE"], "w").close()
        time.sleep(1000)
    return _step(self, action)


Count.step = _hang
"""
_IN_PROCESSES = (
    "from alf.environments.parallel_environment import ParallelAlfEnvironment\n"
    "alf.config('create_environment', parallel_environment_ctor=ParallelAlfEnvironment)"
)


def _train(folder: Path, conf: Path, hangs: bool) -> subprocess.Popen:
    command = [sys.executable, "-m", "alf.bin.train", "--root_dir", folder / "run"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([_ENGINE, os.environ.get("PYTHONPATH", "")]),
        "HANGS": str(int(hangs)),
        "HANG_FILE": str(folder / "hung"),
    }
    return subprocess.Popen(
        [*map(str, command), "--conf", str(conf), "--nostore_snapshot"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def _conf(folder: Path, timeout: float, settings: str = "", evaluate: bool = False) -> Path:
    more = _HANGS.format(timeout=timeout, settings=settings, evaluate=evaluate)
    return write_conf(folder, more)


@pytest.mark.parametrize("settings", ["", pytest.param(_IN_PROCESSES, marks=pytest.mark.slow)])
def test_a_hung_environment_ends_the_run_with_a_checkpoint(tmp_path, settings):
    conf = _conf(tmp_path, 2.5, settings)
    process = _train(tmp_path, conf, hangs=True)
    error = process.communicate(timeout=120)[1]
    assert process.returncode == 1, error
    assert re.search(r"environments? \d.*(has|have) not answered for 1 s", error), error
    last = error.rstrip().splitlines()[-1]
    assert re.match(r"error: environments? \d.* not answered for [23] s; checkpoint \d+ is", last)
    if not settings:
        assert "small_conf.py:" in last
    process = _train(tmp_path, conf, hangs=False)
    line = ""
    while "continuing" not in line:
        line = process.stderr.readline()
        assert line
    process.kill()
    process.communicate()


def test_sigterm_while_an_environment_hangs_leaves_a_checkpoint(tmp_path):
    process = _train(tmp_path, _conf(tmp_path, 0.0), hangs=True)
    while not (tmp_path / "hung").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.SIGTERM, error
    assert re.search(r"checkpoint \d+ is written.*; stopped by signal 15", error)
    assert list((tmp_path / "run" / "train" / "algorithm").glob("ckpt-*-optimizer"))
