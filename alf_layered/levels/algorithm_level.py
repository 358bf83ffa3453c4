"""Any ALF algorithm as a level of a hierarchy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import alf
from alf.algorithms.algorithm import Algorithm
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.data_structures import AlgStep, BasicRLInfo, Experience, LossInfo, TimeStep
from alf.tensor_specs import TensorSpec
from alf.utils import dist_utils
from alf_layered.allowed import AT_LEAST_1, SHARE, checked
from alf_layered.goals.goal import Goal
from alf_layered.hierarchy.bounds import Bounds
from alf_layered.hierarchy.constructors import check_constructor
from alf_layered.hierarchy.joints import option
from alf_layered.hierarchy.level import Level, LevelObservation
from alf_layered.hierarchy.on_policy import OnPolicyOptions
from alf_layered.hierarchy.training import TrainingOptions
from alf_layered.hierarchy.transitions import reached
from alf_layered.levels.auxiliary_phase import AuxiliaryPhase, auxiliary_part
from alf_layered.levels.default_sac import default_sac, level_sac
from alf_layered.levels.fixed_actions import (
    action_in,
    as_actions,
    check_bounded,
    nearest,
    uniform_actions,
    with_action,
    with_decision,
)
from alf_layered.levels.learner_checks import (
    agreed_gamma,
    check_is_for_levels,
    check_learns_from_others,
    check_random_warm_up,
    check_training,
    has_offline_step,
    is_clone,
)
from alf_layered.networks.constant_buffers import register_constant
from alf_layered.networks.flat_observation import flat_spec, flatten_observation

Nest = Any


@alf.configurable
@checked(gamma=SHARE, control_interval=AT_LEAST_1)
class AlgorithmLevel(Level):
    """Runs an ALF algorithm on the level's semi-MDP.

    Args:
        algorithm_ctor: called with `observation_spec`, `action_spec`, `reward_spec`, `config` and
            `debug_summaries`; optimizers belong to it, one set for each level. The default is
            `SacAlgorithm`, with hidden layers and Adam where `alf.config` says nothing of them.
        gamma: discount factor per environment step; None: the one of the algorithm's losses or
            search. Two that differ are an error.
        nested_observation: whether the algorithm gets the `LevelObservation` as it is; otherwise
            one vector of everything in it, observation first.
        goal: how the input is a goal to reach; None: the reward is the environment's.
        random_warm_up: whether rollouts decide uniformly at random until `training.warm_up`
            transitions are stored; needs a bounded action spec. Not for TAAC, which does so itself.
        choices: the decisions among which the algorithm chooses by their number, `[A, ...]`: so a
            learner of discrete actions, such as DQN, gives subgoals; None: it decides freely.
        training: `OnPolicyOptions` for PPO, PPG, actor-critic and TRAC, and for them only.
    """

    _choices: torch.Tensor | None
    _discounts_search = False  # whether the level sets the discount of the algorithm's search

    def __init__(
        self,
        observation_spec: Nest,
        action_spec: Nest,
        input_spec: Nest = (),
        reward_spec: TensorSpec = TensorSpec(()),
        *,
        algorithm_ctor: Callable[..., Algorithm] = default_sac,
        gamma: float | None = None,
        nested_observation: bool = False,
        goal: Goal | None = None,
        random_warm_up: bool = False,
        choices: Any = None,
        control_interval: int | None = None,
        training: TrainingOptions | None = TrainingOptions(),
        optimizer: torch.optim.Optimizer | None = None,
        config: Any = None,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "AlgorithmLevel",
    ) -> None:
        level_spec = LevelObservation(observation=observation_spec, input=input_spec)
        check_constructor(algorithm_ctor, f"algorithm_ctor of level {name!r}")
        if random_warm_up:
            check_bounded(action_spec, level=name)
        if goal is not None:
            goal.check(level_spec, level=name)
            reward_spec = TensorSpec(())
        if config is not None and training is not None:
            config = training.level_config(config)
        if choices is not None:
            choices = as_actions(choices, action_spec, level=name, leading=1)
        algorithm_action_spec = action_spec if choices is None else option(len(choices))
        algorithm = level_sac(algorithm_ctor, optimizer)(
            observation_spec=level_spec if nested_observation else flat_spec(level_spec),
            action_spec=algorithm_action_spec,
            reward_spec=reward_spec,
            config=config,
            debug_summaries=debug_summaries,
        )
        check_is_for_levels(algorithm, level=name)
        check_training(training, algorithm, goal, level=name)
        if random_warm_up:
            check_random_warm_up(algorithm, level=name)
        super().__init__(
            observation_spec,
            action_spec,
            input_spec,
            reward_spec,
            gamma=agreed_gamma(gamma, algorithm, level=name, has_own_search=self._discounts_search),
            control_interval=control_interval,
            training=training,
            train_state_spec=algorithm.train_state_spec,
            rollout_state_spec=algorithm.rollout_state_spec,
            predict_state_spec=algorithm.predict_state_spec,
            optimizer=optimizer,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._algorithm = algorithm
        self._nested_observation = nested_observation
        self._goal = goal
        self._random_warm_up = random_warm_up
        self._algorithm_action_spec = algorithm_action_spec
        register_constant(self, "_choices", choices)
        self._info_spec: Nest = None
        self._bounds = Bounds(algorithm_action_spec)
        self._auxiliary = None
        auxiliary = auxiliary_part(algorithm)
        if auxiliary is not None and isinstance(training, OnPolicyOptions):
            self._auxiliary = AuxiliaryPhase(auxiliary, training, name=name)
        if algorithm.use_rollout_state:
            self.use_rollout_state = True  # it learns from states that the level has to store

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm that learns and decides."""
        return self._algorithm

    # ---- the semi-MDP ---------------------------------------------------------------------------

    @property
    def may_return_control(self) -> bool:
        has_goal = self._goal is not None and self._goal.returns_control
        has_own_rule = type(self).returns_control is not AlgorithmLevel.returns_control
        return self.control_interval is not None or has_goal or has_own_rule

    def returns_control(self, step: TimeStep, decisions: torch.Tensor) -> torch.Tensor:
        over = super().returns_control(step, decisions)
        if self._goal is None or not self._goal.returns_control:
            return over
        return over | self._goal.reached(step.observation)

    def arrive(self, step: TimeStep) -> TimeStep:
        return step if self._goal is None else self._goal.arrive(step)

    # ---- the algorithm's own steps, on what it observes -----------------------------------------

    def rollout_step(self, inputs: TimeStep, state: Nest) -> AlgStep:
        step = self._acted(inputs, state)
        if self._random_warm_up and self._training is not None and self._update_clock.warming_up:
            action = uniform_actions(self._algorithm_action_spec, len(inputs.step_type))
            step = with_decision(step, action)
        elif not isinstance(self._training, OnPolicyOptions):
            # What is learned from is what was executed. On-policy learners keep what they drew: a
            # policy gradient is unbiased only with the probability of the draw itself.
            step = with_decision(step, self._bounds.clip(step.output))
        return self._chosen(step)

    def predict_step(self, inputs: TimeStep, state: Nest) -> AlgStep:
        return self._chosen(
            self._algorithm.predict_step(self._seen(inputs), state)._replace(info=())
        )

    def told_step(self, inputs: TimeStep, state: Nest, decision: Nest) -> AlgStep:
        if self._training is None or not self._training.uses_offline_data:
            return super().told_step(inputs, state, decision)
        check_learns_from_others(self._algorithm, level=self.name)
        step = self._acted(inputs, state)
        if self._choices is not None:
            decision = nearest(self._choices, decision)
        return self._chosen(with_decision(step, decision))

    def reached_input(self, observation: LevelObservation) -> Nest | None:
        return None if self._goal is None else self._goal.achieved_goal(observation)

    def _acted(self, inputs: TimeStep, state: Nest) -> AlgStep:
        """The algorithm's own step, distributions in its info as parameters."""
        if is_clone(self._algorithm):
            step = self._algorithm.predict_step(self._seen(inputs), state)
            return step._replace(info=BasicRLInfo(action=step.output))
        step = self._algorithm.rollout_step(self._seen(inputs), state)
        if self._info_spec is None:
            self._info_spec = dist_utils.extract_spec(step.info, from_dim=1)
        return step._replace(info=dist_utils.distributions_to_params(step.info))

    def _chosen(self, step: AlgStep) -> AlgStep:
        """The step with the decision that the algorithm's action stands for."""
        return step if self._choices is None else step._replace(output=self._choices[step.output])

    def train_step(self, inputs: TimeStep, state: Nest, rollout_info: Nest) -> AlgStep:
        if self._pretrains and has_offline_step(self._algorithm):
            seen = self._seen(inputs)
            return self._algorithm.train_step_offline(seen, state, rollout_info, pre_train=True)
        step = self._algorithm.train_step(self._seen(inputs), state, rollout_info)
        if self._algorithm.on_policy:  # made for its own rollouts, it would act anew
            step = step._replace(info=with_action(step.info, action_in(rollout_info)))
        led_to = reached(inputs)
        if led_to is not inputs.observation and getattr(self._algorithm, "asks_for_reached", False):
            led_to = self._seen(inputs._replace(observation=led_to)).observation
            step = step._replace(info=step.info._replace(reached=led_to))
        return step

    def preprocess_experience(
        self, root_inputs: TimeStep, rollout_info: Nest, batch_info: Nest
    ) -> tuple[TimeStep, Nest]:
        if self._goal is not None and self._goal.hindsight > 0:
            root_inputs = self._goal.relabel(root_inputs, batch_info)
        if self._info_spec is not None:
            rollout_info = dist_utils.params_to_distributions(rollout_info, self._info_spec)
        return self._algorithm.preprocess_experience(root_inputs, rollout_info, batch_info)

    def observe_for_replay(self, exp: Experience) -> None:
        super().observe_for_replay(exp)
        if self._auxiliary is not None:
            info = dist_utils.params_to_distributions(exp.rollout_info, self._info_spec)
            exp = exp._replace(time_step=self._seen(exp.time_step), rollout_info=info)
            assert self._replay_buffer_num_envs is not None
            self._auxiliary.observe(exp, self._replay_buffer_num_envs)

    def train_from_replay_buffer(self, update_global_counter: bool = False) -> int:
        if not isinstance(self._training, OnPolicyOptions):
            return super().train_from_replay_buffer(update_global_counter)
        buffer: Any = self._replay_buffer
        if self._update_clock.take_due(buffer is not None and buffer.has_spans(2)) == 0:
            return 0
        steps = OffPolicyAlgorithm.train_from_replay_buffer(self, update_global_counter)
        buffer.keep_newest()
        if self._auxiliary is not None:
            self._auxiliary.train_if_due()
        return steps

    def calc_loss(self, info: Nest) -> LossInfo:
        if self._pretrains and has_offline_step(self._algorithm):
            return self._algorithm.calc_loss_offline(info, pre_train=True)
        return self._algorithm.calc_loss(info)

    def after_update(self, root_inputs: Nest, info: Nest) -> None:
        self._algorithm.after_update(root_inputs, info)

    def after_train_iter(self, root_inputs: Nest, rollout_info: Nest) -> None:
        if self._auxiliary is None:
            self._algorithm.after_train_iter(root_inputs, rollout_info)

    def set_path(self, path: str) -> None:
        super().set_path(path)
        self._algorithm.set_path(path)

    def convert_train_state_to_predict_state(self, state: Nest) -> Nest:
        return self._algorithm.convert_train_state_to_predict_state(state)

    def _seen(self, step: TimeStep) -> TimeStep:
        if self._nested_observation:
            return step
        return step._replace(
            observation=flatten_observation(step.observation, self.observation_spec)
        )
