"""TD-MPC2 as a level: plans in the latent space of a model that it learns."""

from __future__ import annotations

import dataclasses
from typing import Any

import alf
from alf.algorithms.config import TrainerConfig
from alf.data_structures import AlgStep, LossInfo, TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered.allowed import AT_LEAST_1, SHARE, checked
from alf_layered.goals.goal import Goal
from alf_layered.hierarchy.level import Level, LevelObservation
from alf_layered.hierarchy.on_policy import check_replays
from alf_layered.hierarchy.training import TrainingOptions
from alf_layered.hierarchy.transitions import reached
from alf_layered.tdmpc2.checks import check_spaces
from alf_layered.tdmpc2.records import TDMPC2State
from alf_layered.tdmpc2.settings import TDMPC2Settings
from alf_layered.tdmpc2.tdmpc2_algorithm import TDMPC2Algorithm

Nest = Any


@alf.configurable
@checked(gamma=SHARE, control_interval=AT_LEAST_1)
class TDMPC2Level(Level):
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

    costly = True

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
        if goal is not None:
            if not goal_based:
                raise ValueError(f"level {name!r} has a goal, but goal_based=False")
            goal.check(seen_spec, level=name)
        training = dataclasses.replace(training, mini_batch_length=settings.horizon + 1)
        own_config = None if config is None else training.level_config(config)
        algorithm = TDMPC2Algorithm(
            observation_spec=seen_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            settings=settings,
            gamma=gamma,
            goal_field="input" if goal_based else None,
            config=own_config,
            debug_summaries=debug_summaries,
        )
        super().__init__(
            observation_spec,
            action_spec,
            input_spec,
            reward_spec,
            gamma=gamma,
            control_interval=control_interval,
            training=training,
            rollout_state_spec=algorithm.rollout_state_spec,
            predict_state_spec=algorithm.predict_state_spec,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._algorithm = algorithm
        self._encodes_goal = goal_based
        self._goal = goal
        self._desired_goal = desired_goal

    @property
    def algorithm(self) -> TDMPC2Algorithm:
        """What learns and decides."""
        return self._algorithm

    # ---- the semi-MDP ---------------------------------------------------------------------------

    @property
    def may_return_control(self) -> bool:
        has_goal = self._goal is not None and self._goal.returns_control
        has_own_rule = type(self).returns_control is not TDMPC2Level.returns_control
        return self.control_interval is not None or has_goal or has_own_rule

    def returns_control(self, step: TimeStep, decisions: Any) -> Any:
        over = super().returns_control(step, decisions)
        if self._goal is None or not self._goal.returns_control:
            return over
        return over | self._goal.reached(self._seen(step).observation)

    def arrive(self, step: TimeStep) -> TimeStep:
        if self._goal is None:
            return step
        arrived = self._goal.arrive(self._seen(step))
        return arrived._replace(observation=step.observation)

    # ---- the algorithm's own steps --------------------------------------------------------------

    def rollout_step(self, inputs: TimeStep, state: TDMPC2State) -> AlgStep:
        if self._update_clock.warming_up:
            return self._algorithm.random_step(inputs, state)
        return self._algorithm.rollout_step(self._seen(inputs), state)

    def predict_step(self, inputs: TimeStep, state: TDMPC2State) -> AlgStep:
        return self._algorithm.predict_step(self._seen(inputs), state)

    def told_step(self, inputs: TimeStep, state: TDMPC2State, decision: Nest) -> AlgStep:
        return self._algorithm.random_step(inputs, state)._replace(output=decision)

    def reached_input(self, observation: LevelObservation) -> Nest | None:
        if self._goal is None or self._desired_goal is not None:
            return None
        return self._goal.achieved_goal(observation)

    def preprocess_experience(
        self, root_inputs: TimeStep, rollout_info: Nest, batch_info: Nest
    ) -> tuple[TimeStep, Nest]:
        """Swaps goals in hindsight, with the rewards that belong to them."""
        steps = self._seen(root_inputs)
        if self._goal is not None and self._goal.hindsight > 0:
            steps = self._goal.relabel(steps, batch_info)
        return steps, rollout_info

    def train_step(self, inputs: TimeStep, state: Nest, rollout_info: Nest) -> AlgStep:
        step = self._algorithm.train_step(inputs, state, rollout_info)
        led_to = reached(inputs)
        if self._encodes_goal or led_to is inputs.observation:
            return step
        return step._replace(info=step.info._replace(reached=led_to))

    def calc_loss(self, info: Nest) -> LossInfo:
        return self._algorithm.calc_loss(info)

    def after_update(self, root_inputs: Nest, info: Nest) -> None:
        self._algorithm.after_update(root_inputs, info)

    def set_path(self, path: str) -> None:
        super().set_path(path)
        self._algorithm.set_path(path)

    # ---- what the algorithm sees ----------------------------------------------------------------

    def _seen(self, step: TimeStep) -> TimeStep:
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
