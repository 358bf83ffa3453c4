"""Diversity is all you need: skills told apart by where they lead (arXiv:1802.06070)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alf.algorithms._intrinsic_reward import RewardScale, where_follows, with_history
from alf.algorithms.algorithm import Algorithm
from alf.config_util import configurable
from alf.data_structures import AlgStep, LossInfo, TimeStep, namedtuple
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.network import Network
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils._exe_mode import is_eval
from alf.utils.math_ops import identity
from alf.utils.normalizers import AdaptiveNormalizer, ScalarAdaptiveNormalizer

__all__ = ["DIAYNAlgorithm", "DIAYNInfo", "create_discrete_skill_spec"]

DIAYNInfo = namedtuple("DIAYNInfo", ["loss"], default_value=())


@configurable
def create_discrete_skill_spec(num_of_skills: int) -> BoundedTensorSpec:
    """The spec of one of ``num_of_skills`` skills, an index."""
    return BoundedTensorSpec((), torch.int64, minimum=0, maximum=num_of_skills - 1)


@configurable
class DIAYNAlgorithm(Algorithm):
    """Rewards states from which a discriminator can tell the skill: ``log q(z | s)``, normalized.

    It is made for ``Agent``, as the intrinsic reward module beside a goal generator whose goals are
    the skills: the observations are pairs ``[observation, skill]``. A discrete skill comes as an
    index or one-hot. The state is the skill of the step before: that one led here. At FIRST none
    did: its log probability counts as 0, and no transition ends there.
    """

    def __init__(
        self,
        skill_spec: TensorSpec,
        encoding_net: Network,
        reward_adapt_speed: float = 8.0,
        observation_spec: TensorSpec | None = None,
        hidden_size: Sequence[int] = (),
        hidden_activation: Callable[[Tensor], Tensor] = torch.relu_,
        name: str = "DIAYNAlgorithm",
    ) -> None:
        """Build the discriminator.

        Args:
            skill_spec: an index that counts from 0, guessed with cross entropy, or a continuous
                vector, guessed with squared error.
            encoding_net: from observation to the feature that the discriminator gets.
            reward_adapt_speed: the reward is normalized by about the last ``1/speed`` of all steps.
            observation_spec: if given, observations are normalized.
            hidden_size: hidden layers of the discriminator.
            hidden_activation: their activation.

        Raises:
            ValueError: the skill is neither.
        """
        if skill_spec.is_discrete:
            if not isinstance(skill_spec, BoundedTensorSpec) or tuple(skill_spec.shape):
                raise ValueError(f"{name} takes a discrete skill as one index, got {skill_spec}.")
            size = int(skill_spec.maximum) + 1
        elif len(skill_spec.shape) != 1:
            raise ValueError(f"{name} takes a continuous skill as a vector, got {skill_spec}.")
        else:
            size = skill_spec.shape[0]
        super().__init__(train_state_spec=TensorSpec((size,)), predict_state_spec=(), name=name)
        self._is_discrete = skill_spec.is_discrete
        self._size = size
        self._encoding_net = encoding_net
        self._discriminator_net = EncodingNetwork(
            input_tensor_spec=encoding_net.output_spec,
            fc_layer_params=tuple(hidden_size),
            activation=hidden_activation,
            last_layer_size=size,
            last_activation=identity,
            name=f"{name}.discriminator",
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
        """The reward [B] for arriving at ``inputs`` by the skill of the step before."""
        loss, skill = self._step(inputs, state)
        return AlgStep(output=self._reward_scale(-loss), state=skill, info=DIAYNInfo(loss=loss))

    def train_step(self, inputs: TimeStep, state: Tensor, rollout_info: Any = None) -> AlgStep:
        loss, skill = self._step(inputs, state)
        return AlgStep(state=skill, info=DIAYNInfo(loss=loss))

    def _step(self, inputs: TimeStep, before: Tensor) -> tuple[Tensor, Tensor]:
        """The discriminator's loss [B], 0 at FIRST, and the present skill [B, Z]."""
        observation, skill = inputs.observation
        if self._observation_normalizer is not None:
            if not is_eval():
                self._observation_normalizer.update(observation)
            observation = self._observation_normalizer.normalize(observation)
        feature, _ = self._encoding_net(observation)
        guess, _ = self._discriminator_net(feature)
        if self._is_discrete:
            loss = F.cross_entropy(guess, before, reduction="none")
        else:
            loss = (guess - before).square().sum(1)
        return where_follows(inputs.step_type, loss), self._vector(skill)

    def _vector(self, skill: Tensor) -> Tensor:
        if skill.is_floating_point():
            return skill
        return F.one_hot(skill.long(), self._size).float()

    def calc_loss(self, info: DIAYNInfo) -> LossInfo:
        loss = with_history(self, info.loss)
        return LossInfo(scalar_loss=loss.mean(), extra={"skill_discriminate_loss": loss})

    def after_train_iter(self, root_inputs: Any, rollout_info: Any = None) -> None:
        if isinstance(rollout_info, DIAYNInfo):
            self._reward_scale.learn_from_elsewhere(-rollout_info.loss)
