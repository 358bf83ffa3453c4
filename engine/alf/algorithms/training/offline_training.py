"""Training from replay buffers that other runs have left, alone or together with the own one."""

from __future__ import annotations

import functools
import os
import re
from typing import Any

import torch
from absl import logging

from alf.algorithms.training import gradient_step, minari_data, replay_training
from alf.algorithms.training.replay_training import Method
from alf.data_structures import Experience, StepType, TimeStep
from alf.experience_replayers.replay_buffer import ReplayBuffer
from alf.nest import nest
from alf.summary import summary_ops as summary
from alf.tensor_specs import TensorSpec
from alf.utils import _checkpoint_archive as archive
from alf.utils import finite_updates, summary_utils
from alf.utils._exe_mode import pretrain_context, replay_context
from alf.utils._paths import abs_path
from alf.utils.summary_utils import record_time

Nest = Any

_REPLAY_FILE = re.compile(r"ckpt-(\d+)-replay_buffer")


# ---- Loading --------------------------------------------------------------------------------


def load(alg: Any, observation_spec: Nest) -> ReplayBuffer:
    """The replay buffers of `TrainerConfig.offline_buffer_dir` as one, with all environments.

    Args:
        alg: the root algorithm.
        observation_spec: spec of the raw observations.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: what is in it does not fit the environment.
    """
    config = alg._config
    folders = config.offline_buffer_dir
    paths = [_find(path) for path in ([folders] if isinstance(folders, str) else folders)]
    spec = _record_spec(alg, observation_spec)
    shortest = (config.mini_batch_length or 1) + alg._num_earliest_frames_ignored
    rings = []
    for path in paths:
        is_minari = path.startswith(minari_data.PREFIX)
        read = minari_data.read if is_minari else _read
        found = read(path, spec, config.offline_buffer_length)
        kept = [ring for ring in found if len(ring[0]) >= shortest]
        logging.info(
            "%s: %d records of %d environments", path, sum(len(r[0]) for r in kept), len(kept)
        )
        rings += kept
    if not rings:
        raise ValueError(
            f"{', '.join(paths)}: no environment has {shortest} records, which one sequence needs"
        )
    lengths = [len(ring[0]) for ring in rings]
    buffer = ReplayBuffer(
        data_spec=spec,
        num_environments=len(rings),
        max_length=max(lengths),
        num_earliest_frames_ignored=alg._num_earliest_frames_ignored,
        prioritized_sampling=False,
        enable_checkpoint=False,
        name=f"{alg.name}_offline_replay_buffer",
    )
    _fill(buffer, spec, rings, lengths)
    return buffer


def _find(path: str) -> str:
    """The file meant by an entry of `offline_buffer_dir`, a Minari data set as it is."""
    if path.startswith(minari_data.PREFIX):
        return path
    path = abs_path(path)
    if os.path.isfile(path):
        return path
    for folder in (path, os.path.join(path, "train", "algorithm"), os.path.join(path, "algorithm")):
        names = os.listdir(folder) if os.path.isdir(folder) else []
        found = {int(m[1]): m[0] for m in map(_REPLAY_FILE.fullmatch, names) if m}
        if found:
            return os.path.join(folder, found[max(found)])
    raise FileNotFoundError(
        f"TrainerConfig.offline_buffer_dir: {path!r} is no replay buffer of a checkpoint, no "
        "directory with a file ckpt-<number>-replay_buffer (or root_dir of a run that has one), "
        f"and no Minari data set, which would be {minari_data.PREFIX}NAME"
    )


def _record_spec(alg: Any, observation_spec: Nest) -> Experience:
    """What is read of each record."""
    return Experience(
        time_step=TimeStep(
            step_type=TensorSpec((), dtype=torch.int32),
            reward=alg._reward_spec,
            discount=TensorSpec(()),
            observation=observation_spec,
            prev_action=alg.action_spec,
            env_id=TensorSpec((), dtype=torch.int32),
        ),
        action=alg.action_spec,
    )


def _read(path: str, spec: Experience, length: int | None) -> list[list[torch.Tensor]]:
    """For each environment the leaves of its newest records `[n, ...]`, oldest first."""
    content = archive.read(path, mmap=True)
    state = content.get("algorithm", {})
    prefixes = [key[: -len("_current_pos")] for key in state if key.endswith("_current_pos")]
    if len(prefixes) != 1:
        raise ValueError(
            f"{path} holds {len(prefixes)} replay buffers {prefixes}; needed is exactly one (was "
            "ReplayBuffer.enable_checkpoint=True in the run that wrote it?)"
        )
    names = _leaf_names(spec)
    if names and prefixes[0] + _alf_name(names[0]) in state:
        names = [_alf_name(name) for name in names]
    missing = [name for name in names if prefixes[0] + name not in state]
    if missing:
        raise ValueError(f"{path} has records without {', '.join(missing)}")
    storages = [state[prefixes[0] + name] for name in names]
    for name, storage, leaf in zip(names, storages, nest.flatten(spec), strict=True):
        if tuple(storage.shape[2:]) != tuple(leaf.shape) or storage.dtype != leaf.dtype:
            raise ValueError(
                f"{path}: {name} is {storage.dtype} {list(storage.shape[2:])} per record, in the "
                f"environment it is {leaf.dtype} {list(leaf.shape)}"
            )
    sizes, ends = state[prefixes[0] + "_current_size"], state[prefixes[0] + "_current_pos"]
    rings = []
    for env_id, (size, end) in enumerate(zip(sizes.tolist(), ends.tolist(), strict=True)):
        count = size if length is None else min(size, length)
        slots = torch.arange(end - count, end, device="cpu") % storages[0].shape[1]
        rings.append([storage[env_id, slots] for storage in storages])
    return rings


def _leaf_names(spec: Experience) -> list[str]:
    """Under which names a `ReplayBuffer` saves these fields."""
    with_path = nest.py_map_structure_with_path
    return nest.flatten(with_path(lambda path, _: "_buffer/" + path.replace(".", "/"), spec))


def _alf_name(name: str) -> str:
    """Under which name ALF itself saves a field: its path with bars."""
    return name.removeprefix("_buffer/").replace("/", "|")


def _fill(
    buffer: ReplayBuffer, spec: Experience, rings: list[list[torch.Tensor]], lengths: list[int]
) -> None:
    """Put a ring into each environment of an empty buffer; each ends with a LAST step."""
    leaves = []
    for parts in zip(*rings, strict=True):
        storage = parts[0].new_zeros(len(rings), max(lengths), *parts[0].shape[1:])
        for row, part in zip(storage, parts, strict=True):
            row[: len(part)] = part
        leaves.append(storage)
    records = nest.pack_sequence_as(spec, leaves)
    env_ids = torch.arange(len(rings), dtype=torch.int32, device="cpu")
    records.time_step.env_id[:] = env_ids.unsqueeze(1)
    ends = torch.tensor(lengths, device="cpu")
    records.time_step.step_type[env_ids.long(), ends - 1] = int(StepType.LAST)
    for t in range(max(lengths)):
        rows = torch.nonzero(ends > t).flatten()
        buffer.add_batch(nest.map_structure(lambda x, t=t, rows=rows: x[rows, t], records), rows)


# ---- Training -------------------------------------------------------------------------------


def is_pretraining(alg: Any) -> bool:
    """Is it too early to interact and to train from own experience?"""
    after = alg._config.rl_train_after_update_steps
    return alg.has_offline and summary.get_global_counter() < after


def train(alg: Any, update_global_counter: bool) -> int:
    """One iteration of training, with offline data in each update.

    Returns:
        The number of trained samples.
    """
    config = alg._config
    pre_train = is_pretraining(alg)
    method = _offline(alg, pre_train)
    with record_time("time/replay"):
        offline = _offline_batches(alg, method)
        own = None
        if not pre_train and _is_turn_of_own(config) and replay_training.is_ready(alg):
            own = _own_batches(alg)
    count = config.update_counter_every_mini_batch and update_global_counter
    num_updates = config.num_updates_per_train_iter
    steps = 0
    mode = pretrain_context() if pre_train else replay_context()
    with record_time("time/train"), mode:
        for batch in replay_training.summarized_at_end(offline, num_updates, count):
            own_batch = None if own is None else next(own)
            steps += _update(alg, batch, own_batch, method)
    if own is not None and config.clear_replay_buffer:
        replay_training.clear(alg)
    return steps


def _is_turn_of_own(config: Any) -> bool:
    return summary.get_global_counter() % config.rl_train_every_update_steps == 0


def _offline(alg: Any, pre_train: bool) -> Method:
    """How `alg` is trained from offline data."""
    return Method(
        functools.partial(alg.train_step_offline, pre_train=pre_train),
        functools.partial(alg.calc_loss_offline, pre_train=pre_train),
        "_processed_offline_spec",
        "_offline_train_info_spec",
    )


def _offline_batches(alg: Any, method: Method) -> Any:
    buffer = alg._offline_replay_buffer
    experience, batch_info = replay_training.sample(alg, buffer)
    experience = experience._replace(rollout_info=alg.offline_rollout_info(experience.action))
    prepared = replay_training.prepare(alg, experience, batch_info, buffer, (), method)
    return replay_training.mini_batches(*prepared, replay_training.mini_batch_size(alg, buffer))


def _own_batches(alg: Any) -> Any:
    buffer, method = alg._replay_buffer, replay_training.online(alg)
    sampled = replay_training.sample(alg, buffer)
    prepared = replay_training.prepare(alg, *sampled, buffer, alg.experience_spec, method)
    return replay_training.mini_batches(*prepared, replay_training.mini_batch_size(alg, buffer))


def _update(alg: Any, offline: Any, own: Any, method: Method) -> int:
    """One gradient step from mini batches `(experience, info, weight)`; `own` may be None."""
    experience, batch_info = (offline if own is None else own)[:2]
    with finite_updates.watch_of(alg).on(alg, experience, batch_info):
        return _gradient_from(alg, offline, own, method)


def _gradient_from(alg: Any, offline: Any, own: Any, method: Method) -> int:
    experience, batch_info, weight = offline
    with gradient_step.autocast(alg):
        info, loss = replay_training.train_info_and_loss(alg, experience, method)
    masks = replay_training.valid_masks(alg, experience)
    steps = experience.step_type.numel()
    if own is None:
        reduced, params = alg.update_with_gradient(loss, masks, weight, batch_info)
        replay_training.conclude(alg, experience, info, reduced, params, method)
        return steps
    experience, batch_info, weight = own
    with gradient_step.autocast(alg):
        info, own_loss = alg._compute_train_info_and_loss_info(experience)
    full_own_loss = own_loss
    loss = gradient_step.mean_loss(loss, masks)
    with summary.scope("offline"):
        summary_utils.summarize_loss(loss)
    own_loss = gradient_step.with_scalar_loss(own_loss, loss)
    masks = replay_training.valid_masks(alg, experience)
    reduced, params = alg.update_with_gradient(own_loss, masks, weight, batch_info)
    replay_training.update_priorities(alg, batch_info, full_own_loss)
    online = replay_training.online(alg)
    replay_training.conclude(alg, experience, info, reduced, params, online)
    return steps + experience.step_type.numel()
