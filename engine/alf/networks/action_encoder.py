"""Actions as one vector: one-hot for discrete ones, continuous ones as they are."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alf.config_util import configurable
from alf.nest import nest
from alf.networks.network import Network
from alf.tensor_specs import BoundedTensorSpec


@configurable
class SimpleActionEncoder(Network):
    """Concatenates the one-hot codes of discrete actions and the flattened continuous actions.

    Args:
        action_spec: nest of BoundedTensorSpec; discrete ones are scalars from 0.
    """

    def __init__(self, action_spec: Any) -> None:
        super().__init__(action_spec, (), "SimpleActionEncoder")
        for spec in nest.flatten(action_spec):
            if not isinstance(spec, BoundedTensorSpec):
                raise ValueError(f"actions must be bounded, got {spec}")
            if spec.is_discrete and (spec.ndim != 0 or spec.minimum != 0):
                raise ValueError(f"a discrete action must be a scalar from 0, got {spec}")

    def forward(self, inputs: Any, state: Any = ()) -> tuple[Tensor, Any]:
        codes = nest.map_structure(
            _encode, inputs, self._input_tensor_spec
        )  # with or without batch
        return torch.cat(nest.flatten(codes), dim=-1), state


def _encode(action: Tensor, spec: BoundedTensorSpec) -> Tensor:
    if spec.is_discrete:
        return F.one_hot(action.long(), int(spec.maximum) + 1).to(torch.float32)
    return action.reshape(*action.shape[: action.ndim - spec.ndim], -1)
