"""Exploration by random network distillation (arXiv:1810.12894)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from alf.algorithms._intrinsic_reward import RewardScale
from alf.algorithms.algorithm import Algorithm
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep
from alf.nest import nest
from alf.networks.network import Network
from alf.utils._exe_mode import is_eval
from alf.utils.normalizers import AdaptiveNormalizer, ScalarAdaptiveNormalizer

__all__ = ["RNDAlgorithm"]


@configurable
class RNDAlgorithm(Algorithm):
    """Rewards observations whose random features a trained network does not know yet.

    The reward is ``|target_net(s) - predictor_net(s)|^2``.

    Args:
        target_net: gives the random features; never trained.
        predictor_net: learns to give the same.
        encoder_net: comes before both; never trained.
        reward_adapt_speed: the reward is normalized by about the last ``1/speed`` of all steps;
            None: it is not normalized.
        observation_adapt_speed: the same for observations, if there is an ``observation_spec``;
            None is 8.
        observation_spec: if given, observations are normalized.
        optimizer: must be without parameters; the algorithm uses its own copy.
        clip_value: if positive, normalized rewards are clipped to this on both sides.
        keep_stacked_frames: of the first axis of an observation (the stacked frames of one channel)
            only so many last entries count; 0 keeps everything, as a vector needs it.
    """

    def __init__(
        self,
        target_net: Network,
        predictor_net: Network,
        encoder_net: Network | None = None,
        reward_adapt_speed: float | None = None,
        observation_adapt_speed: float | None = None,
        observation_spec: Any = None,
        optimizer: torch.optim.Optimizer | None = None,
        clip_value: float = -1.0,
        keep_stacked_frames: int = 1,
        name: str = "RNDAlgorithm",
    ) -> None:
        (optimizer,) = own_optimizers(optimizer)
        super().__init__(train_state_spec=(), optimizer=optimizer, name=name)
        self._encoder_net = encoder_net
        self._target_net = target_net
        self._predictor_net = predictor_net
        self._keep_stacked_frames = keep_stacked_frames
        normalizer = None
        if reward_adapt_speed is not None:
            normalizer = ScalarAdaptiveNormalizer(auto_update=False, speed=reward_adapt_speed)
        self._reward_scale = RewardScale(normalizer, clip_value)
        self._observation_normalizer = None
        if observation_spec is not None:
            spec = nest.map_structure(self._spec_of_kept, observation_spec)
            self._observation_normalizer = AdaptiveNormalizer(
                tensor_spec=spec,
                auto_update=False,
                speed=8.0 if observation_adapt_speed is None else observation_adapt_speed,
            )

    def _trainable_attributes_to_ignore(self) -> list[str]:
        return ["_target_net", "_encoder_net"]

    def predict_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        """Nothing: rewards are for learning only."""
        return AlgStep(state=state)

    def rollout_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        """The reward [B] of being at ``inputs``."""
        loss = self._loss(inputs)
        return AlgStep(output=self._reward_scale(loss), state=state, info=loss)

    def train_step(self, inputs: TimeStep, state: Any, rollout_info: Any = None) -> AlgStep:
        return AlgStep(state=state, info=self._loss(inputs))

    def _loss(self, inputs: TimeStep) -> Tensor:
        """The error [B] of the prediction."""
        observation = self._seen(inputs.observation)
        with torch.no_grad():
            if self._encoder_net is not None:
                observation, _ = self._encoder_net(observation)
            target, _ = self._target_net(observation)
        prediction, _ = self._predictor_net(observation)
        return (target - prediction).square().flatten(1).sum(1)

    def _seen(self, observation: Any) -> Any:
        """The observation [B, ...] that the networks get."""
        kept = self._keep_stacked_frames
        if kept > 0:
            observation = nest.map_structure(lambda x: x[:, -kept:], observation)
        if self._observation_normalizer is None:
            return observation
        if not is_eval():
            self._observation_normalizer.update(observation)
        return self._observation_normalizer.normalize(observation)

    def _spec_of_kept(self, spec: Any) -> Any:
        kept = self._keep_stacked_frames
        if kept == 0:
            return spec
        return type(spec)((min(kept, spec.shape[0]), *spec.shape[1:]), spec.dtype)

    def calc_loss(self, info: Tensor) -> LossInfo:
        """The mean of the errors, which are the info of a step."""
        return LossInfo(scalar_loss=info.mean())

    def after_train_iter(self, root_inputs: Any, rollout_info: Any = None) -> None:
        if isinstance(rollout_info, Tensor):
            self._reward_scale.learn_from_elsewhere(rollout_info)
