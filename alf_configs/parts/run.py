"""The trainer's settings that all runs share, and hierarchies as its algorithm."""

from collections.abc import Callable, Sequence
from typing import Any

import alf
from alf_layered import HierarchyAgent, ObservationMap, select, skill, subgoal

WHERE_IN_CELL = ObservationMap(lambda seen: seen["observation"] % 1.0)
"""Position in a cell of a maze, but not which cell: the same in every maze."""


def run(algorithm_ctor: Callable, **settings: Any) -> None:
    """Trains an algorithm; `settings` are of `TrainerConfig`, instead of those here."""
    alf.config(
        "TrainerConfig",
        algorithm_ctor=algorithm_ctor,
        unroll_length=4,
        mini_batch_length=2,
        whole_replay_buffer_training=False,
        clear_replay_buffer=False,
        num_checkpoints=5,
        confirm_checkpoint_upon_crash=False,
        summary_interval=100,
        random_seed=0,
    )
    if settings:
        alf.config("TrainerConfig", **settings)


def run_hierarchy(
    *levels: Callable,
    joints: Sequence[Any] | None = None,
    observation_maps: Sequence[Any] | None = None,
    **settings: Any,
) -> None:
    """Trains a hierarchy of levels, most abstract first; see `HierarchyAgent` and `run`."""
    alf.config(
        "HierarchyAgent", levels=list(levels), joints=joints, observation_maps=observation_maps
    )
    run(HierarchyAgent, **settings)


def run_subgoals(upper: Callable, lower: Callable, **settings: Any) -> None:
    """Trains a level that chooses subgoals in the U-maze over one that reaches them."""
    joint = subgoal("achieved_goal", minimum=1.0, maximum=4.0)
    maps = [select("observation", "desired_goal"), select("observation")]
    run_hierarchy(upper, lower, joints=[joint], observation_maps=maps, **settings)


def run_skills(
    planner: Callable, skills: Callable, observed: ObservationMap = select("observation")
) -> None:
    """Trains a level that plans in a maze over one with skills, which see `observed`."""
    maps = [select("achieved_goal", "desired_goal"), observed]
    run_hierarchy(planner, skills, joints=[skill(2)], observation_maps=maps)
