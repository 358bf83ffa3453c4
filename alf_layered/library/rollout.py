"""The present episodes of a hierarchy: what each environment's next time step begins with.

ALF calls an algorithm once for each time step, which holds the reward of the step before. A Python
loop knows the observation first (`act`) and reward and flags later (`arrive`). What arrived waits
here until the next observation is acted on; the last step of an episode is made at once where the
environment's next observation is already one of the next episode.

Axis letters: M all environments, B those of a call.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import alf
from alf.data_structures import Experience, StepType, TimeStep
from alf_layered.hierarchy.agent import HierarchyAgent
from alf_layered.hierarchy.rows import where_rows

Nest = Any


class Rollout:
    """Episodes of M environments, all to begin with the next observation.

    Args:
        agent: the hierarchy.
        num_envs: M.
        learns: whether rollouts explore and are stored; otherwise the agent predicts.
        device: of the tensors.
    """

    def __init__(
        self, agent: HierarchyAgent, num_envs: int, *, learns: bool, device: torch.device
    ) -> None:
        self._agent, self._num_envs, self._learns = agent, num_envs, learns
        self._device = device
        make = agent.get_initial_rollout_state if learns else agent.get_initial_predict_state
        self.state: Nest = make(num_envs)
        self._initial = make(1)
        self._step_type = torch.full(
            (num_envs,), int(StepType.FIRST), dtype=torch.int32, device=device
        )
        self._reward = torch.zeros((num_envs, *agent.environment_reward_spec.shape), device=device)
        self._discount = torch.ones(num_envs, device=device)
        self._prev_action: Nest = alf.nest.map_structure(
            lambda spec: torch.zeros((num_envs, *spec.shape), dtype=spec.dtype, device=device),
            agent.action_spec,
        )
        self._ends = np.zeros(num_envs, dtype=bool)
        """`[M]`, where the next time step is a LAST one, as in NEXT_STEP environments."""
        self._acted = np.zeros(num_envs, dtype=bool)
        """`[M]`, where an action was given whose outcome has not arrived."""
        self._arrived: Nest = None
        self._waits = np.zeros(num_envs, dtype=bool)
        """`[M]`, where an observation arrived that has not been acted on."""

    @property
    def arrived(self) -> Nest:
        """`[M, ...]`, the observations that arrived last; None before the first."""
        return self._arrived

    @torch.no_grad()
    def act(self, observation: Nest, ids: np.ndarray) -> Nest:
        """The actions `[B, ...]` for the next time step of environments `ids` `[B]`.

        Raises:
            ValueError: an environment has not told yet what its last action brought.
        """
        if self._acted[ids].any():
            raise ValueError(
                f"get_action was called again for environments {ids[self._acted[ids]].tolist()} "
                "without process_transition in between; soft_reset() begins new episodes"
            )
        rows = self._rows(ids)
        action = self._step(self._time_step(observation, rows), rows)
        self._acted[ids], self._waits[ids] = True, False
        return action

    @torch.no_grad()
    def arrive(
        self,
        observation: Nest,
        reward: torch.Tensor,
        terminated: np.ndarray,
        truncated: np.ndarray,
        ids: np.ndarray,
        *,
        begins_next_step: bool,
        final: Nest,
    ) -> np.ndarray:
        """Takes what the last actions of environments `ids` `[B]` brought.

        Args:
            observation: `[B, ...]`.
            reward: `[B]` or `[B, n]`.
            terminated: `[B]`.
            truncated: `[B]`.
            begins_next_step: whether an ended environment shows its end to `act` and begins with
                the step after.
            final: `[n, ...]`, the last observations of the n rows that end; `()`: those of
                `observation`.

        Returns:
            `[B]`, bool: rows that made a step, rather than begin an episode.

        Raises:
            ValueError: an environment got no action.
        """
        if not self._acted[ids].all():
            raise ValueError(
                f"process_transition was called for environments {ids[~self._acted[ids]].tolist()} "
                "without get_action before"
            )
        rows = self._rows(ids)
        stepped = ~self._ends[ids]
        ended = (terminated | truncated) & stepped
        kind = np.where(ended, int(StepType.LAST), int(StepType.MID))
        kind = np.where(stepped, kind, int(StepType.FIRST))
        made = torch.as_tensor(stepped, device=self._device)
        discount = torch.as_tensor((~terminated | ~stepped).astype(np.float32), device=self._device)
        self._put(self._step_type, rows, torch.as_tensor(kind.astype(np.int32)).to(self._device))
        self._put(self._reward, rows, where_rows(made, reward, torch.zeros_like(reward)))
        self._put(self._discount, rows, discount)
        if not stepped.all():
            self._clear_actions(ids[~stepped])
        self._acted[ids] = False
        self._ends[ids] = ended & begins_next_step
        self._keep(observation, rows)
        self._waits[ids] = stepped & ~(ended & (not begins_next_step))
        if ended.any() and not begins_next_step:
            local = np.flatnonzero(ended)
            if final == ():
                chosen = torch.as_tensor(local, device=self._device)
                final = alf.nest.map_structure(lambda x: x[chosen], observation)
            self._close(final, ids[local])
        return stepped

    @torch.no_grad()
    def begin_anew(self, ids: np.ndarray) -> None:
        """Ends the open episodes of environments `ids`, as truncated where an observation arrived
        last; they begin with the next observation.
        """
        open_ids = ids[self._waits[ids]]
        if len(open_ids) and self._learns:
            rows = self._rows(open_ids)
            self._put(
                self._step_type,
                rows,
                torch.full((len(open_ids),), int(StepType.LAST), device=self._device).int(),
            )
            chosen = torch.as_tensor(open_ids, device=self._device)
            self._close(alf.nest.map_structure(lambda x: x[chosen], self._arrived), open_ids)
        self._begin(ids)

    def _close(self, observation: Nest, ids: np.ndarray) -> None:
        """Makes the LAST step of environments `ids`; their next one is a FIRST one."""
        rows = torch.as_tensor(ids, device=self._device)
        self._step(self._time_step(observation, rows), rows)
        self._begin(ids)

    def _begin(self, ids: np.ndarray) -> None:
        rows = torch.as_tensor(ids, device=self._device)
        self._step_type[rows] = int(StepType.FIRST)
        self._reward[rows] = 0.0
        self._discount[rows] = 1.0
        self._clear_actions(ids)
        self._ends[ids] = self._acted[ids] = self._waits[ids] = False

    def _clear_actions(self, ids: np.ndarray) -> None:
        rows = torch.as_tensor(ids, device=self._device)
        self._prev_action = alf.nest.map_structure(
            lambda x: x.index_fill(0, rows, 0), self._prev_action
        )

    def _step(self, inputs: TimeStep, rows: torch.Tensor | None) -> Nest:
        """Steps the agent, and stores what it did if it learns; returns the actions."""
        state = self._take(self.state, rows)
        batch = len(inputs.step_type)
        initial = alf.nest.map_structure(lambda x: x.expand(batch, *x.shape[1:]), self._initial)
        state = where_rows(inputs.is_first(), initial, state)
        agent = self._agent
        if self._learns:
            step = agent.rollout_step(inputs, state)
            agent.observe_for_replay(
                Experience(
                    time_step=inputs, action=step.output, rollout_info=step.info, state=state
                )
            )
        else:
            step = agent.predict_step(inputs, state)
        self.state = self._scattered(self.state, rows, step.state)
        self._prev_action = self._scattered(self._prev_action, rows, step.output)
        return step.output

    def _time_step(self, observation: Nest, rows: torch.Tensor | None) -> TimeStep:
        ids = torch.arange(self._num_envs, device=self._device) if rows is None else rows
        return TimeStep(
            step_type=self._take(self._step_type, rows),
            reward=self._take(self._reward, rows),
            discount=self._take(self._discount, rows),
            observation=observation,
            prev_action=self._take(self._prev_action, rows),
            env_id=ids.to(torch.int32),
        )

    def _rows(self, ids: np.ndarray) -> torch.Tensor | None:
        """`ids` as a tensor; None for all, in order."""
        if len(ids) == self._num_envs and (ids == np.arange(self._num_envs)).all():
            return None
        return torch.as_tensor(ids, device=self._device)

    def _keep(self, observation: Nest, rows: torch.Tensor | None) -> None:
        if self._arrived is None:
            self._arrived = alf.nest.map_structure(
                lambda x: x.new_zeros((self._num_envs, *x.shape[1:])), observation
            )
        self._arrived = self._scattered(self._arrived, rows, observation)

    @staticmethod
    def _take(nest: Nest, rows: torch.Tensor | None) -> Nest:
        """A copy, as what is stored must not change with the next step."""
        if rows is None:
            return alf.nest.map_structure(torch.clone, nest)
        return alf.nest.map_structure(lambda x: x[rows], nest)

    @staticmethod
    def _put(whole: torch.Tensor, rows: torch.Tensor | None, part: torch.Tensor) -> None:
        if rows is None:
            whole.copy_(part)
        else:
            whole[rows] = part

    @staticmethod
    def _scattered(whole: Nest, rows: torch.Tensor | None, part: Nest) -> Nest:
        if rows is None:
            return part
        return alf.nest.map_structure(
            lambda full, new: full.index_copy(0, rows, new.to(full.dtype)), whole, part
        )
