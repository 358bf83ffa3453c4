"""Maze2D: discs that are steered by their velocity through a grid maze, B of them at once.

Everything here is a pure function of the state: who owns the states decides when episodes begin.
Positions are float64, so that long episodes do not depend on the order of additions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from alf_layered.allowed import AT_LEAST_0, AT_LEAST_1, POSITIVE, checked
from alf_layered.environments.maze_layouts import Cell, as_layout, free_cells, open_field

AGENT_RADIUS = 0.15


class MazeState(NamedTuple):
    """Where B episodes stand."""

    position: Tensor
    """[B, 2] float64, (x, y)"""
    goal: Tensor
    """[B, 2] float64, (x, y)"""
    steps: Tensor
    """[B] int64, steps since the episode began"""
    reached: Tensor
    """[B] bool, whether the goal was reached at any step of this episode"""


class MazeOutcome(NamedTuple):
    """What one step brought, for B episodes."""

    reward: Tensor
    """[B] float64"""
    distance: Tensor
    """[B] float64, from the agent to the goal"""
    is_success: Tensor
    """[B] bool, the agent is at the goal now"""
    success: Tensor
    """[B] bool, it is there for the first time in this episode; so an episode's sum is 0 or 1"""
    terminated: Tensor
    """[B] bool"""
    truncated: Tensor
    """[B] bool"""


@checked(
    cell_size=POSITIVE,
    start_jitter=AT_LEAST_0,
    goal_radius=POSITIVE,
    max_velocity=POSITIVE,
    dt=POSITIVE,
    max_episode_steps=AT_LEAST_1,
)
class Maze2D:
    """The geometry and the rules of one maze."""

    def __init__(
        self,
        layout: Any = None,
        *,
        cell_size: float = 1.0,
        start_cells: Sequence[Cell] | None = None,
        goal_cells: Sequence[Cell] | None = None,
        start_jitter: float = 0.0,
        goal_radius: float = 0.3,
        max_velocity: float = 1.0,
        dt: float = 0.1,
        dense_reward: bool = True,
        terminate_at_goal: bool = False,
        max_episode_steps: int | None = 400,
        device: torch.device | str = "cpu",
    ) -> None:
        """
        Args:
            layout: see `maze_layouts`; None is an open field of 10 x 10 cells.
            cell_size: side of a cell.
            start_cells: the (column, row) of the cells in whose centres episodes start; None means
                all free ones.
            goal_cells: likewise, for the goals.
            start_jitter: starts are moved by up to this much along x and along y.
            goal_radius: the goal is reached nearer than this.
            max_velocity: actions are clipped to +- this, each component by itself.
            dt: duration of a step.
            dense_reward: the reward is minus the distance to the goal, in units of the maze's
                diagonal; otherwise it is 1 at the goal and 0 elsewhere.
            terminate_at_goal: whether reaching the goal ends the episode.
            max_episode_steps: episodes are truncated after so many steps; None means never.

        Raises:
            ValueError: if a number is out of its range, a start or goal lies in a wall or outside
                the maze, or a goal has no start that is farther away than `goal_radius`.
        """
        self.layout = open_field() if layout is None else as_layout(layout)
        self.cell_size = float(cell_size)
        self.goal_radius = float(goal_radius)
        self.max_velocity = float(max_velocity)
        self.dt = float(dt)
        self.dense_reward = dense_reward
        self.terminate_at_goal = terminate_at_goal
        self.max_episode_steps = max_episode_steps
        room = self.cell_size / 2 - AGENT_RADIUS
        if room < 0:
            raise ValueError(
                f"a disc of radius {AGENT_RADIUS} needs cell_size >= {2 * AGENT_RADIUS}, "
                f"got {cell_size}"
            )
        if not 0 <= start_jitter <= room:
            raise ValueError(f"start_jitter must be in [0, {room}], got {start_jitter}")
        self.start_jitter = float(start_jitter)
        self.device = torch.device(device)

        rows, columns = self.layout.shape
        self.extent = (columns * self.cell_size, rows * self.cell_size)
        self.diameter = math.hypot(*self.extent)
        self._starts = self._centres("start_cells", start_cells)
        self._goals = self._centres("goal_cells", goal_cells)
        self._starts_of_goal = self._eligible_starts()
        # A margin of free cells on every side, so that neighbours of border cells can be looked up.
        # It counts as free because positions are kept inside the world before they are tested.
        self._reach = math.ceil(AGENT_RADIUS / self.cell_size)
        self._walls = torch.from_numpy(np.pad(self.layout, self._reach)).to(self.device)
        span = torch.arange(-self._reach, self._reach + 1, device=self.device)
        self._neighbours = torch.cartesian_prod(span, span)
        self._upper = self._tensor(self.extent) - AGENT_RADIUS

    # ------------------------------------------------------------------------------ episodes

    def begin(self, uniform: Tensor) -> MazeState:
        """New episodes from numbers in [0, 1): a goal, then a start that is not at that goal.

        Args:
            uniform: [B, 4]; for the goal, the start, and the start's jitter along x and y.
        """
        uniform = uniform.to(torch.float64)
        goal_index = (uniform[:, 0] * len(self._goals)).long()
        starts, counts = self._starts_of_goal
        nth = (uniform[:, 1] * counts[goal_index]).long()
        start = self._starts[starts[goal_index, nth]]
        jitter = (2.0 * uniform[:, 2:] - 1.0) * self.start_jitter
        batch = uniform.shape[0]
        return MazeState(
            position=start + jitter,
            goal=self._goals[goal_index],
            steps=torch.zeros(batch, dtype=torch.int64, device=self.device),
            reached=torch.zeros(batch, dtype=torch.bool, device=self.device),
        )

    def step(self, state: MazeState, velocity: Tensor) -> tuple[MazeState, MazeOutcome]:
        """Moves every agent for one step. `velocity`: [B, 2]."""
        position = self.move(state.position, velocity)
        distance = torch.linalg.vector_norm(position - state.goal, dim=-1)
        at_goal = distance < self.goal_radius
        steps = state.steps + 1
        never = torch.zeros_like(at_goal)
        outcome = MazeOutcome(
            reward=-distance / self.diameter if self.dense_reward else at_goal.to(torch.float64),
            distance=distance,
            is_success=at_goal,
            success=at_goal & ~state.reached,
            terminated=at_goal if self.terminate_at_goal else never,
            truncated=never if self.max_episode_steps is None else steps >= self.max_episode_steps,
        )
        return MazeState(position, state.goal, steps, state.reached | at_goal), outcome

    # ------------------------------------------------------------------------------ geometry

    def move(self, position: Tensor, velocity: Tensor) -> Tensor:
        """Where the agents are after `dt`; at a wall they slide along x, else along y, else stay.

        Args:
            position: [B, 2] float64
            velocity: [B, 2], clipped to the largest one
        """
        velocity = velocity.to(torch.float64).clamp(-self.max_velocity, self.max_velocity)
        target = torch.minimum((position + velocity * self.dt).clamp_min(AGENT_RADIUS), self._upper)
        along_x = torch.stack([target[:, 0], position[:, 1]], dim=-1)
        along_y = torch.stack([position[:, 0], target[:, 1]], dim=-1)
        blocked, x_blocked, y_blocked = self.collides(torch.stack([target, along_x, along_y]))
        slid = torch.where(y_blocked[:, None], position, along_y)
        slid = torch.where(x_blocked[:, None], slid, along_x)
        return torch.where(blocked[:, None], slid, target)

    def collides(self, position: Tensor) -> Tensor:
        """Whether agents at `position` `[..., 2]` (inside the world) touch a wall, `[...]`."""
        cell = torch.floor(position / self.cell_size).long().unsqueeze(-2) + self._neighbours
        column, row = cell.unbind(-1)
        is_wall = self._walls[row + self._reach, column + self._reach]
        near = cell * self.cell_size
        far = (cell + 1) * self.cell_size
        position = position.unsqueeze(-2)
        closest = torch.minimum(torch.maximum(position, near), far)
        distance = torch.linalg.vector_norm(position - closest, dim=-1)
        return (is_wall & (distance < AGENT_RADIUS)).any(-1)

    # --------------------------------------------------------------------------------- set-up

    def _tensor(self, values: Any) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=self.device)

    def _centres(self, name: str, cells: Sequence[Cell] | None) -> Tensor:
        allowed = free_cells(self.layout)
        chosen = allowed if cells is None else [(int(c), int(r)) for c, r in cells]
        if not chosen:
            raise ValueError(f"{name} is empty; name at least one of the free cells {allowed}")
        for cell in chosen:
            if cell not in allowed:
                raise ValueError(
                    f"{name} has (column, row) {cell}, which is no free cell of the maze; "
                    f"free are {allowed}"
                )
        return (self._tensor(chosen) + 0.5) * self.cell_size

    def _eligible_starts(self) -> tuple[Tensor, Tensor]:
        """Per goal: the indices of the starts that are not at it, padded, and their number."""
        between = self._goals[:, None] - self._starts[None, :]
        distance = torch.linalg.vector_norm(between, dim=-1)
        far = distance > self.goal_radius + math.sqrt(2.0) * self.start_jitter
        if not far.any(dim=1).all():
            goal = self._goals[int((~far.any(dim=1)).nonzero()[0])].tolist()
            raise ValueError(
                f"every start lies within goal_radius = {self.goal_radius} (and start_jitter = "
                f"{self.start_jitter}) of the goal at {goal}; give another start or goal"
            )
        eligible_first = torch.argsort(far.to(torch.int8), dim=1, descending=True, stable=True)
        return eligible_first, far.sum(dim=1)
