"""Which two records of a level are a transition, and what a record shows of how it was reached.

A level stores a record at each of its decisions: the time step that ended the decision before, and
the new decision. The one definition of a transition is here; predictors, skill levels, TD-MPC2 and
goals ask it. What learners of ALF take for a transition, all but what follows LAST, is the same,
because `LevelReplayBuffer` ends an episode that was reset from outside.

Axis letters: B spans, T records.
"""

from __future__ import annotations

from typing import Any

import torch

import alf
from alf.data_structures import StepType, TimeStep
from alf_layered.hierarchy.rows import as_mask, where_rows

Nest = Any

_REACHED = "reached"


def is_transition(step_type: torch.Tensor, *, time_axis: int = 1) -> torch.Tensor:
    """Where record t + 1 is what the decision at record t led to: bool, T - 1 long in time.

    Not after LAST, and not before FIRST: an episode that was reset from outside has no LAST.

    Args:
        step_type: `[B, T]` of consecutive records of one environment each.
        time_axis: the axis of T; 0 for `[T, B]`.
    """
    count = step_type.shape[time_axis] - 1
    before = step_type.narrow(time_axis, 0, count) != int(StepType.LAST)
    after = step_type.narrow(time_axis, 1, count) != int(StepType.FIRST)
    return before & after


def is_outcome(step_type: torch.Tensor) -> torch.Tensor:
    """Which records some decision led to, even where that one is not in the span: all but FIRST."""
    return step_type != int(StepType.FIRST)


def reached(step: TimeStep) -> Nest:
    """The `LevelObservation` at the end of the decision before, with the inputs that held until
    then.

    `step.observation` is what the next decision is made with. The two differ only where an input
    changed within an episode of the level (`joint_end="continue"`).
    """
    held = step.env_info.get(_REACHED) if isinstance(step.env_info, dict) else None
    if held is None:
        return step.observation
    observation = step.observation._replace(input=held["input"])
    if "above" in held:
        above = observation.above._replace(input=held["above"])
        observation = observation._replace(above=above)
    return observation


def with_reached(step: TimeStep, observation: Nest) -> TimeStep:
    """The time step, remembering that it was reached with the inputs of `observation`.

    Costs a record the size of its input, and that of the level above where the level sees it. A
    FIRST step was not reached: it remembers the inputs that it begins with.
    """
    held = where_rows(step.is_first(), _inputs(step.observation), _inputs(observation))
    return step._replace(env_info={**step.env_info, _REACHED: held})


def with_input(step: TimeStep, given: torch.Tensor, rows: torch.Tensor) -> TimeStep:
    """The time step, had `given` been the input all along where `rows`.

    Args:
        step: `[*L, ...]`.
        given: `[*L, *input]`.
        rows: `[*L]`, bool.
    """

    def swapped(held: torch.Tensor) -> torch.Tensor:
        return torch.where(as_mask(rows, held), given, held)

    observation, env_info = step.observation, step.env_info
    if isinstance(env_info, dict) and _REACHED in env_info:
        held = env_info[_REACHED]
        env_info = {**env_info, _REACHED: {**held, "input": swapped(held["input"])}}
    observation = observation._replace(input=swapped(observation.input))
    return step._replace(observation=observation, env_info=env_info)


def _inputs(observation: Nest) -> dict[str, Nest]:
    inputs = {"input": observation.input}
    if observation.above != () and alf.nest.flatten(observation.above.input):
        inputs["above"] = observation.above.input
    return inputs
