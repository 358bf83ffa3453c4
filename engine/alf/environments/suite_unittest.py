"""Tiny batched environments whose best values and policies are known, for tests of algorithms."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import torch

from alf.config_util import configurable
from alf.data_structures import StepType, TimeStep
from alf.environments.alf_environment import AlfEnvironment
from alf.nest import nest
from alf.tensor_specs import BoundedTensorSpec, TensorSpec


class ActionType(enum.Enum):
    """Kind of the action: one of two options, or a number in [0, 1]."""

    Discrete = 0
    Continuous = 1


_OPTIONS = BoundedTensorSpec((), torch.int64, minimum=0, maximum=1)
_NUMBER = BoundedTensorSpec((1,), minimum=0.0, maximum=1.0)


class UnittestEnv(AlfEnvironment):
    """Base: batched, tensor based, all episodes have the same length and terminate."""

    def __init__(
        self,
        batch_size: int,
        episode_length: int,
        obs_dim: int = 1,
        action_type: ActionType = ActionType.Discrete,
        reward_dim: int = 1,
        nested_observation: bool = False,
    ) -> None:
        """
        Args:
            batch_size: number of environments.
            episode_length: number of time steps of an episode, the FIRST and the LAST one included.
            obs_dim: number of components of the observation.
            action_type: kind of the action.
            reward_dim: number of components of the reward; 1: a scalar.
            nested_observation: observations are lists of two equal tensors.
        """
        super().__init__()
        if episode_length < 2:
            raise ValueError(f"episode_length is {episode_length}; allowed: 2 or more")
        self._batch_size = batch_size
        self._episode_length = episode_length
        self._leaf_spec = TensorSpec((obs_dim,))
        self._nested = nested_observation
        self._reward_spec = TensorSpec(() if reward_dim == 1 else (reward_dim,))
        self._action_spec = self._make_action_spec(action_type)
        self._step_number = 0

    def _make_action_spec(self, action_type: ActionType) -> Any:
        return _OPTIONS if action_type is ActionType.Discrete else _NUMBER

    @property
    def batched(self) -> bool:
        return True

    @property
    def batch_size(self) -> int:
        return self._batch_size

    @property
    def is_tensor_based(self) -> bool:
        return True

    def env_info_spec(self) -> Any:
        return {}

    def observation_spec(self) -> Any:
        return [self._leaf_spec] * 2 if self._nested else self._leaf_spec

    def action_spec(self) -> Any:
        return self._action_spec

    def reward_spec(self) -> TensorSpec:
        return self._reward_spec

    def seed(self, seed: Sequence[int]) -> None:
        """Nothing: random numbers are torch's global ones."""

    def _reset(self) -> TimeStep:
        self._step_number = 0
        action = nest.map_structure(lambda s: s.zeros((self._batch_size,)), self._action_spec)
        return self._next(StepType.FIRST, action)

    def _step(self, action: Any) -> TimeStep:
        if self._step_number == self._episode_length - 1:
            return self._reset()
        self._step_number += 1
        last = self._step_number == self._episode_length - 1
        return self._next(StepType.LAST if last else StepType.MID, action)

    def _next(self, step_type: int, action: Any) -> TimeStep:
        size = (self._batch_size,)
        observation, reward = self._observe(step_type, action)
        self._shown_last = observation
        return TimeStep(
            step_type=torch.full(size, step_type, dtype=torch.int32),
            reward=reward,
            discount=torch.full(size, 0.0 if step_type == StepType.LAST else 1.0),
            observation=[observation, observation.clone()] if self._nested else observation,
            prev_action=action,
            env_id=torch.arange(self._batch_size, dtype=torch.int32),
            env_info={},
        )

    def _observe(self, step_type: int, action: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """The observation `[B, obs_dim]` and the reward for `action`."""
        raise NotImplementedError(type(self).__name__)

    def _zeros(self) -> torch.Tensor:
        return torch.zeros(self._batch_size, *self._leaf_spec.shape)

    def _rewards(self, reward: torch.Tensor) -> torch.Tensor:
        """A reward `[B]` in every component."""
        size = self._batch_size
        reward = reward.reshape(size, *[1] * self._reward_spec.ndim)
        return reward.expand(size, *self._reward_spec.shape).clone()


@configurable
class ValueUnittestEnv(UnittestEnv):
    """Every step has reward 1, whatever the action: the value is the discounted number of steps.

    So has the FIRST one, as in ALF.
    """

    def _observe(self, step_type: int, action: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.ones_like(self._zeros()), self._reward_spec.ones((self._batch_size,))


@configurable
class PolicyUnittestEnv(UnittestEnv):
    """The reward is 1 for the action that equals the observation (0 or 1) it was shown, else 0.

    For continuous actions it is 1 minus their distance.
    """

    def _observe(self, step_type: int, action: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if step_type == StepType.FIRST:
            reward = torch.zeros(self._batch_size)
        else:
            reward = self._reward_of(action, self._shown_last[:, 0])
        return torch.randint(0, 2, self._zeros().shape).to(torch.float32), self._rewards(reward)

    def _reward_of(self, action: Any, shown: torch.Tensor) -> torch.Tensor:
        return 1 - (action.reshape(self._batch_size).to(torch.float32) - shown).abs()


@configurable
class MixedPolicyUnittestEnv(PolicyUnittestEnv):
    """Actions are pairs of an option (0 or 1) and a number in [0, 1].

    The reward is 1 where the number lies in the option's half of [0, 1] (1: above 0.5), else 0.
    """

    def __init__(self, batch_size: int, episode_length: int, obs_dim: int = 1) -> None:
        super().__init__(batch_size, episode_length, obs_dim)

    def _make_action_spec(self, action_type: ActionType) -> Any:
        return [_OPTIONS, _NUMBER]

    def _reward_of(self, action: Any, shown: torch.Tensor) -> torch.Tensor:
        option, number = (part.reshape(self._batch_size) for part in action)
        return (option == (number > 0.5)).to(torch.float32)


@configurable
class RNNPolicyUnittestEnv(UnittestEnv):
    """As PolicyUnittestEnv, but what is asked for was shown only at the FIRST step.

    The observation is -1 or 1 there and 0 later. From step `gap + 1` on, the reward is 1 where the
    action agrees with the sign shown at first, else 0.
    """

    def __init__(
        self,
        batch_size: int,
        episode_length: int,
        gap: int = 3,
        action_type: ActionType = ActionType.Discrete,
        obs_dim: int = 1,
    ) -> None:
        super().__init__(batch_size, episode_length, obs_dim, action_type)
        self._gap = gap
        self._shown = self._zeros()

    def _observe(self, step_type: int, action: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if step_type == StepType.FIRST:
            self._shown = 2.0 * torch.randint(0, 2, self._zeros().shape) - 1
            return self._shown, self._reward_spec.zeros((self._batch_size,))
        if self._step_number <= self._gap:
            return self._zeros(), self._reward_spec.zeros((self._batch_size,))
        wanted = (self._shown[:, 0] + 1) / 2
        chosen = action.reshape(self._batch_size).to(torch.float32)
        return self._zeros(), 1 - (chosen - wanted).abs()


@configurable
class StochasticBranchUnittestEnv(UnittestEnv):
    """A sure reward against a lottery: the first action chooses between them, the last step pays.

    Action 0 leads to a state that pays 0.5; action 1 leads with probability `chance` to one that
    pays 1, else to one that pays 0. The observation is one-hot: start, sure, lucky, unlucky.
    `episode_length` counts the steps after the FIRST one.
    """

    def __init__(self, batch_size: int, episode_length: int = 2, chance: float = 0.75) -> None:
        if episode_length < 2 or not 0 <= chance <= 1:
            raise ValueError(
                f"episode_length is {episode_length}, at least 2; chance is {chance}, from 0 to 1"
            )
        super().__init__(batch_size, episode_length + 1, obs_dim=4)
        self._chance = chance
        self._state = torch.zeros(batch_size, dtype=torch.int64)
        self._pays = torch.tensor([0.0, 0.5, 1.0, 0.0])

    def _observe(self, step_type: int, action: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if step_type == StepType.FIRST:
            self._state = torch.zeros_like(self._state)
        elif self._step_number == 1:
            lottery = torch.where(torch.rand(self._batch_size) < self._chance, 2, 3)
            self._state = torch.where(action == 0, 1, lottery)
        observation = torch.nn.functional.one_hot(self._state, 4).to(torch.float32)
        return observation, self._pays[self._state] * float(step_type == StepType.LAST)


def _marked_as_batched(function: Any) -> Any:
    function.batched = True
    return function


@_marked_as_batched
@configurable
def load(
    environment_name: str, batch_size: int = 1, episode_length: int = 5, **kwargs: Any
) -> AlfEnvironment:
    """One of the environments of this file by its class name."""
    kinds = (
        ValueUnittestEnv,
        PolicyUnittestEnv,
        MixedPolicyUnittestEnv,
        RNNPolicyUnittestEnv,
        StochasticBranchUnittestEnv,
    )
    classes = {c.__name__: c for c in kinds}
    if environment_name not in classes:
        raise ValueError(f"there is no {environment_name!r}; allowed: {sorted(classes)}")
    kwargs.pop("env_id", None)
    return classes[environment_name](batch_size, episode_length, **kwargs)
