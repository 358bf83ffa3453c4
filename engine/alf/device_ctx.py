"""The device on which tensors are created when none is named."""

from __future__ import annotations

import threading
from types import TracebackType

import torch


class _Default(threading.local):
    # torch keeps its default device per thread, so we do too.
    name = "cpu"


_default = _Default()


def get_default_device() -> str:
    """The name of this thread's default device, e.g. ``"cpu"`` or ``"cuda"``."""
    return _default.name


def set_default_device(device_name: str) -> None:
    """Creates tensors on ``device_name`` from now on, in this thread.

    Raises:
        ValueError: torch knows no such device, or this machine has none.
    """
    if device_name == _default.name:
        return
    _check(device_name)
    # torch's own default costs a little on every call, so it is unset rather than set to cpu.
    torch.set_default_device(None if device_name == "cpu" else device_name)
    _default.name = device_name


def _check(device_name: str) -> None:
    try:
        kind = torch.device(device_name).type
    except RuntimeError as error:
        raise ValueError(f"unknown device {device_name!r}: {error}") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device_name!r} asked for, but torch finds no CUDA device")


class device:
    """Context in which tensors are created on ``device_name``."""

    def __init__(self, device_name: str) -> None:
        self._name = device_name
        self._previous: list[str] = []

    def __enter__(self) -> device:
        self._previous.append(_default.name)
        set_default_device(self._name)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        set_default_device(self._previous.pop())
