"""Representations learnt as the model of MuZero, for MuZero itself or for any RL algorithm."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from alf.algorithms.config import TrainerConfig
from alf.algorithms.muzero.reanalyze import LinearTdStepFunc
from alf.algorithms.muzero.representation import MuzeroInfo, MuzeroRepresentationImpl
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.config_util import configurable
from alf.data_structures import AlgStep, Experience, LossInfo, TimeStep
from alf.experience_replayers.replay_buffer import BatchInfo
from alf.nest import nest
from alf.summary import summary_ops as summary
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

__all__ = [
    "AlgStep",
    "LinearTdStepFunc",
    "LossInfo",
    "MuzeroInfo",
    "MuzeroRepresentationImpl",
    "MuzeroRepresentationLearner",
    "MuzeroRepresentationTrainingOptions",
    "TimeStep",
]


class MuzeroRepresentationTrainingOptions(NamedTuple):
    """How `MuzeroRepresentationLearner` trains, whatever the RL algorithm beside it does.

    Attributes:
        interval: train in every so many iterations.
        mini_batch_length: as in `TrainerConfig`, as are the next.
        initial_collect_steps: records before the first update.
        priority_replay: sample by the loss.
    """

    interval: int = 1
    mini_batch_length: int = 1
    mini_batch_size: int = 256
    num_updates_per_train_iter: int = 10
    replay_buffer_length: int = 100000
    initial_collect_steps: int = 2000
    priority_replay: bool = True
    priority_replay_alpha: float = 1.2
    priority_replay_beta: float = 0.0

    def own_config(self, config: TrainerConfig) -> TrainerConfig:
        """A copy of the trainer's configuration with these settings."""
        own = copy.copy(config)
        for name in self._fields:
            if name != "interval":
                setattr(own, name, getattr(self, name))
        own.whole_replay_buffer_training = False
        own.clear_replay_buffer = False
        own.use_rollout_state = False
        own.data_transformer = None  # what the learner is shown has been transformed
        return own


@configurable
class MuzeroRepresentationLearner(OffPolicyAlgorithm):
    """`MuzeroRepresentationImpl` as the representation learner of an `Agent`.

    It has a replay buffer of its own, and trains after each iteration of the agent.

    Args:
        observation_spec: of the observations.
        action_spec: of the actions.
        config: the trainer's.
        training_options: None: it does not learn.
        reward_spec: of the rewards.
        impl_cls: called with ``observation_spec``, ``action_spec``, ``reward_spec``, ``config`` and
            ``debug_summaries``; needs an optimizer.
    """

    _num_iterations: Tensor

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        config: TrainerConfig | None,
        training_options: MuzeroRepresentationTrainingOptions | None = None,
        reward_spec: TensorSpec = TensorSpec(()),
        impl_cls: Callable[..., MuzeroRepresentationImpl] = MuzeroRepresentationImpl,
        debug_summaries: bool = False,
        name: str = "MuZeroRepresentationLearner",
    ) -> None:
        if training_options is not None and training_options.interval < 1:
            raise ValueError(
                f"{name}: training_options.interval is {training_options.interval}, it must be at "
                "least 1"
            )
        own_config = config
        if config is not None and training_options is not None:
            own_config = training_options.own_config(config)
        impl = impl_cls(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            config=own_config,
            debug_summaries=debug_summaries,
        )
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            train_state_spec=(),
            reward_spec=reward_spec,
            config=config,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._impl = impl
        self._training_options = training_options
        self.register_buffer("_num_iterations", torch.zeros((), dtype=torch.int64, device="cpu"))

    def _trainable_attributes_to_ignore(self) -> list[str]:
        return ["_impl"]

    @property
    def output_spec(self) -> TensorSpec:
        """Spec of the representation."""
        return self._impl.model.repr_spec

    def predict_step(self, time_step: TimeStep, state: Any) -> AlgStep:
        return self._impl.predict_step(time_step, state)

    def rollout_step(self, time_step: TimeStep, state: Any) -> AlgStep:
        return self._impl.rollout_step(time_step, state)

    def preprocess_experience(
        self, root_inputs: TimeStep, rollout_info: Any, batch_info: BatchInfo
    ) -> tuple[TimeStep, Any]:
        """Nothing: what the model learns from is prepared when it learns."""
        return root_inputs, rollout_info

    def train_step(self, exp: TimeStep, state: Any, rollout_info: Any) -> AlgStep:
        """The representation for the RL algorithm, whose gradients end here."""
        return self._impl.predict_step(exp, state)

    def calc_loss(self, info: Any) -> LossInfo:
        return LossInfo()

    def after_update(self, root_inputs: Any, info: Any) -> None:
        """Nothing: the model is not changed by updates of the RL algorithm."""

    def after_train_iter(self, experience: TimeStep | None, info: MuzeroInfo | None) -> None:
        """Store the unroll [T, B, ...], if there was one, and learn from what is stored."""
        options = self._training_options
        if options is None:
            return
        if info is not None:
            if experience is None:
                raise ValueError(
                    f"{self.name} needs the time steps of each unroll: "
                    "TrainerConfig.use_root_inputs_for_after_train_iter=True"
                )
            self._store(experience, info)
        self._num_iterations += 1
        if int(self._num_iterations) % options.interval == 0:
            with summary.scope(self.name):
                self._impl.train_from_replay_buffer(update_global_counter=False)

    def _store(self, experience: TimeStep, info: MuzeroInfo) -> None:
        options = self._training_options
        T, B = experience.step_type.shape
        if self._impl._replay_buffer is None:
            self._impl.set_replay_buffer(B, options.replay_buffer_length, options.priority_replay)
        kept = experience._replace(untransformed=(), env_info=())
        for t in range(T):
            step, own = nest.map_structure(lambda x, t=t: x[t], (kept, info))
            # The action of a step is the ``prev_action`` of the next one.
            self._impl.observe_for_replay(Experience(time_step=step, rollout_info=own))
