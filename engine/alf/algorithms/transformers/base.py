"""What a data transformer is: interfaces, and transformers that only pass data on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from alf.config_util import configurable
from alf.data_structures import Experience, TimeStep
from alf.nest import nest

PUBLIC_MODULE = "alf.algorithms.data_transformer"  # under which these names are configured


class DataTransformer(nn.Module):
    """Transforms what comes from the environment, and from the replay buffer, for an algorithm.

    The replay buffer holds untransformed data, so that both ways the same data arrive.

    Args:
        transformed_observation_spec: nest of `TensorSpec` of transformed observations; None: not
            known.
        state_spec: nest of `TensorSpec` of the state of `transform_timestep`.
    """

    def __init__(self, transformed_observation_spec: Any, state_spec: Any) -> None:
        super().__init__()
        self._transformed_observation_spec = transformed_observation_spec
        self._state_spec = state_spec

    @property
    def transformed_observation_spec(self) -> Any:
        """Nest of `TensorSpec` of transformed observations.

        Raises:
            ValueError: it was made without one.
        """
        if self._transformed_observation_spec is None:
            raise ValueError(
                f"{type(self).__name__} does not know its transformed_observation_spec: it was "
                "made with observation_spec=None."
            )
        return self._transformed_observation_spec

    @property
    def state_spec(self) -> Any:
        """Nest of `TensorSpec` of the state of `transform_timestep`."""
        return self._state_spec

    @property
    def stack_size(self) -> int:
        """How many observations go into a transformed one."""
        return 1

    def transform_timestep(self, timestep: TimeStep, state: Any) -> tuple[TimeStep, Any]:
        """Transform time steps [B, ...] as they come.

        Args:
            timestep: what comes from the environment.
            state: what the previous call returned; zeros for the first call.

        Returns the transformed time steps and the next state.
        """
        raise NotImplementedError

    def transform_experience(self, experience: Experience) -> Experience:
        """Transform what was sampled from a replay buffer, [B, T, ...].

        `experience.batch_info` and `experience.replay_buffer` have to be set.
        """
        raise NotImplementedError


class SimpleDataTransformer(DataTransformer):
    """Base of transformers without state that do the same to both; see `_transform`.

    Args:
        transformed_observation_spec: nest of `TensorSpec` of transformed observations.
    """

    def __init__(self, transformed_observation_spec: Any) -> None:
        super().__init__(transformed_observation_spec, state_spec=())

    def transform_timestep(self, timestep: TimeStep, state: Any) -> tuple[TimeStep, Any]:
        return self._transform(timestep), state

    def transform_experience(self, experience: Experience) -> Experience:
        return experience._replace(time_step=self._transform(experience.time_step))

    def _transform(self, timestep: TimeStep) -> TimeStep:
        """`timestep` with any number of batch dimensions, transformed."""
        raise NotImplementedError


@configurable
class IdentityDataTransformer(SimpleDataTransformer):
    """Changes nothing.

    Args:
        observation_spec: nest of `TensorSpec` of observations.
    """

    def __init__(self, observation_spec: Any = None) -> None:
        super().__init__(observation_spec)

    def _transform(self, timestep: TimeStep) -> TimeStep:
        return timestep


@configurable
class UntransformedTimeStep(SimpleDataTransformer):
    """Keeps the time step as it was in its field `untransformed`. Has to be the first transformer.

    Args:
        observation_spec: nest of `TensorSpec` of observations.
        fields_to_keep: names of the fields of `TimeStep` to keep; None for all.
    """

    def __init__(
        self, observation_spec: Any = None, fields_to_keep: list[str] | None = None
    ) -> None:
        unknown = sorted(set(fields_to_keep or ()) - set(TimeStep._fields))
        if unknown:
            raise ValueError(f"fields_to_keep: {unknown} are none of {list(TimeStep._fields)}")
        super().__init__(observation_spec)
        self._fields_to_keep = fields_to_keep

    def _transform(self, timestep: TimeStep) -> TimeStep:
        kept = timestep._replace(untransformed=())
        if self._fields_to_keep is not None:
            kept = TimeStep(**{name: getattr(timestep, name) for name in self._fields_to_keep})
        return timestep._replace(untransformed=kept)


def check_fields(what: str, fields: Any) -> None:
    """Raise ValueError unless `fields` is None or a list of paths."""
    if fields is not None and (isinstance(fields, str) or len(set(fields)) != len(list(fields))):
        raise ValueError(
            f"{what}: fields has to be None or a list of different paths, got {fields!r}"
        )


def transform_fields(nested: Any, fields: list[str] | None, func: Callable, *others: list) -> Any:
    """`nested` with `func(node, *other[i])` at the i-th of `fields` (None: only the root)."""
    for i, field in enumerate([""] if fields is None else fields):
        values = [other[i] for other in others]
        nested = nest.transform_nest(nested, field, lambda node, v=values: func(node, *v))
    return nested
