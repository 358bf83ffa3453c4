"""Projection networks: from an encoding to the distribution of one action."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor

from alf.config_util import configurable
from alf.nest import nest
from alf.networks._bounded_projections import BetaProjectionNetwork, TruncatedProjectionNetwork
from alf.networks._discrete_projections import (
    CategoricalProjectionNetwork,
    OnehotCategoricalProjectionNetwork,
    ParallelCategoricalProjectionNetwork,
)
from alf.networks._normal_projections import (
    CauchyProjectionNetwork,
    NormalProjectionNetwork,
    StableNormalProjectionNetwork,
)
from alf.networks.network import Network
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

__all__ = [
    "BetaProjectionNetwork",
    "CategoricalProjectionNetwork",
    "CauchyProjectionNetwork",
    "MixtureProjectionNetwork",
    "NormalProjectionNetwork",
    "OnehotCategoricalProjectionNetwork",
    "ParallelCategoricalProjectionNetwork",
    "StableNormalProjectionNetwork",
    "TruncatedProjectionNetwork",
    "make_projection_nets",
]


@configurable
class MixtureProjectionNetwork(Network):
    """Mixture of distributions of one family.

    Args:
        input_size: size of the encoding.
        action_spec: spec of the action.
        num_components: number of distributions mixed.
        component_ctor: makes their projection network; called with ``input_size``, ``action_spec``
            and ``parallelism=num_components``.
        mixture_ctor: makes the projection network of their weights.
        name: for printing.
    """

    def __init__(
        self,
        input_size: int,
        action_spec: TensorSpec,
        num_components: int,
        component_ctor: Callable[..., Network],
        mixture_ctor: Callable[..., Network] = CategoricalProjectionNetwork,
        name: str = "mix_proj_net",
    ) -> None:
        super().__init__(TensorSpec((input_size,)), (), name)
        index_spec = BoundedTensorSpec((), torch.int64, 0, num_components - 1)
        self._mixture = mixture_ctor(input_size, index_spec)
        self._components = component_ctor(input_size, action_spec, parallelism=num_components)
        self._num_components = num_components

    @property
    def num_components(self) -> int:
        return self._num_components

    def forward(
        self,
        inputs: Tensor,
        state: Any = {"mixture": (), "components": ()},  # noqa: B006
    ) -> tuple[td.Distribution, Any]:
        weights, _ = self._mixture(inputs)
        components, _ = self._components(inputs)
        return td.MixtureSameFamily(weights, components, validate_args=False), state


def make_projection_nets(
    input_size: int, action_spec: Any, discrete_ctor: Any, continuous_ctor: Any
) -> Any:
    """A projection network for each action of a nest of specs."""

    def make(spec: TensorSpec) -> Network:
        ctor = discrete_ctor if spec.is_discrete else continuous_ctor
        if ctor is None:
            kind = "discrete" if spec.is_discrete else "continuous"
            raise ValueError(f"no projection network is given for the {kind} action {spec}")
        return ctor(input_size, action_spec=spec)

    return nest.map_structure(make, action_spec)
