"""One checkpoint file: written to disk as a whole, read only if each of its bytes is as written.

`torch.save()` writes a zip archive with a checksum for each record, and `torch.load()` looks at
none of them: a flipped byte would be a wrong number. So all are compared before anything is read.
A file is data: whatever it contains, no code of it runs.
"""

from __future__ import annotations

import errno
import os
import pickle
import re
import shutil
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import torch

_MOST_CHARACTERS = 160
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
# How torch names what a pickle wants to call or make.
_CODE = re.compile(r"(?:GLOBAL|global:?|[Cc]lass|instantiate|function) ((?:[\w]+\.)+\w+)")


class UnreadableCheckpointError(ValueError):
    """A set of checkpoint files is incomplete, damaged or not a checkpoint at all."""


class UnwritableCheckpointError(OSError):
    """A checkpoint could not be written; what was there before still is."""


def read(path: str, *, mmap: bool = False) -> dict[str, Any]:
    """The content of a checkpoint file, tensors on the cpu.

    Args:
        mmap: map the tensors, so that they are read when they are used.

    Raises UnreadableCheckpointError with the file and what is wrong with it.
    """
    try:
        sizes = _checked_record_sizes(path)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        _check_storages(content, sizes)
    except Exception as error:  # whatever foreign bytes may lead to
        raise UnreadableCheckpointError(f"{path} cannot be read: {_reason(error)}") from error
    if not isinstance(content, dict):
        raise UnreadableCheckpointError(f"{path} holds a {type(content).__name__}, not a dict")
    return content


def write(path: str, content: dict[str, Any]) -> None:
    """Write a checkpoint file and wait until it is on the disk.

    Raises UnwritableCheckpointError with the file and why it could not be written.
    """
    try:
        with open(path, "wb") as file:
            target: Any = _Target(file)
            try:
                torch.save(content, target)
            except RuntimeError as error:
                # torch says that writing failed, and not why.
                raise target.problem or error from error
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: str, error: OSError) -> UnwritableCheckpointError:
    """What to raise where a file of a checkpoint could not be written."""
    return UnwritableCheckpointError(error.errno, _why_unwritable(path, error))


class _Target:
    """A file that remembers what went wrong when it was written to."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.problem: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.problem = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _why_unwritable(path: str, error: OSError) -> str:
    if error.errno not in FULL_DISK:
        return f"{path} cannot be written: {error.strerror or error}"
    folder = os.path.dirname(path)
    free = shutil.disk_usage(folder).free / 2**20
    return f"{path} cannot be written: the disk is full ({free:,.0f} MB free in {folder})"


def _checked_record_sizes(path: str) -> set[int]:
    """Sizes in bytes of the records of an archive, each as it was written.

    Raises ValueError with what is wrong.
    """
    num_bytes = os.path.getsize(path)
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise ValueError("it is no file of torch.save()" if num_bytes else "it is empty")
        with zipfile.ZipFile(file) as archive:
            records = archive.infolist()
            _check_records(records, num_bytes)
            damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"the record {damaged} is damaged: its checksum is another one")
    return {record.file_size for record in records}


def _check_records(records: list[zipfile.ZipInfo], num_bytes: int) -> None:
    names = [record.filename for record in records]
    roots = {name.partition("/")[0] for name in names}
    if len(set(names)) < len(names) or len(roots) != 1 or any(map(_leads_out, names)):
        raise ValueError("its records have names that torch.save() does not give")
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise ValueError("its records are compressed, which torch.save() does not do")
    if sum(record.file_size for record in records) > num_bytes:
        raise ValueError("its records are larger than the file")


def _leads_out(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/") or "\\" in name


def _check_storages(content: Any, sizes: set[int]) -> None:
    """Raise ValueError for a tensor that claims more memory than its record has bytes."""
    for tensor in _tensors(content, set()):
        num_bytes = tensor.untyped_storage().nbytes()
        if num_bytes and num_bytes not in sizes:
            raise ValueError(f"a tensor claims {num_bytes:,} bytes, and no record is as large")


def _tensors(value: Any, seen: set[int]) -> Iterator[torch.Tensor]:
    """The tensors in a nest; each container is looked into once, however often it occurs."""
    if isinstance(value, torch.Tensor):
        yield value
        return
    if not isinstance(value, (Mapping, list, tuple)) or id(value) in seen:
        return
    seen.add(id(value))
    for item in value.values() if isinstance(value, Mapping) else value:
        yield from _tensors(item, seen)


def _reason(error: Exception) -> str:
    """What is wrong, in one line."""
    text = str(error)
    if isinstance(error, pickle.UnpicklingError) and "eights" in text:
        code = _CODE.search(text)
        what = f" ({code[1]})" if code else ""
        return f"it holds code or objects{what}, which are not loaded; allowed: numbers, tensors"
    lines = text.strip().splitlines() or [repr(error)]
    line = lines[0] if len(lines[0]) <= _MOST_CHARACTERS else lines[0][:_MOST_CHARACTERS] + " ..."
    return line if isinstance(error, ValueError) else f"{line} ({type(error).__name__})"
