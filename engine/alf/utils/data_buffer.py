"""Ring buffers: one ring per environment for nested tensors, and a flat one for samples."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from alf.config_util import configurable
from alf.device_ctx import get_default_device
from alf.nest import nest
from alf.nest._order import flatten_in_order
from alf.tensor_specs import TensorSpec
from alf.utils import _ring_state

__all__ = ["DataBuffer", "RingBuffer", "atomic"]

_logger = logging.getLogger("absl")
# Up to this many ids a Python set finds duplicates faster than a tensor operation does.
_SMALL_BATCH = 64


def atomic(func: Callable) -> Callable:
    """Run a method while holding the lock `self._lock`, if the object has one."""

    @functools.wraps(func)
    def locked(self: Any, *args: Any, **kwargs: Any) -> Any:
        lock = getattr(self, "_lock", None)
        if lock is None:
            return func(self, *args, **kwargs)
        with lock:
            return func(self, *args, **kwargs)

    return locked


class RingBuffer(nn.Module):
    """For each of B environments, the newest `max_length` records of a nest, oldest first.

    A record is addressed by the id of its environment and its *position*: the number of records
    added to that environment before it. Positions only grow, also across `clear`; where a record
    lies in the ring is `circular(position)`. Environments are filled independently of each other.

    Args:
        data_spec: nest of `TensorSpec` of one record.
        num_environments: B.
        max_length: the length of each ring.
        device: where the records are stored.
        allow_multiprocess: only False is supported.
        name: name of the buffer.
    """

    _current_size: torch.Tensor
    """Number of records of each environment: int64 [B]."""
    _current_pos: torch.Tensor
    """Position of the next record of each environment: int64 [B]."""

    def __init__(
        self,
        data_spec: Any,
        num_environments: int,
        max_length: int = 1024,
        device: str = "cpu",
        allow_multiprocess: bool = False,
        name: str = "RingBuffer",
    ) -> None:
        if allow_multiprocess:
            raise ValueError(
                f"{name}: allow_multiprocess=True is not supported by this engine; a buffer "
                "belongs to one process (allowed: False)"
            )
        if num_environments < 1 or max_length < 1:
            raise ValueError(
                f"{name}: num_environments and max_length have to be at least 1, got "
                f"{num_environments} and {max_length}"
            )
        super().__init__()
        self.name = name
        self._device: torch.device = torch.device(device)
        self._num_envs = int(num_environments)
        self._max_length = int(max_length)
        self._data_spec = data_spec
        leaf_specs, self._structure = flatten_in_order(data_spec)
        self._leaf_specs: list[TensorSpec] = list(leaf_specs)
        self._leaf_formats = [(tuple(s.shape), s.dtype) for s in self._leaf_specs]
        self._leaf_names = _leaf_names(data_spec)
        for leaf_name, spec in zip(self._leaf_names, self._leaf_specs, strict=True):
            self.register_buffer(leaf_name, self._per_record(spec.shape, spec.dtype))
        per_env = functools.partial(torch.zeros, self._num_envs, dtype=torch.int64)
        self.register_buffer("_current_size", per_env(device=self._device))
        self.register_buffer("_current_pos", per_env(device=self._device))
        self._all_env_ids = torch.arange(self._num_envs, device=self._device)
        self._latest_ids: tuple[list[int] | None, torch.Tensor] = (None, self._all_env_ids)
        self._refresh_rows()

    def _per_record(self, shape: tuple, dtype: torch.dtype, fill: float = 0) -> torch.Tensor:
        """A tensor [B, max_length, *shape]."""
        size = (self._num_envs, self._max_length, *shape)
        if fill == 0:  # zeros cost no memory before they are written to
            return torch.zeros(size, dtype=dtype, device=self._device)
        return torch.full(size, fill, dtype=dtype, device=self._device)

    @property
    def _buffer(self) -> Any:
        """The storage as a nest of [B, max_length, ...]."""
        buffers = self._buffers
        return nest.pack_sequence_as(self._data_spec, [buffers[n] for n in self._leaf_names])

    @property
    def num_environments(self) -> int:
        """B."""
        return self._num_envs

    @property
    def device(self) -> torch.device:
        """Where the records are stored."""
        return self._device

    # A row is one record of one environment. The views make one index serve all leaves.
    def _refresh_rows(self) -> None:
        buffers = self._buffers
        self._rows = [buffers[n].flatten(0, 1) for n in self._leaf_names]
        # Arrays that share the rings' memory: to make one takes longer than to write a record.
        self._arrays: list[np.ndarray] | None = None
        if all(map(_has_array, self._rows)):
            self._arrays = [r.numpy() for r in self._rows]
            self._heads = self._current_pos.numpy(), self._current_size.numpy()

    def _apply(self, fn: Callable, recurse: bool = True) -> RingBuffer:
        super()._apply(fn, recurse)
        self._device = self._current_pos.device
        self._all_env_ids = self._all_env_ids.to(self._device)
        self._latest_ids = (None, self._all_env_ids)
        self._refresh_rows()
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Only the slots that were ever written to."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        num_used = max(int(self._current_pos.max()), 1)
        for name in self._leaf_names:
            destination[prefix + name] = destination[prefix + name][:, :num_used]

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Keep the newest records that fit, or none where the environments are others.

        Entries of `state_dict` are replaced by those that fit this buffer.
        """
        pos = state_dict.get(prefix + "_current_pos")
        storages = [state_dict.get(prefix + name) for name in self._leaf_names]
        if pos is not None and all(s is not None and s.dim() > 1 for s in storages):
            reason = self._misfit(state_dict, prefix)
            if reason:
                _logger.warning("%s: %s; its records in the checkpoint are left out", *reason)
                self._leave_out(state_dict, prefix)
            else:
                self._fit(state_dict, prefix, storages[0].shape[1])
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._refresh_rows()

    def _misfit(self, state_dict: dict, prefix: str) -> tuple[str, str] | None:
        """Name of the buffer and why no record fits; None: they fit."""
        saved = state_dict[prefix + "_current_pos"].shape[0]
        if saved == self._num_envs:
            return None
        option = "create_environment.num_parallel_environments"
        return self.name, f"{self._num_envs} environments, {saved} in the checkpoint ({option})"

    def _leave_out(self, state_dict: dict, prefix: str) -> None:
        own = self.state_dict(prefix=prefix)
        for key in [key for key in state_dict if key.startswith(prefix)]:
            del state_dict[key]
        state_dict.update(own)
        self._fit(state_dict, prefix, state_dict[prefix + self._leaf_names[0]].shape[1])

    def _fit(self, state_dict: dict, prefix: str, num_slots: int) -> None:
        """Replace the entries by those of a ring of this length; `num_slots` are in the file."""
        pos = state_dict[prefix + "_current_pos"]
        size = state_dict[prefix + "_current_size"].clamp(max=self._max_length)
        state_dict[prefix + "_current_size"] = size
        for name in self._leaf_names:
            storage, own = state_dict[prefix + name], self._buffers[name]
            assert own is not None, name
            if storage.shape[2:] == own.shape[2:] and storage.shape[1] == num_slots:
                _ring_state.move(storage, own, pos, size)
                state_dict[prefix + name] = own

    def __getstate__(self) -> dict[str, Any]:
        """A copy has to make its own views: copied ones would show memory of their own."""
        views = ("_rows", "_arrays", "_heads")
        return {key: value for key, value in self.__dict__.items() if key not in views}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._refresh_rows()

    def circular(self, pos: torch.Tensor) -> torch.Tensor:
        """Where in its ring the record at position `pos` lies."""
        return pos % self._max_length

    def _row_index(self, env_ids: torch.Tensor, pos: torch.Tensor) -> torch.Tensor:
        return env_ids * self._max_length + pos % self._max_length

    def check_convert_env_ids(self, env_ids: torch.Tensor | None) -> torch.Tensor:
        """Environment ids as int64 [n] on the device of the buffer; None means all of them."""
        if env_ids is None:
            return self._all_env_ids
        if not isinstance(env_ids, torch.Tensor):
            env_ids = torch.tensor(env_ids, device=self._device)
        if env_ids.dim() != 1 or env_ids.is_floating_point():
            raise ValueError(
                f"{self.name}: env_ids has to be a vector of integers, got shape "
                f"{tuple(env_ids.shape)} and {env_ids.dtype}"
            )
        return env_ids.to(self._device, torch.int64)

    def _writable_ids(self, env_ids: torch.Tensor | None) -> torch.Tensor:
        """Converted ids, in range and none twice; mostly they are those of the last time.

        Not looked at on accelerators, for which the host would wait.
        """
        ids: list[int] | None = None
        if (
            isinstance(env_ids, torch.Tensor)
            and not env_ids.is_floating_point()
            and env_ids.device.type == "cpu"
            and env_ids.numel() <= _SMALL_BATCH
        ):
            ids = env_ids.tolist()
            if ids == self._latest_ids[0]:
                return self._latest_ids[1]
        converted = self.check_convert_env_ids(env_ids)
        if env_ids is None or converted.device.type != "cpu" or converted.shape[0] == 0:
            return converted
        if ids is None:
            in_range = int(converted.min()) >= 0
            counts = torch.bincount(converted) if in_range else converted
            ok = in_range and counts.shape[0] <= self._num_envs and int(counts.max()) == 1
        else:
            ok = len(set(ids)) == len(ids) and min(ids) >= 0 and max(ids) < self._num_envs
            self._latest_ids = (ids, converted) if ok else self._latest_ids
        if not ok:
            raise ValueError(
                f"{self.name}: env_ids have to be different from each other and within "
                f"[0, {self._num_envs}), got {converted.tolist()}"
            )
        return converted

    def _checked_leaves(self, batch: Any, n: int) -> list[torch.Tensor]:
        """The leaves of `batch` on the device of the buffer, with shape [n, ...] as specified."""
        in_order, structure = flatten_in_order(batch)
        if structure != self._structure:
            nest.assert_same_structure(batch, self._data_spec)
        leaves = list(in_order)
        for i, (leaf, (shape, dtype)) in enumerate(zip(leaves, self._leaf_formats, strict=True)):
            if leaf.shape != (n, *shape) or leaf.dtype != dtype:
                raise ValueError(
                    f"{self.name}: field {self._leaf_names[i]!r} was first stored as {dtype} "
                    f"{list(shape)} per record; now {n} records came as {leaf.dtype} "
                    f"{list(leaf.shape)}"
                )
            if leaf.device != self._device:
                leaves[i] = leaf.to(self._device)
        return leaves

    def has_space(self, env_ids: torch.Tensor) -> bool:
        """Whether a record can be added to each of the environments without losing one."""
        env_ids = self.check_convert_env_ids(env_ids)
        return bool((self._current_size[env_ids] < self._max_length).all())

    def has_data(self, env_ids: torch.Tensor, n: int = 1) -> bool:
        """Whether each of the environments has at least `n` records."""
        env_ids = self.check_convert_env_ids(env_ids)
        return bool((self._current_size[env_ids] >= n).all())

    @atomic
    @torch.no_grad()
    def enqueue(
        self, batch: Any, env_ids: torch.Tensor | None = None, blocking: bool = False
    ) -> bool:
        """Add one record to each of the given environments; full rings lose their oldest one.

        Args:
            batch: nest of [n, ...]; row i goes to `env_ids[i]`. n = 0 changes nothing.
            env_ids: [n], all different; None for all environments.
            blocking: only False is supported.

        Returns True.
        """
        self._refuse_blocking(blocking)
        env_ids = self._writable_ids(env_ids)
        leaves = self._checked_leaves(batch, env_ids.shape[0])
        if env_ids.shape[0] > 0:
            self._write(leaves, env_ids)
        return True

    def _write(self, leaves: list[torch.Tensor], env_ids: torch.Tensor) -> torch.Tensor:
        """Write the leaves and advance; returns the positions [n] of the new records."""
        if self._arrays is not None:
            return self._write_arrays(self._arrays, leaves, env_ids)
        pos = self._current_pos.index_select(0, env_ids)
        rows = self._row_index(env_ids, pos)
        for storage, leaf in zip(self._rows, leaves, strict=True):
            storage.index_copy_(0, rows, leaf)
        self._current_pos.index_copy_(0, env_ids, pos + 1)
        size = self._current_size.index_select(0, env_ids).add_(1).clamp_(max=self._max_length)
        self._current_size.index_copy_(0, env_ids, size)
        return pos

    def _write_arrays(
        self, arrays: list[np.ndarray], leaves: list[torch.Tensor], env_ids: torch.Tensor
    ) -> torch.Tensor:
        """The same by numpy, which takes half the time for a few records."""
        ids = env_ids.numpy()
        current_pos, current_size = self._heads
        pos = current_pos[ids]
        rows = ids * self._max_length + pos % self._max_length
        if len(ids) == 1:
            rows = slice(rows[0], rows[0] + 1)
        for array, leaf in zip(arrays, leaves, strict=True):
            array[rows] = leaf.numpy(force=True)
        current_pos[ids] = pos + 1
        current_size[ids] = np.minimum(current_size[ids] + 1, self._max_length)
        return torch.from_numpy(pos)

    @atomic
    @torch.no_grad()
    def dequeue(
        self, env_ids: torch.Tensor | None = None, n: int = 1, blocking: bool = False
    ) -> Any:
        """Take the oldest `n` records out of each of the environments: nest of [B, n, ...]."""
        self._refuse_blocking(blocking)
        env_ids = self.check_convert_env_ids(env_ids)
        if not self.has_data(env_ids, n):
            raise ValueError(
                f"{self.name}: cannot take {n} records out of each of the environments "
                f"{env_ids.tolist()}, which have {self._current_size[env_ids].tolist()}"
            )
        pos = self.get_earliest_position(env_ids).unsqueeze(-1)
        result = self._read(env_ids.unsqueeze(-1), pos + torch.arange(n, device=self._device))
        self.remove_up_to(n, env_ids)
        return result

    @atomic
    def remove_up_to(self, n: int, env_ids: torch.Tensor | None = None) -> None:
        """Forget the oldest `n` records of each of the given environments, or all if fewer."""
        env_ids = self.check_convert_env_ids(env_ids)
        self._current_size[env_ids] = (self._current_size[env_ids] - n).clamp_(min=0)

    @atomic
    def clear(self, env_ids: torch.Tensor | None = None) -> None:
        """Forget all records of the given environments; positions go on growing."""
        env_ids = self.check_convert_env_ids(env_ids)
        self._current_size[env_ids] = 0

    def get_earliest_position(self, env_ids: torch.Tensor) -> torch.Tensor:
        """Position [n] of the oldest record of each of the given environments."""
        env_ids = self.check_convert_env_ids(env_ids)
        return self._current_pos[env_ids] - self._current_size[env_ids]

    def get_current_position(self) -> torch.Tensor:
        """Position [B] that the next record of each environment will have."""
        return self._current_pos.clone()

    def _read(self, env_ids: torch.Tensor, pos: torch.Tensor) -> Any:
        """Records at `pos` of `env_ids` (broadcast against each other): nest of [*shape, ...]."""
        rows = self._row_index(env_ids, pos)
        shape, rows = rows.shape, rows.flatten()
        leaves = [r.index_select(0, rows).view(*shape, *r.shape[1:]) for r in self._rows]
        return nest.pack_sequence_as(self._data_spec, leaves)

    def stop(self) -> None:
        """Refused: it would end waits of other processes, and this buffer belongs to one."""
        raise ValueError(f"{self.name}: stop() needs allow_multiprocess=True, which is unsupported")

    def revive(self) -> None:
        """Refused, as `stop` is."""
        raise ValueError(
            f"{self.name}: revive() needs allow_multiprocess=True, which is unsupported"
        )

    def _refuse_blocking(self, blocking: bool) -> None:
        if blocking:
            raise ValueError(
                f"{self.name}: blocking=True needs allow_multiprocess=True, which is unsupported "
                "(allowed: False)"
            )


def _has_array(tensor: torch.Tensor) -> bool:
    """Can numpy share the memory of this tensor?"""
    return tensor.device.type == "cpu" and tensor.dtype != torch.bfloat16


def _leaf_names(data_spec: Any) -> list[str]:
    """One name per leaf: the path to it. Slashes because a buffer's name must have no dots."""
    with_path = nest.py_map_structure_with_path
    names = nest.flatten(with_path(lambda path, _: "_buffer/" + path.replace(".", "/"), data_spec))
    assert len(set(names)) == len(names), names
    return names


def to_default_device(nested: Any) -> Any:
    """`nested` with all its tensors on the default device."""
    device = torch.device(get_default_device())
    return nest.map_structure(
        lambda x: x if x.device.type == device.type else x.to(device, non_blocking=True), nested
    )


@configurable
class DataBuffer(RingBuffer):
    """The newest `capacity` samples of a nest, without environments and without order in time.

    Args:
        data_spec: nest of `TensorSpec` of one sample.
        capacity: how many samples are kept.
        device: where the samples are stored.
        name: name of the buffer.
    """

    def __init__(
        self, data_spec: Any, capacity: int, device: str = "cpu", name: str = "DataBuffer"
    ) -> None:
        super().__init__(data_spec, 1, max_length=capacity, device=device, name=name)

    @property
    def current_size(self) -> torch.Tensor:
        """How many samples there are: int64 []."""
        return self._current_size[0]

    @property
    def current_pos(self) -> torch.Tensor:
        """Where in the storage the next sample goes: int64 []."""
        return self.circular(self._current_pos[0])

    def is_full(self) -> torch.Tensor:
        """Whether the next sample pushes an old one out: bool []."""
        return self.current_size >= self._max_length

    @atomic
    @torch.no_grad()
    def add_batch(self, batch: Any) -> None:
        """Add samples, a nest of [n, ...]; of more than `capacity` the last ones stay."""
        leaves = nest.flatten(batch)
        n = leaves[0].shape[0] if leaves else 0
        leaves = self._checked_leaves(batch, n)
        kept = min(n, self._max_length)
        pos = self._current_pos[0] + torch.arange(n - kept, n, device=self._device)
        for storage, leaf in zip(self._rows, leaves, strict=True):
            storage.index_copy_(0, self.circular(pos), leaf[n - kept :])
        self._current_pos.add_(n)
        self._current_size.add_(n).clamp_(max=self._max_length)

    @torch.no_grad()
    def get_batch(self, batch_size: int) -> Any:
        """Samples drawn uniformly with replacement: nest of [batch_size, ...], default device."""
        size = int(self.current_size)
        if size == 0:
            raise ValueError(f"{self.name} is empty: no batch of {batch_size} can be drawn from it")
        return self.get_batch_by_indices(torch.randint(size, (batch_size,), device=self._device))

    @torch.no_grad()
    def get_batch_by_indices(self, indices: torch.Tensor) -> Any:
        """The samples numbered `indices` [n], 0 being the oldest: nest of [n, ...]."""
        indices = torch.as_tensor(indices, device=self._device)
        earliest = self._current_pos[0] - self._current_size[0]
        return to_default_device(self._read(self._all_env_ids[0], earliest + indices))

    @torch.no_grad()
    def get_all(self) -> Any:
        """All samples, oldest first: nest of [current_size, ...], on the default device."""
        return self.get_batch_by_indices(torch.arange(int(self.current_size)))
