"""A level's record holds the state from which the level decided, where its algorithm needs it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from alf.algorithms.config import TrainerConfig
from alf.data_structures import AlgStep, Experience, TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import HierarchyAgent, Level, TrainingOptions
from tests.scripted import reset_where_first, time_step

ACTION = BoundedTensorSpec((1,), minimum=-100.0, maximum=100.0)


class Counting(Level):
    """Decides how many decisions its state has counted since its state was new."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        count = TensorSpec((1,))
        super().__init__(*args, train_state_spec=count, rollout_state_spec=count, **kwargs)

    def rollout_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        return AlgStep(output=state, state=state + 1.0, info={"count": state})


def _stored(monkeypatch: pytest.MonkeyPatch, *, use_rollout_state: bool, **options: Any) -> Any:
    """What the two levels store of an episode of 5 steps: a list of records for each level."""
    config = TrainerConfig(root_dir="", use_rollout_state=use_rollout_state)
    training = TrainingOptions(replay_buffer_length=8)
    agent = HierarchyAgent(
        TensorSpec((1,)),
        ACTION,
        levels=[
            partial(Counting, name="upper", training=training),
            partial(Counting, name="lower", control_interval=2, training=training),
        ],
        joints=[ACTION],
        config=config,
        **options,
    )
    stored: dict[str, list[Experience]] = {"upper": [], "lower": []}
    monkeypatch.setattr(
        Level, "observe_for_replay", lambda level, exp: stored[level.name].append(exp)
    )
    initial = agent.get_initial_rollout_state(1)
    state = initial
    for kind in (0, 1, 1, 1, 2):
        step = time_step([kind], [1.0], [1.0], [[0.0]])
        step = step._replace(prev_action=torch.zeros(1, 1))
        result = agent.rollout_step(step, reset_where_first(step, state, initial))
        agent.observe_for_replay(Experience(time_step=step, rollout_info=result.info))
        state = result.state
    return stored


@pytest.mark.parametrize(
    ("options", "lower"),
    [
        # decisions 0, 1 for the first input, its LAST step, then anew
        ({}, [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]),
        ({"joint_end": "continue"}, [0.0, 1.0, 2.0, 3.0, 4.0]),
    ],
)
def test_a_record_holds_the_state_before_its_decision(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], lower: list[float]
) -> None:
    stored = _stored(monkeypatch, use_rollout_state=True, **options)
    assert [float(exp.state) for exp in stored["upper"]] == [0.0, 1.0, 2.0]
    assert [float(exp.state) for exp in stored["lower"]] == lower
    for exp in [*stored["upper"], *stored["lower"]]:
        assert torch.equal(exp.state, exp.rollout_info["count"])


def test_without_use_rollout_state_no_state_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = _stored(monkeypatch, use_rollout_state=False)
    assert [exp.state for exp in [*stored["upper"], *stored["lower"]]] == [()] * 9
