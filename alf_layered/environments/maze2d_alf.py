"""Maze2D for ALF: many mazes in one process, as tensors.

alf.config("create_environment", env_name="Maze2D-UMaze-v0", env_load_fn=maze2d_alf.load)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alf.config_util import configurable
from alf.tensor_specs import BoundedTensorSpec
from alf_layered.allowed import AT_LEAST_0, AT_LEAST_1, POSITIVE, checked
from alf_layered.environments.action_push import ActionPush
from alf_layered.environments.batched_environment import BatchedEnvironment, Outcome
from alf_layered.environments.maze2d import Maze2D, MazeState
from alf_layered.environments.maze_layouts import Cell, maze_task
from alf_layered.environments.render2d import MazePicture
from alf_layered.environments.seeds import as_seeds

_INFO_KEYS = ("is_success", "success")


class Maze2DEnvironment(BatchedEnvironment):
    """B independent episodes in one maze.

    Observations are `observation` and `achieved_goal`, both the position, and `desired_goal`.
    `env_info` has `is_success`, 1 while the agent is at the goal, and `success`, 1 in the first
    step of an episode at which it is, so that an episode's sum of it is a success rate.
    What happens to one instance depends on the seed, on its number and on its own actions only.
    """

    def __init__(
        self,
        maze: Maze2D,
        *,
        batch_size: int = 1,
        env_id: int | None = None,
        pixel_size: int = 640,
        action_push: float = 0.0,
        action_noise: float = 0.0,
    ) -> None:
        """
        Args:
            maze: geometry and rules; its device is the environment's.
            batch_size: number of instances.
            env_id: see `BatchedEnvironment`.
            pixel_size: longer side of a rendered picture.
            action_push: see `ActionPush`.
            action_noise: see `ActionPush`.
        """
        inside = BoundedTensorSpec(
            (2,), minimum=0.0, maximum=np.asarray(maze.extent, dtype=np.float32)
        )
        super().__init__(
            batch_size=batch_size,
            observation_spec=dict.fromkeys(
                ("observation", "achieved_goal", "desired_goal"), inside
            ),
            action_spec=BoundedTensorSpec(
                (2,), minimum=-maze.max_velocity, maximum=maze.max_velocity
            ),
            env_info_keys=_INFO_KEYS,
            env_id=env_id,
            device=maze.device,
        )
        self.maze = maze
        self.picture = MazePicture(maze.layout, cell_size=maze.cell_size, pixel_size=pixel_size)
        self._generator = torch.Generator(device=self._device)
        # Without a seed of its own it follows torch's, and draws nothing from it.
        self.seed([torch.initial_seed() % 2**63, env_id or 0])
        self._push = ActionPush(
            batch_size, 2, push=action_push, noise=action_noise, generator=self._generator
        )
        self._state: MazeState | None = None

    def seed(self, seed: int | Sequence[int]) -> None:
        """Makes the starts and goals from here on depend on `seed`, a number or several, alone.

        Raises:
            TypeError: a seed is no integer.
            ValueError: a seed is out of range.
        """
        state = np.random.SeedSequence(as_seeds(seed, owner="Maze2D")).generate_state(2)
        self._generator.manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)

    def render(self, mode: str = "rgb_array") -> np.ndarray:
        """The first instance as `[height, width, 3]` uint8."""
        if mode != "rgb_array":
            raise ValueError(f"Maze2D renders with mode 'rgb_array' only, got {mode!r}")
        return self.picture.draw(*self._agent_and_goal(), goal_radius=self.maze.goal_radius)

    def set_plans(self, plans: Sequence[Mapping[str, Any]]) -> bool:
        """Has plans drawn from the first instance's agent on; see `MazePicture.set_plans`."""
        return self.picture.set_plans(plans, agent=self._agent_and_goal()[0])

    def state_dict(self) -> dict[str, Any]:
        """All that the next steps depend on, as tensors: a stopped run goes on from here."""
        state = self._standing()
        return {
            **self._running_state(),
            "maze": dict(state._asdict()),
            "push": self._push.state_dict(),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo of `state_dict`, for an environment of as many instances of the same maze."""
        self._set_running_state(state)
        self._state = MazeState(**{k: x.to(self._device) for k, x in state["maze"].items()})
        self._push.load_state_dict(state["push"])
        self._generator.set_state(state["generator"].cpu())

    # ---------------------------------------------------------------------------- stepping

    def _begin(self) -> dict[str, Tensor]:
        self.picture.clear()
        self._state = state = self.maze.begin(self._uniform())
        return _observe(state)

    def _advance(self, action: Tensor, restart: Tensor) -> Outcome:
        action = _checked(action, restart, self.maze.max_velocity)
        action = self._push(action, restart, self.maze.max_velocity)
        state, outcome = self.maze.step(self._standing(), action)
        # Numbers are drawn at every step, so that one instance's end moves no other's random
        # numbers.
        uniform = self._uniform()
        if restart.any():
            state = self._restart(state, restart, uniform)
        self._state = state
        return Outcome(
            observation=_observe(state),
            reward=outcome.reward.to(torch.float32),
            terminated=outcome.terminated,
            truncated=outcome.truncated,
            env_info={key: getattr(outcome, key).to(torch.float32) for key in _INFO_KEYS},
        )

    def _restart(self, state: MazeState, restart: Tensor, uniform: Tensor) -> MazeState:
        if restart[0]:
            self.picture.clear()
        new = self.maze.begin(uniform)
        column = restart[:, None]
        return MazeState(
            position=torch.where(column, new.position, state.position),
            goal=torch.where(column, new.goal, state.goal),
            steps=torch.where(restart, new.steps, state.steps),
            reached=torch.where(restart, new.reached, state.reached),
        )

    def _standing(self) -> MazeState:
        """Where the episodes stand; begins them if that has not been done."""
        if self._state is None:
            self.reset()
        assert self._state is not None
        return self._state

    def _uniform(self) -> Tensor:
        return torch.rand((self._batch_size, 4), generator=self._generator, device=self._device)

    def _agent_and_goal(self) -> tuple[np.ndarray, np.ndarray]:
        state = self._standing()
        return state.position[0].cpu().numpy(), state.goal[0].cpu().numpy()


@configurable
@checked(
    batch_size=AT_LEAST_1,
    max_episode_steps=AT_LEAST_1,
    start_jitter=AT_LEAST_0,
    goal_radius=POSITIVE,
    max_velocity=POSITIVE,
    dt=POSITIVE,
    pixel_size=AT_LEAST_1,
    action_push=AT_LEAST_0,
    action_noise=AT_LEAST_0,
)
def load(
    environment_name: str,
    env_id: int | None = None,
    batch_size: int = 1,
    dense_reward: bool = True,
    terminate_at_goal: bool = False,
    max_episode_steps: int | None = None,
    start_cells: Sequence[Cell] | None = None,
    goal_cells: Sequence[Cell] | None = None,
    start_jitter: float | None = None,
    goal_radius: float = 0.3,
    max_velocity: float = 1.0,
    dt: float = 0.1,
    pixel_size: int = 640,
    action_push: float = 0.0,
    action_noise: float = 0.0,
) -> Maze2DEnvironment:
    """Makes one of the named mazes; a batched load function of ALF.

    Args:
        environment_name: such as `Maze2D-UMaze-v0`.
        env_id: see `BatchedEnvironment`.
        batch_size: number of instances.
        dense_reward: see `Maze2D`, also for the arguments below.
        terminate_at_goal: end episodes at the goal.
        max_episode_steps: None is the named maze's.
        start_cells: None is the named maze's.
        goal_cells: None is the named maze's.
        start_jitter: None is the named maze's.
        goal_radius: see `Maze2D`.
        max_velocity: see `Maze2D`.
        dt: see `Maze2D`.
        pixel_size: longer side of a rendered picture.
        action_push: length of a push in a direction of its own in each episode, which is added to
            all actions; for tests of what a policy can stand.
        action_noise: deviation of noise that is added to actions.

    Raises:
        ValueError: for an unknown name (with the nearest one), or what `Maze2D` refuses.
    """
    task = maze_task(environment_name)
    maze = Maze2D(
        task.layout,
        start_cells=task.start_cells if start_cells is None else start_cells,
        goal_cells=task.goal_cells if goal_cells is None else goal_cells,
        start_jitter=task.start_jitter if start_jitter is None else start_jitter,
        goal_radius=goal_radius,
        max_velocity=max_velocity,
        dt=dt,
        dense_reward=dense_reward,
        terminate_at_goal=terminate_at_goal,
        max_episode_steps=(
            task.max_episode_steps if max_episode_steps is None else max_episode_steps
        ),
        device=torch.empty(0).device,
    )
    return Maze2DEnvironment(
        maze,
        batch_size=batch_size,
        env_id=env_id,
        pixel_size=pixel_size,
        action_push=action_push,
        action_noise=action_noise,
    )


load.batched = True


def _observe(state: MazeState) -> dict[str, Tensor]:
    position = state.position.to(torch.float32)
    return {
        "observation": position,
        "achieved_goal": position,
        "desired_goal": state.goal.to(torch.float32),
    }


def _checked(action: Tensor, restart: Tensor, largest: float) -> Tensor:
    """`action`, if it is finite; 0 in the rows that ignore theirs, whatever it is."""
    if action.shape != (len(restart), 2):
        raise ValueError(f"actions have shape {(len(restart), 2)}, got {tuple(action.shape)}")
    action = action.masked_fill(restart[:, None], 0.0)
    fine = action.isfinite().all(dim=-1)
    if not fine.all():
        row = int((~fine).nonzero()[0])
        raise ValueError(
            f"the action of instance {row} is {action[row].tolist()}; "
            f"allowed are numbers from {-largest} to {largest}"
        )
    return action
