"""MuZero: a learnt model and a search with it (Schrittwieser et al. 2020, arXiv:1911.08265)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from alf.algorithms.config import TrainerConfig
from alf.algorithms.mcts_algorithm import MCTSAlgorithm
from alf.algorithms.muzero.reanalyze import call_with_offered
from alf.algorithms.muzero.representation import MuzeroInfo, autocast
from alf.algorithms.muzero_representation_learner import MuzeroRepresentationImpl
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep
from alf.experience_replayers.replay_buffer import BatchInfo
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

__all__ = ["AlgStep", "LossInfo", "MuzeroAlgorithm", "MuzeroInfo", "TimeStep"]


@configurable
class MuzeroAlgorithm(OffPolicyAlgorithm):
    """A representation learner, and a search that acts with its model and learns nothing itself.

    The trainer makes it as the RL algorithm of an `Agent`.

    Args:
        observation_spec: of the observations.
        action_spec: of the actions.
        discount: per step.
        reward_spec: only of one reward.
        representation_learner_ctor: called with ``observation_spec``, ``action_spec``,
            ``reward_spec``, ``discount``, ``reward_transformer``, ``enable_amp``, ``config``,
            ``debug_summaries`` and ``name``.
        mcts_algorithm_ctor: called with ``observation_spec``, ``action_spec``, ``discount``,
            ``debug_summaries`` and ``name``, and with ``model`` if it takes one.
        reward_transformer: called with rewards.
        config: the trainer's.
        enable_amp: mixed precision for prediction and reanalyze, on accelerators; not in rollouts.
    """

    def __init__(
        self,
        observation_spec: TensorSpec | tuple | list | dict,
        action_spec: BoundedTensorSpec | tuple | list | dict,
        discount: float,
        reward_spec: TensorSpec = TensorSpec(()),
        representation_learner_ctor: Callable[
            ..., MuzeroRepresentationImpl
        ] = MuzeroRepresentationImpl,
        mcts_algorithm_ctor: Callable[..., MCTSAlgorithm] = MCTSAlgorithm,
        reward_transformer: Callable[[Tensor], Tensor] | None = None,
        config: TrainerConfig | None = None,
        enable_amp: bool = True,
        checkpoint: str | None = None,
        debug_summaries: bool = False,
        name: str = "MuZero",
    ) -> None:
        learner = representation_learner_ctor(
            observation_spec=observation_spec,
            action_spec=action_spec,
            reward_spec=reward_spec,
            discount=discount,
            reward_transformer=reward_transformer,
            enable_amp=enable_amp,
            config=config,
            debug_summaries=debug_summaries,
            name="repr_learner",
        )
        mcts = call_with_offered(
            mcts_algorithm_ctor,
            {"model": learner.model},
            observation_spec=observation_spec,
            action_spec=action_spec,
            discount=discount,
            debug_summaries=debug_summaries,
            name="mcts",
        )
        super().__init__(
            observation_spec=observation_spec,
            action_spec=action_spec,
            train_state_spec=mcts.train_state_spec,
            rollout_state_spec=mcts.rollout_state_spec,
            predict_state_spec=mcts.predict_state_spec,
            reward_spec=reward_spec,
            config=config,
            checkpoint=checkpoint,
            debug_summaries=debug_summaries,
            name=name,
        )
        self._repr_learner = learner  # before the search, under whose name the model stands again
        self._mcts = mcts
        if not mcts.has_model:
            mcts.set_model(learner.model)
        self._enable_amp = enable_amp

    def _trainable_attributes_to_ignore(self) -> list[str]:
        return ["_mcts"]

    def set_path(self, path: str) -> None:
        """The info of the search is this algorithm's, and the learner reads it."""
        super().set_path(path)
        self._repr_learner.set_path(path)
        self._mcts.set_path(path)

    def predict_step(self, time_step: TimeStep, state: Any) -> AlgStep:
        with autocast(self._enable_amp):
            return self._mcts.predict_step(time_step, state)

    def rollout_step(self, time_step: TimeStep, state: Any) -> AlgStep:
        return self._mcts.rollout_step(time_step, state)

    def preprocess_experience(
        self, root_inputs: TimeStep, rollout_info: Any, batch_info: BatchInfo
    ) -> tuple[TimeStep, Any]:
        return self._repr_learner.preprocess_experience(root_inputs, rollout_info, batch_info)

    def train_step(self, exp: TimeStep, state: Any, rollout_info: Any) -> AlgStep:
        return self._repr_learner.train_step(exp, state, rollout_info)

    def calc_loss(self, info: Any) -> LossInfo:
        return self._repr_learner.calc_loss(info)

    def after_update(self, root_inputs: Any, info: Any) -> None:
        self._repr_learner.after_update(root_inputs, info)
