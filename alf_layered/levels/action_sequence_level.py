"""A level that plays a list of actions."""

from __future__ import annotations

from typing import Any, Literal

import torch

import alf
from alf.data_structures import AlgStep, TimeStep
from alf.tensor_specs import TensorSpec
from alf_layered.allowed import AT_LEAST_1, checked
from alf_layered.hierarchy.level import Level
from alf_layered.levels.fixed_actions import as_actions

Nest = Any


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
