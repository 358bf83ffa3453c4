"""Tensors and their specs: ranges, zeros, consistency."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from alf.nest import nest
from alf.tensor_specs import BoundedTensorSpec, TensorSpec


def spec_means_and_magnitudes(spec: BoundedTensorSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """The centre and the half width of the range of ``spec``, broadcastable to its shape."""
    minimum = torch.as_tensor(spec.minimum, dtype=torch.float32)
    maximum = torch.as_tensor(spec.maximum, dtype=torch.float32)
    device = torch.empty(()).device
    # Halved before the subtraction, which could overflow.
    return (minimum / 2 + maximum / 2).to(device), (maximum / 2 - minimum / 2).to(device)


def has_finite_bounds(spec: BoundedTensorSpec) -> bool:
    """Are the bounds of ``spec``, its range and its centre numbers of its dtype?

    The bounds of a gymnasium Box may be infinite, or as large as its dtype allows, which stands for
    the same: then maximum - minimum overflows.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        ends = (spec.maximum - spec.minimum, spec.maximum + spec.minimum)
    return bool(np.isfinite(ends).all())


def scale_to_spec(tensor: torch.Tensor, spec: BoundedTensorSpec) -> torch.Tensor:
    """Maps [-1, 1] linearly onto the range of ``spec``.

    Args:
        tensor: [B, ...] with as many elements per row as ``spec``.
        spec: gives the range and the shape of the result, [B, *spec.shape].
    """
    tensor = tensor.reshape(tensor.shape[0], *spec.shape)
    means, magnitudes = spec_means_and_magnitudes(spec)
    return (means.to(tensor) + magnitudes.to(tensor) * tensor).to(spec.dtype)


def clip_to_spec(value: torch.Tensor, spec: BoundedTensorSpec) -> torch.Tensor:
    """Clips to the range of ``spec``."""
    minimum = torch.as_tensor(spec.minimum, device=value.device)
    maximum = torch.as_tensor(spec.maximum, device=value.device)
    return torch.minimum(torch.maximum(value, minimum), maximum)


def zeros_from_spec(nested_spec: Any, batch_size: int) -> Any:
    """Zeros [batch_size, *shape] for each spec of the nest."""
    outer_dims = (batch_size,)
    return nest.map_structure(lambda spec: spec.zeros(outer_dims), nested_spec)


def is_same_spec(spec1: Any, spec2: Any) -> bool:
    """Are both nests of specs equal, structure and ranges included?"""
    try:
        nest.assert_same_structure(spec1, spec2)
    except ValueError:
        return False
    pairs = zip(nest.flatten(spec1), nest.flatten(spec2), strict=True)
    return all(a == b for a, b in pairs)


def consistent_with_spec(nested: Any, spec: Any, from_dim: int = 0) -> bool:
    """Have tensors or arrays, without their first ``from_dim`` dimensions, the specs' form?

    That is the same structure, shapes and dtypes.
    """
    try:
        nest.assert_same_structure(nested, spec)
    except ValueError:
        return False
    pairs = zip(nest.flatten(nested), nest.flatten(spec), strict=True)
    return all(_spec_of(x, from_dim) == TensorSpec.from_spec(s) for x, s in pairs)


def _spec_of(x: Any, from_dim: int) -> TensorSpec:
    if isinstance(x, torch.Tensor):
        return TensorSpec.from_tensor(x, from_dim)
    return TensorSpec.from_array(np.asarray(x), from_dim)
