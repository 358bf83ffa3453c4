"""A nest of observations as one vector."""

from __future__ import annotations

from typing import Any

import torch

from alf.tensor_specs import BoundedTensorSpec, TensorSpec

Nest = Any

MAX_ONE_HOT = 10_000


def flat_spec(spec: Nest) -> TensorSpec:
    """The spec of `flatten_observation`: discrete leaves count one-hot.

    Raises:
        ValueError: a discrete leaf has more than 10,000 values.
    """
    return TensorSpec((sum(_width(leaf) for leaf in leaves_in_order(spec)),))


def flatten_observation(observation: Nest, spec: Nest) -> torch.Tensor:
    """All leaves `[..., *spec.shape]` of a nest concatenated to `[..., D]`, by `leaves_in_order`.

    Discrete scalars (option indices) become one-hot vectors.
    """
    leaves = zip(leaves_in_order(observation), leaves_in_order(spec), strict=True)
    vectors = [_vector(value, leaf) for value, leaf in leaves]
    return vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=-1)


def leaves_in_order(nest: Nest) -> list[Any]:
    """The leaves of a nest: fields of named tuples as declared, dicts by their sorted keys.

    A `LevelObservation` has its observation first. (`alf.nest.flatten` takes fields
    alphabetically, so that it would come behind what the level above says.)
    """
    if isinstance(nest, dict):
        return [leaf for key in sorted(nest) for leaf in leaves_in_order(nest[key])]
    if isinstance(nest, (list, tuple)):
        return [leaf for child in nest for leaf in leaves_in_order(child)]
    return [nest]


def _is_index(spec: TensorSpec) -> bool:
    return (
        isinstance(spec, BoundedTensorSpec) and not spec.dtype.is_floating_point and spec.ndim == 0
    )


def _width(spec: TensorSpec) -> int:
    if _is_index(spec):
        count = int(spec.maximum) - int(spec.minimum) + 1
        if count > MAX_ONE_HOT:
            raise ValueError(
                f"an index with {count:,} values, {spec}, would be as many inputs of a network; "
                f"allowed are {MAX_ONE_HOT:,}. If it is a number, observe it as a float; if it is "
                "an index, embed it (nested_observation=True)"
            )
        return count
    return spec.numel


def _vector(value: torch.Tensor, spec: TensorSpec) -> torch.Tensor:
    if _is_index(spec):
        index = value.long() - int(spec.minimum)
        return torch.nn.functional.one_hot(index, _width(spec)).to(torch.float32)
    return value.reshape(*value.shape[: value.ndim - spec.ndim], -1).to(torch.float32)
