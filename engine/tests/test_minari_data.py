"""Minari data sets as offline data: their records, what learns from them, and what does not fit."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from minari_sets import leave_data_set

from alf.algorithms.bc_algorithm import BcAlgorithm
from alf.algorithms.config import TrainerConfig
from alf.data_structures import StepType, TimeStep
from alf.nest.utils import NestConcat
from alf.networks import ActorDistributionNetwork
from alf.optimizers import Adam
from alf.summary import summary_ops as summary
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

pytest.importorskip("minari")
FIRST, MID, LAST = (int(t) for t in (StepType.FIRST, StepType.MID, StepType.LAST))
OBSERVATION = {"position": TensorSpec((1,)), "time": TensorSpec((1,))}
ACTION = BoundedTensorSpec((1,), minimum=-1.0, maximum=1.0)


@pytest.fixture(autouse=True)
def _counter() -> Iterator[None]:
    summary.reset_global_counter()
    yield
    summary.reset_global_counter()


def _clone(
    path: str, observation: Any = OBSERVATION, action: Any = ACTION, **config: Any
) -> BcAlgorithm:
    settings = {"mini_batch_length": 2, "mini_batch_size": 64, "num_updates_per_train_iter": 20}
    algorithm = BcAlgorithm(
        observation,
        action,
        actor_network_cls=partial(
            ActorDistributionNetwork, preprocessing_combiner=NestConcat(), fc_layer_params=(32,)
        ),
        actor_optimizer=Adam(lr=1e-2),
        config=TrainerConfig(
            root_dir="unused",
            offline_buffer_dir=path,
            rl_train_after_update_steps=1000,
            whole_replay_buffer_training=False,
            clear_replay_buffer=False,
            **{**settings, **config},
        ),
    )
    algorithm.load_offline_replay_buffer(observation)
    return algorithm


def _always(action: float) -> Any:
    return lambda observation: np.array([action], dtype=np.float32)


def test_an_episode_is_a_first_step_and_one_for_each_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = leave_data_set(tmp_path, monkeypatch, 2, _always(-0.5))
    records = _clone(path)._offline_replay_buffer.gather_all()[0]
    steps = records.time_step
    assert steps.step_type[0].tolist() == [FIRST, MID, MID, MID, LAST] * 2
    assert steps.observation["time"][0, :, 0].tolist() == [0, 1, 2, 3, 4] * 2
    assert steps.discount[0].tolist() == [1.0] * 10  # truncated, not terminated
    position = steps.observation["position"][0, :, 0]
    torch.testing.assert_close(position[1:5] - position[:4], torch.full((4,), -0.125))
    torch.testing.assert_close(steps.reward[0, 1:5], -position[1:5].abs())
    assert steps.reward[0, [0, 5]].tolist() == [0, 0]
    assert steps.prev_action[0, :5, 0].tolist() == [0, -0.5, -0.5, -0.5, -0.5]
    assert records.action.dtype is torch.float32


def test_a_terminated_episode_ends_with_discount_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = leave_data_set(tmp_path, monkeypatch, 6, _always(1.0))
    steps = _clone(path)._offline_replay_buffer.gather_all()[0].time_step
    last = steps.step_type == LAST
    beyond = steps.observation["position"][..., 0] > 1
    assert bool(beyond.any())
    assert not bool(beyond[last].all())
    assert torch.equal(steps.discount == 0, last & beyond)


def test_the_newest_records_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = leave_data_set(tmp_path, monkeypatch, 3)
    everything = _clone(path)._offline_replay_buffer.gather_all()[0].observation["position"]
    newest = _clone(path, offline_buffer_length=7)._offline_replay_buffer.gather_all()[0]
    assert torch.equal(newest.observation["position"], everything[:, -7:])


def test_a_clone_learns_the_policy_of_a_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error is 0.1 at most; that of an action at random is 0.6 in the mean."""
    torch.manual_seed(0)
    algorithm = _clone(leave_data_set(tmp_path, monkeypatch, 100))
    for _ in range(20):
        algorithm.train_iter()
    position = torch.linspace(-0.9, 0.9, 19).unsqueeze(1)
    step = TimeStep(
        step_type=torch.full((19,), MID, dtype=torch.int32),
        observation={"position": position, "time": torch.ones(19, 1)},
    )
    with torch.no_grad():
        action = algorithm.predict_step(step, algorithm.get_initial_predict_state(19)).output
    assert float((action + position).abs().mean()) < 0.1


@pytest.mark.parametrize(
    ("observation", "action", "words"),
    [
        ({**OBSERVATION, "speed": TensorSpec((1,))}, ACTION, "observations have no speed"),
        (
            {**OBSERVATION, "time": TensorSpec((2,))},
            ACTION,
            r"observations\.time are float64 \[1\]",
        ),
        (
            OBSERVATION,
            BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0),
            r"actions are float32 \[1\]",
        ),
    ],
)
def test_a_data_set_of_another_environment_is_refused_with_what_differs(
    observation: Any,
    action: Any,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = leave_data_set(tmp_path, monkeypatch, 1)
    with pytest.raises(ValueError, match=words):
        _clone(path, observation, action)


def test_a_data_set_that_is_not_there_is_named_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="minari download D4RL/door/human-v2"):
        _clone("minari:D4RL/door/human-v2")


def test_without_minari_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(ImportError, match=r"pip install 'minari\[hdf5\]"):
        _clone("minari:test/steer-v0")
