"""A nest of observations as one vector."""

from __future__ import annotations

from typing import Any

import torch

import alf
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

Nest = Any


def flat_spec(spec: Nest) -> TensorSpec:
    """The spec of `flatten_observation`: discrete leaves count one-hot."""
    return TensorSpec((sum(_width(leaf) for leaf in alf.nest.flatten(spec)),))


def flatten_observation(observation: Nest, spec: Nest) -> torch.Tensor:
    """All leaves `[..., *spec.shape]` of a nest concatenated to `[..., D]`, in the nest's order.

    Discrete scalars (option indices) become one-hot vectors.
    """
    leaves = zip(alf.nest.flatten(observation), alf.nest.flatten(spec), strict=True)
    vectors = [_vector(value, leaf) for value, leaf in leaves]
    return vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=-1)


def _is_index(spec: TensorSpec) -> bool:
    return (
        isinstance(spec, BoundedTensorSpec) and not spec.dtype.is_floating_point and spec.ndim == 0
    )


def _width(spec: TensorSpec) -> int:
    if _is_index(spec):
        return int(spec.maximum - spec.minimum) + 1
    return spec.numel


def _vector(value: torch.Tensor, spec: TensorSpec) -> torch.Tensor:
    if _is_index(spec):
        index = value.long() - int(spec.minimum)
        return torch.nn.functional.one_hot(index, _width(spec)).to(torch.float32)
    return value.reshape(*value.shape[: value.ndim - spec.ndim], -1).to(torch.float32)
