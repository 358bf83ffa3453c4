"""Time steps, experiences and named tuples with defaults."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest
import torch

from alf.data_structures import (
    AlgStep,
    BasicRolloutInfo,
    Experience,
    LossInfo,
    StepType,
    TimeStep,
    add_batch_info,
    clear_batch_info,
    elastic_namedtuple,
    make_experience,
    namedtuple,
    restart,
    termination,
    time_step_spec,
    transition,
)
from alf.nest import nest
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import spec_utils
from alf.utils.pretty_print import PrettyPrinter, pformat_pycolor

Sample = namedtuple("Sample", ["a", "b"], default_values={"b": 7})

ACTION_SPEC = BoundedTensorSpec((2,), minimum=-1)


def test_named_tuples_have_defaults_and_pickle() -> None:
    assert Sample() == (None, 7)
    assert namedtuple("X", "a b", default_value=())(1) == (1, ())
    assert namedtuple("X", "a b", default_values=(1, 2))() == (1, 2)
    assert pickle.loads(pickle.dumps(Sample(1))) == Sample(1, 7)
    with pytest.raises(ValueError, match="no fields"):
        namedtuple("X", "a", default_values={"c": 1})
    assert namedtuple("X", "a b c", default_values=(7, 8))(1) == (1, 8, None)
    assert namedtuple("X", "a b", default_values=(1,))() == (1, None)
    with pytest.raises(ValueError, match="3 default values"):
        namedtuple("X", "a b", default_values=(1, 2, 3))


def test_records_start_empty() -> None:
    assert nest.flatten((AlgStep(), LossInfo(), TimeStep(), Experience())) == []


def test_restart_is_a_first_step_with_nothing_before_it() -> None:
    step = restart({"x": torch.zeros(3, 4)}, ACTION_SPEC, batched=True)
    assert step.is_first().tolist() == [True] * 3
    assert step.reward.tolist() == [0.0] * 3
    assert step.discount.tolist() == [1.0] * 3
    assert step.prev_action.tolist() == [[0.0, 0.0]] * 3
    assert step.env_id.tolist() == [0, 1, 2]
    assert step.env_id.dtype == step.step_type.dtype == torch.int32


def test_time_steps_of_arrays_are_arrays_and_fit_their_spec() -> None:
    observation_spec = TensorSpec((4,))
    spec = time_step_spec(observation_spec, ACTION_SPEC, TensorSpec(()))
    observation = np.zeros(4, np.float32)
    action = np.ones(2, np.float32)
    steps = [
        restart(observation, ACTION_SPEC),
        transition(observation, action, 2.0),
        termination(observation, action, 3.0),
    ]
    for step in steps:
        assert all(isinstance(x, (np.ndarray, np.generic)) for x in nest.flatten(step))
        tensors = nest.map_structure(torch.as_tensor, step)._replace(env_info=())
        assert spec_utils.consistent_with_spec(tensors, spec)
    assert [float(s.discount) for s in steps] == [1.0, 1.0, 0.0]
    assert [int(s.step_type) for s in steps] == [0, 1, 2]
    assert [float(s.reward) for s in steps] == [0.0, 2.0, 3.0]


def test_the_rank_of_the_reward_says_whether_a_step_is_batched() -> None:
    spec = TensorSpec((2,))
    single = transition(torch.zeros(4), torch.zeros(2), torch.ones(2), spec)
    batch = transition(torch.zeros(3, 4), torch.zeros(3, 2), torch.ones(3, 2), spec, discount=0.5)
    assert single.step_type.shape == ()
    assert batch.discount.tolist() == [0.5] * 3
    assert batch.is_mid().tolist() == [True] * 3
    with pytest.raises(ValueError, match="reward has shape"):
        transition(torch.zeros(4), torch.zeros(2), torch.ones(3), spec)


def test_an_experience_shows_its_time_step() -> None:
    step = restart(torch.arange(3.0), ACTION_SPEC, batched=True)
    experience = make_experience(step, AlgStep("action", "new state", "info"), "state")
    assert experience.action == "action"
    assert experience.rollout_info == "info"
    assert experience.state == "state"
    assert experience.observation is step.observation
    assert experience.env_id is step.env_id
    assert experience.prev_action is step.prev_action
    assert bool(experience.is_first().all())
    assert not bool(experience.is_last().any())


def test_batch_information_comes_and_goes() -> None:
    experience = Experience(action=1)
    with_info = add_batch_info(experience, "batch", "buffer")
    assert (with_info.batch_info, with_info.replay_buffer) == ("batch", "buffer")
    assert with_info.rollout_info_field == "rollout_info"
    assert clear_batch_info(with_info) == experience


def test_step_types_compare_with_tensors() -> None:
    step = TimeStep(step_type=torch.tensor([0, 1, 2], dtype=torch.int32))
    assert step.is_first().tolist() == [True, False, False]
    assert step.is_last().tolist() == [False, False, True]
    assert (StepType.FIRST, StepType.MID, StepType.LAST) == (0, 1, 2)
    assert StepType(2) is StepType.LAST
    with pytest.raises(ValueError, match="3 is not a valid StepType"):
        StepType(3)


def test_fields_of_the_time_step_are_read_and_replaced_from_the_experience() -> None:
    step = TimeStep(reward=torch.ones(1), env_info={"a": torch.zeros(1)})
    old = Experience(time_step=step)
    assert old.get_time_step_field("env_info.a") is step.env_info["a"]
    new = old.update_time_step_field("env_info.a", 5).update_time_step_field("reward", 3)
    assert (new.reward, new.env_info) == (3, {"a": 5})
    assert torch.equal(old.reward, torch.ones(1))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="batch size 3"):
        transition(torch.zeros(2, 1), torch.ones(2, 1), torch.zeros(3))
    with pytest.raises(TypeError, match="Tensor, not a TensorSpec"):
        time_step_spec(torch.zeros(3), ACTION_SPEC, TensorSpec(()))
    assert add_batch_info(Experience(), None).batch_info == ()


def test_elastic_tuples_of_one_shape_have_one_type() -> None:
    make = elastic_namedtuple("Info", ["x", "y"])
    assert make is elastic_namedtuple("Info", ("x", "y"))
    first = make(x=1, y=2)
    second = pickle.loads(pickle.dumps(first))
    assert type(first) is type(second)
    assert first == second
    assert nest.map_structure(lambda v: v + 1, first).y == 3
    assert (make().x, make(1).other) == ((), ())
    assert BasicRolloutInfo(rl=1).nothing == ()
    assert not hasattr(first, "__array__")
    assert copy.deepcopy(first) == first


def test_pretty_printing_names_the_fields() -> None:
    record = {"step": Sample(a=list(range(30)), b=Sample("x" * 70, "y" * 20)), "n": 1}
    colours = re.compile(r"\x1b\[[0-9;]*m")
    assert colours.sub("", pformat_pycolor(Sample(1, 2))) == "Sample(a=1, b=2)"
    printed = PrettyPrinter().pformat(record)
    assert "Sample(a=[0,\n" in printed
    assert "b=Sample(a='" + "x" * 70 in printed
    assert max(map(len, printed.splitlines())) < 120
