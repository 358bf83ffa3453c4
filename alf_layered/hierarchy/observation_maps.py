"""What a level sees of the environment: a function of the observation, and its spec."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

import alf
from alf.tensor_specs import TensorSpec
from alf.utils.spec_utils import zeros_from_spec
from alf_layered.allowed import check_fields, shown
from alf_layered.hierarchy.joints import field_path, field_value

Nest = Any

_ROWS = 3
"""Environments of the trial call of a map: more than one, to see that it keeps their axis."""


@dataclass(frozen=True)
class ObservationMap:
    """A function of the environment's observation, with the spec of what it returns.

    Attributes:
        function: takes the observation nest `[B, ...]`, returns a nest `[B, ...]`.
        spec: specs of the result without the batch axis. Or a negative number -m, or `(-m,)`: the
            result is a vector with m dimensions less than the (vector) observation has. None: the
            specs are read off a trial call.
    """

    function: Callable[[Nest], Nest]
    spec: Nest | int | tuple[int] | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    def bind(self, observation_spec: Nest) -> BoundMap:
        """The map for one environment; a `ValueError` where the result is not what `spec` says."""
        result = self.function(zeros_from_spec(observation_spec, _ROWS))
        _check_tensors(result, self.function)
        found = alf.nest.map_structure(lambda x: TensorSpec.from_tensor(x, from_dim=1), result)
        expected = _expected_spec(self.spec, observation_spec, found)
        if _shapes(found) != _shapes(expected):
            raise ValueError(
                f"an observation map returned {found} for the observation {observation_spec}, "
                f"but its spec says {expected}"
            )
        return BoundMap(self.function, expected)


@dataclass(frozen=True)
class BoundMap:
    """An observation map whose result's spec is known."""

    function: Callable[[Nest], Nest]
    spec: Nest

    def __call__(self, observation: Nest) -> Nest:
        return self.function(observation)


@dataclass(frozen=True)
class select:
    """Keeps fields of a dict observation, with their bounds: one as it is, several as a dict."""

    fields: tuple[str, ...]

    def __init__(self, *fields: str) -> None:
        if not fields:
            raise ValueError("select(): name at least one field of the observation")
        for field in fields:
            if not isinstance(field, str):
                raise TypeError(
                    f"select() has {shown(field)}; allowed: names of fields, as strings"
                )
        object.__setattr__(self, "fields", fields)

    def bind(self, observation_spec: Nest) -> BoundMap:
        paths = {name: field_path(observation_spec, name) for name in self.fields}
        specs = {name: field_value(observation_spec, path) for name, path in paths.items()}
        if len(self.fields) == 1:
            only = self.fields[0]
            return BoundMap(lambda o: field_value(o, paths[only]), specs[only])
        return BoundMap(
            lambda o: {name: field_value(o, path) for name, path in paths.items()}, specs
        )


def bind_map(observation_map: ObservationMap | select | None, observation_spec: Nest) -> BoundMap:
    """The map for one environment; the identity for None."""
    if observation_map is None:
        return BoundMap(lambda observation: observation, observation_spec)
    if not hasattr(observation_map, "bind"):
        raise TypeError(
            f"an observation map is None, select(...) or ObservationMap(function, spec), "
            f"not {observation_map!r}"
        )
    return observation_map.bind(observation_spec)


def _shapes(spec: Nest) -> list[tuple[tuple[int, ...], bool]]:
    """Of all leaves the shape, and whether they are real numbers."""
    return [(tuple(s.shape), s.dtype.is_floating_point) for s in alf.nest.flatten(spec)]


def _check_tensors(result: Nest, function: Callable[[Nest], Nest]) -> None:
    """Raises where what a map returned for `_ROWS` environments is no nest of tensors for them."""
    name = getattr(function, "__qualname__", repr(function))
    for leaf in alf.nest.flatten(result):
        if not isinstance(leaf, torch.Tensor):
            raise TypeError(
                f"the observation map {name} returned a {type(leaf).__name__}, it must return a "
                "tensor [B, ...] or a nest of them"
            )
        if leaf.shape[:1] != (_ROWS,):
            raise ValueError(
                f"the observation map {name} returned a tensor of shape {list(leaf.shape)} for "
                f"{_ROWS} environments; the first axis must be that of the environments, [{_ROWS}, "
                "...]"
            )


def _expected_spec(
    spec: Nest | int | tuple[int] | None, observation_spec: Nest, found: Nest
) -> Nest:
    if spec is None:
        return found
    fewer = spec[0] if isinstance(spec, tuple) and len(spec) == 1 else spec
    if not isinstance(fewer, int):
        return spec
    if fewer >= 0 or not isinstance(observation_spec, TensorSpec) or observation_spec.ndim != 1:
        raise ValueError(
            f"the shape {spec} of an observation map must be negative and the observation a "
            f"vector; the observation is {observation_spec}"
        )
    return TensorSpec((observation_spec.shape[0] + fewer,), dtype=torch.float32)
