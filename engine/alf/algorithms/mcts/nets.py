"""Networks of simple models for tree search: vectors in, fully connected layers, vectors out."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alf.config_util import configurable
from alf.layers import FC
from alf.nest import nest
from alf.networks.network import Network
from alf.networks.projection_networks import (
    CategoricalProjectionNetwork,
    StableNormalProjectionNetwork,
)
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

PUBLIC_MODULE = "alf.algorithms.mcts_models"  # under which these names are configured


def get_unique_num_actions(action_spec: Any) -> int:
    """How many different actions there are, all parts of a discrete action together.

    Raises:
        ValueError: a part is continuous.
    """
    count = 1
    for spec in nest.flatten(action_spec):
        if not isinstance(spec, BoundedTensorSpec) or not spec.is_discrete:
            raise ValueError(f"actions can only be counted if they are discrete, got {spec}")
        widths = (spec.maximum - spec.minimum + 1).reshape(-1)
        each = widths.repeat(spec.numel) if widths.size == 1 else widths
        count *= math.prod(int(width) for width in each)
    return count


def _is_index(spec: TensorSpec) -> bool:
    bounded = isinstance(spec, BoundedTensorSpec) and spec.is_discrete and spec.ndim == 0
    return bounded and int(spec.maximum - spec.minimum) < 4096


class _Vector(Network):
    """All parts of a nest as one vector; discrete scalars with bounds count one-hot."""

    def __init__(self, input_tensor_spec: Any, name: str = "Vector") -> None:
        super().__init__(input_tensor_spec, (), name)
        self._specs = nest.flatten(input_tensor_spec)
        self.size = sum(self._width(spec) for spec in self._specs)

    @staticmethod
    def _width(spec: TensorSpec) -> int:
        return int(spec.maximum - spec.minimum) + 1 if _is_index(spec) else spec.numel

    def forward(self, inputs: Any, state: Any = ()) -> tuple[Tensor, Any]:
        parts = zip(nest.flatten(inputs), self._specs, strict=True)
        vectors = [self._part(x, spec) for x, spec in parts]
        return vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=1), state

    def _part(self, x: Tensor, spec: TensorSpec) -> Tensor:
        if _is_index(spec):
            return F.one_hot(x.long() - int(spec.minimum), self._width(spec)).to(torch.float32)
        return x.reshape(x.shape[0], -1).to(torch.float32)


class _Perceptron(Network):
    """Fully connected layers on the vector of a nest.

    Args:
        layers: sizes of hidden layers.
        output_size: size of a last, linear layer; None for none.
        to_unit_range: map each output linearly onto [0, 1] (MuZero, appendix G).
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        layers: Sequence[int],
        output_size: int | None = None,
        to_unit_range: bool = False,
        name: str = "Perceptron",
    ) -> None:
        super().__init__(input_tensor_spec, (), name)
        self._vector = _Vector(input_tensor_spec)
        sizes = [self._vector.size, *layers]
        make = functools.partial(FC, activation=torch.relu_, use_ln=True, use_bias=False)
        parts: list[nn.Module] = [make(*pair) for pair in itertools.pairwise(sizes)]
        if output_size is not None:
            parts.append(FC(sizes[-1], output_size))
        self._layers = nn.Sequential(*parts)
        self._to_unit_range = to_unit_range
        self._output_spec = TensorSpec((output_size or sizes[-1],))

    def forward(self, inputs: Any, state: Any = ()) -> tuple[Tensor, Any]:
        y = self._layers(self._vector(inputs)[0])
        if self._to_unit_range:
            low, high = torch.aminmax(y, dim=1, keepdim=True)
            y = (y - low) / (high - low + 1e-5)
        return y, state


@configurable
def create_simple_encoding_net(
    observation_spec: Any, layers: Sequence[int] = (128,), latent_size: int = 64
) -> Network:
    """From an observation to a latent state with entries from 0 to 1.

    Args:
        observation_spec: any nest; its parts are flattened, discrete scalars count one-hot.
        layers: sizes of hidden layers.
        latent_size: size of the latent state.
    """
    return _Perceptron(observation_spec, layers, latent_size, True, "EncodingNet")


@configurable
def create_simple_dynamics_net(input_tensor_spec: Any, layers: Sequence[int] = (128,)) -> Network:
    """From a pair of latent state and action to the next latent state, entries from 0 to 1.

    Args:
        input_tensor_spec: ``(latent_spec, action_spec)``.
        layers: sizes of hidden layers.
    """
    size = input_tensor_spec[0].numel
    return _Perceptron(input_tensor_spec, layers, size, True, "DynamicsNet")


def _trunk(input_tensor_spec: TensorSpec, layers: Sequence[int]) -> Network:
    return _Perceptron(input_tensor_spec, layers, name="PredictionTrunk")


@configurable
def create_simple_prediction_net(
    observation_spec: TensorSpec, action_spec: Any, layers: Sequence[int] = (128,)
) -> Network:
    """`SimplePredictionNet` on fully connected layers.

    Args:
        observation_spec: of the latent state.
        action_spec: of the actions.
        layers: sizes of hidden layers.
    """
    return SimplePredictionNet(
        observation_spec, action_spec, functools.partial(_trunk, layers=layers)
    )


@configurable
class SimplePredictionNet(Network):
    """Value, reward, policy and end of the game of a latent state, from one trunk.

    Args:
        observation_spec: of the latent state.
        action_spec: of the actions.
        trunk_net_ctor: called with ``input_tensor_spec=observation_spec``; its output is a vector.
        num_quantiles: outputs for value and for reward; what they mean is the losses' matter.
        discrete_projection_net_ctor: makes the policy of a discrete action; called with
            ``input_size`` and ``action_spec``.
        continuous_projection_net_ctor: the same for a continuous action.
        initial_game_over_bias: logit of the end of the game at first; log(p / (1 - p)) for a
            probability p.
    """

    def __init__(
        self,
        observation_spec: TensorSpec,
        action_spec: Any,
        trunk_net_ctor: Callable[..., Network],
        num_quantiles: int = 1,
        discrete_projection_net_ctor: Callable[..., Network] = CategoricalProjectionNetwork,
        continuous_projection_net_ctor: Callable[..., Network] = StableNormalProjectionNetwork,
        initial_game_over_bias: float = 0.0,
    ) -> None:
        super().__init__(observation_spec, (), "SimplePredictionNet")
        trunk = trunk_net_ctor(input_tensor_spec=observation_spec)
        size = trunk.output_spec.shape[0]
        self._trunk = trunk
        # Nothing is known at first, so nothing is expected.
        zeros = nn.init.zeros_
        self._value_layer = FC(size, num_quantiles, kernel_initializer=zeros)
        self._reward_layer = FC(size, num_quantiles, kernel_initializer=zeros)
        self._game_over_layer = FC(
            size, 1, kernel_initializer=zeros, bias_init_value=initial_game_over_bias
        )

        def project(spec: TensorSpec) -> Network:
            ctor = (
                discrete_projection_net_ctor if spec.is_discrete else continuous_projection_net_ctor
            )
            return ctor(input_size=size, action_spec=spec)

        self._action_nets = nest.map_structure(project, action_spec)
        self._registered_nets = nn.ModuleList(nest.flatten(self._action_nets))
        self._num_quantiles = num_quantiles

    def forward(self, input: Tensor, state: Any = ()) -> tuple[tuple[Any, ...], Any]:
        """``(value, reward, action_distribution, game_over_logit)`` and ().

        Value and reward are [B], or [B, num_quantiles] if that is not 1; the logit is [B].
        """
        hidden = self._trunk(input)[0]
        policy = nest.map_structure(lambda net: net(hidden)[0], self._action_nets)
        value, reward = self._value_layer(hidden), self._reward_layer(hidden)
        if self._num_quantiles == 1:
            value, reward = value.squeeze(1), reward.squeeze(1)
        return (value, reward, policy, self._game_over_layer(hidden).squeeze(1)), ()
