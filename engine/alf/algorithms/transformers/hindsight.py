"""Hindsight experience replay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from alf.algorithms.transformers.base import DataTransformer
from alf.config_util import configurable
from alf.data_structures import Experience, TimeStep
from alf.nest import nest

PUBLIC_MODULE = "alf.algorithms.data_transformer"  # under which these names are configured


@configurable
def l2_dist_close_reward_fn(
    achieved_goal: torch.Tensor, goal: torch.Tensor, threshold: float = 0.05
) -> torch.Tensor:
    """Reward 0 where the achieved goal is nearer to the goal than `threshold`, else -1.

    Args:
        achieved_goal: [B, T, D].
        goal: [B, T, D]; without D, both are numbers.
        threshold: Euclidean distance.

    Returns [B, T].
    """
    difference = achieved_goal - goal
    if difference.dim() == 2:
        distance = difference.abs()
    else:
        distance = torch.linalg.vector_norm(difference.flatten(2), dim=2)
    return -(distance >= threshold).to(torch.float32)


@configurable
class HindsightExperienceTransformer(DataTransformer):
    """Replaces the desired goal of some transitions by what was achieved later in the episode.

    Andrychowicz et al. 2017, "Hindsight Experience Replay", with goals of the kind "future": the
    goal achieved at a step drawn uniformly from the steps after the first of the two, up to the end
    of the episode. The rewards of both its steps are computed anew. Needs `mini_batch_length` 2 and
    `ReplayBuffer.keep_episodic_info=True`.

    A transition from the last step of an episode to the next episode, which no loss looks at, keeps
    its goals.

    Args:
        observation_spec: nest of `TensorSpec` of observations.
        her_proportion: the part of the transitions that is relabelled.
        achieved_goal_field: path of the achieved goal in an `Experience`.
        desired_goal_field: path of the desired goal in an `Experience`.
        reward_fn: called as `fn(achieved_goal, goal)` with [B, T, ...], returns the reward [B, T].
    """

    def __init__(
        self,
        observation_spec: Any,
        her_proportion: float = 0.8,
        achieved_goal_field: str = "time_step.observation.achieved_goal",
        desired_goal_field: str = "time_step.observation.desired_goal",
        reward_fn: Callable = l2_dist_close_reward_fn,
    ) -> None:
        super().__init__(transformed_observation_spec=observation_spec, state_spec=())
        self._her_proportion = her_proportion
        self._achieved_goal_field = achieved_goal_field
        self._desired_goal_field = desired_goal_field
        self._reward_fn = reward_fn

    def transform_timestep(self, timestep: TimeStep, state: Any) -> tuple[TimeStep, Any]:
        """Changes nothing: in a rollout the future is not known."""
        return timestep, state

    @torch.no_grad()
    def transform_experience(self, experience: Experience) -> Experience:
        if self._her_proportion == 0:
            return experience
        batch_size, length = experience.step_type.shape[:2]
        if length != 2:
            raise ValueError(
                "HindsightExperienceTransformer needs mini_batch_length=2, got transitions of "
                f"length {length}"
            )
        info, buffer = experience.batch_info, experience.replay_buffer
        env_ids, pos = info.env_ids, info.positions
        to_end = buffer.steps_to_episode_end(pos, env_ids)
        u = torch.rand(2, batch_size, dtype=torch.float64, device=pos.device)
        is_relabelled = (u[0] < self._her_proportion) & (to_end > 0)
        # floor(u * n) of u in [0, 1) is one of 0 ... n - 1.
        later = torch.where(to_end > 0, 1 + (u[1] * to_end).long(), 0)
        new_goal = buffer.get_field(self._achieved_goal_field, env_ids, pos + later)

        def relabel(goal: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
            choose = is_relabelled.reshape(-1, *[1] * (goal.dim() - 1))
            return torch.where(choose, new.unsqueeze(1).expand_as(goal), goal)

        achieved = nest.get_field(experience, self._achieved_goal_field)
        goal = nest.get_field(experience, self._desired_goal_field)
        goal = nest.map_structure(relabel, goal, new_goal)
        experience = nest.set_field(experience, self._desired_goal_field, goal)
        reward = self._new_reward(experience.reward, self._reward_fn(achieved, goal), is_relabelled)
        return experience._replace(time_step=experience.time_step._replace(reward=reward))

    def _new_reward(
        self, reward: torch.Tensor, new: torch.Tensor, is_relabelled: torch.Tensor
    ) -> torch.Tensor:
        if new.shape != reward.shape:
            raise ValueError(
                f"reward_fn of HindsightExperienceTransformer returned shape {list(new.shape)}; "
                f"the reward has {list(reward.shape)}"
            )
        is_new = is_relabelled.reshape(-1, *[1] * (reward.dim() - 1))
        return torch.where(is_new, new.to(reward.dtype), reward)
