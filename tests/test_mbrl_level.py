"""Model-based RL as a level: it learns the dynamics of its level's decisions and plans in them."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from alf.algorithms.dynamics_learning_algorithm import DeterministicDynamicsAlgorithm
from alf.algorithms.mbrl_algorithm import MbrlAlgorithm
from alf.algorithms.planning_algorithm import RandomShootingAlgorithm
from alf.algorithms.reward_learning_algorithm import FixedRewardFunction
from alf.data_structures import StepType, TimeStep
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import AlgorithmLevel, HierarchyAgent, RandomLevel, option, skill
from tests.small_learners import REPLAY, small_config

OBSERVATION = TensorSpec((1,))
ACTION = BoundedTensorSpec((1,), minimum=-1.0, maximum=1.0)


class Crossed:
    """Rows of x' = clip(x - 0.3 a, -1, 1), paid by -|x|; an episode of 8 steps starts anywhere."""

    def __init__(self, batch_size: int = 16) -> None:
        self.batch_size = batch_size
        self.reset()

    def reset(self) -> TimeStep:
        self._count = 0
        self._time_step = self._make(
            2 * torch.rand(self.batch_size, 1) - 1, torch.zeros(self.batch_size, 1)
        )
        return self._time_step

    def current_time_step(self) -> TimeStep:
        return self._time_step

    def step(self, action: Tensor) -> TimeStep:
        if self._count == 8:
            return self.reset()
        self._count += 1
        where = (self._time_step.observation - 0.3 * action).clamp(-1, 1)
        self._time_step = self._make(where, action)
        return self._time_step

    def _make(self, where: Tensor, action: Tensor) -> TimeStep:
        kind = {0: StepType.FIRST, 8: StepType.LAST}.get(self._count, StepType.MID)
        return TimeStep(
            step_type=torch.full((self.batch_size,), int(kind), dtype=torch.int32),
            reward=-where[:, 0].abs() * float(self._count > 0),
            discount=torch.ones(self.batch_size),
            observation=where,
            prev_action=action,
            env_id=torch.arange(self.batch_size, dtype=torch.int32),
            env_info={},
        )


def _reward(observation: Tensor, action: Tensor) -> Tensor:
    """What a level's observation begins with is the environment's."""
    return -observation[:, 0].abs()


def _level(**options: Any) -> partial:
    algorithm = partial(
        MbrlAlgorithm,
        reward_module=FixedRewardFunction(_reward),
        planner_module_ctor=partial(
            RandomShootingAlgorithm, population_size=50, planning_horizon=3
        ),
        dynamics_module_ctor=partial(DeterministicDynamicsAlgorithm, hidden_size=(32,)),
        dynamics_optimizer=Adam(lr=1e-2),
    )
    return partial(AlgorithmLevel, algorithm_ctor=algorithm, training=REPLAY, **options)


def _agent(levels: list[Any], joints: list[Any]) -> HierarchyAgent:
    torch.manual_seed(1)
    return HierarchyAgent(
        OBSERVATION, ACTION, levels=levels, joints=joints, env=Crossed(), config=small_config()
    )


@torch.no_grad()
def _final_distance(agent: HierarchyAgent) -> float:
    env = Crossed(64)
    step, state = env.reset(), agent.get_initial_predict_state(64)
    for _ in range(8):
        acted = agent.predict_step(step, state)
        state, step = acted.state, env.step(acted.output)
    return float(step.observation.abs().mean())


@pytest.mark.parametrize("place", ["alone", "under random options"])
def test_it_learns_what_its_actions_do(place: str) -> None:
    """Where the actions are random an episode ends at 0.54 (measured)."""
    if place == "alone":
        agent = _agent([_level(name="low")], [])
    else:
        low = _level(control_interval=2, name="low")
        agent = _agent([partial(RandomLevel, name="top"), low], [option(3)])
    for _ in range(40):
        agent.train_iter()
    assert _final_distance(agent) < 0.2


def test_it_trains_above_another_level() -> None:
    low = partial(RandomLevel, control_interval=2, name="low")
    agent = _agent([_level(name="top"), low], [skill(1)])
    model = agent.levels[0].algorithm._dynamics_module
    before = [p.detach().clone() for p in model.parameters()]
    for _ in range(10):
        agent.train_iter()
    assert any(not x.equal(y) for x, y in zip(before, model.parameters(), strict=True))
