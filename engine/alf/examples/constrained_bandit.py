"""A bandit whose most useful action breaks a constraint; its reward is a pair."""

from __future__ import annotations

from typing import Any

import torch

from alf.data_structures import StepType
from alf.environments.suite_unittest import ActionType, UnittestEnv
from alf.tensor_specs import BoundedTensorSpec


class ConstrainedBandit(UnittestEnv):
    """Utility is (action + 1) / 2; what it is above 0.3 or 0.9, as shown, breaks the constraint.

    The reward is [utility, -breach]. The best action that breaks nothing has a mean utility of 0.6;
    a random one has 0.5 and a breach of 0.12, the most useful one 1 and 0.4.
    """

    def __init__(self, batch_size: int, episode_length: int = 6) -> None:
        super().__init__(
            batch_size, episode_length, action_type=ActionType.Continuous, reward_dim=2
        )

    def _make_action_spec(self, action_type: ActionType) -> BoundedTensorSpec:
        return BoundedTensorSpec((1,), minimum=-1.0, maximum=1.0)

    def _observe(self, step_type: int, action: Any) -> tuple[torch.Tensor, torch.Tensor]:
        reward = torch.zeros(self._batch_size, 2)
        if step_type != StepType.FIRST:
            limit = 0.3 + 0.6 * self._shown_last[:, 0]
            utility = (action[:, 0] + 1) / 2
            reward = torch.stack([utility, -(utility - limit).relu()], dim=-1)
        return torch.randint(0, 2, self._zeros().shape).to(torch.float32), reward


def load(name: str, env_id: int | None = None, batch_size: int = 1) -> ConstrainedBandit:
    """For ``create_environment(env_load_fn=load)``."""
    return ConstrainedBandit(batch_size)


load.batched = True
