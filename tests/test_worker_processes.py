"""Worker processes of vector environments: where they come from, and that they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.runs import REPOSITORY, train

_CONF = """
import gymnasium
import numpy as np

import alf
from alf_layered.environments import gymnasium_loader


class Point(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.time += 1
        return np.zeros(2, np.float32), 0.0, False, self.time == 5, {}


if "WorkerPoint-v0" not in gymnasium.registry:
    gymnasium.register("WorkerPoint-v0", Point)
alf.import_config({flat!r})
alf.config(
    "create_environment",
    env_name="WorkerPoint-v0",
    env_load_fn=gymnasium_loader.load,
    num_parallel_environments=2,
)
alf.config("gymnasium_loader.load", vectorization="async")
"""

_ORPHANS = """
import time
from alf_layered.environments import gymnasium_loader

if __name__ == "__main__":
    env = gymnasium_loader.load("Pendulum-v1", batch_size=3, vectorization="async")
    env.reset()
    print(*[process.pid for process in env.vector_env.processes], flush=True)
    time.sleep(1000)
"""


@pytest.mark.slow
def test_an_environment_of_the_conf_file_is_known_in_the_workers_of_an_evaluation(
    tmp_path: Path,
) -> None:
    conf = tmp_path / "point_conf.py"
    flat = str(REPOSITORY / "alf_configs" / "sac_pendulum_conf.py")
    conf.write_text(_CONF.replace("{flat!r}", repr(flat)))
    text = train(
        tmp_path / "run",
        conf,
        TrainerConfig__evaluate=True,
        TrainerConfig__num_env_steps=0,
        TrainerConfig__num_iterations=3,
        TrainerConfig__num_eval_episodes=2,
        TrainerConfig__num_evals=1,
    )
    assert "training is complete" in text
    assert "evaluation  return 0" in text


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_with_a_killed_main_process(tmp_path: Path) -> None:
    script = tmp_path / "orphans.py"
    script.write_text(_ORPHANS)
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as process:
        try:
            assert process.stdout is not None
            pids = [int(pid) for pid in process.stdout.readline().split()]
            os.kill(pids[0], signal.SIGUSR2)
            time.sleep(0.1)
            living = list(filter(_runs, pids))
        finally:
            process.kill()
    assert len(living) == 3
    deadline = time.monotonic() + 10
    while any(map(_runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_runs, pids))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
