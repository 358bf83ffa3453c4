"""The records that travel between environments, algorithms and replay buffers."""

from __future__ import annotations

import collections
import enum
import functools
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from alf.nest import nest
from alf.tensor_specs import BoundedTensorSpec, TensorSpec


def namedtuple(
    typename: str,
    field_names: str | Iterable[str],
    default_value: Any = None,
    default_values: Iterable[Any] | Mapping[str, Any] = (),
) -> type:
    """A ``collections.namedtuple`` whose fields all have a default.

    Args:
        typename: name of the new type.
        field_names: as for ``collections.namedtuple``.
        default_value: default of every field.
        default_values: defaults of single fields, which win over ``default_value``: a mapping
            from field name, or the values of the first fields in order.
    """
    new_type = collections.namedtuple(typename, field_names)
    if isinstance(default_values, Mapping):
        unknown = sorted(set(default_values) - set(new_type._fields))
        if unknown:
            raise ValueError(f"{typename} has no fields {unknown}; it has {new_type._fields}")
        defaults = tuple(default_values.get(f, default_value) for f in new_type._fields)
    else:
        given, count = tuple(default_values), len(new_type._fields)
        if len(given) > count:
            raise ValueError(
                f"{typename} has {count} fields {new_type._fields}, but {len(given)} default "
                "values were given"
            )
        defaults = given + (default_value,) * (count - len(given))
    new_type.__new__.__defaults__ = defaults
    new_type._field_defaults = dict(zip(new_type._fields, defaults, strict=True))
    # As in collections.namedtuple: pickle looks the type up in the module that made it.
    new_type.__module__ = sys._getframe(1).f_globals.get("__name__", "__main__")
    return new_type


class StepType(enum.IntEnum):
    """Where in its episode a time step lies."""

    FIRST = 0
    MID = 1
    LAST = 2


class TimeStep(
    namedtuple(
        "TimeStep",
        [
            "step_type",
            "reward",
            "discount",
            "observation",
            "prev_action",
            "env_id",
            "untransformed",
            "env_info",
        ],
        default_value=(),
    )
):
    """What an environment says after one step.

    Attributes:
        step_type: int32 [B], one of ``StepType``.
        reward: float32 [B] or [B, n], earned by ``prev_action``; 0 at FIRST.
        discount: float32 [B]; 0 exactly where the episode truly terminated.
        observation: nest of [B, ...]; at LAST the true final observation.
        prev_action: nest of [B, ...]; 0 at FIRST.
        env_id: int32 [B].
        untransformed: the time step before data transformers, where one keeps it.
        env_info: nest of [B, ...] for metrics; 0 at FIRST.
    """

    __slots__ = ()

    def is_first(self) -> Any:
        """Boolean of ``step_type``'s shape: is this the first step of an episode?"""
        return self.step_type == StepType.FIRST

    def is_mid(self) -> Any:
        """Boolean of ``step_type``'s shape: is this neither a first nor a last step?"""
        return self.step_type == StepType.MID

    def is_last(self) -> Any:
        """Boolean of ``step_type``'s shape: is this the last step of an episode?"""
        return self.step_type == StepType.LAST

    def cuda(self) -> TimeStep:
        """The same time step with its tensors on the current CUDA device."""
        return nest.map_structure(lambda x: x.cuda(), self)

    def cpu(self) -> TimeStep:
        """The same time step with its tensors in host memory."""
        return nest.map_structure(lambda x: x.cpu(), self)


class Experience(
    namedtuple(
        "Experience",
        [
            "time_step",
            "action",
            "rollout_info",
            "state",
            "batch_info",
            "replay_buffer",
            "rollout_info_field",
        ],
        default_value=(),
    )
):
    """A time step, the action taken there, and what the algorithm wants to remember of it.

    Attributes:
        time_step: ``TimeStep``.
        action: nest, the action taken in ``time_step``.
        rollout_info: ``AlgStep.info`` of the rollout.
        state: the state *before* the rollout step, ``()`` if it is not stored.
        batch_info: ``BatchInfo`` of a sampled batch, ``()`` otherwise.
        replay_buffer: the buffer of a sampled batch, ``()`` otherwise.
        rollout_info_field: dotted path inside the buffer at which ``rollout_info`` lies.
    """

    __slots__ = ()

    def get_time_step_field(self, field: str) -> Any:
        """What lies at the dotted path ``field`` of the time step."""
        return nest.get_field(self.time_step, field)

    def update_time_step_field(self, field: str, new_value: Any) -> Experience:
        """A copy whose time step has ``new_value`` at the dotted path ``field``."""
        return self._replace(time_step=nest.set_field(self.time_step, field, new_value))

    @property
    def step_type(self) -> Any:
        return self.time_step.step_type

    @property
    def reward(self) -> Any:
        return self.time_step.reward

    @property
    def discount(self) -> Any:
        return self.time_step.discount

    @property
    def observation(self) -> Any:
        return self.time_step.observation

    @property
    def prev_action(self) -> Any:
        return self.time_step.prev_action

    @property
    def env_id(self) -> Any:
        return self.time_step.env_id

    @property
    def env_info(self) -> Any:
        return self.time_step.env_info

    def is_first(self) -> Any:
        return self.time_step.is_first()

    def is_mid(self) -> Any:
        return self.time_step.is_mid()

    def is_last(self) -> Any:
        return self.time_step.is_last()


AlgStep = namedtuple("AlgStep", ["output", "state", "info"], default_value=())

LossInfo = namedtuple(
    "LossInfo",
    [
        "loss",  # [T, B] or scalar: what is minimised
        "scalar_loss",  # scalar, already averaged; added to the mean of ``loss``
        "extra",  # nest of tensors, only summarised
        "priority",  # [B], new priorities of a prioritised batch
        "gns",  # simple gradient noise scale
        "batch_label",  # [T, B] integers, summaries are made per label
    ],
    default_value=(),
)

BasicRLInfo = namedtuple("BasicRLInfo", ["action"], default_value=())


class _Elastic:
    """A named tuple whose unknown fields are ``()``, as its missing ones are."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        # Names with two underscores are Python's own: to have them means something.
        if name.startswith("__"):
            raise AttributeError(f"{type(self).__name__} has no {name}")
        return ()


def elastic_namedtuple(name: str, args: Iterable[str]) -> type:
    """A type of named tuples with the fields ``args``, which all have the default ``()``.

    To read a field that it does not have gives ``()``, too. Two calls with equal ``name`` and
    equal fields give the same type, in one process and after unpickling in another one.
    """
    return _elastic_type(name, tuple(args))


@functools.cache
def _elastic_type(name: str, fields: tuple[str, ...]) -> type:
    base = collections.namedtuple(name, fields, defaults=((),) * len(fields))

    def reduce(self: Any) -> tuple:
        return _elastic_value, (name, fields, tuple(self))

    return type(name, (_Elastic, base), {"__slots__": (), "__reduce__": reduce})


def _elastic_value(name: str, fields: tuple[str, ...], values: tuple) -> tuple:
    return _elastic_type(name, fields)(*values)


BasicRolloutInfo = elastic_namedtuple("BasicRolloutInfo", ["rl", "rewards", "repr"])


def make_experience(time_step: TimeStep, alg_step: Any, state: Any) -> Experience:
    """The experience of ``alg_step`` made at ``time_step`` from ``state``."""
    return Experience(
        time_step=time_step, action=alg_step.output, rollout_info=alg_step.info, state=state
    )


def add_batch_info(experience: Experience, batch_info: Any, buffer: Any = ()) -> Experience:
    """``experience`` with the sampling information that relabelling transformers need."""
    return experience._replace(
        batch_info=() if batch_info is None else batch_info,
        replay_buffer=buffer,
        rollout_info_field="rollout_info",
    )


def clear_batch_info(experience: Experience) -> Experience:
    """``experience`` without the information that ``add_batch_info`` attached."""
    return experience._replace(batch_info=(), replay_buffer=(), rollout_info_field=())


def time_step_spec(observation_spec: Any, action_spec: Any, reward_spec: Any) -> TimeStep:
    """The spec of the time steps of an environment with these specs, without ``env_info``.

    Raises:
        TypeError: a leaf is not a ``TensorSpec``.
    """
    for spec in nest.flatten([observation_spec, action_spec, reward_spec]):
        if not isinstance(spec, TensorSpec):
            raise TypeError(f"time_step_spec: a spec is a {type(spec).__name__}, not a TensorSpec")
    return TimeStep(
        step_type=TensorSpec((), torch.int32),
        reward=reward_spec,
        discount=BoundedTensorSpec((), torch.float32, minimum=0.0, maximum=1.0),
        observation=observation_spec,
        prev_action=action_spec,
        env_id=TensorSpec((), torch.int32),
    )


def restart(
    observation: Any,
    action_spec: Any,
    reward_spec: TensorSpec = TensorSpec(()),
    env_id: Any = None,
    env_info: Any = {},  # noqa: B006 (ALF's signature; never written to)
    batched: bool = False,
) -> TimeStep:
    """The FIRST time step of an episode: reward and previous action 0, discount 1.

    Everything is numpy if ``observation`` is, else torch. With ``batched`` the first axis of
    ``observation`` is the batch axis.
    """
    leaf = nest.extract_any_leaf_from_nest(observation)
    outer_dims = tuple(leaf.shape[:1]) if batched else ()
    if isinstance(leaf, torch.Tensor):
        reward = reward_spec.zeros(outer_dims)
        prev_action = nest.map_structure(lambda spec: spec.zeros(outer_dims), action_spec)
    else:
        reward = reward_spec.numpy_zeros(outer_dims)
        prev_action = nest.map_structure(lambda spec: spec.numpy_zeros(outer_dims), action_spec)
    return _time_step(
        StepType.FIRST, observation, prev_action, reward, 1.0, outer_dims, env_id, env_info
    )


def transition(
    observation: Any,
    prev_action: Any,
    reward: Any,
    reward_spec: TensorSpec = TensorSpec(()),
    discount: Any = 1.0,
    env_id: Any = None,
    env_info: Any = {},  # noqa: B006
) -> TimeStep:
    """A MID time step. A ``reward`` of higher rank than ``reward_spec`` makes it batched."""
    reward, outer_dims = _reward_and_outer_dims(reward, reward_spec, observation)
    return _time_step(
        StepType.MID, observation, prev_action, reward, discount, outer_dims, env_id, env_info
    )


def termination(
    observation: Any,
    prev_action: Any,
    reward: Any,
    reward_spec: TensorSpec = TensorSpec(()),
    env_id: Any = None,
    env_info: Any = {},  # noqa: B006
) -> TimeStep:
    """A LAST time step with discount 0. A ``reward`` of higher rank makes it batched."""
    reward, outer_dims = _reward_and_outer_dims(reward, reward_spec, observation)
    return _time_step(
        StepType.LAST, observation, prev_action, reward, 0.0, outer_dims, env_id, env_info
    )


def _time_step(
    step_type: int,
    observation: Any,
    prev_action: Any,
    reward: Any,
    discount: Any,
    outer_dims: tuple[int, ...],
    env_id: Any,
    env_info: Any,
) -> TimeStep:
    if isinstance(nest.extract_any_leaf_from_nest(observation), torch.Tensor):
        full = functools.partial(_full_like_torch, outer_dims)
        default_ids = torch.arange(outer_dims[0], dtype=torch.int32) if outer_dims else None
    else:
        full = functools.partial(_full_like_numpy, outer_dims)
        default_ids = np.arange(outer_dims[0], dtype=np.int32) if outer_dims else None
    if env_id is None:
        env_id = full(0, torch.int32) if default_ids is None else default_ids
    return TimeStep(
        step_type=full(step_type, torch.int32),
        reward=reward,
        discount=full(discount, torch.float32),
        observation=observation,
        prev_action=prev_action,
        env_id=env_id,
        env_info=env_info,
    )


def _full_like_torch(outer_dims: tuple[int, ...], value: Any, dtype: torch.dtype) -> torch.Tensor:
    return torch.as_tensor(value, dtype=dtype).expand(outer_dims).clone()


def _full_like_numpy(outer_dims: tuple[int, ...], value: Any, dtype: torch.dtype) -> np.ndarray:
    numpy_dtype = np.int32 if dtype == torch.int32 else np.float32
    return np.broadcast_to(np.asarray(value, dtype=numpy_dtype), outer_dims).copy()


def _reward_and_outer_dims(
    reward: Any, reward_spec: TensorSpec, observation: Any
) -> tuple[Any, tuple[int, ...]]:
    if isinstance(nest.extract_any_leaf_from_nest(observation), torch.Tensor):
        reward = torch.as_tensor(reward, dtype=reward_spec.dtype)
    else:
        reward = np.asarray(reward, dtype=reward_spec.dtype_str)
    outer_rank = reward.ndim - reward_spec.ndim
    if outer_rank not in (0, 1) or tuple(reward.shape[outer_rank:]) != reward_spec.shape:
        raise ValueError(
            f"reward has shape {tuple(reward.shape)}; reward_spec {reward_spec} allows "
            f"{reward_spec.shape} with or without one batch axis in front"
        )
    outer_dims = tuple(reward.shape[:outer_rank])
    leaf = nest.extract_any_leaf_from_nest(observation)
    if outer_dims and tuple(leaf.shape[:1]) != outer_dims:
        raise ValueError(
            f"reward has batch size {outer_dims[0]}, but an observation has shape "
            f"{tuple(leaf.shape)}"
        )
    return reward, outer_dims
