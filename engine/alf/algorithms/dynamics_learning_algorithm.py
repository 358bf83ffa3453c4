"""Models of what an action does to a feature: deterministic and stochastic, one or an ensemble.

Axis letters: B rows, n replicas, F feature, A action (one-hot if it is discrete). With one replica
there is no axis n.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alf.algorithms._intrinsic_reward import where_follows, with_history
from alf.algorithms.algorithm import Algorithm
from alf.config_util import configurable
from alf.data_structures import AlgStep, Experience, LossInfo, TimeStep, namedtuple
from alf.nest import nest
from alf.networks.dynamics_networks import DynamicsNetwork
from alf.networks.network import Network
from alf.networks.projection_networks import NormalProjectionNetwork
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.math_ops import clipped_exp

__all__ = [
    "AlgStep",
    "DeterministicDynamicsAlgorithm",
    "DynamicsInfo",
    "DynamicsLearningAlgorithm",
    "DynamicsState",
    "Experience",
    "LossInfo",
    "StochasticDynamicsAlgorithm",
    "TimeStep",
]

NetworkCtor = Callable[[Any, Any], Network]

DynamicsState = namedtuple("DynamicsState", ["feature", "network"], default_value=())
DynamicsState.__doc__ = """What the next feature is predicted from.

Fields:
    feature: [B, F], or [B, n, F]: the feature of the step before.
    network: state of the network.
"""

DynamicsInfo = namedtuple("DynamicsInfo", ["loss", "dist"], default_value=())
DynamicsInfo.__doc__ = """What is learnt from.

Fields:
    loss: `LossInfo` [B].
    dist: distribution of the change of the feature, of a stochastic model.
"""


@configurable
class DynamicsLearningAlgorithm(Algorithm):
    """Base of models of the dynamics: the network, the encoding of actions and the mean loss.

    Args:
        train_state_spec: spec of a `DynamicsState`.
        action_spec: of one action.
        feature_spec: of one feature, of rank 1.
        hidden_size: sizes of the layers of a network that is not given.
        num_replicas: n; more than 1 makes the network parallel.
        dynamics_network: from ``(feature, A)`` to the change of the feature, a vector or a
            distribution; None: a `DynamicsNetwork` without distribution.
        checkpoint: see `Algorithm`.
        name: name of the algorithm.

    Raises:
        ValueError: there are several actions or features, or the action cannot be encoded.
    """

    def __init__(
        self,
        train_state_spec: Any,
        action_spec: Any,
        feature_spec: Any,
        hidden_size: int | tuple[int, ...] = 256,
        num_replicas: int = 1,
        dynamics_network: Network | None = None,
        checkpoint: str | None = None,
        name: str = "DynamicsLearningAlgorithm",
    ) -> None:
        _check_specs(name, action_spec, feature_spec)
        super().__init__(train_state_spec=train_state_spec, checkpoint=checkpoint, name=name)
        self._action_spec = action_spec
        self._feature_spec = feature_spec
        self._num_replicas = num_replicas
        if dynamics_network is None:
            specs = (feature_spec, _encoded_action_spec(action_spec))
            dynamics_network = _default_ctor(hidden_size)(specs, feature_spec)
        if num_replicas > 1:
            dynamics_network = dynamics_network.make_parallel(num_replicas)
        self._dynamics_network = dynamics_network

    @property
    def num_replicas(self) -> int:
        """Number of models of the ensemble."""
        return self._num_replicas

    def get_state_specs(self) -> Any:
        """Spec of the `DynamicsState`."""
        return self._train_state_spec

    def predict_step(self, time_step: TimeStep, state: DynamicsState) -> AlgStep:
        """The feature after ``time_step.prev_action``."""
        raise NotImplementedError(f"{type(self).__name__} has no predict_step()")

    def train_step(self, time_step: TimeStep, state: DynamicsState) -> AlgStep:
        """What is learnt from: the info is a `DynamicsInfo`."""
        raise NotImplementedError(f"{type(self).__name__} has no train_step()")

    def update_state(self, time_step: TimeStep, state: DynamicsState) -> DynamicsState:
        """The state after a real step, for the prediction of the next."""
        raise NotImplementedError(f"{type(self).__name__} has no update_state()")

    def calc_loss(self, info: DynamicsInfo) -> LossInfo:
        """The mean loss; 0 counts where the step before is not known, as `with_history` says."""
        loss = with_history(self, info.loss.loss).mean()
        return LossInfo(scalar_loss=loss, extra=loss)

    def _expanded(self, x: Tensor, spec: TensorSpec) -> Tensor:
        """Rows [B, ...] repeated for each replica [B, n, ...], where they are not already."""
        if self._num_replicas == 1 or x.dim() > 1 + spec.ndim:
            return x
        return x.unsqueeze(1).expand(-1, self._num_replicas, *x.shape[1:])

    def _encoded_action(self, action: Tensor) -> Tensor:
        action = self._expanded(action, self._action_spec)
        if self._action_spec.is_discrete:
            size = _encoded_action_spec(self._action_spec).numel
            return F.one_hot(action.long(), size).to(torch.float32)
        return action


@configurable
class DeterministicDynamicsAlgorithm(DynamicsLearningAlgorithm):
    """Predicts the next feature as the last one and a change.

    Args:
        action_spec: of one action, continuous or discrete.
        feature_spec: of one feature, of rank 1.
        hidden_size: sizes of the layers of a network that is not given.
        num_replicas: n models, each with parameters of its own; their losses are summed.
        dynamics_network_ctor: called with ``(feature_spec, spec of A)`` and ``feature_spec``; makes
            the network for the change; None: a `DynamicsNetwork`.
        name: name of the algorithm.

    Raises:
        ValueError: there are several actions or features, or the action cannot be encoded.
    """

    def __init__(
        self,
        action_spec: Any,
        feature_spec: Any,
        hidden_size: int | tuple[int, ...] = 256,
        num_replicas: int = 1,
        dynamics_network_ctor: NetworkCtor | None = None,
        name: str = "DeterministicDynamicsAlgorithm",
    ) -> None:
        _check_specs(name, action_spec, feature_spec)
        ctor = dynamics_network_ctor or self._default_network_ctor(hidden_size)
        network = ctor((feature_spec, _encoded_action_spec(action_spec)), feature_spec)
        shape = feature_spec.shape if num_replicas == 1 else (num_replicas, *feature_spec.shape)
        super().__init__(
            train_state_spec=DynamicsState(
                feature=TensorSpec(shape, feature_spec.dtype), network=network.state_spec
            ),
            action_spec=action_spec,
            feature_spec=feature_spec,
            hidden_size=hidden_size,
            num_replicas=num_replicas,
            dynamics_network=network,
            name=name,
        )

    def _default_network_ctor(self, hidden_size: int | tuple[int, ...]) -> NetworkCtor:
        return _default_ctor(hidden_size)

    def predict_step(self, time_step: TimeStep, state: DynamicsState) -> AlgStep:
        """The feature after ``time_step.prev_action``.

        Args:
            time_step: of it only ``prev_action`` [B, A], or [B, n, A], counts.
            state: ``feature`` [B, F], or [B, n, F].

        Returns:
            The feature [B, F] ([B, n, F] with replicas), as the output and in the state.
        """
        feature, change, network = self._change(time_step, state)
        feature = feature + self._value_of(change)
        info = self._info_of(change)
        return AlgStep(output=feature, state=DynamicsState(feature, network), info=info)

    def update_state(self, time_step: TimeStep, state: DynamicsState) -> DynamicsState:
        """The state with the observation of a real step."""
        return state._replace(feature=self._expanded(time_step.observation, self._feature_spec))

    def train_step(self, time_step: TimeStep, state: DynamicsState) -> AlgStep:
        """The loss [B] of the prediction of ``time_step.observation``, which the state then holds.

        It is 0 at FIRST, where no step comes before.
        """
        feature, change, network = self._change(time_step, state)
        target = self._expanded(time_step.observation, self._feature_spec)
        loss = self._loss_of(change, target - feature)
        loss = where_follows(time_step.step_type, loss)
        info = self._info_of(change)._replace(
            loss=LossInfo(loss=loss, extra={"forward_loss": loss})
        )
        return AlgStep(state=DynamicsState(target, network), info=info)

    def _change(self, time_step: TimeStep, state: DynamicsState) -> tuple[Tensor, Any, Any]:
        """The feature before, the prediction of its change, and the state of the network."""
        feature = self._expanded(state.feature, self._feature_spec)
        action = self._encoded_action(time_step.prev_action)
        change, network = self._dynamics_network((feature, action), state.network)
        return feature, change, network

    def _value_of(self, change: Any) -> Tensor:
        return change

    def _info_of(self, change: Any) -> DynamicsInfo:
        return DynamicsInfo()

    def _loss_of(self, change: Any, actual: Tensor) -> Tensor:
        """Losses [B]."""
        loss = 0.5 * (actual - change).square().mean(-1)
        return loss if self._num_replicas == 1 else loss.sum(1)


@configurable
class StochasticDynamicsAlgorithm(DeterministicDynamicsAlgorithm):
    """Predicts a distribution of the change of the feature; the loss is its -log likelihood.

    Chua et al. 2018, arXiv:1805.12114, equation 1; with ``num_replicas`` their ensemble PE, whose
    loss is the mean of the models' (as in ALF; that of deterministic models is the sum).

    The arguments are those of `DeterministicDynamicsAlgorithm`; the network gives a distribution
    (``DynamicsNetwork.prob=True``).

    Raises:
        ValueError: as there, or the network gives no distribution.
    """

    def __init__(
        self,
        action_spec: Any,
        feature_spec: Any,
        hidden_size: int | tuple[int, ...] = 256,
        num_replicas: int = 1,
        dynamics_network_ctor: NetworkCtor | None = None,
        name: str = "StochasticDynamicsAlgorithm",
    ) -> None:
        super().__init__(
            action_spec=action_spec,
            feature_spec=feature_spec,
            hidden_size=hidden_size,
            num_replicas=num_replicas,
            dynamics_network_ctor=dynamics_network_ctor,
            name=name,
        )
        if isinstance(self._dynamics_network.output_spec, TensorSpec):
            raise ValueError(
                f"{name} needs a network whose output is a distribution; "
                f"{self._dynamics_network.name} gives {self._dynamics_network.output_spec}. For a "
                "DynamicsNetwork set prob=True."
            )

    def _default_network_ctor(self, hidden_size: int | tuple[int, ...]) -> NetworkCtor:
        projection = partial(
            NormalProjectionNetwork, state_dependent_std=True, std_transform=clipped_exp
        )
        return _default_ctor(hidden_size, prob=True, continuous_projection_net_ctor=projection)

    def _value_of(self, change: Any) -> Tensor:
        return change.sample()

    def _info_of(self, change: Any) -> DynamicsInfo:
        return DynamicsInfo(dist=change)

    def _loss_of(self, change: Any, actual: Tensor) -> Tensor:
        loss = -change.log_prob(actual)
        return loss if self._num_replicas == 1 else loss.mean(1)


def _check_specs(name: str, action_spec: Any, feature_spec: Any) -> None:
    for what, spec in (("action", action_spec), ("feature", feature_spec)):
        if nest.is_nested(spec):
            raise ValueError(f"{name} is for one {what}, got the {what}_spec {spec}.")
    if feature_spec.ndim != 1:
        raise ValueError(f"{name} needs a feature of rank 1, got the feature_spec {feature_spec}.")
    _encoded_action_spec(action_spec)


def _encoded_action_spec(spec: TensorSpec) -> TensorSpec:
    if not spec.is_discrete and spec.ndim == 1:
        return spec
    is_choice = isinstance(spec, BoundedTensorSpec) and spec.is_discrete and spec.ndim == 0
    if is_choice and int(spec.minimum) == 0:
        return TensorSpec((int(spec.maximum) + 1,))
    raise ValueError(
        f"the action must be continuous and of rank 1, or a discrete scalar from 0, got {spec}"
    )


def _default_ctor(hidden_size: int | tuple[int, ...], **options: Any) -> NetworkCtor:
    sizes = (hidden_size,) if isinstance(hidden_size, int) else tuple(hidden_size)
    return partial(DynamicsNetwork, joint_fc_layer_params=sizes, **options)
