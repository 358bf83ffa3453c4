"""Data parallel training: methods whose gradients are averaged over processes.

Each process has its own copy of an algorithm. `Algorithm.activate_ddp(rank)` says so by setting
`_ddp_activated_rank`; from then on the methods decorated here run inside a
`torch.nn.parallel.DistributedDataParallel`, which averages gradients in `backward()`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

_PERFORMERS = "_ddp_performers"


class _MethodPerformer(nn.Module):
    """A module whose forward calls a method of another module."""

    def __init__(self, module: nn.Module, method: Callable[..., Any]) -> None:
        super().__init__()
        self._wrapped = module
        self._method = method
        # Only what learns is averaged; buffers such as replay data belong to their process.
        self._ddp_params_and_buffers_to_ignore = [
            f"_wrapped.{name}" for name, _ in module.named_buffers()
        ]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._method(self._wrapped, *args, **kwargs)


def make_ddp_performer(
    module: nn.Module,
    method: Callable[..., Any],
    ddp_rank: int,
    find_unused_parameters: bool = False,
    bucket_cap_mb: int = 25,
) -> Callable[..., Any]:
    """`method` of `module` with its gradients averaged over processes.

    Args:
        method: unbound, called as `method(module, ...)`.
        ddp_rank: number of this process, which is also that of its CUDA device.
        find_unused_parameters: for a method that does not use all parameters of the module.
        bucket_cap_mb: size of the buckets in which gradients travel.
    """
    return DistributedDataParallel(
        _MethodPerformer(module, method),
        device_ids=[ddp_rank] if torch.cuda.is_available() else None,
        find_unused_parameters=find_unused_parameters,
        bucket_cap_mb=bucket_cap_mb,
    )


def data_distributed(method: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: the method averages gradients once `activate_ddp()` was called on its object."""
    return data_distributed_when()(method)


def data_distributed_when(
    cond: Callable[[Any], bool] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """As `data_distributed`, where `cond(object)` is true.

    Args:
        cond: None: always.
    """

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
            rank = getattr(self, "_ddp_activated_rank", -1)
            if rank < 0 or (cond is not None and not cond(self)):
                return method(self, *args, **kwargs)
            # In __dict__, so that the performer is no sub-module of the module it wraps.
            performers = self.__dict__.setdefault(_PERFORMERS, {})
            if method.__name__ not in performers:
                performers[method.__name__] = make_ddp_performer(
                    self, method, rank, find_unused_parameters=True
                )
            return performers[method.__name__](*args, **kwargs)

        return wrapped

    return decorate
