"""Joints and observation maps are checked when the hierarchy is made."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import HierarchyAgent, ObservationMap, RandomLevel, option, select, skill, subgoal
from alf_layered.hierarchy.observation_maps import bind_map

OBSERVATION = {
    "observation": TensorSpec((4,)),
    "achieved_goal": BoundedTensorSpec((2,), minimum=0.0, maximum=5.0),
}
ACTION = BoundedTensorSpec((3,), minimum=-1.0, maximum=1.0)


def test_joints_are_resolved_against_the_observation() -> None:
    agent = HierarchyAgent(
        OBSERVATION,
        ACTION,
        levels=[RandomLevel, RandomLevel, RandomLevel],
        joints=[subgoal("achieved_goal"), skill(2)],
    )
    top, middle, bottom = agent.levels
    assert top.action_spec == middle.input_spec == OBSERVATION["achieved_goal"]
    assert middle.action_spec == bottom.input_spec == skill(2)
    assert bottom.action_spec == ACTION
    assert top.input_spec == ()


def test_a_level_that_declares_its_input_makes_the_joint() -> None:
    agent = HierarchyAgent(
        OBSERVATION, ACTION, levels=[RandomLevel, partial(RandomLevel, input_spec=option(3))]
    )
    assert agent.levels[0].action_spec == option(3)


def test_a_joint_that_does_not_match_names_both_levels_and_both_specs() -> None:
    with pytest.raises(ValueError, match=r"'boss' and level 'worker'.*shape=\(2,\).*shape=\(3,\)"):
        HierarchyAgent(
            OBSERVATION,
            ACTION,
            levels=[
                partial(RandomLevel, name="boss"),
                partial(RandomLevel, name="worker", input_spec=skill(3)),
            ],
            joints=[skill(2)],
        )


def test_the_number_of_joints_is_checked() -> None:
    with pytest.raises(ValueError, match=r"2 joints for 2 levels.*each of the 1 pairs"):
        HierarchyAgent(OBSERVATION, ACTION, levels=[RandomLevel] * 2, joints=[skill(1)] * 2)
    with pytest.raises(ValueError, match=r"levels \[1\] declare no input_spec"):
        HierarchyAgent(OBSERVATION, ACTION, levels=[RandomLevel] * 2)
    with pytest.raises(ValueError, match="at least one level"):
        HierarchyAgent(OBSERVATION, ACTION, levels=[])


def test_subgoals_need_bounds_and_an_existing_field() -> None:
    with pytest.raises(ValueError, match="no bounds"):
        subgoal("observation")(OBSERVATION)
    assert subgoal("observation", minimum=-1, maximum=1)(OBSERVATION).shape == (4,)
    with pytest.raises(ValueError, match=r"no field 'goal'.*\['achieved_goal', 'observation'\]"):
        subgoal("goal")(OBSERVATION)


def test_a_random_level_needs_bounds() -> None:
    with pytest.raises(ValueError, match="finite bounds"):
        HierarchyAgent(OBSERVATION, TensorSpec((2,)), levels=[RandomLevel])


@pytest.mark.parametrize("spec", [-2, (-2,), None, TensorSpec((3,))])
def test_an_observation_map_may_give_its_size_in_several_ways(spec: object) -> None:
    bound = bind_map(ObservationMap(lambda o: o[..., 2:], spec), TensorSpec((5,)))
    assert tuple(bound.spec.shape) == (3,)
    assert bound(torch.arange(5.0)[None]).tolist() == [[2, 3, 4]]


def test_an_observation_map_with_a_wrong_size_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"returned .*3.* but its spec says .*4"):
        bind_map(ObservationMap(lambda o: o[..., 2:], -1), TensorSpec((5,)))
    with pytest.raises(ValueError, match="must be negative"):
        bind_map(ObservationMap(lambda o: o, 2), TensorSpec((5,)))


def test_select_keeps_fields_and_their_bounds() -> None:
    one = bind_map(select("achieved_goal"), OBSERVATION)
    assert one.spec == OBSERVATION["achieved_goal"]
    both = bind_map(select("achieved_goal", "observation"), OBSERVATION)
    assert set(both.spec) == {"achieved_goal", "observation"}
    with pytest.raises(ValueError, match="no field 'position'"):
        bind_map(select("position"), OBSERVATION)


def test_each_level_sees_what_its_map_shows() -> None:
    agent = HierarchyAgent(
        OBSERVATION,
        ACTION,
        levels=[RandomLevel, RandomLevel],
        joints=[skill(2)],
        observation_maps=[select("achieved_goal"), None],
    )
    assert agent.levels[0].observation_spec.observation == OBSERVATION["achieved_goal"]
    assert set(agent.levels[1].observation_spec.observation) == set(OBSERVATION)
