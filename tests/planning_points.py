"""Points that move by their actions, and levels that plan for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from alf.data_structures import StepType, TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import (
    CEM,
    Exploration,
    IdentityEncoder,
    KnownModel,
    LevelObservation,
    PlannerLevel,
    StaticPredictor,
)
from alf_layered.models.mixture import Mixture
from alf_layered.models.model import Model

OBSERVATION = TensorSpec((2,))
ACTION = BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)
GOAL = torch.tensor([0.5, -0.3])
SMALL_CEM = CEM(n_samples=64, n_iterations=6, elite_ratio=0.1)

FIRST, MID, LAST = int(StepType.FIRST), int(StepType.MID), int(StepType.LAST)


def step_of(
    observation: torch.Tensor,
    kind: int | list[int] = FIRST,
    *,
    input: Any = (),
    reward: Any = 0.0,
    discount: Any = 1.0,
    action: torch.Tensor | None = None,
    env_ids: list[int] | None = None,
) -> TimeStep:
    rows = len(observation)
    kinds = [kind] * rows if isinstance(kind, int) else kind
    return TimeStep(
        step_type=torch.tensor(kinds, dtype=torch.int32),
        reward=torch.as_tensor(reward).expand(rows).clone(),
        discount=torch.as_tensor(discount).expand(rows).clone(),
        observation=LevelObservation(observation=observation, input=input),
        prev_action=torch.zeros(rows, 2) if action is None else action,
        env_id=torch.tensor(env_ids or list(range(rows)), dtype=torch.int32),
    )


def near(goal: torch.Tensor) -> Callable[..., torch.Tensor]:
    """The reward of a point that moves by its action: minus its squared distance to a goal."""
    return lambda state, context, action: -(state + action - goal).square().sum(-1)


def known_predictor(
    reward: Callable[..., torch.Tensor] = near(GOAL), **kwargs: Any
) -> Callable[..., StaticPredictor]:
    def make(observation_spec: Any, action_spec: Any) -> StaticPredictor:
        return StaticPredictor(
            KnownModel(lambda s, c, a: s + a), None, reward, IdentityEncoder((2,)), **kwargs
        )

    return make


def planning_level(**kwargs: Any) -> PlannerLevel:
    """A level with a known model that always plans, unless said otherwise."""
    options: dict[str, Any] = {
        "predictor_factory": known_predictor(),
        "planner": SMALL_CEM,
        "horizon": 2,
        "exploration": None,
        "training": None,
    }
    return PlannerLevel(OBSERVATION, ACTION, **(options | kwargs))


def exploring_level(exploration: Exploration, **kwargs: Any) -> PlannerLevel:
    return planning_level(exploration=exploration, **kwargs)


def zero_state(level: PlannerLevel, rows: int) -> Any:
    return level.get_initial_rollout_state(rows)


class Disagreeing(Model):
    """Two members that go `+-` the action's square: they disagree by how far it is from 0."""

    def __init__(self) -> None:
        super().__init__(n_models=2)

    def members(self, state: Any, context: Any, action: Any, *, loss_mode: bool = False) -> Mixture:
        sign = torch.tensor([1.0, -1.0]).reshape(2, *[1] * (action.ndim - 1))
        mean = (state + sign * action.square()).unsqueeze(-2)
        return Mixture(
            mean=mean,
            std=torch.ones_like(mean),
            log_weight=mean.new_zeros(mean.shape[:-1]),
            term_prob=mean.new_zeros(mean.shape[:-2]),
        )


def disagreeing(observation_spec: Any = None, action_spec: Any = None) -> StaticPredictor:
    # the task prefers actions of 0
    return StaticPredictor(
        Disagreeing(),
        None,
        lambda s, c, a: -a.square().sum(-1) + 0 * s.sum(-1),
        IdentityEncoder((2,)),
    )


def tensors_of(level: PlannerLevel) -> dict[str, torch.Tensor]:
    """Copies of all that a level keeps."""
    named = [*level.named_parameters(), *level.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in named}
