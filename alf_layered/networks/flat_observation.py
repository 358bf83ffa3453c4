"""A nest of observations as one vector."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch

from alf.tensor_specs import BoundedTensorSpec, TensorSpec

Nest = Any

MAX_ONE_HOT = 10_000


def flat_spec(spec: Nest) -> TensorSpec:
    """The spec of `flatten_observation`: indices count one-hot.

    Raises:
        ValueError: an index has more than 10,000 values.
    """
    return TensorSpec((sum(_width(leaf) for leaf in leaves_in_order(spec)),))


def flatten_observation(observation: Nest, spec: Nest) -> torch.Tensor:
    """All leaves `[..., *spec.shape]` of a nest concatenated to `[..., D]`, by `leaves_in_order`.

    Discrete scalars (option indices) and the elements of an `IndicesSpec` become one-hot vectors.
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
    """Whether its elements are indices; with axes it has to say so, as `IndicesSpec` does."""
    is_discrete = isinstance(spec, BoundedTensorSpec) and not spec.dtype.is_floating_point
    return is_discrete and getattr(spec, "are_indices", spec.ndim == 0)


def _width(spec: TensorSpec) -> int:
    if not _is_index(spec):
        return spec.numel
    counts = _counts(spec)
    if counts.max(initial=0) > MAX_ONE_HOT:
        raise ValueError(
            f"an index with {counts.max():,} values, {spec}, would be as many inputs of a network; "
            f"allowed are {MAX_ONE_HOT:,}. If it is a number, observe it as a float; if it is "
            "an index, embed it (nested_observation=True)"
        )
    return int(counts.sum())


def _counts(spec: Any) -> np.ndarray:
    """How many values each element of an index has, `[numel]`."""
    counts = np.asarray(spec.maximum, np.int64) - np.asarray(spec.minimum, np.int64) + 1
    return np.broadcast_to(counts, tuple(spec.shape)).reshape(-1)


def _offsets(spec: Any, device: torch.device) -> torch.Tensor:
    """What is added to each element of an `IndicesSpec` for its place in the vector, `[numel]`."""
    counts = _counts(spec)
    low = np.broadcast_to(np.asarray(spec.minimum, np.int64), tuple(spec.shape)).reshape(-1)
    return _on_device(tuple((np.cumsum(counts) - counts - low).tolist()), device)


@functools.lru_cache(maxsize=256)
def _on_device(numbers: tuple[int, ...], device: torch.device) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.int64, device=device)


def _vector(value: torch.Tensor, spec: TensorSpec) -> torch.Tensor:
    if not _is_index(spec):
        return value.reshape(*value.shape[: value.ndim - spec.ndim], -1).to(torch.float32)
    if spec.ndim == 0:
        index = value.long() - int(spec.minimum)  # type: ignore[attr-defined]
        return torch.nn.functional.one_hot(index, _width(spec)).to(torch.float32)
    rows = value.shape[: value.ndim - spec.ndim]
    places = value.reshape(*rows, -1).long() + _offsets(spec, value.device)
    return torch.zeros(*rows, _width(spec), device=value.device).scatter_(-1, places, 1.0)
