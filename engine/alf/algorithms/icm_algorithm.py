"""Intrinsic curiosity module (arXiv:1705.05363)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alf.algorithms._intrinsic_reward import RewardScale, where_follows, with_history
from alf.algorithms.algorithm import Algorithm
from alf.algorithms.training.own_optimizers import own_optimizers
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep, namedtuple
from alf.nest import nest
from alf.nest.utils import NestConcat
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.network import Network
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils._exe_mode import is_eval
from alf.utils.math_ops import identity
from alf.utils.normalizers import AdaptiveNormalizer, ScalarAdaptiveNormalizer

__all__ = ["ICMAlgorithm", "ICMInfo"]

ICMInfo = namedtuple("ICMInfo", ["step_type", "forward_loss", "inverse_loss"], default_value=())


@configurable
class ICMAlgorithm(Algorithm):
    """Rewards what the forward model of features did not foresee.

    Features are made to tell which action led from one to the next (the inverse model). The state
    is the feature of the step before; at FIRST there is none, and no loss. The reward there is
    that of a step after a feature of zeros; no transition ends at FIRST, so nobody learns from it.
    """

    def __init__(
        self,
        action_spec: Any,
        observation_spec: Any = None,
        hidden_size: int | Sequence[int] = 256,
        reward_adapt_speed: float = 8.0,
        encoding_net: Network | None = None,
        forward_net: Network | None = None,
        inverse_net: Network | None = None,
        activation: Callable[[Tensor], Tensor] = torch.relu_,
        optimizer: torch.optim.Optimizer | None = None,
        name: str = "ICMAlgorithm",
    ) -> None:
        """Build the models that are not given.

        Args:
            action_spec: one action: a discrete scalar that counts from 0, or a continuous vector.
            observation_spec: if given, observations are normalized first.
            hidden_size: sizes of the hidden layers of models that are not given.
            reward_adapt_speed: the reward is normalized by about the last ``1/speed`` of all steps.
            encoding_net: from observation to feature; None: the observation is the feature.
            forward_net: from ``[feature, action]`` to the next feature; a discrete action is
                one-hot.
            inverse_net: from ``[feature, next feature]`` to the action, or the logits of a discrete
                one.
            activation: of models that are not given.
            optimizer: must be without parameters; the algorithm uses its own copy.

        Raises:
            ValueError: more than one action, or nothing says what a feature is like.
        """
        actions = nest.flatten(action_spec)
        if len(actions) != 1:
            raise ValueError(f"{name} is for one action, got the action_spec {action_spec}.")
        if encoding_net is not None:
            feature_spec = encoding_net.output_spec
        elif isinstance(observation_spec, TensorSpec):
            feature_spec = observation_spec
        else:
            raise ValueError(
                f"{name} needs an encoding_net, or an observation_spec of one tensor; got "
                f"encoding_net=None and observation_spec={observation_spec}."
            )
        (optimizer,) = own_optimizers(optimizer)
        super().__init__(
            train_state_spec=TensorSpec(feature_spec.shape),
            predict_state_spec=(),
            optimizer=optimizer,
            name=name,
        )
        self._action_spec = actions[0]
        action_size = _encoded_size(actions[0])
        encoded_action_spec = TensorSpec((action_size,))
        sizes = (hidden_size,) if isinstance(hidden_size, int) else tuple(hidden_size)

        def model(input_specs: list, output_size: int, what: str) -> Network:
            return EncodingNetwork(
                input_tensor_spec=input_specs,
                preprocessing_combiner=NestConcat(),
                fc_layer_params=sizes,
                activation=activation,
                last_layer_size=output_size,
                last_activation=identity,
                name=f"{name}.{what}",
            )

        feature_size = feature_spec.numel
        self._encoding_net = encoding_net
        self._forward_net = forward_net or model(
            [feature_spec, encoded_action_spec], feature_size, "forward_net"
        )
        self._inverse_net = inverse_net or model(
            [feature_spec, feature_spec], action_size, "inverse_net"
        )
        self._reward_scale = RewardScale(
            ScalarAdaptiveNormalizer(auto_update=False, speed=reward_adapt_speed)
        )
        self._observation_normalizer = None
        if observation_spec is not None:
            self._observation_normalizer = AdaptiveNormalizer(
                tensor_spec=observation_spec, auto_update=False
            )

    def predict_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        """Nothing: rewards are for learning only."""
        return AlgStep(state=state)

    def rollout_step(self, inputs: TimeStep, state: Tensor) -> AlgStep:
        """The reward [B] of arriving at ``inputs`` by ``inputs.prev_action``."""
        info, state = self._step(inputs, state)
        return AlgStep(output=self._reward_scale(info.forward_loss), state=state, info=info)

    def train_step(self, inputs: TimeStep, state: Tensor, rollout_info: Any = None) -> AlgStep:
        info, state = self._step(inputs, state)
        return AlgStep(state=state, info=info)

    def _step(self, inputs: TimeStep, before: Tensor) -> tuple[ICMInfo, Tensor]:
        feature = self._feature(inputs.observation)
        action = nest.flatten(inputs.prev_action)[0]
        foreseen, _ = self._forward_net([before.detach(), self._encoded(action)])
        error = (feature.detach() - foreseen).square()
        forward_loss = 0.5 * error.flatten(1).mean(1)
        guess, _ = self._inverse_net([before, feature])
        inverse_loss = self._inverse_loss(guess, action)
        return ICMInfo(inputs.step_type, forward_loss, inverse_loss), feature

    def _feature(self, observation: Any) -> Tensor:
        if self._observation_normalizer is not None:
            if not is_eval():
                self._observation_normalizer.update(observation)
            observation = self._observation_normalizer.normalize(observation)
        if self._encoding_net is None:
            return observation
        return self._encoding_net(observation)[0]

    def _encoded(self, action: Tensor) -> Tensor:
        if self._action_spec.is_discrete:
            return F.one_hot(action.long(), _encoded_size(self._action_spec)).float()
        return action.flatten(1)

    def _inverse_loss(self, guess: Tensor, action: Tensor) -> Tensor:
        if self._action_spec.is_discrete:
            return F.cross_entropy(guess, action.long(), reduction="none")
        return 0.5 * (guess - action.flatten(1)).square().mean(1)

    def calc_loss(self, info: ICMInfo) -> LossInfo:
        forward_loss, inverse_loss = (
            with_history(self, where_follows(info.step_type, loss)).mean()
            for loss in (info.forward_loss, info.inverse_loss)
        )
        return LossInfo(
            scalar_loss=forward_loss + inverse_loss,
            extra={"forward_loss": forward_loss, "inverse_loss": inverse_loss},
        )

    def after_train_iter(self, root_inputs: Any, rollout_info: Any = None) -> None:
        if isinstance(rollout_info, ICMInfo):
            self._reward_scale.learn_from_elsewhere(rollout_info.forward_loss)


def _encoded_size(spec: Any) -> int:
    if not spec.is_discrete:
        return spec.numel
    if not isinstance(spec, BoundedTensorSpec) or tuple(spec.shape) or int(spec.minimum) != 0:
        raise ValueError(f"A discrete action must be a scalar that counts from 0, got {spec}.")
    return int(spec.maximum) + 1
