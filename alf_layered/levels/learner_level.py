"""`LearnerLevel`: an ALF algorithm that learns and decides on the semi-MDP of a level.

Axis letters: B environments or spans, T records of a span.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from alf.algorithms.algorithm import Algorithm
from alf.data_structures import AlgStep, BasicRLInfo, LossInfo, TimeStep
from alf.tensor_specs import TensorSpec
from alf.utils import dist_utils
from alf_layered.goals.goal import Goal
from alf_layered.hierarchy.bounds import Bounds
from alf_layered.hierarchy.constructors import check_constructor
from alf_layered.hierarchy.level import Level, LevelObservation
from alf_layered.hierarchy.on_policy import OnPolicyOptions
from alf_layered.hierarchy.training import TrainingOptions
from alf_layered.hierarchy.transitions import reached
from alf_layered.levels.default_sac import level_sac
from alf_layered.levels.fixed_actions import (
    action_in,
    check_bounded,
    uniform_actions,
    with_action,
    with_decision,
)
from alf_layered.levels.learner_checks import (
    agreed_gamma,
    check_is_for_levels,
    check_random_warm_up,
    check_training,
    has_offline_step,
    is_clone,
)
from alf_layered.networks.flat_observation import flat_spec, flatten_observation

Nest = Any
_REACHED = "seen_when_reached"


class LearnerLevel(Level):
    """Runs an algorithm on the level's semi-MDP.

    Subclasses say what the algorithm observes (`_shown`) and what its decisions earn (`_earned`).

    Args:
        algorithm_ctor: called with `observation_spec`, `action_spec`, `reward_spec`, `config` and
            `debug_summaries`.
        shown_spec: of the observation that `_shown` makes.
        nested_observation: whether the algorithm gets that as it is; otherwise one vector of it.
        learner_action_spec: of the algorithm's actions; None: `action_spec`.
        goal: how the input is a goal to reach; None: the reward is not the goal's.
        random_warm_up: whether rollouts decide uniformly at random in the warm-up.
        gamma: discount factor per environment step; None: the algorithm's.
        state_spec: the level's state spec from the algorithm's; None: they are the same.
    """

    _discounts_search = False
    """Whether the level sets the discount of the algorithm's search."""

    def __init__(
        self,
        observation_spec: Nest,
        action_spec: Nest,
        input_spec: Nest,
        reward_spec: TensorSpec,
        *,
        algorithm_ctor: Callable[..., Algorithm],
        shown_spec: Nest,
        nested_observation: bool,
        learner_action_spec: Nest | None = None,
        goal: Goal | None = None,
        random_warm_up: bool = False,
        gamma: float | None,
        control_interval: int | None,
        training: TrainingOptions | None,
        state_spec: Callable[[Nest], Nest] | None = None,
        optimizer: torch.optim.Optimizer | None,
        config: Any,
        checkpoint: str | None,
        debug_summaries: bool,
        name: str,
    ) -> None:
        check_constructor(algorithm_ctor, f"algorithm_ctor of level {name!r}")
        if random_warm_up:
            check_bounded(action_spec, level=name)
        if goal is not None:
            goal.check(shown_spec, level=name)
            reward_spec = TensorSpec(())
        if config is not None and training is not None:
            config = training.level_config(config)
        learner_action_spec = action_spec if learner_action_spec is None else learner_action_spec
        algorithm = level_sac(algorithm_ctor, optimizer)(
            observation_spec=shown_spec if nested_observation else flat_spec(shown_spec),
            action_spec=learner_action_spec,
            reward_spec=reward_spec,
            config=config,
            debug_summaries=debug_summaries,
        )
        check_is_for_levels(algorithm, level=name)
        self._check_learns(algorithm, training, goal, level=name)
        if random_warm_up:
            check_random_warm_up(algorithm, level=name)
        of_state = state_spec or (lambda spec: spec)
        super().__init__(
            observation_spec,
            action_spec,
            input_spec,
            reward_spec,
            gamma=agreed_gamma(gamma, algorithm, level=name, has_own_search=self._discounts_search),
            control_interval=control_interval,
            training=training,
            train_state_spec=algorithm.train_state_spec,
            rollout_state_spec=of_state(algorithm.rollout_state_spec),
            predict_state_spec=of_state(algorithm.predict_state_spec),
            optimizer=optimizer,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._algorithm = algorithm
        self._shown_spec = shown_spec
        self._nested_observation = nested_observation
        self._goal = goal
        self._random_warm_up = random_warm_up
        self._learner_action_spec = learner_action_spec
        self._bounds = Bounds(learner_action_spec)
        self._info_spec: Nest = None

    @staticmethod
    def _check_learns(
        algorithm: Algorithm, training: TrainingOptions | None, goal: Goal | None, *, level: str
    ) -> None:
        """Raises `ValueError` where the algorithm does not learn as `training` says."""
        check_training(training, algorithm, goal, level=level)

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm that learns and decides."""
        return self._algorithm

    # ---- what is observed -----------------------------------------------------------------------

    def _shown(self, step: TimeStep, state: Nest) -> TimeStep:
        """The time step with the observation of `shown_spec`.

        Args:
            step: `[B, ...]` or `[B, T, ...]`, of the level.
            state: the level's state at a step of a rollout; what was stored of it in training.
        """
        return step

    def _seen(self, step: TimeStep, state: Nest) -> TimeStep:
        """The time step as the algorithm sees it."""
        shown = self._shown(step, state)
        return shown._replace(observation=self._as_learner_sees(shown.observation))

    def _as_learner_sees(self, shown: Nest) -> Nest:
        """An observation of `shown_spec`, or the vector of it."""
        if self._nested_observation:
            return shown
        return flatten_observation(shown, self._shown_spec)

    # ---- what is earned -------------------------------------------------------------------------

    @property
    def may_return_control(self) -> bool:
        has_goal = self._goal is not None and self._goal.returns_control
        has_own_rule = type(self).returns_control is not LearnerLevel.returns_control
        return self.control_interval is not None or has_goal or has_own_rule

    def returns_control(self, step: TimeStep, decisions: torch.Tensor) -> torch.Tensor:
        over = super().returns_control(step, decisions)
        if self._goal is None or not self._goal.returns_control:
            return over
        return over | self._goal.reached(self._shown(step, ()).observation)

    def reached_input(self, observation: LevelObservation) -> Nest | None:
        return None if self._goal is None else self._goal.achieved_goal(observation)

    def arrive(self, step: TimeStep) -> TimeStep:
        if self._goal is None:
            return step
        arrived = self._goal.arrive(self._shown(step, ()))
        return arrived._replace(observation=step.observation)

    def _earned(self, steps: TimeStep, rollout_info: Nest) -> tuple[TimeStep, Nest]:
        """Spans `[B, T, ...]` with the rewards that are learned from, and their info.

        What a goal earns after hindsight is added later.
        """
        return steps, rollout_info

    # ---- acting ---------------------------------------------------------------------------------

    def rollout_step(self, inputs: TimeStep, state: Nest) -> AlgStep:
        return self._explored(self._seen(inputs, state), state)

    def predict_step(self, inputs: TimeStep, state: Nest) -> AlgStep:
        return self._algorithm.predict_step(self._seen(inputs, state), state)._replace(info=())

    def _acts_at_random(self) -> bool:
        return self._random_warm_up and self._training is not None and self._update_clock.warming_up

    def _explored(self, seen: TimeStep, state: Nest) -> AlgStep:
        """A rollout step of the algorithm, with the decision that counts and an info of tensors."""
        at_random = self._acts_at_random()
        random_step = getattr(self._algorithm, "random_step", None)
        if at_random and random_step is not None:  # a search would be for nothing
            return random_step(seen, state)
        step = self._acted(seen, state)
        if at_random:
            return with_decision(
                step, uniform_actions(self._learner_action_spec, len(seen.step_type))
            )
        if isinstance(self._training, OnPolicyOptions):
            # On-policy learners keep what they drew: a policy gradient is unbiased only with the
            # probability of the draw itself.
            return step
        # What is learned from is what was executed.
        return with_decision(step, self._bounds.clip(step.output))

    def _acted(self, seen: TimeStep, state: Nest) -> AlgStep:
        """The algorithm's own step, distributions in its info as parameters."""
        if is_clone(self._algorithm):
            step = self._algorithm.predict_step(seen, state)
            return step._replace(info=BasicRLInfo(action=step.output))
        step = self._algorithm.rollout_step(seen, state)
        if self._info_spec is None:
            self._info_spec = dist_utils.extract_spec(step.info, from_dim=1)
        return step._replace(info=dist_utils.distributions_to_params(step.info))

    # ---- training -------------------------------------------------------------------------------

    def _distributions(self, info: Nest) -> Nest:
        """The algorithm's info with distributions in place of their parameters."""
        if self._info_spec is None:
            return info
        return dist_utils.params_to_distributions(info, self._info_spec)

    def preprocess_experience(
        self, root_inputs: TimeStep, rollout_info: Nest, batch_info: Nest
    ) -> tuple[TimeStep, Nest]:
        """Spans as the algorithm sees them, with the rewards that are learned from."""
        shown, info = self._judged(root_inputs, rollout_info, batch_info)
        seen = shown._replace(observation=self._as_learner_sees(shown.observation))
        if getattr(self._algorithm, "asks_for_reached", False):
            led_to = reached(shown)
            if led_to is not shown.observation:
                env_info = {**seen.env_info, _REACHED: self._as_learner_sees(led_to)}
                seen = seen._replace(env_info=env_info)
        return self._algorithm.preprocess_experience(
            seen, self._distributions(self._learner_info(info)), batch_info
        )

    def _judged(
        self, steps: TimeStep, rollout_info: Nest, batch_info: Nest
    ) -> tuple[TimeStep, Nest]:
        """Spans with observations of `shown_spec`, and the rewards that are learned from."""
        steps, info = self._earned(steps, rollout_info)
        shown = self._shown(steps, info)
        if self._goal is not None and self._goal.hindsight > 0:
            shown = self._goal.relabel(shown, batch_info)
        return shown, info

    def _learner_info(self, info: Nest) -> Nest:
        """The algorithm's part of what is stored with a decision."""
        return info

    def train_step(self, inputs: TimeStep, state: Nest, rollout_info: Nest) -> AlgStep:
        if self._pretrains and has_offline_step(self._algorithm):
            return self._algorithm.train_step_offline(inputs, state, rollout_info, pre_train=True)
        step = self._algorithm.train_step(inputs, state, rollout_info)
        if self._algorithm.on_policy:  # made for its own rollouts, it would act anew
            step = step._replace(info=with_action(step.info, action_in(rollout_info)))
        if isinstance(inputs.env_info, dict) and _REACHED in inputs.env_info:
            step = step._replace(info=step.info._replace(reached=inputs.env_info[_REACHED]))
        return step

    def calc_loss(self, info: Nest) -> LossInfo:
        if self._pretrains and has_offline_step(self._algorithm):
            return self._algorithm.calc_loss_offline(info, pre_train=True)
        return self._algorithm.calc_loss(info)

    def after_update(self, root_inputs: Nest, info: Nest) -> None:
        self._algorithm.after_update(root_inputs, info)

    def after_train_iter(self, root_inputs: Nest, rollout_info: Nest) -> None:
        self._algorithm.after_train_iter(root_inputs, rollout_info)

    def set_path(self, path: str) -> None:
        super().set_path(path)
        self._algorithm.set_path(path)

    def convert_train_state_to_predict_state(self, state: Nest) -> Nest:
        return self._algorithm.convert_train_state_to_predict_state(state)
