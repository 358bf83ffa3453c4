"""Trainings in processes of their own, for sections that kill, starve or disturb them.

They are forked from a server that has imported everything: a start takes one second, not five.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from alf.utils import _checkpoint_files as files
from alf.utils.checkpoint_utils import Checkpointer

REPOSITORY = Path(__file__).parents[2]
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["alf.bin.train", "alf_layered", "benchmarks.torture.runs"])

CONF = '''
import functools
import os
import time

import alf
import gymnasium
import numpy as np
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.critic_networks import CriticNetwork
from alf.optimizers import Adam


class Count(gymnasium.Env):
    """Episodes of 5 steps; FAULT names what goes wrong in step FAULT_AT of a process."""

    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    total = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.array([self.np_random.uniform(-1, 1), 0], np.float32), {}

    def step(self, action):
        self.time += 1
        type(self).total += 1
        time.sleep(float(os.environ.get("STEP_SECONDS", "0")))
        observation, reward = np.array([0.5, self.time], np.float32), float(action[0])
        if self.total >= int(os.environ.get("FAULT_AT", "1000000000")):
            fault = os.environ.get("FAULT")
            if fault == "raises":
                raise ValueError("the simulator has failed")
            if fault == "exits":
                os._exit(7)
            if fault == "hangs":
                time.sleep(100000)
            if fault == "nan reward":
                reward = float("nan")
            if fault == "other shape":
                observation = np.zeros(3, np.float32)
        return observation, reward, False, self.time == 5, {}


if "TortureCount-v0" not in gymnasium.registry:
    gymnasium.register("TortureCount-v0", Count)
alf.config("create_environment", env_name="TortureCount-v0", num_parallel_environments=2)
alf.config("ReplayBuffer", enable_checkpoint=True)
alf.config(
    "SacAlgorithm",
    actor_network_cls=functools.partial(ActorDistributionNetwork, fc_layer_params=(4,)),
    critic_network_cls=functools.partial(CriticNetwork, joint_fc_layer_params=(4,)),
    actor_optimizer=Adam(lr=1e-2),
    critic_optimizer=Adam(lr=1e-2),
    alpha_optimizer=Adam(lr=1e-2),
)
alf.config(
    "TrainerConfig",
    algorithm_ctor=SacAlgorithm,
    random_seed=1,
    num_iterations=60,
    num_checkpoints=1,
    unroll_length=2,
    initial_collect_steps=8,
    mini_batch_length=2,
    mini_batch_size=4,
    num_updates_per_train_iter=1,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    replay_buffer_length=50,
    evaluate=False,
    summary_interval=5,
    confirm_checkpoint_upon_crash=False,
    environment_heartbeat_secs=1.0,
    environment_timeout_secs=4.0,
)
'''


def write_conf(folder: Path, more: str = "") -> Path:
    """The conf file of a small flat SAC, with `more` at its end."""
    path = folder / "torture_conf.py"
    path.write_text(CONF + more, encoding="utf-8")
    return path


class Training:
    """`alf.bin.train` in a process of its own.

    Args:
        root: the `--root_dir`.
        conf: the `--conf`.
        variables: environment variables.
        parameters: `--conf_param`s.
        first: called in the process before the training.
        logs: folder of what it prints.
    """

    def __init__(
        self,
        root: Path,
        conf: str | Path,
        *,
        variables: Mapping[str, str] = {},  # never changed
        parameters: tuple[str, ...] = (),
        first: Callable[[], None] | None = None,
        logs: Path | None = None,
    ) -> None:
        self.root = root
        logs = root.parent / f"{root.name}_output" if logs is None else logs
        logs.mkdir(exist_ok=True)
        self._output = logs / f"{len(list(logs.iterdir()))}.txt"
        arguments = ["train", "--root_dir", str(root), "--conf", str(conf), "--nostore_snapshot"]
        arguments += [flag for text in parameters for flag in ("--conf_param", text)]
        self._process: Any = _context.Process(
            target=_train, args=(arguments, dict(variables), str(self._output), first)
        )
        self._output.write_text("")
        self._process.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def last_line(self) -> str:
        return (self.text.strip().splitlines() or [""])[-1]

    def send(self, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signum)

    def wait_for(self, condition: Callable[[], Any], seconds: float = 60.0) -> bool:
        """Wait until it is true or the process has ended; whether it is true."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return True
            if not self.is_alive:
                return bool(condition())
            time.sleep(0.02)
        return False

    def end(self, seconds: float = 60.0) -> int | None:
        """The exit status; None if it had to be killed after so long."""
        self._process.join(seconds)
        if not self._process.is_alive():
            return self._process.exitcode
        self._process.kill()
        self._process.join()
        return None


def _train(
    arguments: list[str], variables: dict[str, str], output: str, first: Callable[[], None] | None
) -> None:
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.update(variables, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    os.chdir(REPOSITORY)
    torch.set_num_threads(1)
    sys.argv = arguments
    if first is not None:
        first()
    from alf.bin import train

    train.main()


class Content:
    """Stands for an algorithm and keeps what a checkpoint gives it."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True) -> None:
        self.state = dict(state_dict)


def checkpoint_dir(root: Path) -> Path:
    """Where a run has its checkpoints."""
    return root / "train" / "algorithm"


def newest(root: Path) -> tuple[int, dict[str, Any]]:
    """Step and algorithm state of the newest checkpoint that can be read; -1 where there is none.

    Raises ValueError if none of those that are there can be read.
    """
    folder = str(checkpoint_dir(root))
    if not files.steps_of(folder):
        return -1, {}
    content = Content()
    return Checkpointer(folder, algorithm=content).load(), content.state


def is_same(one: Any, other: Any) -> bool:
    """Whether two states are equal, to the last bit."""
    if isinstance(one, torch.Tensor):
        return (
            isinstance(other, torch.Tensor)
            and one.dtype == other.dtype
            and (one.shape == other.shape and one.numpy().tobytes() == other.numpy().tobytes())
        )
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(is_same(one[key], other[key]) for key in one)
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(is_same, one, other))
    return one == other
