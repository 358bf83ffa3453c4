"""Evaluation in a process of its own: its results, its errors, and training as it is without it."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_train_program import _CONF

import alf
from alf.algorithms.config import TrainerConfig
from alf.summary import summary_ops as summary
from alf.trainers.evaluator import EvaluationError, Evaluator
from alf.trainers.policy_trainer import RLTrainer
from alf.utils.rng_state import get_rng_state

_BROKEN_IN_EVALUATION = """
_spawned = alf.utils.spawned_process_utils.get_spawned_process_context()
if _spawned is not None:
    Point.step = lambda self, action: 1 / 0
"""


@pytest.fixture(autouse=True)
def _clean():
    yield
    alf.close_env()
    alf.reset_configs()
    torch.use_deterministic_algorithms(False)


def _trainer(tmp_path, name: str, text: str = "", **settings) -> RLTrainer:
    alf.close_env()
    alf.reset_configs()
    conf = tmp_path / f"{name}_conf.py"
    conf.write_text(f"{_CONF}alf.config('TrainerConfig', async_eval=True)\n{text}")
    params = [f"TrainerConfig.{key}={value!r}" for key, value in settings.items()]
    alf.parse_config(str(conf), params)
    return RLTrainer(TrainerConfig(root_dir=str(tmp_path / name), conf_file=str(conf)))


def _state(trainer: RLTrainer) -> dict:
    rng = get_rng_state()
    rng["numpy"] = rng["numpy"][1:]  # without its name
    return {**trainer._algorithm.state_dict(), **rng}


def test_training_is_bit_identical_with_and_without_it(tmp_path, capfd):
    with_it = _trainer(tmp_path, "with")
    with_it.train()
    assert "evaluation  return 4.00  length 5.00  success 1.00" in capfd.readouterr().err
    expected = _state(with_it)
    without = _trainer(tmp_path, "without", evaluate=False)
    without.train()
    torch.testing.assert_close(_state(without), expected, rtol=0, atol=0)
    events = EventAccumulator(str(tmp_path / "with" / "eval"))
    events.Reload()
    values = [(e.step, e.value) for e in events.Scalars("Metrics/AverageReturn")]
    assert values == [(0, 4.0), (6, 4.0), (12, 4.0)]
    steps = [e.step for e in events.Scalars("Metrics_vs_EnvironmentSteps/AverageReturn")]
    assert steps == sorted(set(steps))


def test_an_error_of_the_evaluation_ends_the_training_with_its_traceback(tmp_path):
    trainer = _trainer(tmp_path, "broken", _BROKEN_IN_EVALUATION)
    with pytest.raises(EvaluationError, match=r"Traceback(.|\n)*ZeroDivisionError"):
        trainer.train()
    assert not trainer._evaluator._process._process.is_alive()


def test_a_killed_evaluation_process_is_noticed(tmp_path):
    trainer = _trainer(tmp_path, "killed", evaluate=False)
    summary.set_global_counter(0)
    evaluator = Evaluator(trainer._config, trainer._config.conf_file)
    evaluator.eval(trainer._algorithm, {})
    os.kill(evaluator._process._process.pid, signal.SIGKILL)
    with pytest.raises(EvaluationError, match="died with exit status -9"):
        evaluator.wait()
    evaluator.close()
    trainer._close()
