"""An ALF environment of B instances in one object: its time steps and its automatic resets.

Each instance lives by ALF's rule: the step after a LAST one ignores its action and is the FIRST of
the next episode. A subclass only has to start and advance its instances.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import alf
from alf.data_structures import StepType, TimeStep, time_step_spec
from alf.environments.alf_environment import AlfEnvironment
from alf.nest.nest import map_structure
from alf.tensor_specs import BoundedTensorSpec, TensorSpec


class Outcome(NamedTuple):
    """What one step brought for B instances; rows that restart hold a new episode's beginning."""

    observation: Any
    """nest of [B, ...]; where an episode ends, its true last observation"""
    reward: Tensor
    """[B] float32"""
    terminated: Tensor
    """[B] bool"""
    truncated: Tensor
    """[B] bool"""
    env_info: dict[str, Tensor]
    """values [B] float32"""


class BatchedEnvironment(AlfEnvironment):
    """What all batched, tensor-based environments share; see the module's text."""

    def __init__(
        self,
        *,
        batch_size: int,
        observation_spec: Any,
        action_spec: Any,
        env_info_keys: tuple[str, ...],
        env_id: int | None = None,
        discount: float = 1.0,
        device: torch.device | str | None = None,
        action_limits: Any = None,
    ) -> None:
        """
        Args:
            batch_size: number of instances, B.
            observation_spec: nest of specs without the batch dimension.
            action_spec: likewise.
            env_info_keys: the entries of `env_info`, each a number per instance.
            env_id: which one this is of several equally large batched environments; the instances
                are numbered from `env_id * batch_size`.
            discount: discount of every step but a terminal one.
            device: where the tensors live; None is torch's default device.
            action_limits: nest of `Limits` to which actions are clipped, for what a spec cannot
                say (a bound on one side alone); None: the bounds of `action_spec`.
        """
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self._batch_size = batch_size
        self._observation_spec = observation_spec
        self._action_spec = action_spec
        self._env_info_spec = {key: TensorSpec(()) for key in env_info_keys}
        self._discount = discount
        # The default device is asked for by making a tensor: torch 2.2 has no function for it.
        self._device = torch.empty(0).device if device is None else torch.device(device)
        first_id = batch_size * (env_id or 0)
        self._env_id = torch.arange(
            first_id, first_id + batch_size, dtype=torch.int32, device=self._device
        )
        self._first = torch.full_like(self._env_id, int(StepType.FIRST))
        self._mid = torch.full_like(self._env_id, int(StepType.MID))
        self._last = torch.full_like(self._env_id, int(StepType.LAST))
        self._current: TimeStep | None = None
        self._ended = torch.zeros(batch_size, dtype=torch.bool, device=self._device)
        if action_limits is None:
            action_limits = map_structure(self._limits_of, action_spec)
        self._limits = action_limits

    # ------------------------------------------------------------------- for the subclass

    @abc.abstractmethod
    def _begin(self) -> Any:
        """Starts new episodes in all instances; returns their first observations."""

    @abc.abstractmethod
    def _advance(self, action: Any, restart: Tensor) -> Outcome:
        """One step; the instances with `restart` `[B]` begin a new episode and ignore `action`.

        Continuous actions are clipped to their bounds already, unless they are not finite.
        """

    # -------------------------------------------------------------------------- time steps

    def reset(self) -> TimeStep:
        """Begins new episodes everywhere."""
        self._current = self._reset()
        return self._current

    def step(self, action: Any) -> TimeStep:
        """One step of each instance; `action` is a nest of [B, ...].

        Continuous actions are clipped to their bounds; `prev_action` is what was executed.
        """
        if self._current is None:
            return self.reset()
        self._current = self._step(action)
        return self._current

    def current_time_step(self) -> TimeStep:
        """What the last `reset` or `step` returned."""
        return self.reset() if self._current is None else self._current

    def _reset(self) -> TimeStep:
        observation = self._begin()
        self._ended = torch.zeros_like(self._ended)
        zeros = torch.zeros(self._batch_size, device=self._device)
        # Clones, so that what a caller does to one field in place does not show in another one.
        return TimeStep(
            step_type=self._first.clone(),
            reward=zeros.clone(),
            discount=torch.ones_like(zeros),
            observation=observation,
            prev_action=map_structure(
                lambda spec: torch.zeros(
                    (self._batch_size, *spec.shape), dtype=spec.dtype, device=self._device
                ),
                self._action_spec,
            ),
            env_id=self._env_id,
            env_info={key: zeros.clone() for key in self._env_info_spec},
        )

    def _step(self, action: Any) -> TimeStep:
        restart = self._ended
        action = map_structure(_clipped, action, self._limits)
        outcome = self._advance(action, restart)
        stays = ~restart
        terminated = outcome.terminated & stays
        ended = (outcome.truncated & stays) | terminated
        self._ended = ended
        step_type = torch.where(ended, self._last, self._mid)
        return TimeStep(
            step_type=torch.where(restart, self._first, step_type),
            reward=_zero_rows(outcome.reward, restart),
            discount=self._discount_of(terminated, restart),
            observation=outcome.observation,
            prev_action=map_structure(lambda a: _zero_rows(a, restart), action),
            env_id=self._env_id,
            env_info={
                key: _zero_rows(outcome.env_info[key], restart) for key in self._env_info_spec
            },
        )

    def _limits_of(self, spec: TensorSpec) -> Limits:
        if not isinstance(spec, BoundedTensorSpec) or spec.is_discrete:
            return Limits(None, None)
        ends = (np.broadcast_to(end, spec.shape) for end in (spec.minimum, spec.maximum))
        low, high = (torch.tensor(end, dtype=spec.dtype, device=self._device) for end in ends)
        return Limits(low, high)

    def _discount_of(self, terminated: Tensor, restart: Tensor) -> Tensor:
        discount = (~terminated).to(torch.float32)
        if self._discount != 1.0:
            discount = torch.where(restart, discount, discount * self._discount)
        return discount

    # ------------------------------------------------------------------------------- state

    # A subclass whose state is all known adds it, and so lets the engine's trainer go on in the
    # middle of episodes; without `state_dict` of its own it begins new ones.

    def _running_state(self) -> dict[str, Any]:
        """The present time step and which instances begin anew at the next one."""
        leaves = () if self._current is None else tuple(alf.nest.flatten(self._current))
        return {"time_step": leaves, "ended": self._ended}

    def _set_running_state(self, state: Mapping[str, Any]) -> None:
        """Undo of `_running_state`.

        Raises:
            ValueError: the state is that of another number of instances.
        """
        if state["ended"].shape != self._ended.shape:
            raise ValueError(
                f"the state is that of {len(state['ended'])} instances, this environment has "
                f"{self._batch_size}"
            )
        self._ended = state["ended"].to(self._device)
        self._current = None
        if len(state["time_step"]) > 0:
            spec = self.time_step_spec()._replace(env_info=self._env_info_spec)
            leaves = [x.to(self._device) for x in state["time_step"]]
            self._current = alf.nest.pack_sequence_as(spec, leaves)

    # ------------------------------------------------------------------------------- specs

    @property
    def is_tensor_based(self) -> bool:
        return True

    @property
    def batched(self) -> bool:
        return True

    @property
    def batch_size(self) -> int:
        return self._batch_size

    def observation_spec(self) -> Any:
        return self._observation_spec

    def action_spec(self) -> Any:
        return self._action_spec

    def reward_spec(self) -> TensorSpec:
        return TensorSpec(())

    def env_info_spec(self) -> dict[str, TensorSpec]:
        return self._env_info_spec

    def time_step_spec(self) -> TimeStep:
        return time_step_spec(self._observation_spec, self._action_spec, self.reward_spec())

    def get_info(self) -> dict[str, Tensor]:
        return self.current_time_step().env_info

    def close(self) -> None:
        """Nothing is held that has to be given back."""


class Limits:
    """Bounds of an action, tensors of its shape; None without any."""

    def __init__(self, low: Tensor | None, high: Tensor | None) -> None:
        self.low, self.high = low, high


def _clipped(action: Tensor, limits: Limits) -> Tensor:
    """`action` inside its bounds; what is not finite stays, to be refused."""
    if limits.low is None or limits.high is None or action.shape[1:] != limits.low.shape:
        return action
    inside = torch.minimum(torch.maximum(action, limits.low), limits.high)
    return torch.where(action.isinf(), action, inside)


def _zero_rows(value: Tensor, rows: Tensor) -> Tensor:
    """`value` with zeros in the rows chosen; NaN does not survive there, unlike with a product."""
    return torch.where(rows.view(-1, *[1] * (value.dim() - 1)), torch.zeros_like(value), value)
