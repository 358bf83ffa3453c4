"""Checkpoints: state of algorithm, metrics and trainer, saved to and loaded from a directory."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from alf.utils import _checkpoint_archive as archive
from alf.utils import _checkpoint_files as files
from alf.utils._checkpoint_archive import UnreadableCheckpointError
from alf.utils.finite_saving import check_savable

_ENABLED_ATTRIBUTE = "_checkpoint_enabled"
_logger = logging.getLogger("absl")
_MOST_PROBLEMS = 3
_MOST_CHARACTERS = 160


def enable_checkpoint(module: nn.Module, flag: bool = True) -> None:
    """Say whether `module` with all below it belongs into checkpoints. The default is yes."""
    setattr(module, _ENABLED_ATTRIBUTE, bool(flag))


def is_checkpoint_enabled(module: nn.Module) -> bool:
    """Whether `module` belongs into checkpoints."""
    return getattr(module, _ENABLED_ATTRIBUTE, True)


def extract_sub_state_dict_from_checkpoint(
    checkpoint_prefix: str, checkpoint_path: str
) -> dict[str, Any]:
    """Model state below `checkpoint_prefix` in the model file `checkpoint_path`, prefix removed.

    Args:
        checkpoint_prefix: path of the wanted module. It may start with the name of an entry of the
            file ("algorithm._child"; "alg" and "algorithm" stand for each other) or below the
            algorithm ("_child"); "" means all of the algorithm.
        checkpoint_path: e.g. "<root_dir>/train/algorithm/ckpt-100".

    Raises FileNotFoundError without such a file and ValueError with nothing under the prefix.
    """
    if not os.path.isfile(checkpoint_path):
        raise FileNotFoundError(f"there is no checkpoint file {checkpoint_path!r}")
    content = archive.read(checkpoint_path)
    entry, path = _entry_and_path(content, checkpoint_prefix)
    if entry is None:
        known = ", ".join(sorted(k for k, v in content.items() if isinstance(v, Mapping)))
        raise ValueError(
            f"checkpoint prefix {checkpoint_prefix!r}: {checkpoint_path} has no algorithm; it has "
            f"only: {known}"
        )
    start = path + "." if path else ""
    state = {k[len(start) :]: v for k, v in content[entry].items() if k.startswith(start)}
    if not state:
        children = sorted({key.split(".")[0] for key in content[entry]})
        raise ValueError(
            f"{checkpoint_path} holds nothing under {checkpoint_prefix!r}; the first names below "
            f"{entry!r} are: {', '.join(children)}"
        )
    return state


_ALGORITHM_NAMES = ("algorithm", "alg")


def _entry_and_path(content: Mapping[str, Any], prefix: str) -> tuple[str | None, str]:
    """The entry of a model file that `prefix` means, None without one, and the path below it."""
    first, _, rest = prefix.partition(".")
    algorithms = [name for name in _ALGORITHM_NAMES if isinstance(content.get(name), Mapping)]
    if isinstance(content.get(first), Mapping):
        return first, rest
    entry = algorithms[0] if algorithms else None
    return entry, rest if first in _ALGORITHM_NAMES else prefix


def model_state(algorithm: nn.Module) -> dict[str, Any]:
    """What a checkpoint's model file holds of an algorithm: no optimizers, no replay buffers."""
    return {
        key: _plain(value, key)
        for key, value in algorithm.state_dict().items()
        if _part_of(key, value) == files.MODEL
    }


def load_model_state(algorithm: nn.Module, state: dict[str, Any]) -> None:
    """Undo of `model_state`; raises RuntimeError if the state does not fit."""
    excluded = [files.OPTIMIZER, files.REPLAY_BUFFER]
    _load_module("algorithm", algorithm, state, (), excluded, strict=True)


class LoadedIfItFits:
    """An object that a checkpoint need not fit: it stays as it is then, with a warning.

    Args:
        module: anything with `state_dict()` and `load_state_dict()`.
        name: what it is, in the warning.
    """

    def __init__(self, module: Any, name: str) -> None:
        self._module = module
        self._name = name

    def state_dict(self) -> dict[str, Any]:
        """State of the object."""
        return self._module.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True) -> None:
        """Load all of `state_dict` or warn."""
        try:
            self._module.load_state_dict(state_dict, strict=strict)
        except (RuntimeError, KeyError) as error:
            lines = [line.strip() for line in str(error).splitlines()]
            what = lines[1 if len(lines) > 1 else 0][:_MOST_CHARACTERS]
            _logger.warning(
                "the %s of the checkpoint do not fit, so they begin anew: %s", self._name, what
            )


class Checkpointer:
    """Saves and loads a set of objects in ALF's file layout.

    Args:
        ckpt_dir: directory of the files `ckpt-<N>`, `ckpt-<N>-optimizer`, `ckpt-<N>-replay_buffer`.
        kwargs: what to save, by name; anything with `state_dict()` and `load_state_dict()`.
            Optimizers and replay buffers of each go to their own files. What need not fit when
            it is loaded is wrapped in `LoadedIfItFits`.
    """

    num_replay_buffers_kept = 2
    """Replay buffers are large: only those of the newest two checkpoints stay on disk."""

    def __init__(self, ckpt_dir: str, **kwargs: Any) -> None:
        self._ckpt_dir = ckpt_dir
        self._modules = kwargs
        self._structure_written = False

    def has_checkpoint(self, global_step: int | str = "latest") -> bool:
        """Whether there is a checkpoint of that step, or any for "latest"."""
        steps = files.steps_of(self._ckpt_dir)
        return bool(steps) if global_step == "latest" else int(global_step) in steps

    def steps(self) -> list[int]:
        """Steps of all checkpoints, in ascending order."""
        return files.steps_of(self._ckpt_dir)

    def newest_step(self) -> int:
        """Step of the newest checkpoint, whole or not; -1: there is none."""
        return max([*self.steps(), *files.steps_without_model(self._ckpt_dir)], default=-1)

    def set_newer_aside(self, global_step: int) -> None:
        """Rename the files of checkpoints newer than `global_step` to `damaged-...`.

        For a run that continues from `global_step` because the newer ones cannot be read.
        """
        for step in [*self.steps(), *files.steps_without_model(self._ckpt_dir)]:
            if step > global_step:
                files.set_aside(self._ckpt_dir, step)

    def save(self, global_step: int) -> None:
        """Write the checkpoint of `global_step`; it is there completely or not at all.

        Raises:
            NotFiniteError: a number in it is not finite; nothing is written.
        """
        step = int(global_step)
        parts: dict[str, dict[str, Any]] = {part: {} for part in files.PARTS}
        for name, module in self._modules.items():
            for part in files.PARTS:
                parts[part][name] = {}
            for key, value in module.state_dict().items():
                part = _part_of(key, value)
                if part is not None:
                    parts[part][name][key] = _plain(value, f"{name}.{key}")
        check_savable(parts, self._modules)
        parts[files.MODEL]["global_step"] = step
        files.write_set(self._ckpt_dir, step, parts)
        files.remove_replay_buffers(self._ckpt_dir, step, self.num_replay_buffers_kept)
        self._write_structure(parts)

    def remove(self, global_step: int) -> None:
        """Delete the checkpoint of `global_step`, if there is one."""
        files.remove_set(self._ckpt_dir, int(global_step))

    def load(
        self,
        global_step: int | str = "latest",
        ignored_parameter_prefixes: list[str] = [],  # noqa: B006 (ALF's signature; never changed)
        including_optimizer: bool = True,
        including_replay_buffer: bool = True,
        including_data_transformers: bool = True,
        strict: bool = True,
    ) -> int:
        """Load a checkpoint onto whatever devices the modules are on now.

        "latest" is the newest complete set: a newer one that is damaged is skipped with a warning.

        Args:
            global_step: number of the checkpoint or "latest".
            ignored_parameter_prefixes: parameters with these prefixes keep the values they have.
            strict: raise RuntimeError if the checkpoint lacks something or has something unknown.

        Replay buffers of older checkpoints are removed from disk. If such a step is asked for by
        number, they stay as they are, with a warning.

        Returns the step loaded, -1 with a warning if it is not there.
        Raises ValueError if no set can be read.
        """
        wanted = [files.MODEL]
        if including_optimizer:
            wanted.append(files.OPTIMIZER)
        if including_replay_buffer:
            wanted.append(files.REPLAY_BUFFER)
        if global_step != "latest" and files.REPLAY_BUFFER in wanted:
            self._leave_out_removed_replay_buffers(int(global_step), wanted)
        step, parts = self._read(global_step, tuple(wanted))
        if step < 0:
            return step
        ignored = tuple(ignored_parameter_prefixes)
        if not including_data_transformers:
            ignored += ("_data_transformer.",)
        excluded = [part for part in files.PARTS if part not in wanted]
        for name, module in self._modules.items():
            state: dict[str, Any] = {}
            present = False
            for part in parts.values():
                present |= name in part
                state.update(part.get(name, {}))
            if present:
                _load_module(name, module, state, ignored, excluded, strict)
            elif strict and not isinstance(module, LoadedIfItFits):
                raise RuntimeError(f"checkpoint {step} of {self._ckpt_dir} has no entry {name!r}")
            else:
                _logger.warning("checkpoint %d has no %r: it stays as it is", step, name)
        _logger.info("loaded checkpoint %d of %s", step, self._ckpt_dir)
        return step

    def _leave_out_removed_replay_buffers(self, step: int, wanted: list[str]) -> None:
        if step in files.steps_of(self._ckpt_dir) and not files.has_part(
            self._ckpt_dir, step, files.REPLAY_BUFFER
        ):
            wanted.remove(files.REPLAY_BUFFER)
            _logger.warning(
                "the replay buffers of checkpoint %d in %s are no longer there: they stay as they "
                "are (kept: those of the newest %d checkpoints)",
                step,
                self._ckpt_dir,
                self.num_replay_buffers_kept,
            )

    def _read(self, global_step: int | str, wanted: tuple[str, ...]) -> tuple[int, dict]:
        steps = files.steps_of(self._ckpt_dir)
        if global_step != "latest":
            step = int(global_step)
            if step not in steps:
                there = ", ".join(map(str, steps)) or "none"
                _logger.warning(
                    "there is no checkpoint %d in %s; there are: %s", step, self._ckpt_dir, there
                )
                return -1, {}
            return step, files.read_set(self._ckpt_dir, step, wanted)
        incomplete = files.steps_without_model(self._ckpt_dir)
        if not steps and not incomplete:
            _logger.warning("there is no checkpoint in %s", self._ckpt_dir)
            return -1, {}
        problems = []
        for step in sorted([*steps, *incomplete], reverse=True):
            try:
                return step, files.read_set(self._ckpt_dir, step, wanted)
            except UnreadableCheckpointError as problem:
                _logger.warning("skipped checkpoint %d: %s", step, problem)
                problems.append(f"{step}: {problem}")
        if len(problems) > _MOST_PROBLEMS:
            problems[_MOST_PROBLEMS:] = [f"and {len(problems) - _MOST_PROBLEMS} more"]
        raise UnreadableCheckpointError(
            f"no checkpoint in {self._ckpt_dir} can be read: {'; '.join(problems)}"
        )

    def _write_structure(self, parts: dict[str, dict[str, Any]]) -> None:
        """Once per process: the names in each file as json, for people."""
        if self._structure_written:
            return
        for part, content in parts.items():
            suffix = "" if part == files.MODEL else f"-{part}"
            path = os.path.join(self._ckpt_dir, f"ckpt-structure{suffix}.json")
            try:
                with open(path, "w") as file:
                    json.dump(_structure(content), file, indent=1)
            except OSError as error:
                raise archive.unwritable(path, error) from error
        self._structure_written = True


def _part_of(key: str, value: Any) -> str | None:
    """Which file an entry goes to; None: none."""
    if "_optimizers." in key and isinstance(value, Mapping):
        return files.OPTIMIZER
    dotted = "." + key
    if "._offline_replay_buffer." in dotted:
        return None
    return files.REPLAY_BUFFER if "._replay_buffer." in dotted else files.MODEL


def _plain(value: Any, path: str) -> Any:
    """`value` made of the types that `torch.load(weights_only=True)` accepts."""
    if isinstance(value, torch.Tensor):
        value = value.detach()
        # A view would drag its whole storage into the file.
        return value.clone() if value.untyped_storage().nbytes() > value.nbytes else value
    if isinstance(value, np.ndarray):
        return torch.as_tensor(value, device="cpu")
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_plain(item, f"{path}.{i}") for i, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    if value is None or isinstance(value, (bool, int, float, str, torch.dtype)):
        return value
    raise TypeError(
        f"{path} is a {type(value).__name__}; a checkpoint can hold tensors, numbers, strings, "
        f"None, lists and dicts of them"
    )


def _structure(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _structure(item) for key, item in value.items()}
    return -1


def _load_module(
    name: str,
    module: Any,
    state: dict[str, Any],
    ignored: tuple[str, ...],
    excluded: list[str],
    strict: bool,
) -> None:
    state = {key: value for key, value in state.items() if not key.startswith(ignored)}
    if not isinstance(module, nn.Module):
        module.load_state_dict(state, strict=strict)
        return
    own = module.state_dict()
    # What an algorithm was made from (`checkpoint=`) is older than what it has learnt since.
    options = {"skip_preloded": False} if hasattr(module, "pre_loaded") else {}
    result = module.load_state_dict(state, strict=False, **options)
    if not strict:
        return
    missing = [
        key
        for key in result.missing_keys
        if not key.startswith(ignored) and _part_of(key, own.get(key)) not in excluded
    ]
    if missing or result.unexpected_keys:
        raise RuntimeError(
            f"the checkpoint does not fit the {name}: missing in the checkpoint: "
            f"{_some(missing)}; unknown to the {name}: {_some(result.unexpected_keys)}"
        )


def _some(keys: list[str], most: int = 4) -> str:
    listed = ", ".join(keys[:most]) or "nothing"
    return listed if len(keys) <= most else f"{listed} and {len(keys) - most} more"
