"""Offline data of Minari, the data sets of the Farama Foundation, as time steps and actions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from alf.data_structures import Experience, StepType
from alf.nest import nest
from alf.tensor_specs import TensorSpec

Nest = Any

PREFIX = "minari:"
_SPEC = "minari[hdf5]>=0.5.3,<0.6"
# Rings of which training samples equally many sequences each: of one length, few enough to lose
# next to nothing where they are cut, enough to be filled in few steps.
_RECORDS_OF_RING, _MOST_RINGS = 1000, 64


def read(path: str, spec: Experience, length: int | None) -> list[list[torch.Tensor]]:
    """The newest records of a data set that is on this machine.

    Args:
        path: "minari:" and the data set's name, as in "minari:D4RL/pointmaze/umaze-v2".
        spec: what is read of each record.
        length: so many records; None: all.

    Returns:
        As many rings as suit, of almost equal lengths: of each the leaves `[n, ...]` of its
        records, oldest first.

    Raises:
        FileNotFoundError: there is no such data set on this machine.
        ImportError: Minari is not installed.
        ValueError: the data set is not one of this environment.
    """
    parts = [_records(path, episode, spec) for episode in _episodes(path)]
    leaves = [torch.cat(columns) for columns in zip(*parts, strict=True)]
    if length is not None:
        leaves = [leaf[-length:] for leaf in leaves]
    total = len(leaves[0])
    rings = min(max(total // _RECORDS_OF_RING, 1), _MOST_RINGS)
    pieces = [torch.tensor_split(leaf, rings) for leaf in leaves]
    return [list(ring) for ring in zip(*pieces, strict=True)]


def _episodes(path: str) -> Iterable[Any]:
    name = path.removeprefix(PREFIX)
    try:
        import minari
    except ImportError as error:
        raise ImportError(
            f"TrainerConfig.offline_buffer_dir: {path!r} needs Minari: pip install '{_SPEC}'"
        ) from error
    try:
        return minari.load_dataset(name).iterate_episodes()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"TrainerConfig.offline_buffer_dir: there is no data set {name!r} on this machine: "
            f"minari download {name}"
        ) from error


def _records(path: str, episode: Any, spec: Experience) -> list[torch.Tensor]:
    """The leaves `[T + 1, ...]` of an episode of T steps.

    The last record has no action of its own: it repeats the one before, and as a LAST step does not
    count in losses.
    """
    actions = nest.map_structure(
        _repeat_last, _fitted(path, "actions", episode.actions, spec.action)
    )
    steps = len(episode.rewards)
    rewards = np.concatenate([np.zeros_like(episode.rewards[:1]), episode.rewards])
    step_type = torch.full((steps + 1,), int(StepType.MID), dtype=torch.int32)
    step_type[0], step_type[-1] = int(StepType.FIRST), int(StepType.LAST)
    ended = torch.as_tensor(np.asarray(episode.terminations), dtype=torch.float32)
    observation = spec.time_step.observation
    time_step = spec.time_step._replace(
        step_type=step_type,
        reward=_fitted(path, "rewards", rewards, spec.time_step.reward),
        discount=torch.cat([torch.ones(1), 1 - ended]),
        observation=_fitted(path, "observations", episode.observations, observation),
        prev_action=nest.map_structure(_one_later, actions),
        env_id=torch.zeros(steps + 1, dtype=torch.int32),
    )
    return nest.flatten(spec._replace(time_step=time_step, action=actions))


def _repeat_last(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, x[-1:]])


def _one_later(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.zeros_like(x[:1]), x[:-1]])


def _fitted(path: str, what: str, values: Nest, spec: Nest) -> Nest:
    """The arrays `[n, ...]` of a data set as tensors of a nest of specs."""
    if isinstance(spec, TensorSpec):
        array = np.asarray(values)
        if array.shape[1:] != tuple(spec.shape):
            raise ValueError(
                f"{path}: {what} are {array.dtype} {list(array.shape[1:])}, in the environment "
                f"{spec.dtype} {list(spec.shape)}"
            )
        return torch.as_tensor(array).to(spec.dtype)
    if isinstance(spec, dict):
        missing = sorted(set(spec) - set(values)) if isinstance(values, dict) else sorted(spec)
        if missing:
            raise ValueError(f"{path}: {what} have no {', '.join(missing)}")
        return {
            key: _fitted(path, f"{what}.{key}", values[key], part) for key, part in spec.items()
        }
    parts: Sequence[Nest] = [
        _fitted(path, f"{what}[{i}]", values[i], part) for i, part in enumerate(spec)
    ]
    return type(spec)(*parts) if hasattr(spec, "_fields") else type(spec)(parts)
