"""Training by several processes, each with its own copy of an algorithm and its own data.

The engine averages the gradients of each step itself (`average_gradients`), so that an algorithm
may have parts which train at different times, and need not know of it. `data_distributed` does it
in `torch.nn.parallel.DistributedDataParallel` instead, for a method whose `backward()` an algorithm
calls itself; averaging twice changes nothing.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from alf.config_util import configurable
from alf.utils.per_process_context import PerProcessContext

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


@configurable
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
        ddp_rank: number of this process.
        find_unused_parameters: for a method that does not use all parameters of the module.
        bucket_cap_mb: size of the buckets in which gradients travel.
    """
    return DistributedDataParallel(
        _MethodPerformer(module, method),
        device_ids=[torch.cuda.current_device()] if torch.cuda.is_available() else None,
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


@contextmanager
def process_group(backend: str, **kwargs: Any) -> Iterator[None]:
    """This process is one of a group meanwhile.

    Args:
        backend: "gloo" or "nccl".
        kwargs: of `torch.distributed.init_process_group`.
    """
    # The functions of this module have the group, if there is one when it is imported, as a default
    # argument. An optimizer's first step imports it; then the group's threads would outlive the
    # group, and one that is still busy when the interpreter ends aborts the process.
    importlib.import_module("torch.distributed.nn")
    dist.init_process_group(backend, **kwargs)
    try:
        yield
    finally:
        dist.destroy_process_group()


def num_processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_shared(alg: Any) -> bool:
    """Do several processes train `alg` together?"""
    if num_processes() == 1:
        return False
    return getattr(alg, "_ddp_activated_rank", -1) >= 0 or PerProcessContext().is_distributed


@torch.no_grad()
def average_gradients(params: Iterable[torch.Tensor]) -> None:
    """Replace each gradient by its mean over the processes; all have to call it.

    A gradient that some processes lack counts as 0 there; one that all lack stays None.
    """
    groups: dict[Any, list[torch.Tensor]] = {}
    for p in {id(p): p for p in params}.values():
        groups.setdefault((p.device, p.dtype), []).append(p)
    for group in groups.values():
        _average_group(group)


def _average_group(params: list[torch.Tensor]) -> None:
    """As `average_gradients`, for parameters of one device and dtype: one message for all."""
    there = [p.grad is not None for p in params]
    parts = [(p.grad if p.grad is not None else torch.zeros_like(p)).reshape(-1) for p in params]
    flat = torch.cat([*parts, parts[0].new_tensor(there, dtype=parts[0].dtype)])
    dist.all_reduce(flat)
    # Whoever has a gradient knows that it is not the case that all lack it.
    counts = [1.0] * len(params) if all(there) else flat[-len(params) :].tolist()
    flat.div_(dist.get_world_size())
    means = flat[: -len(params)].split([p.numel() for p in params])
    for p, mean, count in zip(params, means, counts, strict=True):
        if count > 0:
            p.grad = mean.view_as(p)


def gather_numbers(*numbers: float) -> list[list[float]]:
    """The numbers of each process, by its rank; all have to call it."""
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    own = torch.tensor(numbers, dtype=torch.float64, device=device)
    gathered = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, own)
    return [x.tolist() for x in gathered]


def mean_over_processes(alg: Any, number: float) -> float:
    """The mean of a number over the processes that train `alg`; all have to call it."""
    if not is_shared(alg):
        return number
    numbers = gather_numbers(number)
    return sum(x for (x,) in numbers) / len(numbers)


@torch.no_grad()
def broadcast_tensors(tensors: Iterable[torch.Tensor]) -> None:
    """Give all processes the values of process 0.

    Tensors on the host are sent by way of the GPU where processes talk by that.
    """
    by_gpu = dist.get_backend() == "nccl"
    for tensor in tensors:
        sent = tensor.data.contiguous()
        sent = sent.cuda() if by_gpu else sent
        dist.broadcast(sent, src=0)
        tensor.data.copy_(sent)


def check_same_parameters(alg: Any) -> None:
    """Compare the parameters of all processes; all have to call it.

    Raises:
        RuntimeError: some differ; they are named.
    """
    own = alg.compute_paras_statistics()
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, own)
    different = [
        name
        for name, values in gathered[0].items()
        if any(not np.allclose(values, other[name], rtol=1e-5, atol=1e-7) for other in gathered)
    ]
    if different:
        raise RuntimeError(
            f"the processes have different values of the parameters {', '.join(different)}: "
            "something trains them without averaging gradients over the processes"
        )
