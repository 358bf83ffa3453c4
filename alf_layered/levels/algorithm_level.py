"""Any ALF algorithm as a level of a hierarchy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import alf
from alf.algorithms.algorithm import Algorithm
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.data_structures import AlgStep, Experience, TimeStep
from alf.tensor_specs import TensorSpec
from alf_layered.allowed import AT_LEAST_1, SHARE, checked
from alf_layered.goals.goal import Goal
from alf_layered.hierarchy.joints import option
from alf_layered.hierarchy.level import LevelObservation
from alf_layered.hierarchy.on_policy import OnPolicyOptions
from alf_layered.hierarchy.training import TrainingOptions
from alf_layered.levels.auxiliary_phase import AuxiliaryPhase, auxiliary_part
from alf_layered.levels.default_sac import default_sac
from alf_layered.levels.fixed_actions import as_actions, nearest, with_decision
from alf_layered.levels.learner_checks import check_learns_from_others
from alf_layered.levels.learner_level import LearnerLevel
from alf_layered.networks.constant_buffers import register_constant

Nest = Any


@alf.configurable
@checked(gamma=SHARE, control_interval=AT_LEAST_1)
class AlgorithmLevel(LearnerLevel):
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
        if choices is not None:
            choices = as_actions(choices, action_spec, level=name, leading=1)
        super().__init__(
            observation_spec,
            action_spec,
            input_spec,
            reward_spec,
            algorithm_ctor=algorithm_ctor,
            shown_spec=LevelObservation(observation=observation_spec, input=input_spec),
            nested_observation=nested_observation,
            learner_action_spec=None if choices is None else option(len(choices)),
            goal=goal,
            random_warm_up=random_warm_up,
            gamma=gamma,
            control_interval=control_interval,
            training=training,
            optimizer=optimizer,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        register_constant(self, "_choices", choices)
        self._auxiliary = None
        auxiliary = auxiliary_part(self._algorithm)
        if auxiliary is not None and isinstance(training, OnPolicyOptions):
            self._auxiliary = AuxiliaryPhase(auxiliary, training, name=name)
        if self._algorithm.use_rollout_state:
            self.use_rollout_state = True  # it learns from states that the level has to store

    # ---- decisions among choices ----------------------------------------------------------------

    def rollout_step(self, inputs: TimeStep, state: Nest) -> AlgStep:
        return self._chosen(super().rollout_step(inputs, state))

    def predict_step(self, inputs: TimeStep, state: Nest) -> AlgStep:
        return self._chosen(super().predict_step(inputs, state))

    def told_step(self, inputs: TimeStep, state: Nest, decision: Nest) -> AlgStep:
        if self._training is None or not self._training.uses_offline_data:
            return super().told_step(inputs, state, decision)
        check_learns_from_others(self._algorithm, level=self.name)
        step = self._acted(self._seen(inputs, state), state)
        if self._choices is not None:
            decision = nearest(self._choices, decision)
        return self._chosen(with_decision(step, decision))

    def _chosen(self, step: AlgStep) -> AlgStep:
        """The step with the decision that the algorithm's action stands for."""
        return step if self._choices is None else step._replace(output=self._choices[step.output])

    # ---- learning in rounds ---------------------------------------------------------------------

    def observe_for_replay(self, exp: Experience) -> None:
        super().observe_for_replay(exp)
        if self._auxiliary is not None:
            exp = exp._replace(
                time_step=self._seen(exp.time_step, exp.state),
                rollout_info=self._distributions(exp.rollout_info),
            )
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

    def after_train_iter(self, root_inputs: Nest, rollout_info: Nest) -> None:
        if self._auxiliary is None:
            super().after_train_iter(root_inputs, rollout_info)
