"""TD-MPC2 as a level: plans in the latent space of a model that it learns."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, cast

import alf
from alf.algorithms.config import TrainerConfig
from alf.data_structures import AlgStep, TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered.allowed import AT_LEAST_1, SHARE, checked
from alf_layered.goals.goal import Goal
from alf_layered.hierarchy.level import LevelObservation
from alf_layered.hierarchy.on_policy import check_replays
from alf_layered.hierarchy.training import TrainingOptions
from alf_layered.levels.learner_level import LearnerLevel
from alf_layered.tdmpc2.checks import check_spaces
from alf_layered.tdmpc2.records import TDMPC2State
from alf_layered.tdmpc2.settings import TDMPC2Settings
from alf_layered.tdmpc2.tdmpc2_algorithm import TDMPC2Algorithm

Nest = Any


@alf.configurable
@checked(gamma=SHARE, control_interval=AT_LEAST_1)
class TDMPC2Level(LearnerLevel):
    """Learns a world model of its semi-MDP and plans with it; decides at random in the warm-up.

    Args:
        settings: of networks, learning and planning.
        goal_based: whether the input conditions reward, termination, policy and action values
            through an encoder of its own, but not the dynamics; otherwise observation and input
            are encoded together. None: where there is a `goal`.
        goal: how the input is a goal to reach, with a reward and hindsight; None: the reward is the
            environment's.
        desired_goal: the entry of the observation that is the input of a level that gets none from
            above, in goal-conditioned environments.
        gamma: discount factor per environment step.
        training: spans are always of `horizon + 1` records, whatever `mini_batch_length` is.
    """

    active_rows_only = True

    def __init__(
        self,
        observation_spec: Nest,
        action_spec: BoundedTensorSpec,
        input_spec: Nest = (),
        reward_spec: TensorSpec = TensorSpec(()),
        *,
        settings: TDMPC2Settings = TDMPC2Settings(),
        goal_based: bool | None = None,
        goal: Goal | None = None,
        desired_goal: str | None = None,
        gamma: float = 0.99,
        control_interval: int | None = None,
        training: TrainingOptions = TrainingOptions(warm_up=2000),
        config: TrainerConfig | None = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "TDMPC2Level",
    ) -> None:
        check_spaces(action_spec, reward_spec, name=name)
        check_replays(training, level=name)
        if training.priority_replay:
            raise ValueError(
                f"level {name!r} has priority_replay=True, but its loss gives no priorities"
            )
        goal_based = goal is not None if goal_based is None else goal_based
        level_spec = LevelObservation(observation_spec, input_spec)
        if desired_goal is not None:
            _check_desired_goal(level_spec, desired_goal, level=name)
        seen_spec = _with_goal(level_spec, desired_goal)
        if goal_based and not alf.nest.flatten(seen_spec.input):
            raise ValueError(
                f"level {name!r} is goal_based, but gets no input from above and has no "
                "desired_goal"
            )
        if goal is not None and not goal_based:
            raise ValueError(f"level {name!r} has a goal, but goal_based=False")
        super().__init__(
            observation_spec,
            action_spec,
            input_spec,
            reward_spec,
            algorithm_ctor=partial(
                TDMPC2Algorithm,
                settings=settings,
                gamma=gamma,
                goal_field="input" if goal_based else None,
            ),
            shown_spec=seen_spec,
            nested_observation=True,
            goal=goal,
            random_warm_up=True,
            gamma=gamma,
            control_interval=control_interval,
            training=dataclasses.replace(training, mini_batch_length=settings.horizon + 1),
            optimizer=None,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._desired_goal = desired_goal

    @property
    def algorithm(self) -> TDMPC2Algorithm:
        """What learns and decides."""
        return cast("TDMPC2Algorithm", self._algorithm)

    def told_step(self, inputs: TimeStep, state: TDMPC2State, decision: Nest) -> AlgStep:
        return self.algorithm.random_step(inputs, state)._replace(output=decision)

    def reached_input(self, observation: LevelObservation) -> Nest | None:
        return None if self._desired_goal is not None else super().reached_input(observation)

    def _shown(self, step: TimeStep, state: Nest) -> TimeStep:
        return step._replace(observation=_with_goal(step.observation, self._desired_goal))


def _with_goal(observation: LevelObservation, desired_goal: str | None) -> LevelObservation:
    """An observation, or its spec, whose input is the goal that the environment names."""
    if desired_goal is None:
        return observation
    rest = {k: v for k, v in observation.observation.items() if k != desired_goal}
    return LevelObservation(observation=rest, input=observation.observation[desired_goal])


def _check_desired_goal(spec: LevelObservation, key: str, *, level: str) -> None:
    if alf.nest.flatten(spec.input):
        raise ValueError(
            f"level {level!r} has desired_goal={key!r}, but gets an input from above as well"
        )
    if not isinstance(spec.observation, dict) or key not in spec.observation:
        has = sorted(spec.observation) if isinstance(spec.observation, dict) else spec.observation
        raise ValueError(
            f"desired_goal={key!r} of level {level!r} is no entry of its observation, which has "
            f"{has}"
        )
