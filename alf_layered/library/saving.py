"""Files of a `Hierarchy`: `hierarchy.pt` (no code in it), `settings.pkl`, `buffers.pt`.

Settings are constructors and functions, so that their file holds code. Who gives them again reads
the other two files alone.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import torch

from alf.data_structures import Experience, StepType, TimeStep
from alf.tensor_specs import TensorSpec
from alf.utils.spec_utils import zeros_from_spec
from alf_layered.hierarchy.agent import HierarchyAgent

if TYPE_CHECKING:
    from alf_layered.library.hierarchy import Hierarchy

STATE, SETTINGS, BUFFERS = "hierarchy.pt", "settings.pkl", "buffers.pt"
_BUFFER_PREFIX = "_replay_buffer."


class LoadMethod:
    """`load` of a class makes an object, `load` of an object loads into it."""

    def __get__(self, hierarchy: Hierarchy | None, kind: type[Hierarchy]) -> Callable[..., Any]:
        if hierarchy is None:
            return lambda path, env, **settings: make(kind, Path(path), env, settings)
        return lambda path: load(hierarchy, Path(path))


def save(hierarchy: Hierarchy, settings: dict[str, Any], folder: Path) -> None:
    """Writes state and settings.

    Raises:
        ValueError: a setting cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        written = cloudpickle.dumps(settings)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ValueError(f"the settings of the hierarchy cannot be saved: {error}") from error
    _write(folder / STATE, lambda path: torch.save(hierarchy.state_dict(), path))
    _write(folder / SETTINGS, lambda path: path.write_bytes(written))


def make(kind: type[Hierarchy], folder: Path, env: Any, given: dict[str, Any]) -> Hierarchy:
    """A hierarchy from its files; `given` are arguments of the constructor, which count first."""
    state = _read(folder / STATE)
    settings: dict[str, Any] = {}
    if "levels" not in given:
        path = folder / SETTINGS
        if not path.exists():
            raise FileNotFoundError(f"there is no {path}; give levels=..., joints=... again")
        settings = cloudpickle.loads(path.read_bytes())
    hierarchy = kind.from_settings(env, settings | given)
    hierarchy.load_state_dict(state)
    _load_buffers_if_there(hierarchy, folder)
    return hierarchy


def load(hierarchy: Hierarchy, folder: Path) -> Hierarchy:
    """Loads the files into a hierarchy of the same levels; returns it."""
    hierarchy.load_state_dict(_read(folder / STATE))
    _load_buffers_if_there(hierarchy, folder)
    return hierarchy


def _load_buffers_if_there(hierarchy: Hierarchy, folder: Path) -> None:
    if (folder / BUFFERS).exists():
        load_buffers(hierarchy, folder)


def without_buffers(state: dict[str, Any]) -> dict[str, Any]:
    """An agent's state without the contents of replay buffers."""
    return {key: value for key, value in state.items() if not key.startswith(_BUFFER_PREFIX)}


def load_agent(agent: HierarchyAgent, state: dict[str, Any]) -> None:
    """Loads `without_buffers(agent.state_dict())`; replay buffers stay as they are.

    Raises:
        ValueError: it is of other levels.
    """
    now = agent.state_dict()
    own = without_buffers(now)
    wrong = sorted(set(own) ^ set(state))
    wrong += [
        key
        for key in own
        if key not in wrong and getattr(own[key], "shape", 0) != getattr(state[key], "shape", 0)
    ]
    if wrong:
        raise ValueError(
            f"the file is of other levels: {len(wrong)} entries differ, such as {wrong[:3]}"
        )
    agent.load_state_dict({**now, **state})


def save_buffers(hierarchy: Hierarchy, folder: Path) -> None:
    """Writes the replay buffer of each level that has one."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {name: buffer.state_dict() for name, buffer in _buffers(hierarchy.agent).items()}
    _write(folder / BUFFERS, lambda path: torch.save(contents, path))


def load_buffers(hierarchy: Hierarchy, folder: Path) -> None:
    """See `Hierarchy.load_buffers`."""
    contents = _read(folder / BUFFERS)
    agent = hierarchy.agent
    named = dict(zip(agent._level_names, agent.levels, strict=True))
    unknown = sorted(set(contents) - set(named))
    if unknown:
        raise ValueError(f"{folder / BUFFERS} is of other levels: {unknown}; here: {list(named)}")
    if any(named[name]._replay_buffer is None for name in contents):
        _make_buffers(agent, hierarchy.n_env_instances)
    for name, state in contents.items():
        level = named[name]
        _check_same_shapes(level._replay_buffer.state_dict(), state, f"{folder / BUFFERS}: {name}")
        level._replay_buffer.load_state_dict(state)
        agent._replay_buffer[name] = level._replay_buffer


def _make_buffers(agent: HierarchyAgent, num_envs: int) -> None:
    """Has every level that stores make its replay buffer, from the step of a made-up episode."""
    before = without_buffers(agent.state_dict())
    random = torch.get_rng_state()
    device = next(agent.parameters(), torch.empty(0)).device
    nothing = TimeStep(
        step_type=torch.full((1,), int(StepType.FIRST), dtype=torch.int32, device=device),
        reward=torch.zeros(1, *agent.environment_reward_spec.shape, device=device),
        discount=torch.ones(1, device=device),
        observation=zeros_from_spec(agent.observation_spec, 1),
        prev_action=zeros_from_spec(agent.action_spec, 1),
        env_id=torch.zeros(1, dtype=torch.int32, device=device),
    )
    kept = set(_buffers(agent))
    with torch.no_grad():
        state = agent.get_initial_rollout_state(1)
        step = agent.rollout_step(nothing, state)
        agent.observe_for_replay(
            Experience(time_step=nothing, action=step.output, rollout_info=step.info, state=state)
        )
    for name, buffer in _buffers(agent).items():
        if name not in kept:
            buffer.clear()
    agent.load_state_dict({**agent.state_dict(), **before})
    torch.set_rng_state(random)


def _buffers(agent: HierarchyAgent) -> dict[str, Any]:
    named = zip(agent._level_names, agent.levels, strict=True)
    return {name: x._replay_buffer for name, x in named if x._replay_buffer is not None}


def _check_same_shapes(own: dict[str, Any], loaded: dict[str, Any], what: str) -> None:
    wrong = sorted(set(own) ^ set(loaded))
    if wrong:
        raise ValueError(f"{what}: other records are stored there; {wrong[:3]} differ")
    for key, value in own.items():
        if not key.startswith("_buffer"):
            continue
        here, there = list(value.shape), list(loaded[key].shape)
        # Of the second axis, records, only those are written that there are.
        if here[:1] + here[2:] != there[:1] + there[2:]:
            raise ValueError(f"{what}: {key} has shape {there}, here {here} (environments first)")


def spec_of_shape(shape: Any) -> Any:
    """What `ObservationMap` takes for a shape: None, `-m`, `(-m,)` or the shape of a tensor."""
    if shape is None or isinstance(shape, int):
        return shape
    if isinstance(shape, (tuple, list)) and all(isinstance(n, int) for n in shape):
        shape = tuple(shape)
        return shape if any(n < 0 for n in shape) else TensorSpec(shape)
    return shape


def _read(path: Path) -> Any:
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    return torch.load(path, map_location="cpu", weights_only=True)


def _write(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes beside `path` first: what was there stays whole if this ends in the middle."""
    beside = path.with_name(f"{path.name}.new")
    write(beside)
    os.replace(beside, path)
