"""Training, stopping, continuing and evaluating, with SAC on an environment of a few numbers."""

from __future__ import annotations

import errno
import functools
import os
import pdb
import random
import signal
import sys
from unittest import mock

import gymnasium
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import alf
from alf import _early_signals
from alf.algorithms.config import TrainerConfig
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.data_structures import StepType
from alf.environments.utils import create_environment
from alf.experience_replayers.replay_buffer import ReplayBuffer
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.critic_networks import CriticNetwork
from alf.optimizers import Adam
from alf.summary import summary_ops as summary
from alf.trainers import _checkpoint_schedule, _console
from alf.trainers._checkpoint_schedule import (
    CheckpointSchedule,
    EvaluationSchedule,
    TrainerProgress,
)
from alf.trainers.evaluator import evaluate
from alf.trainers.policy_trainer import RLTrainer, SLTrainer, Trainer
from alf.utils.rng_state import get_rng_state

_EPISODE_LENGTH = 5
_NAME = "TrainerTestPoint-v0"


class _Point(gymnasium.Env):
    """A point on a line; a success where it ends above 0. Episodes have 5 steps."""

    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    on_step = staticmethod(lambda total_steps: None)
    total_steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = float(self.np_random.uniform(-1, 1))
        self.time = 0
        return self._observation(), {}

    def step(self, action):
        type(self).total_steps += 1
        self.on_step(type(self).total_steps)
        self.time += 1
        self.position += float(action[0])
        ended = self.time == _EPISODE_LENGTH
        info = {"is_success": float(ended and self.position > 0)}
        return self._observation(), -abs(self.position), False, ended, info

    def _observation(self):
        return np.array([self.position, self.time], np.float32)


@pytest.fixture(autouse=True)
def _registered():
    gymnasium.register(_NAME, _Point)
    _Point.total_steps = 0
    yield
    _Point.on_step = staticmethod(lambda total_steps: None)
    gymnasium.registry.pop(_NAME)
    alf.close_env()
    alf.reset_configs()
    torch.use_deterministic_algorithms(False)


def _trainer(
    root_dir, num_iterations: int, save_replay_buffer: bool = True, **settings
) -> RLTrainer:
    alf.close_env()
    alf.reset_configs()
    alf.config("create_environment", env_name=_NAME, num_parallel_environments=2)
    alf.config("ReplayBuffer", enable_checkpoint=save_replay_buffer)
    settings = {
        "random_seed": 7,
        "num_checkpoints": 1,
        "num_eval_episodes": 3,
        "eval_interval": 1,
        **settings,
    }
    alf.config("TrainerConfig", **settings)
    config = TrainerConfig(
        root_dir=str(root_dir),
        algorithm_ctor=functools.partial(
            SacAlgorithm,
            actor_network_cls=functools.partial(ActorDistributionNetwork, fc_layer_params=(4,)),
            critic_network_cls=functools.partial(CriticNetwork, joint_fc_layer_params=(4,)),
            actor_optimizer=Adam(lr=1e-2),
            critic_optimizer=Adam(lr=1e-2),
            alpha_optimizer=Adam(lr=1e-2),
        ),
        num_iterations=num_iterations,
        unroll_length=1,
        initial_collect_steps=6,
        mini_batch_length=2,
        mini_batch_size=4,
        num_updates_per_train_iter=1,
        whole_replay_buffer_training=False,
        clear_replay_buffer=False,
        replay_buffer_length=50,
        summary_interval=5,
    )
    return RLTrainer(config)


def _state(trainer: Trainer) -> dict:
    return {
        "algorithm": _copied(trainer._algorithm.state_dict()),
        "metrics": [metric.state_dict() for metric in trainer._metrics()],
        "progress": _copied(trainer._progress.state_dict()),
    }


def _copied(state: dict) -> dict:
    return {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in state.items()}


def _assert_same(actual, expected) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)


def _draw() -> list[float]:
    normal = np.random.normal()  # noqa: NPY002
    return [random.random(), normal, torch.rand(()).item()]


def _checkpoints(root_dir) -> list[int]:
    names = os.listdir(root_dir / "train" / "algorithm")
    return sorted(int(name[5:]) for name in names if name[5:].isdigit())


def test_a_run_leaves_the_documented_files(tmp_path):
    trainer = _trainer(tmp_path, 8, num_checkpoints=2, evaluate=True)
    trainer.train()
    assert _checkpoints(tmp_path) == [4, 8]
    assert {"ckpt-8", "ckpt-8-optimizer", "ckpt-8-replay_buffer", "ckpt-structure.json"} <= set(
        os.listdir(tmp_path / "train" / "algorithm")
    )
    for folder in ("train", "eval"):
        assert any("tfevents" in name for name in os.listdir(tmp_path / folder))
    assert (Trainer.progress(), Trainer.current_iterations()) == (1.0, 8)
    assert trainer.stop_signal is None


def test_a_run_leaves_its_setting_as_texts(tmp_path):
    code = tmp_path / "code.py"
    code.write_text("answer = 42\n")
    _trainer(tmp_path, 8, code_snapshots=[str(code)]).train()
    events = EventAccumulator(str(tmp_path / "train"))
    events.Reload()
    texts = {
        tag.removesuffix("/text_summary"): events.Tensors(tag)[0].tensor_proto.string_val[0]
        for tag in events.Tags()["tensors"]
    }
    assert texts["seed"] == b"7"
    assert "commandline" in texts
    assert b"answer = 42" in texts[f"code/{code}"]
    # Made in the first iteration that trains.
    assert b"ReplayBuffer.max_length = 50" not in texts["config/inoperative_config"]
    assert b"ReplayBuffer.enable_checkpoint = True" in texts["config/operative_config"]
    assert b'"lr": 0.01' in texts["optimizers"]
    assert b"target_critic" in texts["unoptimized_parameters"]


def test_continuing_restores_everything(tmp_path):
    first = _trainer(tmp_path, 10)
    first.train()
    second = _trainer(tmp_path, 20)
    second._restore_checkpoint()
    expected = _state(first)
    # The environment starts anew, so the episodes that were going on end in the buffer.
    expected["algorithm"]["_replay_buffer._buffer/time_step/step_type"][:, 9] = StepType.LAST
    _assert_same(_state(second), expected)
    assert summary.get_global_counter() == 10
    content = torch.load(tmp_path / "train/algorithm/ckpt-10", weights_only=True)
    _assert_same(get_rng_state()["torch"], content["rng"]["torch"])


def test_continuing_counts_on(tmp_path):
    _trainer(tmp_path, 10).train()
    trainer = _trainer(tmp_path, 20)
    trainer.train()
    # Every sixth step of an environment resets it and counts for nothing.
    assert trainer._progress.iter_num == 20
    assert 30 <= trainer._progress.env_steps <= 36
    assert _checkpoints(tmp_path) == [10, 20]
    buffers = [m for m in trainer._algorithm.modules() if isinstance(m, ReplayBuffer)]
    assert [buffer.total_size for buffer in buffers] == [2 * 20]


def test_experience_of_untrained_parameters_does_not_stay(tmp_path):
    _trainer(tmp_path, 10, save_replay_buffer=False).train()
    trainer = _trainer(tmp_path, 20, save_replay_buffer=False)
    trainer._restore_checkpoint()
    buffers = [m for m in trainer._algorithm.modules() if isinstance(m, ReplayBuffer)]
    assert [buffer.total_size for buffer in buffers] == [0]


def test_complete_training_says_so_and_changes_nothing(tmp_path, capfd):
    _trainer(tmp_path, 3).train()
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "train/algorithm").iterdir()}
    _trainer(tmp_path, 3).train()
    assert "the training is complete (3 iterations" in capfd.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "train/algorithm").iterdir()} == before


def test_checkpoint_of_another_network_is_refused_with_its_reason(tmp_path):
    _trainer(tmp_path, 3).train()
    content = torch.load(tmp_path / "train/algorithm/ckpt-3", weights_only=True)
    content["algorithm"]["_other.weight"] = torch.zeros(1)
    torch.save(content, tmp_path / "train/algorithm/ckpt-3")
    with pytest.raises(ValueError, match=r"written with other settings .*_other\.weight"):
        _trainer(tmp_path, 5).train()


def test_evaluation_leaves_training_bit_identical(tmp_path):
    states = []
    for evaluate_it in (False, True):
        trainer = _trainer(tmp_path / str(evaluate_it), 12, evaluate=evaluate_it)
        trainer.train()
        states.append((_state(trainer), _draw()))
    _assert_same(states[1], states[0])


def test_evaluation_counts_the_first_episodes_of_each_environment(tmp_path):
    trainer = _trainer(tmp_path, 1)
    env = create_environment(for_evaluation=True, seed=3)
    results = {m.name: m.result() for m in evaluate(env, trainer._algorithm, 3)}
    assert results["AverageEpisodeLength"] == _EPISODE_LENGTH
    assert 0 <= results["AverageEnvInfo"]["is_success"] <= 1
    again = {m.name: m for m in evaluate(env, trainer._algorithm, 3)}
    assert len(again["AverageReturn"]._buffers_list[0]) == 4
    trainer._close()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_leaves_a_checkpoint(tmp_path, signum, capfd):
    trainer = _trainer(tmp_path, 1000)
    before = signal.getsignal(signum)
    _Point.on_step = staticmethod(lambda n: n == 20 and os.kill(os.getpid(), signum))
    trainer.train()
    assert trainer.stop_signal == signum
    assert _checkpoints(tmp_path) == [trainer._progress.iter_num]
    assert trainer._progress.iter_num < 15
    assert f"stopped by signal {int(signum)}" in capfd.readouterr().err
    assert signal.getsignal(signum) is before


def _stopped_in_pdb(tmp_path, monkeypatch, is_terminal: bool) -> list[str]:
    """Names of the functions in which the debugger stops in a run that gets SIGUSR1."""
    frames: list[str] = []
    monkeypatch.setattr(
        pdb.Pdb, "set_trace", lambda self, frame: frames.append(frame.f_code.co_name)
    )
    monkeypatch.setattr(sys, "stdin", mock.Mock(isatty=lambda: is_terminal))
    _Point.on_step = staticmethod(lambda n: n == 6 and os.kill(os.getpid(), signal.SIGUSR1))
    trainer = _trainer(tmp_path, 12)
    trainer.train()
    assert trainer._progress.iter_num == 12
    return frames


def test_the_debugger_is_entered_in_the_training_loop(tmp_path, monkeypatch):
    assert _stopped_in_pdb(tmp_path, monkeypatch, is_terminal=True) == ["_train"]


def test_a_run_without_terminal_goes_on_when_the_debugger_is_asked_for(
    tmp_path, monkeypatch, caplog
):
    assert _stopped_in_pdb(tmp_path, monkeypatch, is_terminal=False) == []
    assert caplog.text.count("SIGUSR1 asks for the debugger") == 1


def test_sigusr2_writes_a_checkpoint_and_goes_on(tmp_path):
    trainer = _trainer(tmp_path, 20)
    _Point.on_step = staticmethod(lambda n: n == 20 and os.kill(os.getpid(), signal.SIGUSR2))
    trainer.train()
    first, last = _checkpoints(tmp_path)
    assert first < 15
    assert last == 20


def test_a_crash_changes_no_checkpoint(tmp_path):
    _trainer(tmp_path, 3).train()
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "train/algorithm").iterdir()}

    def crash(total_steps):
        raise ValueError("the simulator has failed")

    trainer = _trainer(tmp_path, 30)
    _Point.on_step = staticmethod(crash)
    with pytest.raises(ValueError, match="the simulator has failed"):
        trainer.train()
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "train/algorithm").iterdir()} == before


def test_asynchronous_evaluation_falls_back(tmp_path):
    trainer = _trainer(tmp_path, 2, evaluate=True, async_eval=True)
    trainer.train()
    assert next(m.name for m in trainer._last_evaluation) == "AverageReturn"


def test_a_training_needs_an_algorithm(tmp_path):
    config = TrainerConfig(root_dir=str(tmp_path))
    with pytest.raises(ValueError, match="algorithm_ctor is None"):
        RLTrainer(config)


class _Regression(torch.nn.Module):
    """Counts its epochs."""

    def __init__(self, config):
        super().__init__()
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))
        self.evaluations = []

    def train_iter(self):
        self.epochs += 1
        summary.increment_global_counter()
        return 1

    def evaluate(self):
        self.evaluations.append(int(self.epochs))

    def get_optimizer_info(self):
        return "[]"

    def get_unoptimized_parameter_info(self):
        return ""


def test_supervised_training_counts_epochs(tmp_path):
    def train(num_iterations):
        config = TrainerConfig(
            root_dir=str(tmp_path),
            algorithm_ctor=_Regression,
            num_iterations=num_iterations,
            evaluate=True,
            eval_interval=2,
        )
        trainer = SLTrainer(config)
        trainer.train()
        return trainer._algorithm

    assert train(3).evaluations == [0, 2, 3]
    algorithm = train(5)
    assert (int(algorithm.epochs), algorithm.evaluations) == (5, [4, 5])


def test_so_many_evaluations_come_however_the_counter_counts(tmp_path):
    config = TrainerConfig(
        root_dir=str(tmp_path),
        algorithm_ctor=_Regression,
        num_iterations=20,
        evaluate=True,
        num_evals=10,
        update_counter_every_mini_batch=True,
        num_updates_per_train_iter=10,
    )
    trainer = SLTrainer(config)
    trainer.train()
    assert trainer._algorithm.evaluations == list(range(0, 21, 2))


def test_evaluations_are_spread_over_environment_steps_whatever_an_iteration_takes():
    progress = TrainerProgress(num_env_steps=100)
    progress.update(5, 26)
    schedule = EvaluationSchedule(progress, 10, num_evals=4)
    schedule.start_here()
    due = []
    for i, steps in enumerate([27, 48, 50, 51, 90, 99, 100], 6):
        progress.update(i, steps)
        if schedule.has_come():
            due.append(steps)
    assert due == [50, 90, 100]


def _schedule(monkeypatch, minutes: str, num_checkpoints: int = 2):
    monkeypatch.setenv("ALF_CHECKPOINT_MINUTES", minutes)
    progress = TrainerProgress(num_iterations=100)
    return progress, CheckpointSchedule(progress, num_checkpoints)


def test_lasting_checkpoints_come_at_every_interval(monkeypatch):
    progress, schedule = _schedule(monkeypatch, "0", num_checkpoints=3)
    due = []
    for i in range(1, 101):
        progress.update(i, 0)
        if schedule.is_due():
            schedule.saved(0.0)
            due.append(i)
    assert due == [34, 68]


def test_temporary_checkpoints_come_after_their_time(monkeypatch):
    progress, schedule = _schedule(monkeypatch, "1e-9")
    progress.update(1, 0)
    assert schedule.is_due()
    assert schedule.is_temporary()
    schedule.saved(seconds=1000.0)
    assert not schedule.is_due()


def test_a_failed_save_is_tried_again_after_a_while(monkeypatch):
    progress, schedule = _schedule(monkeypatch, "0", num_checkpoints=100)
    progress.update(1, 0)
    assert schedule.is_due()
    schedule.failed()
    assert not schedule.is_due()
    monkeypatch.setattr(_checkpoint_schedule.time, "monotonic", lambda: float("inf"))
    assert schedule.is_due()


@pytest.mark.parametrize("text", ["soon", "-1", "nan"])
def test_wrong_checkpoint_minutes_are_named(monkeypatch, text):
    with pytest.raises(ValueError, match=f"ALF_CHECKPOINT_MINUTES is '{text}'"):
        _schedule(monkeypatch, text)


def test_durations_for_people():
    spans = [_console.duration(s) for s in (59.4, 185, 7620)]
    assert spans == ["59 s", "3 min 05 s", "2 h 07 min"]


def test_progress_lines_name_steps_and_time_left(monkeypatch, capfd):
    monkeypatch.setattr(_console, "_SECONDS_BETWEEN_LINES", 0.0)
    with _console.ProgressReport([], progress=0.0, env_steps=0) as report:
        report.update(iteration=3, env_steps=1500, progress=0.5)
    text = capfd.readouterr().err
    assert "50 %  1,500 steps" in text
    assert "iteration 3" in text
    assert "left" in text


def test_the_best_evaluation_keeps_its_checkpoint(tmp_path, capfd):
    metric = "-AverageEpisodeLength"  # equal every time: the first evaluation is the best
    trainer = _trainer(tmp_path, 12, evaluate=True, eval_interval=4, best_checkpoint_metric=metric)
    trainer.train()
    steps = trainer._checkpointer.steps()
    assert steps[0] == trainer._keeper.best.step < steps[-1]
    assert len(steps) == 3
    text = capfd.readouterr().err
    assert f"best checkpoint so far: ckpt-{steps[0]}, {metric} = 5" in text


def test_stops_leave_no_more_checkpoints_than_belong(tmp_path):
    for end in (8, 16, 24):
        _Point.total_steps = 0
        _Point.on_step = staticmethod(
            lambda n, end=end: n == end and os.kill(os.getpid(), signal.SIGTERM)
        )
        trainer = _trainer(tmp_path, 100, evaluate=False)
        trainer.train()
        assert trainer.stop_signal == signal.SIGTERM
    assert len(trainer._checkpointer.steps()) == 2


def test_a_full_disk_does_not_end_the_training(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(_checkpoint_schedule, "_SECONDS_BETWEEN_TRIES", 0.0)
    trainer = _trainer(tmp_path, 20, num_checkpoints=5, evaluate=False)
    save, calls = trainer._checkpointer.save, []

    def save_or_fail(step):
        calls.append(step)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "ckpt-x cannot be written: the disk is full")
        save(step)

    monkeypatch.setattr(trainer._checkpointer, "save", save_or_fail)
    trainer.train()
    assert "ckpt-x cannot be written: the disk is full; training goes on" in caplog.text
    assert len(trainer._checkpointer.steps()) >= 5
    assert trainer._progress.iter_num == 20


def test_a_full_disk_at_the_end_is_an_error(tmp_path, monkeypatch):
    trainer = _trainer(tmp_path, 3, evaluate=False)
    full = OSError(errno.ENOSPC, "ckpt-x cannot be written: the disk is full")
    monkeypatch.setattr(trainer._checkpointer, "save", mock.Mock(side_effect=full))
    with pytest.raises(OSError, match="the disk is full"):
        trainer.train()


def test_a_checkpoint_asked_for_during_the_imports_is_written(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(_early_signals, "received", {signal.SIGUSR2})
    _trainer(tmp_path, 3, evaluate=False).train()
    assert "written as asked by SIGUSR2" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["_restore_checkpoint", "_start"])
@pytest.mark.parametrize("signum", [signal.SIGUSR2, signal.SIGTERM])
def test_signals_before_the_loop_are_requests(tmp_path, name, signum, capfd):
    trainer = _trainer(tmp_path, 3, evaluate=False)
    original = getattr(trainer, name)

    def with_signal():
        original()
        os.kill(os.getpid(), signum)

    setattr(trainer, name, with_signal)
    trainer.train()
    text = capfd.readouterr().err
    if signum == signal.SIGTERM:
        assert trainer.stop_signal == signal.SIGTERM
        assert "stopped by signal 15" in text
    else:
        assert trainer._progress.iter_num == 3
        assert "written as asked by SIGUSR2" in text
