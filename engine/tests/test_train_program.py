"""The programs train and play as a user starts them: good runs, and one message per error."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alf.bin import _program

_CONF = """
import functools

import alf
import gymnasium
import numpy as np
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.critic_networks import CriticNetwork
from alf.optimizers import Adam

reward_at_3 = alf.define_config("reward_at_3", 0.0)


class Point(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.time += 1
        observation = np.full(2, self.time, np.float32)
        reward = float(reward_at_3) if self.time == 3 else 1.0
        ended = self.time == 5
        return observation, reward, ended, False, {"success": float(ended)}

    def render(self):
        return np.full((32, 48, 3), 50 * self.time, np.uint8)


if "ProgramTestPoint-v0" not in gymnasium.registry:
    gymnasium.register("ProgramTestPoint-v0", Point)
alf.config("create_environment", env_name="ProgramTestPoint-v0", num_parallel_environments=2)
alf.config("ReplayBuffer", enable_checkpoint=True)
alf.config(
    "SacAlgorithm",
    actor_network_cls=functools.partial(ActorDistributionNetwork, fc_layer_params=(4,)),
    critic_network_cls=functools.partial(CriticNetwork, joint_fc_layer_params=(4,)),
    actor_optimizer=Adam(lr=1e-3),
    critic_optimizer=Adam(lr=1e-3),
    alpha_optimizer=Adam(lr=1e-3),
)
alf.config(
    "TrainerConfig",
    algorithm_ctor=SacAlgorithm,
    random_seed=1,
    num_iterations=12,
    num_checkpoints=2,
    unroll_length=1,
    initial_collect_steps=8,
    mini_batch_length=2,
    mini_batch_size=4,
    num_updates_per_train_iter=1,
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    replay_buffer_length=20,
    evaluate=True,
    async_eval=False,
    eval_interval=6,
    num_eval_episodes=2,
)
"""


@pytest.fixture
def conf(tmp_path) -> Path:
    path = tmp_path / "confs" / "tiny_conf.py"
    path.parent.mkdir()
    path.write_text(_CONF)
    return path


def _start(program: str, *args: object, **settings: str) -> subprocess.Popen:
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environment |= {"OMP_NUM_THREADS": "1", **settings}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", f"alf.bin.{program}", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env=environment,
    )


def _run(program: str, *args: object, **settings: str) -> tuple[int, str, str]:
    process = _start(program, *args, **settings)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def _last_line(text: str) -> str:
    """The last line, and with it those before that the end of an error takes."""
    lines = text.rstrip().splitlines()
    begins = [i for i, line in enumerate(lines) if line.startswith("error: ")]
    return " ".join(lines[begins[-1] if begins else -1 :])


def _checkpoints(root: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in (root / "train/algorithm").glob("ckpt-*")}


def test_train_continue_and_play(tmp_path, conf):
    root = tmp_path / "run"
    status, _, err = _run("train", "--root_dir", root, "--conf", conf, "--nostore_snapshot")
    assert status == 0, err
    assert "training is complete" in err
    assert f"tensorboard --logdir {root}" in err
    assert {"alf_config.py", "config_files", "py_train.INFO"} <= set(os.listdir(root))
    assert {"ckpt-6", "ckpt-12"} <= set(_checkpoints(root))

    status, _, err = _run("train", "--root_dir", root)
    assert (status, "the training is complete" in err) == (0, True), err

    status, _, err = _run(
        "train", "--root_dir", root, "--conf_param", "TrainerConfig.num_iterations=14"
    )
    assert status == 0, err
    assert "from checkpoint 12: 12 iterations" in err
    assert "ckpt-14" in _checkpoints(root)

    video = tmp_path / "videos" / "play.mp4"
    status, out, err = _run("play", "--root_dir", root, "--num_episodes", 2, "--record_file", video)
    assert status == 0, err
    assert "checkpoint 14" in out
    assert "episode 2: return 4.00  length 5  success 1.00" in out
    assert "average of 2: return 4.00  length 5  success 1.00" in out
    assert video.read_bytes()[4:8] == b"ftyp"

    status, out, err = _run("play", "--root_dir", root, "--num_episodes", 1)
    assert status == 0, err
    assert "nothing is rendered: there is no display" in out

    result = tmp_path / "result.json"
    status, out, err = _run(
        *("play", "--root_dir", root, "--num_episodes", 5, "--checkpoint_step", 6),
        *("--parallel_play", 2, "--result_file", result),
    )
    assert status == 0, err
    assert "average of 6: return 4.00  length 5  success 1.00" in out
    content = json.loads(result.read_text())
    assert content["checkpoint"] == 6
    assert content["episodes"] == [{"episode_return": 4.0, "length": 5, "success": 1.0}] * 6

    page = tmp_path / "pages" / "compare.html"
    runs = ("--root_dir", root, "--root_dir", root)
    status, out, err = _run("compare", *runs, "--seeds", 3, "--output", page)
    assert status == 0, err
    assert page.read_text().count("4.00 in 5 steps<video") == 2

    before = _checkpoints(root)
    status, _, err = _run("play", "--root_dir", root, "--checkpoint_step", 13)
    assert status == 1
    assert _last_line(err).startswith("error: there is no checkpoint 13 in ")
    assert _last_line(err).endswith("there are: 6, 12, 14")
    assert _checkpoints(root) == before


def test_a_killed_run_continues_with_root_dir_alone(tmp_path, conf):
    root = tmp_path / "run"
    process = _start(
        "train",
        *("--root_dir", root, "--conf", conf, "--nostore_snapshot"),
        *("--conf_param", "TrainerConfig.num_iterations=1000000"),
        *("--conf_param", "TrainerConfig.num_checkpoints=200000"),
    )
    _wait_for_checkpoint(root, process)
    process.kill()
    process.communicate()
    newest = max(int(name[5:]) for name in _checkpoints(root) if name[5:].isdigit())

    process = _start("train", "--root_dir", root)
    _wait_for_checkpoint(root, process, newest + 20)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "continuing" in err
    assert "stopped by signal 15" in err


def _wait_for_checkpoint(root: Path, process: subprocess.Popen, step: int = 0) -> None:
    for _ in range(600):
        assert process.poll() is None, process.communicate()
        if any(n[5:].isdigit() and int(n[5:]) > step for n in _checkpoints(root)):
            return
        time.sleep(0.1)
    raise AssertionError("no checkpoint was written in a minute")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_signals_while_the_program_imports_do_not_end_it() -> None:
    with _start("train", "--help") as process:
        bits = 1 << (signal.SIGUSR1 - 1) | 1 << (signal.SIGUSR2 - 1)
        deadline = time.monotonic() + 30
        while _caught_signals(process.pid) & bits != bits and time.monotonic() < deadline:
            assert process.poll() is None, "no handler was there when the imports ended"
            time.sleep(0.002)
        assert "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text()
        process.send_signal(signal.SIGUSR2)
        process.send_signal(signal.SIGUSR1)
        text, _ = process.communicate(timeout=60)
    assert process.returncode == 1  # of absl's --help
    assert "--root_dir" in text


def _caught_signals(pid: int) -> int:
    """The mask of the signals for which a process has a handler."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("SigCgt:")[2].split()[0], 16)


def _error(*args: object, **settings: str) -> str:
    """The last line of a training that ends with status 1."""
    status, _, err = _run("train", *args, "--nostore_snapshot", **settings)
    assert status == 1, err
    assert "Traceback" not in err
    assert _last_line(err).startswith("error: "), err
    return _last_line(err)


def test_wrong_config_name_is_named_with_its_line(tmp_path, conf):
    conf.write_text(_CONF + "alf.config('TrainerConfig', num_itertions=3)\n")
    line = _CONF.count("\n") + 1
    error = _error("--root_dir", tmp_path / "run", "--conf", conf)
    assert f"{conf}:{line}: " in error
    assert "num_itertions" in error
    assert "num_iterations" in error
    log = (tmp_path / "run" / "py_train.INFO").read_text()
    assert "Traceback" in log


def test_missing_conf_files_are_named(tmp_path):
    error = _error("--root_dir", tmp_path / "run", "--conf", tmp_path / "none_conf.py")
    assert str(tmp_path / "none_conf.py") in error
    assert "name the conf file with --conf" in _error("--root_dir", tmp_path / "run")


def test_nan_reward_ends_the_run_and_keeps_its_checkpoints(tmp_path, conf):
    root = tmp_path / "run"
    assert _run("train", "--root_dir", root, "--conf", conf, "--nostore_snapshot")[0] == 0
    before = _checkpoints(root)
    error = _error(
        *("--root_dir", root, "--conf_param", "TrainerConfig.num_iterations=50"),
        *("--conf_param", "reward_at_3=torch.nan"),
    )
    assert "nan" in error
    assert "reward" in error
    assert _checkpoints(root) == before


def test_an_action_that_is_not_finite_is_named(tmp_path, conf):
    wild = """
class Wild(SacAlgorithm):
    def rollout_step(self, inputs, state):
        step = super().rollout_step(inputs, state)
        return step._replace(output=step.output * float("nan"))


alf.config("TrainerConfig", algorithm_ctor=Wild)
"""
    conf.write_text(_CONF + wild)
    error = _error("--root_dir", tmp_path / "run", "--conf", conf)
    assert "rollout at iteration 1: action of instance 0 is not finite" in error


def test_root_dir_that_cannot_be_written_is_named(tmp_path, conf):
    (tmp_path / "file").write_text("")
    error = _error("--root_dir", tmp_path / "file" / "run", "--conf", conf)
    assert f"--root_dir={tmp_path}/file/run cannot be written to" in error


def test_flags_that_are_not_supported_say_what_is(tmp_path, conf):
    arguments = ("--root_dir", tmp_path / "run", "--conf", conf)
    assert "--conf_param" in _error(*arguments, "--gin_param", "a=1")
    assert "there is no GPU here" in _error(*arguments, "--distributed", "multi-gpu")


@pytest.mark.parametrize("length", [5, 5_000, 50_000])
def test_an_error_fits_a_screen(length):
    message = "error: " + "word " * length
    lines = _program.on_one_screen(message).splitlines()
    assert lines[0].startswith("error: word")
    assert len(lines) <= 24
    assert max(map(len, lines)) < 300
    if length == 5:
        assert lines == [message.rstrip()]


def test_the_commands_of_a_run_can_be_pasted(tmp_path, conf):
    root = tmp_path / "it's a run"
    status, _, err = _run("train", "--root_dir", root, "--conf", conf, "--nostore_snapshot")
    assert status == 0, err
    (play,) = [line for line in err.splitlines() if "alf.bin.play" in line]
    assert shlex.split(play)[-2:] == ["--root_dir", str(root)]
