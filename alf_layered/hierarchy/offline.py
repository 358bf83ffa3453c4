"""Offline data for levels: their own records of another run, or episodes recorded without them.

Both come from `TrainerConfig.offline_buffer_dir`. Of a run of a hierarchy each level gets the
replay buffer of the level with its name. All else is read by ALF's own loader, and made into
records of the levels (`recorded`).
"""

from __future__ import annotations

import copy
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import torch

import alf
from alf.algorithms.config import TrainerConfig
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.data_structures import Experience, StepType, TimeStep
from alf_layered.hierarchy.level import Level
from alf_layered.hierarchy.recorded import episodes_in, level_buffers
from alf_layered.hierarchy.replay import LevelReplayBuffer
from alf_layered.hierarchy.rows import take_rows

Nest = Any

_FILE = re.compile(r"ckpt-(\d+)-replay_buffer")
_OF_LEVEL = re.compile(r"(?:.*\.)?_replay_buffer\.level_\d+_(.+)\._current_pos")


def give_offline_data(agent: Any, config: TrainerConfig, observation_spec: Nest) -> bool:
    """Gives each level of an agent its offline data; returns whether there are some.

    Args:
        agent: the `HierarchyAgent`.
        config: the trainer's.
        observation_spec: of the environment's raw observations.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a level that asks for data gets none, or what there is does not fit it.
    """
    paths = config.offline_buffer_dir
    if not paths:
        return False
    paths = [paths] if isinstance(paths, str) else list(paths)
    found: list[list[LevelReplayBuffer]] = [[] for _ in agent.levels]
    for path in paths:
        for of_level, buffer in zip(
            found, _read(agent, config, path, observation_spec), strict=True
        ):
            if buffer is not None and buffer.total_size > 0:
                of_level.append(buffer)
    for level, of_level in zip(agent.levels, found, strict=True):
        options = level.training_options
        if options is None or not options.uses_offline_data:
            continue
        of_level = [b for b in of_level if b.has_spans(options.mini_batch_length)]
        if not of_level:
            raise ValueError(
                f"TrainerConfig.offline_buffer_dir={config.offline_buffer_dir!r} has no data of "
                f"level {level.name!r}; allowed: a run with a level of this name, or leave it out: "
                "TrainingOptions(offline_updates=0, offline_share=0)"
            )
        level.use_offline(of_level)
    return True


def _read(
    agent: Any, config: TrainerConfig, path: str, observation_spec: Nest
) -> Sequence[LevelReplayBuffer | None]:
    """A replay buffer for each level, None where there are no data of it."""
    file = _replay_file(path)
    state = {} if file is None else _content(file)
    names = {match[1] for match in map(_OF_LEVEL.fullmatch, state) if match}
    if not names:
        return level_buffers(
            agent, episodes_in(_flat_buffer(agent, config, path, observation_spec))
        )
    records = _template(agent)
    return [
        _of_level(level, records[i], state, str(file), config.offline_buffer_length)
        if level.name in names and _uses(level)
        else None
        for i, level in enumerate(agent.levels)
    ]


def _uses(level: Level) -> bool:
    return level.training_options is not None and level.training_options.uses_offline_data


def _replay_file(path: str) -> str | None:
    """The file of a checkpoint that an entry names; None: it is left to ALF's loader."""
    if os.path.isfile(path):
        return path
    for folder in (path, os.path.join(path, "train", "algorithm")):
        names = os.listdir(folder) if os.path.isdir(folder) else []
        found = {int(m[1]): m[0] for m in map(_FILE.fullmatch, names) if m}
        if found:
            return os.path.join(folder, found[max(found)])
    return None


def _content(file: str) -> Mapping[str, torch.Tensor]:
    """What an algorithm has saved; `{}` where the file is none of a checkpoint.

    Raises:
        ValueError: it is damaged. `torch.load()` does not compare checksums.
    """
    if not zipfile.is_zipfile(file):
        return {}
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"TrainerConfig.offline_buffer_dir: {file} cannot be read: {error}"
        ) from error
    if damaged is not None:
        raise ValueError(f"TrainerConfig.offline_buffer_dir: {file} is damaged: record {damaged}")
    content = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    return content.get("algorithm", {})


# ---- data of flat runs ----------------------------------------------------------------------


def _flat_buffer(agent: Any, config: TrainerConfig, path: str, observation_spec: Nest) -> Any:
    """What ALF's loader reads."""
    own = copy.copy(config)
    own.offline_buffer_dir = path
    own.mini_batch_length = 2
    reader = OffPolicyAlgorithm(
        observation_spec=observation_spec,
        action_spec=agent.action_spec,
        reward_spec=agent.environment_reward_spec,
        train_state_spec=(),
        config=own,
        name="flat_data",
    )
    reader.load_offline_replay_buffer(observation_spec)
    return reader._offline_replay_buffer


# ---- data of runs of hierarchies -------------------------------------------------------------


@torch.no_grad()
def _template(agent: Any) -> list[Experience]:
    """One record of each level, to see what its records are made of."""
    inputs = TimeStep(
        step_type=torch.full((1,), int(StepType.FIRST), dtype=torch.int32),
        reward=agent.environment_reward_spec.zeros((1,)),
        discount=torch.ones(1),
        observation=alf.nest.map_structure(lambda s: s.zeros((1,)), agent.observation_spec),
        prev_action=alf.nest.map_structure(lambda s: s.zeros((1,)), agent.action_spec),
        env_id=torch.zeros(1, dtype=torch.int32),
        env_info=(),
    )
    result = agent.rollout_step(inputs, agent.get_initial_rollout_state(1))
    rows = [take_rows(r.deciding.mask, r.deciding._replace(mask=())) for r in result.info]
    return [
        Experience(time_step=r.time_step, action=r.action, rollout_info=r.info, state=r.state)
        for r in rows
    ]


def _of_level(
    level: Level,
    record: Experience,
    state: Mapping[str, torch.Tensor],
    path: str,
    longest: int | None,
) -> LevelReplayBuffer:
    """The saved replay buffer of the level with this name."""
    end = f"_{level.name}._current_pos"
    prefix = next(k for k in state if k.endswith(end) and _OF_LEVEL.fullmatch(k))
    prefix = prefix.removesuffix("_current_pos")
    saved = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    storage = saved[next(k for k in saved if k.endswith("step_type"))]
    buffer = level.record([record], storage.shape[0], storage.shape[1])
    own = buffer.state_dict()
    for name in sorted({*own, *saved}):
        if name.startswith(("_buffer", "_current")) and not _same(own.get(name), saved.get(name)):
            raise ValueError(
                f"{path}: level {level.name!r} has records with {_shown(name, saved.get(name))}, "
                f"in this hierarchy with {_shown(name, own.get(name))}"
            )
    buffer.load_state_dict({k: v for k, v in saved.items() if k in own})
    if longest is not None:
        buffer.keep_newest(longest)
    return buffer


def _same(own: Any, saved: Any) -> bool:
    if own is None or saved is None:
        return False
    return own.shape[2:] == saved.shape[2:] and own.dtype == saved.dtype


def _shown(name: str, value: Any) -> str:
    field = name.removeprefix("_buffer/")
    if value is None:
        return f"no {field}"
    return f"{field} of {str(value.dtype).removeprefix('torch.')} {list(value.shape[2:])}"
