"""Makes the levels of a hierarchy from their constructors, and checks that they fit together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from alf.algorithms.config import TrainerConfig
from alf.tensor_specs import TensorSpec
from alf_layered.hierarchy.constructors import called_by, check_constructor
from alf_layered.hierarchy.joints import Joint, check_joint, resolve_joints
from alf_layered.hierarchy.level import Level, LevelCtor
from alf_layered.hierarchy.observation_maps import bind_map

Nest = Any


def check_levels(constructors: Any) -> None:
    """Raises where `levels` is not a list of constructors."""
    if not isinstance(constructors, (list, tuple)):
        raise TypeError(
            f"levels is {constructors!r}, it must be a list of constructors, most abstract first"
        )
    for i, ctor in enumerate(constructors):
        check_constructor(ctor, f"levels[{i}]")
        made = called_by(ctor)
        if isinstance(made, type) and not issubclass(made, Level):
            raise TypeError(
                f"levels[{i}] is {made.__name__}, which is no Level; an algorithm is given as "
                f"functools.partial(AlgorithmLevel, algorithm_ctor={made.__name__})"
            )


def build_levels(
    constructors: Sequence[LevelCtor],
    *,
    observation_specs: Sequence[Nest],
    joints: Sequence[Nest],
    action_spec: Nest,
    reward_spec: TensorSpec,
    config: TrainerConfig | None,
    debug_summaries: bool,
    discounts_time: bool = True,
) -> list[Level]:
    """The levels, most abstract first, each checked against its neighbours.

    Args:
        constructors: called with the specs, `config` and `debug_summaries`, and with `above`, the
            level above, where their `Level.sees_above`.
        observation_specs: what each level sees.
        joints: what passes between neighbours.
        action_spec: what the last level decides, the environment's action.
        discounts_time: whether a decision is discounted by its environment steps.
    """
    inputs, actions = [(), *joints], [*joints, action_spec]
    levels: list[Level] = []
    for i, ctor in enumerate(constructors):
        wanted = {"input_spec": inputs[i], "action_spec": actions[i]}
        free = {key: spec for key, spec in wanted.items() if _declared(ctor, key) is None}
        if getattr(called_by(ctor), "sees_above", False):
            if not levels:
                raise ValueError(
                    "the first level asks for the level above it, but it is the top one"
                )
            free["above"] = levels[-1]
        if getattr(called_by(ctor), "asks_for_steps_below", False):
            free["steps_below"] = _steps_of(constructors[i + 1 :]) if discounts_time else 1
        level = ctor(
            observation_spec=observation_specs[i],
            reward_spec=reward_spec,
            config=config,
            debug_summaries=debug_summaries,
            **free,
        )
        if not isinstance(level, Level):
            raise TypeError(f"levels[{i}] made a {type(level).__name__}, it must be a Level")
        if i == 0 and level.control_interval is not None:
            raise ValueError(
                f"level {level.name!r} has control_interval={level.control_interval}, but it is "
                "the top level, which has nothing to return control to; leave it out"
            )
        upper = levels[-1].name if levels else "(nothing above)"
        check_joint(upper, inputs[i], level.name, level.input_spec)
        lower = f"level {i + 1}" if i + 1 < len(constructors) else "the environment"
        check_joint(level.name, level.action_spec, lower, actions[i])
        levels.append(level)
    return levels


def joint_specs(
    joints: Sequence[Joint] | None, constructors: Sequence[LevelCtor], observation_spec: Nest
) -> list[Nest]:
    """The spec of what passes between each pair of neighbours."""
    declared = [_declared(ctor, "input_spec") for ctor in constructors]
    return resolve_joints(joints, declared, observation_spec)


def _steps_of(constructors: Sequence[LevelCtor]) -> int:
    """Environment steps for which levels keep control, 1 if they do not say."""
    intervals = [_declared(ctor, "control_interval") for ctor in constructors]
    known = [k for k in intervals if isinstance(k, int)]
    return math.prod(known) if len(known) == len(intervals) else 1


def _declared(ctor: LevelCtor, argument: str) -> Nest | None:
    """The value that a constructor made by `functools.partial` has for an argument, or None."""
    return getattr(ctor, "keywords", {}).get(argument)


def bind_maps(maps: Sequence[Any] | None, count: int, observation_spec: Nest) -> list[Any]:
    """For each level the function from the environment's observation to what the level sees."""
    if count == 0:
        raise ValueError("levels is empty, a hierarchy has at least one level")
    maps = [None] * count if maps is None else maps
    if len(maps) != count:
        raise ValueError(
            f"{len(maps)} observation_maps for {count} levels, give one (or None) for each"
        )
    return [bind_map(m, observation_spec) for m in maps]
