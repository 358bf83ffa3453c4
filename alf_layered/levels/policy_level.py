"""A level whose decisions come from a policy that exists already."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import alf
from alf.data_structures import AlgStep, TimeStep
from alf.tensor_specs import TensorSpec
from alf_layered.allowed import AT_LEAST_1, checked
from alf_layered.hierarchy.level import Level, LevelObservation

Nest = Any


@alf.configurable
@checked(control_interval=AT_LEAST_1)
class PolicyLevel(Level):
    """Decides as a given policy does; learns and stores nothing.

    Args:
        policy: a function or module, called with the observation as the level's map shows it, `[B,
            ...]`, and with the input as second argument where the level has one; returns the
            decisions `[B, ...]`. Or the path of a TorchScript module of such a kind. A module is
            put into evaluation mode; no optimizer sees its parameters.
        control_interval: see `Level`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the policy is neither callable nor a path.
    """

    def __init__(
        self,
        observation_spec: Nest,
        action_spec: Nest,
        input_spec: Nest = (),
        reward_spec: TensorSpec = TensorSpec(()),
        *,
        policy: Callable[..., Any] | str | Path,
        control_interval: int | None = None,
        config: Any = None,
        debug_summaries: bool = False,
        name: str = "PolicyLevel",
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
        # Not as a submodule: no optimizer shall see it, and checkpoints need not hold it.
        self._policy = (_as_policy(policy, level=name),)

    @torch.no_grad()
    def rollout_step(self, inputs: TimeStep, state: Nest) -> AlgStep:
        seen: LevelObservation = inputs.observation
        arguments = [seen.observation, *([] if seen.input == () else [seen.input])]
        decision = self._policy[0](*arguments)
        return AlgStep(output=self._as_declared(decision), state=state)

    def _as_declared(self, decision: Nest) -> Nest:
        """Real numbers and integers of the width that `action_spec` says."""
        return alf.nest.map_structure(
            lambda spec, x: torch.as_tensor(x).to(spec.dtype), self.action_spec, decision
        )


def _as_policy(policy: Any, *, level: str) -> Callable[..., Any]:
    if isinstance(policy, (str, Path)):
        if not Path(policy).is_file():
            raise FileNotFoundError(f"policy of level {level!r}: there is no file {policy}")
        policy = torch.jit.load(str(policy), map_location=torch.empty(0).device)
    if isinstance(policy, torch.nn.Module):
        policy.eval()
    return policy
