"""Spaces of gymnasium and specs of ALF as vectors: what a model needs to know of them."""

from __future__ import annotations

from typing import Any

import torch

import alf
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered.networks.flat_observation import flat_spec, flatten_observation

Nest = Any
Space = Any
"""A nest of ALF specs, or a Box or Discrete space of gymnasium."""


def as_spec(space: Space) -> Nest:
    """The ALF spec of a gymnasium Box or Discrete; ALF specs stay as they are."""
    if all(isinstance(leaf, TensorSpec) for leaf in alf.nest.flatten(space)):
        return space
    if hasattr(space, "n"):
        start = int(getattr(space, "start", 0))
        last = start + int(space.n) - 1
        return BoundedTensorSpec((), torch.int64, minimum=start, maximum=last)
    if hasattr(space, "low"):
        return TensorSpec(tuple(space.shape))
    raise TypeError(f"a space is a nest of ALF specs or a gymnasium Box or Discrete, not {space!r}")


def width(spec: Nest) -> int:
    """Number of dimensions of `as_vector`."""
    return flat_spec(spec).shape[0]


def as_vector(value: Nest, spec: Nest) -> torch.Tensor:
    """A nest `[..., *spec.shape]` as one vector `[..., D]`; discrete scalars become one-hot.

    A vector that is one-hot already, or flat already, passes through.
    """
    if isinstance(value, torch.Tensor):
        if not isinstance(spec, TensorSpec):
            return value
        if not spec.dtype.is_floating_point and value.is_floating_point():
            return value
    return flatten_observation(value, spec)
