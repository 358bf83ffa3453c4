"""Levels that learn nothing: random decisions, one decision, a list of decisions."""

from __future__ import annotations

from typing import Any, Literal

import torch

import alf
from alf.data_structures import AlgStep, TimeStep
from alf.tensor_specs import TensorSpec
from alf_layered.allowed import AT_LEAST_1, checked
from alf_layered.hierarchy.level import Level
from alf_layered.levels.fixed_actions import as_actions, check_bounded, uniform_actions

Nest = Any


@alf.configurable
@checked(control_interval=AT_LEAST_1)
class RandomLevel(Level):
    """Draws each decision uniformly from the (bounded) action spec; ignores its input."""

    def __init__(
        self,
        observation_spec: Nest,
        action_spec: Nest,
        input_spec: Nest = (),
        reward_spec: TensorSpec = TensorSpec(()),
        *,
        control_interval: int | None = None,
        config: Any = None,
        debug_summaries: bool = False,
        name: str = "RandomLevel",
    ) -> None:
        check_bounded(action_spec, level=name)
        super().__init__(
            observation_spec,
            action_spec,
            input_spec,
            reward_spec,
            control_interval=control_interval,
            config=config,
            debug_summaries=debug_summaries,
            name=name,
        )

    def rollout_step(self, inputs: TimeStep, state: Nest) -> AlgStep:
        action = uniform_actions(self.action_spec, len(inputs.step_type))
        return AlgStep(output=action, state=state)


@alf.configurable
@checked(control_interval=AT_LEAST_1)
class ConstantLevel(Level):
    """Repeats one action, of the shape of a single environment's decision, Box or discrete."""

    _action: torch.Tensor

    def __init__(
        self,
        observation_spec: Nest,
        action_spec: TensorSpec,
        input_spec: Nest = (),
        reward_spec: TensorSpec = TensorSpec(()),
        *,
        action: Any,
        control_interval: int | None = None,
        config: Any = None,
        debug_summaries: bool = False,
        name: str = "ConstantLevel",
    ) -> None:
        super().__init__(
            observation_spec,
            action_spec,
            input_spec,
            reward_spec,
            control_interval=control_interval,
            config=config,
            debug_summaries=debug_summaries,
            name=name,
        )
        self.register_buffer("_action", as_actions(action, action_spec, level=name))

    def rollout_step(self, inputs: TimeStep, state: Nest) -> AlgStep:
        batch_size = inputs.step_type.shape[0]
        action = self._action
        return AlgStep(output=action.expand(batch_size, *action.shape), state=state)


@alf.configurable
@checked(control_interval=AT_LEAST_1, repeat=AT_LEAST_1)
class ActionSequenceLevel(Level):
    """Plays `action_sequence` from its beginning in every episode of the level.

    Args:
        action_sequence: `[T, ...]`, T >= 1 actions, Box or discrete.
        repeat: decisions for which each action is held.
        at_end: after the last action, "hold" it or "loop" to the first.
    """

    _actions: torch.Tensor

    def __init__(
        self,
        observation_spec: Nest,
        action_spec: TensorSpec,
        input_spec: Nest = (),
        reward_spec: TensorSpec = TensorSpec(()),
        *,
        action_sequence: Any,
        repeat: int = 1,
        at_end: Literal["hold", "loop"] = "hold",
        control_interval: int | None = None,
        config: Any = None,
        debug_summaries: bool = False,
        name: str = "ActionSequenceLevel",
    ) -> None:
        actions = as_actions(action_sequence, action_spec, level=name, leading=1)
        if actions.shape[0] == 0:
            raise ValueError(f"action_sequence of level {name!r} is empty, give at least 1 action")
        if repeat < 1:
            raise ValueError(f"repeat of level {name!r} is {repeat}, it must be at least 1")
        if at_end not in ("hold", "loop"):
            raise ValueError(f"at_end of level {name!r} is {at_end!r}, not 'hold' or 'loop'")
        super().__init__(
            observation_spec,
            action_spec,
            input_spec,
            reward_spec,
            control_interval=control_interval,
            rollout_state_spec=TensorSpec((), dtype=torch.int64),
            config=config,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._repeat = repeat
        self._loops = at_end == "loop"
        self.register_buffer("_actions", actions)

    def rollout_step(self, inputs: TimeStep, state: torch.Tensor) -> AlgStep:
        """`state`: `[B]`, decisions made in this episode of the level."""
        actions = self._actions
        index = state // self._repeat
        last = actions.shape[0] - 1
        index = index % (last + 1) if self._loops else index.clamp(max=last)
        return AlgStep(output=actions[index], state=state + 1)
