"""Unrolling in another process: what arrives, how parameters go there, and how it ends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_conf import write_conf
from tiny_rl import CountingEnv, TinyOffPolicy, TinyOnPolicy, make_config

import alf
from alf.algorithms.config import TrainerConfig
from alf.data_structures import StepType
from alf.summary import summary_ops as summary
from alf.trainers.policy_trainer import RLTrainer

_ASYNC = "alf.config('TrainerConfig', async_unroll=True, unroll_parameter_update_period=1)\n"


@pytest.fixture(autouse=True)
def _fresh_process_state() -> Iterator[None]:
    alf.reset_configs()
    yield
    alf.close_env()
    alf.reset_configs()
    summary.reset_global_counter()
    torch.use_deterministic_algorithms(False)


def make_trainer(tmp_path: Path, more: str = "", **presets: Any) -> RLTrainer:
    conf = str(write_conf(tmp_path, _ASYNC + more))
    alf.parse_config(conf, [f"{name}={value!r}" for name, value in presets.items()])
    return RLTrainer(TrainerConfig(root_dir=str(tmp_path / "run"), conf_file=conf))


def processes(trainer: RLTrainer) -> Any:
    return trainer._algorithm._unroller._source._process


def test_the_steps_of_another_process_are_those_of_an_unroll(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    trainer.train()
    alg = trainer._algorithm
    records = alg._replay_buffer.gather_all()[0]
    steps = (torch.arange(24) % 6).tolist()
    assert records.observation[..., 1].tolist() == [steps] * 4
    last = [step == 5 for step in steps]
    assert (records.step_type == StepType.LAST).tolist() == [last] * 4
    # the reward is the action before
    inner = ~records.is_first()[:, 1:]
    before = records.action[:, :-1, 0].clamp(-1, 1)
    torch.testing.assert_close(records.reward[:, 1:][inner], before[inner])
    assert alg.get_step_metrics()[1].result() == 4 * 20
    assert processes(trainer).exitcode == 0


_TOLD = """
import torch


class Told(SacAlgorithm):
    "Its action is a number of its state."

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register_buffer("told", torch.tensor(0.25))

    def rollout_step(self, inputs, state):
        step = super().rollout_step(inputs, state)
        return step._replace(output=torch.full_like(step.output, float(self.told)))


alf.config("TrainerConfig", algorithm_ctor=Told)
"""


def test_the_other_process_acts_with_the_parameters_it_was_given(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, _TOLD)
    alg = trainer._algorithm
    alg.told.fill_(0.5)
    assert alg.unroll(3).action.unique().tolist() == [0.5]
    source = alg._unroller._source
    alg.told.fill_(-0.5)
    source.update_parameter(alg)
    actions = [r.policy_step.output for r in source.gather_unroll_results(300, 0)]
    assert torch.stack(actions).unique().tolist() == [-0.5, 0.5]
    assert actions[-1].unique().tolist() == [-0.5]
    alg.told.fill_(0.75)
    source.restart(alg)
    (result,) = source.gather_unroll_results(1, 0)
    assert result.time_step.is_first().all()
    assert result.policy_step.output.unique().tolist() == [0.75]
    trainer._close()


def test_without_a_length_an_unroll_takes_what_is_there(tmp_path: Path) -> None:
    more = "alf.config('TrainerConfig', unroll_length=0, max_unroll_length=3)\n"
    trainer = make_trainer(tmp_path, more + "alf.config('TrainerConfig', unroll_queue_size=5)\n")
    alg = trainer._algorithm
    # nothing can be trained yet, so it waits for the first step
    first = alg.unroll(0)
    assert 1 <= first.step_type.shape[0] <= 3
    source = alg._unroller._source
    deadline = time.monotonic() + 60
    while source.get_queue_size() < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(source.gather_unroll_results(0, 3)) == 3
    trainer._close()


def test_a_failure_comes_with_its_traceback(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, fails_at=7)
    with pytest.raises(RuntimeError, match=r"process has failed:(.|\n)*simulator has failed"):
        trainer.train()
    assert processes(trainer).exitcode is not None


def test_a_process_that_is_gone_is_noticed(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    alg = trainer._algorithm
    alg._unroll(1, False)
    os.kill(processes(trainer).pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="ended with exit code -9"):
        alg._unroller._source.gather_unroll_results(10_000, 0)
    trainer._close()


def test_a_run_continues_with_the_loaded_parameters(tmp_path: Path) -> None:
    make_trainer(tmp_path).train()
    alf.close_env()
    alf.reset_configs()
    trainer = make_trainer(tmp_path, **{"TrainerConfig.num_iterations": 14})
    trainer.train()
    records = trainer._algorithm._replay_buffer.gather_all()[0]
    assert records.step_type.shape == (4, 28)
    # what was unrolled before the checkpoint was loaded has not come
    assert records.observation[:, 24:, 1].tolist() == [[0, 1, 2, 3]] * 4


def test_an_on_policy_algorithm_is_refused() -> None:
    config = make_config(async_unroll=True, conf_file="some_conf.py")
    alg = TinyOnPolicy(env=CountingEnv(), config=config)
    with pytest.raises(ValueError, match="on-policy"):
        alg.train_iter()


def test_the_conf_file_is_needed() -> None:
    alg = TinyOffPolicy(env=CountingEnv(), config=make_config(async_unroll=True))
    with pytest.raises(ValueError, match="needs a conf file"):
        alg.train_iter()
