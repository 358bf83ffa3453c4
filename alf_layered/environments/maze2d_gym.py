"""Maze2D for gymnasium: one maze as a `gymnasium.Env`; `registration` has the ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium.error import ResetNeeded

from alf_layered.allowed import AT_LEAST_0, AT_LEAST_1, POSITIVE, checked
from alf_layered.environments.maze2d import Maze2D, MazeState
from alf_layered.environments.maze_layouts import Cell, maze_task
from alf_layered.environments.render2d import MazePicture


@checked(
    cell_size=POSITIVE,
    start_jitter=AT_LEAST_0,
    goal_radius=POSITIVE,
    max_velocity=POSITIVE,
    dt=POSITIVE,
    max_episode_steps=AT_LEAST_1,
    pixel_size=AT_LEAST_1,
)
class Maze2DGym(gymnasium.Env):
    """One maze; observations, actions and rewards as in `maze2d_alf`.

    Each step's info has `dist_to_goal`, `is_success` and `success` (true in the first step of an
    episode that is at the goal); `reset` has the first two.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 30}

    def __init__(
        self,
        maze_layout: Any = None,
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
        render_mode: str | None = None,
        pixel_size: int = 640,
    ) -> None:
        """
        Args:
            maze_layout: an array of 0 and 1, the name of a registered maze (then only its walls
                are taken), or None for an open field of 10 x 10 cells.
            cell_size: see `Maze2D`, also for the arguments up to `max_episode_steps`.
            start_cells: see `Maze2D`.
            goal_cells: see `Maze2D`.
            start_jitter: see `Maze2D`.
            goal_radius: see `Maze2D`.
            max_velocity: see `Maze2D`.
            dt: see `Maze2D`.
            dense_reward: see `Maze2D`.
            terminate_at_goal: see `Maze2D`.
            max_episode_steps: see `Maze2D`.
            render_mode: None or `rgb_array`.
            pixel_size: longer side of a rendered picture.
        """
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode is None or 'rgb_array', got {render_mode!r}")
        layout = maze_task(maze_layout).layout if isinstance(maze_layout, str) else maze_layout
        self.maze = Maze2D(
            layout,
            cell_size=cell_size,
            start_cells=start_cells,
            goal_cells=goal_cells,
            start_jitter=start_jitter,
            goal_radius=goal_radius,
            max_velocity=max_velocity,
            dt=dt,
            dense_reward=dense_reward,
            terminate_at_goal=terminate_at_goal,
            max_episode_steps=max_episode_steps,
        )
        self.render_mode = render_mode
        self.picture = MazePicture(
            self.maze.layout, cell_size=self.maze.cell_size, pixel_size=pixel_size
        )
        upper = np.asarray(self.maze.extent, dtype=np.float32)
        self.observation_space = gymnasium.spaces.Dict(
            {
                key: gymnasium.spaces.Box(np.zeros_like(upper), upper, dtype=np.float32)
                for key in ("observation", "achieved_goal", "desired_goal")
            }
        )
        self.action_space = gymnasium.spaces.Box(
            -self.maze.max_velocity, self.maze.max_velocity, (2,), dtype=np.float32
        )
        self._state: MazeState | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        self.picture.clear()
        self._state = self.maze.begin(torch.from_numpy(self.np_random.random((1, 4))))
        agent, goal = self._agent_and_goal()
        distance = float(np.linalg.norm(agent - goal))
        return self._observe(), {
            "dist_to_goal": distance,
            "is_success": distance < self.maze.goal_radius,
        }

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        velocity = torch.as_tensor(np.asarray(action, dtype=np.float64), device="cpu")
        self._state, outcome = self.maze.step(self._standing(), velocity.reshape(1, 2))
        info = {
            "dist_to_goal": float(outcome.distance),
            "is_success": bool(outcome.is_success),
            "success": bool(outcome.success),
        }
        return (
            self._observe(),
            float(outcome.reward),
            bool(outcome.terminated),
            bool(outcome.truncated),
            info,
        )

    def render(self) -> np.ndarray | None:
        """The picture as `[height, width, 3]` uint8; None if no render mode was asked for."""
        if self.render_mode is None:
            return None
        return self.picture.draw(*self._agent_and_goal(), goal_radius=self.maze.goal_radius)

    def set_plans(self, plans: Sequence[Mapping[str, Any]]) -> bool:
        """Has plans drawn from the agent on; see `MazePicture.set_plans`."""
        return self.picture.set_plans(plans, agent=self._agent_and_goal()[0])

    def _agent_and_goal(self) -> tuple[np.ndarray, np.ndarray]:
        state = self._standing()
        return state.position[0].numpy(), state.goal[0].numpy()

    def _standing(self) -> MazeState:
        if self._state is None:
            raise ResetNeeded("there is no episode yet: call reset first")
        return self._state

    def _observe(self) -> dict[str, np.ndarray]:
        agent, goal = (point.astype(np.float32) for point in self._agent_and_goal())
        return {"observation": agent, "achieved_goal": agent.copy(), "desired_goal": goal}
