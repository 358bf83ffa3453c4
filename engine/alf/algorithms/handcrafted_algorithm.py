"""Controllers that are written by hand: nothing is learnt."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from alf.algorithms.config import TrainerConfig
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep
from alf.tensor_specs import TensorSpec

__all__ = ["AlgStep", "HandcraftedAlgorithm", "LossInfo", "SimpleCarlaAlgorithm", "TimeStep"]


@configurable
class HandcraftedAlgorithm(OffPolicyAlgorithm):
    """Base of controllers without state: a subclass writes `_policy_func()`.

    Args:
        observation_spec: nest of specs.
        action_spec: nest of bounded specs.
        reward_spec: of rank 0 or 1.
        env: see `RLAlgorithm`.
        config: see `RLAlgorithm`.
        debug_summaries: write more summaries.
        name: name of the algorithm.
    """

    def __init__(
        self,
        observation_spec: Any,
        action_spec: Any,
        reward_spec: TensorSpec = TensorSpec(()),
        env: Any = None,
        config: TrainerConfig | None = None,
        debug_summaries: bool = False,
        name: str = "Handcrafted",
    ) -> None:
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            train_state_spec=(),
            reward_spec=reward_spec,
            env=env,
            config=config,
            debug_summaries=debug_summaries,
            name=name,
        )

    def _policy_func(self, observation: Any) -> Any:
        """Actions [B, ...] for observations [B, ...]."""
        raise NotImplementedError(f"{type(self).__name__} has no _policy_func()")

    def predict_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        return AlgStep(output=self._policy_func(inputs.observation), state=state)

    def rollout_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        return self.predict_step(inputs, state)

    def train_step(self, inputs: TimeStep, state: Any, rollout_info: Any) -> AlgStep:
        """Nothing to learn."""
        return AlgStep()

    def calc_loss(self, info: Any) -> LossInfo:
        return LossInfo()


@configurable
class SimpleCarlaAlgorithm(HandcraftedAlgorithm):
    """Drives to a goal in Carla: steers for a way point, slows down near the goal.

    Observations are those of ALF's Carla environment, of which it looks at
    ``observation["navigation"]`` [B, n, 3], the next way points, and ``observation["goal"]``
    [B, 3], in meters, in the frame of the vehicle. An action [B, 4] is throttle, steering, brake
    and reverse; the last two are 0.

    Args:
        distance_to_decelerate: the throttle falls, from 1, in proportion to the distance of the
            goal when that is below this, in meters.
        distance_to_stop: the throttle is 0 within this distance, in meters.

    The other arguments are those of `HandcraftedAlgorithm`.
    """

    def __init__(
        self,
        observation_spec: Any,
        action_spec: Any,
        reward_spec: TensorSpec = TensorSpec(()),
        distance_to_decelerate: float = 50.0,
        distance_to_stop: float = 1.0,
        env: Any = None,
        config: TrainerConfig | None = None,
        debug_summaries: bool = False,
        name: str = "SimpleCarlaAlgorithm",
    ) -> None:
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            env=env,
            config=config,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._distance_to_decelerate = distance_to_decelerate
        self._distance_to_stop = distance_to_stop

    def _policy_func(self, observation: Any) -> Tensor:
        seen = observation["observation"]
        way_points, goal = seen["navigation"], seen["goal"]
        # The next way point may lie beside the vehicle; the one behind it says where the road goes.
        ahead = way_points[:, min(1, way_points.shape[1] - 1)]
        steering = torch.atan2(ahead[:, 1], ahead[:, 0]) / math.pi
        distance = goal.norm(dim=-1)
        throttle = (distance / self._distance_to_decelerate).clamp(max=1.0)
        throttle = torch.where(distance <= self._distance_to_stop, 0.0, throttle)
        zeros = torch.zeros_like(throttle)
        return torch.stack([throttle, steering, zeros, zeros], dim=-1)
