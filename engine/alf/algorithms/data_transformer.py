"""Data transformers: what happens to data between environment or replay buffer and algorithm."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import nn

from alf.algorithms.transformers.base import (
    DataTransformer,
    IdentityDataTransformer,
    SimpleDataTransformer,
    UntransformedTimeStep,
)
from alf.algorithms.transformers.frame_stacker import FrameStacker, FrameStackState
from alf.algorithms.transformers.hindsight import (
    HindsightExperienceTransformer,
    l2_dist_close_reward_fn,
)
from alf.algorithms.transformers.observations import ImageScaleTransformer, ObservationNormalizer
from alf.algorithms.transformers.rewards import (
    FunctionalRewardTransformer,
    RewardClipping,
    RewardNormalizer,
    RewardScaling,
    RewardShifting,
    RewardTransformer,
)
from alf.config_util import configurable
from alf.data_structures import AlgStep, Experience, TimeStep
from alf.device_ctx import device as device_context

__all__ = [
    "AlgStep",
    "DataTransformer",
    "Experience",
    "FrameStackState",
    "FrameStacker",
    "FunctionalRewardTransformer",
    "HindsightExperienceTransformer",
    "IdentityDataTransformer",
    "ImageScaleTransformer",
    "ObservationNormalizer",
    "RewardClipping",
    "RewardNormalizer",
    "RewardScaling",
    "RewardShifting",
    "RewardTransformer",
    "SequentialDataTransformer",
    "SimpleDataTransformer",
    "TimeStep",
    "UntransformedTimeStep",
    "create_data_transformer",
    "l2_dist_close_reward_fn",
]

# Read more records from the replay buffer, where nothing has been transformed yet.
_READS_BUFFER = (FrameStacker, HindsightExperienceTransformer)
_CHANGES_NOTHING = (UntransformedTimeStep, IdentityDataTransformer)


@configurable
class SequentialDataTransformer(DataTransformer):
    """Several transformers, one after the other.

    Those that read from the replay buffer (`FrameStacker`, `HindsightExperienceTransformer`) have
    to come before those that change values: what is in the buffer has not been changed.

    Args:
        data_transformer_ctors: called as `ctor(observation_spec=...)`, each with the spec that the
            one before leaves behind.
        observation_spec: nest of `TensorSpec` of observations of the environment.
    """

    def __init__(self, data_transformer_ctors: Sequence[Callable], observation_spec: Any) -> None:
        transformers: list[DataTransformer] = []
        for ctor in data_transformer_ctors:
            transformers.append(ctor(observation_spec=observation_spec))
            observation_spec = transformers[-1].transformed_observation_spec
        _check_order(transformers)
        super().__init__(observation_spec, [t.state_spec for t in transformers])
        self._data_transformers = nn.ModuleList(transformers)

    def members(self) -> Sequence[DataTransformer]:
        """The transformers, in order."""
        return cast("Sequence[DataTransformer]", self._data_transformers)

    @property
    def stack_size(self) -> int:
        return 1 + sum(t.stack_size - 1 for t in self.members())

    def transform_timestep(self, timestep: TimeStep, state: Any) -> tuple[TimeStep, Any]:
        new_state = []
        for transformer, its_state in zip(self.members(), state, strict=True):
            timestep, its_state = transformer.transform_timestep(timestep, its_state)
            new_state.append(its_state)
        return timestep, new_state

    def transform_experience(self, experience: Experience) -> Experience:
        for transformer in self.members():
            experience = transformer.transform_experience(experience)
        return experience


def _check_order(transformers: Sequence[DataTransformer]) -> None:
    changed_by = None
    for i, transformer in enumerate(transformers):
        name = type(transformer).__name__
        if isinstance(transformer, UntransformedTimeStep) and i > 0:
            raise ValueError(f"{name} has to be the first data transformer, it is number {i + 1}")
        if isinstance(transformer, _READS_BUFFER) and changed_by is not None:
            raise ValueError(
                f"the data transformer {name} reads from the replay buffer, where data are not "
                f"transformed; it has to come before {changed_by}"
            )
        if not isinstance(transformer, _READS_BUFFER + _CHANGES_NOTHING):
            changed_by = name


def create_data_transformer(
    data_transformer_ctor: Callable | Sequence[Callable] | None,
    observation_spec: Any,
    device: str | None = None,
) -> DataTransformer:
    """Make a data transformer.

    Args:
        data_transformer_ctor: called as `ctor(observation_spec=...)`; a list of them for a sequence
            of transformers; None (or an empty list) for one that changes nothing.
        observation_spec: nest of `TensorSpec` of observations of the environment.
        device: make it on this device; None for the default device.
    """
    with device_context(device) if device else contextlib.nullcontext():
        if data_transformer_ctor is None:
            return IdentityDataTransformer(observation_spec)
        if callable(data_transformer_ctor):
            return data_transformer_ctor(observation_spec=observation_spec)
        ctors = list(data_transformer_ctor)
        if not ctors:
            return IdentityDataTransformer(observation_spec)
        if len(ctors) == 1:
            return ctors[0](observation_spec=observation_spec)
        return SequentialDataTransformer(ctors, observation_spec)
