"""Points that move by their actions, skills for them, and a planner that knows where they lead."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from alf.algorithms.config import TrainerConfig
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.data_structures import Experience, StepType, TimeStep
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import (
    CategoricalCEM,
    HierarchyAgent,
    IdentityEncoder,
    KnownModel,
    PlannerLevel,
    SkillOptions,
    SPlaTESLevel,
    StaticPredictor,
    TrainingOptions,
    select,
    skill,
)
from alf_layered.hierarchy.rows import where_rows
from tests.planning_points import ACTION, SMALL_CEM

FIRST, MID, LAST = int(StepType.FIRST), int(StepType.MID), int(StepType.LAST)
SKILL = skill(2)
# The planner sees the place alone, skills see the speed alone.
OBSERVATION = {"place": TensorSpec((2,)), "speed": TensorSpec((3,))}


def _predictor(observation_spec: Any, action_spec: Any) -> StaticPredictor:
    return StaticPredictor(
        KnownModel(lambda s, c, a: s + 3 * a[..., :2], action_space=action_spec),
        None,
        lambda s, c, a: -s.square().sum(-1),
        IdentityEncoder((2,)),
        action_spec=action_spec,
    )


def sac(**kwargs: Any) -> SacAlgorithm:
    """A small one."""
    adam = {f"{part}_optimizer": Adam(lr=1e-3) for part in ("actor", "critic", "alpha")}
    return SacAlgorithm(**adam, **kwargs)


def skill_agent(
    level: Any = SPlaTESLevel,
    *,
    joint: BoundedTensorSpec = SKILL,
    interval: int = 3,
    joint_end: Any = "bootstrap",
    seed: int = 0,
    **kwargs: Any,
) -> HierarchyAgent:
    """A planner that knows that skill z moves the place by 3 z, over skills to be learned."""
    torch.manual_seed(seed)
    options: dict[str, Any] = {
        "algorithm_ctor": sac,
        "options": SkillOptions(
            n_skill_samples=9, fixed_std=1.0, normalize=False, after_skill="nothing"
        ),
        "training": TrainingOptions(
            mini_batch_size=8, warm_up=10, replay_buffer_length=100, updates_per_transition=0.1
        ),
    }
    discrete = not joint.dtype.is_floating_point
    return HierarchyAgent(
        OBSERVATION,
        ACTION,
        levels=[
            partial(
                PlannerLevel,
                predictor_factory=_predictor,
                planner=CategoricalCEM(n_samples=16, n_iterations=2) if discrete else SMALL_CEM,
                horizon=2,
                exploration=None,
                training=None,
                name="planner",
            ),
            partial(level, control_interval=interval, name="skills", **(options | kwargs)),
        ],
        joints=[joint],
        observation_maps=[select("place"), select("speed")],
        joint_end=joint_end,
        config=TrainerConfig(root_dir="", mini_batch_length=2),
    )


class Points:
    """B points, point b with episodes of `lengths[b]` steps, half of them ended by termination.

    The place of point b at step t of its episode e is (100 b + 10 e, t), whatever it does.
    """

    def __init__(self, agent: HierarchyAgent, lengths: list[int]) -> None:
        self.agent = agent
        self.lengths = torch.tensor(lengths)
        self.t = torch.zeros_like(self.lengths)
        self.episode = torch.zeros_like(self.lengths)
        rows = len(lengths)
        self.initial = agent.get_initial_rollout_state(rows)
        self.state = self.initial
        for level in agent.levels:
            if level.training_options is not None:
                level.set_replay_buffer(rows, level.training_options.replay_buffer_length)

    def time_step(self) -> TimeStep:
        rows = len(self.lengths)
        place = torch.stack(
            [100.0 * torch.arange(rows) + 10.0 * self.episode, self.t.float()], dim=1
        )
        kind = torch.where(self.t == 0, FIRST, MID)
        kind = torch.where(self.t == self.lengths, LAST, kind).int()
        terminates = (kind == LAST) & (self.episode % 2 == 1)
        return TimeStep(
            step_type=kind,
            reward=torch.ones(rows),
            discount=torch.where(terminates, 0.0, 1.0),
            observation={"place": place, "speed": torch.zeros(rows, 3)},
            prev_action=torch.zeros(rows, 2),
            env_id=torch.arange(rows, dtype=torch.int32),
            env_info=(),
        )

    def live(self, steps: int, *, train: bool = False) -> list[tuple[TimeStep, Any]]:
        """Steps the agent; returns time steps and the states after them."""
        seen = []
        for _ in range(steps):
            step = self.time_step()
            state = where_rows(step.step_type == FIRST, self.initial, self.state)
            decided = self.agent.rollout_step(step, state)
            self.agent.observe_for_replay(
                Experience(
                    time_step=step, action=decided.output, rollout_info=decided.info, state=state
                )
            )
            self.state = decided.state
            seen.append((step, decided.state))
            if train:
                self.agent.train_from_replay_buffer()
            ended = self.t == self.lengths
            self.episode = self.episode + ended.long()
            self.t = torch.where(ended, 0, self.t + 1)
        return seen
