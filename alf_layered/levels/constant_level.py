"""A level that always decides the same."""

from __future__ import annotations

from typing import Any

import torch

import alf
from alf.data_structures import AlgStep, TimeStep
from alf.tensor_specs import TensorSpec
from alf_layered.allowed import AT_LEAST_1, checked
from alf_layered.hierarchy.level import Level
from alf_layered.levels.fixed_actions import as_actions

Nest = Any


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
