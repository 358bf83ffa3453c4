"""Goal reaching: the input of a level is a point that its observation should get to.

The reward is a function of the achieved and the desired goal; hindsight swaps the desired goal for
one that was reached later.

Axis letters: B spans or environments, T records of a span, G goal dimensions.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from alf.data_structures import TimeStep
from alf.tensor_specs import TensorSpec
from alf_layered.allowed import FINITE, POSITIVE, UNIT, check_fields
from alf_layered.goals.hindsight import draw_later
from alf_layered.hierarchy.joints import field_path, field_spec, field_value
from alf_layered.hierarchy.transitions import is_outcome, with_input

Nest = Any
GoalReward = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class ShortestPath:
    """-1 for each decision that does not arrive within `radius` of the goal, else 0; plus
    `offset`.
    """

    radius: float
    offset: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self, radius=POSITIVE, offset=FINITE)

    def __call__(self, achieved: torch.Tensor, desired: torch.Tensor) -> torch.Tensor:
        missed = (achieved - desired).norm(dim=-1) > self.radius
        return self.offset - missed.to(torch.float32)


@dataclass(frozen=True)
class NegativeDistance:
    """`-scale * (distance + offset)`."""

    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self, scale=FINITE, offset=FINITE)

    def __call__(self, achieved: torch.Tensor, desired: torch.Tensor) -> torch.Tensor:
        return -self.scale * ((achieved - desired).norm(dim=-1) + self.offset)


@dataclass(frozen=True)
class Goal:
    """What it means for a level to reach its input.

    The task of such a level ends where the goal is reached and, unless `env_termination`, nowhere
    else: the end of the environment's task is no reason not to bootstrap, because a level that pays
    for every step would seek it, and because where the environment ends, at a goal of its own
    perhaps, there may be a way on to this one.

    Attributes:
        radius: distance within which the goal counts as reached.
        achieved: path of the achieved goal in the level's observation, names joined by dots; "" for
            the observation itself.
        reward: of the achieved and the desired goal, each `[..., G]`, on arrival of a decision;
            None: `ShortestPath(radius)`.
        hindsight: proportion of the sampled spans whose goal is swapped, in [0, 1].
        returns_control: whether the level hands control back as soon as the goal is reached.
        env_termination: whether the end of the environment's task ends this one as well: for
            environments that end where something broke, and rewards that make no relief of it.
    """

    radius: float
    achieved: str = ""
    reward: GoalReward | None = None
    hindsight: float = 0.8
    returns_control: bool = True
    env_termination: bool = False

    def __post_init__(self) -> None:
        check_fields(self, radius=POSITIVE, hindsight=UNIT)

    def check(self, level_spec: Nest, *, level: str) -> None:
        """Raises where a level's input is not a point of its achieved goal's space."""
        spec = (
            field_spec(level_spec.observation, self.achieved)
            if self.achieved
            else level_spec.observation
        )
        goal = level_spec.input
        if (
            not isinstance(goal, TensorSpec)
            or not isinstance(spec, TensorSpec)
            or spec.shape != goal.shape
        ):
            raise ValueError(
                f"level {level!r} should reach its input {goal} with the achieved goal "
                f"{self.achieved or 'observation'!r} {spec}: both must be tensors of the same shape"
            )

    def achieved_goal(self, observation: Nest) -> torch.Tensor:
        """`[..., G]` of a `LevelObservation`."""
        return field_value(observation.observation, self._path(observation))

    def reached(self, observation: Nest) -> torch.Tensor:
        """Where the achieved goal lies within `radius` of the input: `[...]`, bool."""
        return (self.achieved_goal(observation) - observation.input).norm(dim=-1) <= self.radius

    def arrive(self, step: TimeStep) -> TimeStep:
        """The time step with the goal's reward and, where its task ended, discount 0.

        The environment's discount is kept as `env_info["discount"]` where it counts: what is stored
        is judged again in hindsight.
        """
        if self.env_termination:
            step = step._replace(env_info={**step.env_info, "discount": step.discount})
        return self._judged(step)

    def _judged(self, step: TimeStep) -> TimeStep:
        """With the reward and the discount that belong to the goal in the observation."""
        reward = self.reward or ShortestPath(self.radius)
        goes_on = step.env_info["discount" if self.env_termination else "time_discount"]
        return step._replace(
            reward=reward(self.achieved_goal(step.observation), step.observation.input),
            discount=torch.where(self.reached(step.observation), 0.0, goes_on),
        )

    def relabel(self, steps: TimeStep, batch_info: Nest) -> TimeStep:
        """Swaps the goals of a share of the spans for goals achieved later in the same episode.

        All records of the span's first episode get the same goal, achieved at any step of it after
        the span's first: arrivals at every step of a span are learned from, and a goal that lies
        behind a record is as good a goal as others. Records of the next episode keep their own.
        Rewards and discounts are those of the new goal where it is new, and stay as they are
        elsewhere.

        Args:
            steps: `[B, T, ...]`, as sampled.
            batch_info: where they lie in the replay buffer.
        """
        later = draw_later(batch_info, steps.step_type.shape[1], proportion=self.hindsight)
        later_BG = self._stored_goals(
            steps.observation, batch_info.replay_buffer, batch_info.env_ids, later.position
        )
        swapped_BT = later.swapped
        goal_BTG = later_BG.to(steps.observation.input)[:, None].expand_as(steps.observation.input)
        steps = with_input(steps, goal_BTG, swapped_BT)
        # What keeps its goals was judged on arrival, by the goal that held then; the first step of
        # an episode has no reward.
        judged_BT = swapped_BT & is_outcome(steps.step_type)
        judged = self._judged(steps)
        return steps._replace(
            reward=torch.where(judged_BT, judged.reward, steps.reward),
            discount=torch.where(judged_BT, judged.discount, steps.discount),
        )

    def _path(self, observation: Nest) -> tuple[str, ...]:
        """The names that lead to the achieved goal in a `LevelObservation`'s observation."""
        return field_path(observation.observation, self.achieved) if self.achieved else ()

    def _stored_goals(
        self, observation: Nest, buffer: Any, env_ids: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor:
        """`[B, G]`, the goals achieved at chosen records of a replay buffer."""
        path = self._path(observation)
        # The buffer takes a dot for the end of a name: it shows what is above a name with dots.
        known = list(itertools.takewhile(lambda name: "." not in name, path))
        field = ".".join(["time_step.observation.observation", *known])
        return field_value(buffer.get_field(field, env_ids, positions), path[len(known) :])
