"""A level that decides at random."""

from __future__ import annotations

from typing import Any

import alf
from alf.data_structures import AlgStep, TimeStep
from alf.tensor_specs import TensorSpec
from alf_layered.allowed import AT_LEAST_1, checked
from alf_layered.hierarchy.level import Level
from alf_layered.levels.fixed_actions import check_bounded, uniform_actions

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
