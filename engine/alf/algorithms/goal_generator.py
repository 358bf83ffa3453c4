"""Goals for an agent: one of several, drawn at random at the beginning of each episode."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from alf.algorithms.rl_algorithm import RLAlgorithm
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep, namedtuple
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

__all__ = ["GoalInfo", "GoalState", "RandomCategoricalGoalGenerator"]

GoalState = namedtuple("GoalState", ["goal"], default_value=())
GoalInfo = namedtuple("GoalInfo", ["goal", "loss"], default_value=())


@configurable
class RandomCategoricalGoalGenerator(RLAlgorithm):
    """A one-hot goal, uniformly random, for each episode.

    Its output is the pair ``(goal [B, num_of_goals], ())`` that ``Agent`` asks for.

    Args:
        observation_spec: of the observations, which it does not look at.
        num_of_goals: from how many goals to draw.
    """

    def __init__(
        self,
        observation_spec: Any,
        num_of_goals: int,
        name: str = "RandomCategoricalGoalGenerator",
    ) -> None:
        goal_spec = BoundedTensorSpec((num_of_goals,), minimum=0.0, maximum=1.0)
        super().__init__(
            observation_spec=observation_spec,
            action_spec=goal_spec,
            train_state_spec=GoalState(goal=TensorSpec((num_of_goals,))),
            name=name,
        )
        self._num_of_goals = num_of_goals

    def rollout_step(self, inputs: TimeStep, state: GoalState) -> AlgStep:
        begins = inputs.is_first()
        index = torch.randint(self._num_of_goals, begins.shape, device=begins.device)
        new = F.one_hot(index, self._num_of_goals).to(state.goal.dtype)
        goal = torch.where(begins.unsqueeze(-1), new, state.goal)
        return AlgStep(output=(goal, ()), state=GoalState(goal=goal), info=GoalInfo(goal=goal))

    def predict_step(self, inputs: TimeStep, state: GoalState) -> AlgStep:
        return self.rollout_step(inputs, state)

    def train_step(self, inputs: TimeStep, state: GoalState, rollout_info: GoalInfo) -> AlgStep:
        """The goal that held in the rollout."""
        goal = rollout_info.goal
        return AlgStep(output=(goal, ()), state=GoalState(goal=goal), info=GoalInfo(goal=goal))

    def calc_loss(self, info: GoalInfo) -> LossInfo:
        """Nothing is learned."""
        return LossInfo()
