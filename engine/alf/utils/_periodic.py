"""Things done every so many calls: following target networks, resets, any function.

The counters are buffers, so that a restarted run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn

from alf.config_util import configurable
from alf.utils.schedulers import as_scheduler

PUBLIC_MODULE = "alf.utils.common"  # under which these names are configured


def _as_list(x: Any) -> list[Any]:
    return list(x) if isinstance(x, (list, tuple, nn.ModuleList)) else [x]


def _tensors_of(module: nn.Module) -> list[torch.Tensor]:
    """`[*module.parameters(), *module.buffers()]` in a fifth of the time."""
    parameters: dict[int, torch.Tensor] = {}
    buffers: dict[int, torch.Tensor] = {}
    seen: set[int] = set()
    stack: list[nn.Module | None] = [module]
    while stack:
        part = stack.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        for found, own in ((parameters, part._parameters), (buffers, part._buffers)):
            for tensor in own.values():
                if tensor is not None:
                    found.setdefault(id(tensor), tensor)
        stack.extend(reversed(part._modules.values()))
    return [*parameters.values(), *buffers.values()]


class _Counted(nn.Module):
    """Base: counts its calls, and says which ones are due."""

    def __init__(self, period: int | None) -> None:
        super().__init__()
        if period is not None and period < 1:
            raise ValueError(f"period is {period}; allowed: a positive number")
        self._period = period
        # on the host, because Python branches on it at every call
        self.register_buffer("_counter", torch.zeros((), dtype=torch.int64, device="cpu"))

    def _is_due(self) -> bool:
        if self._period is None:
            return False
        self._counter += 1
        return self._period == 1 or int(self._counter) % self._period == 0


@configurable
class Periodically(_Counted):
    """Calls a function at every `period`-th call.

    Args:
        body: what is called.
        period: how often; None: never.
        name: name of this object.
    """

    def __init__(
        self, body: Callable[[], Any], period: int | None, name: str = "periodically"
    ) -> None:
        super().__init__(period)
        self._body = body
        self._name = name

    def forward(self) -> None:
        """Count this call."""
        if self._is_due():
            self._body()


@configurable
class TargetUpdater(_Counted):
    """Lets target modules follow modules: `target <- (1 - tau) target + tau model`.

    The modules are not owned: their parameters are in the state of whoever registered them.

    Args:
        models: module or parameter, or a list of them.
        target_models: the same, in the same order.
        tau: how far one update goes; a number or a scheduler.
        period: an update happens at every `period`-th call.
        init_copy: start with targets equal to the models.
        delayed_update: follow the values that the models had at the update before.
    """

    def __init__(
        self,
        models: Any,
        target_models: Any,
        tau: float | Callable[[], float] = 1.0,
        period: int = 1,
        init_copy: bool = True,
        delayed_update: bool = False,
    ) -> None:
        super().__init__(period)
        models, targets = _as_list(models), _as_list(target_models)
        if len(models) != len(targets):
            raise ValueError(f"{len(models)} models, but {len(targets)} target_models")
        self._tau = as_scheduler(tau)
        # In a tuple, where nn.Module does not look: these modules have their names elsewhere.
        self._pairs = (list(zip(models, targets, strict=True)),)
        self._check_shapes()
        if init_copy:
            with torch.no_grad():
                self._copy(self._values(0), self._values(1))
        self._delayed = delayed_update
        if delayed_update:
            for i, value in enumerate(self._values(0)):
                self.register_buffer(f"_previous_{i}", value.detach().clone())

    def _values(self, side: int) -> list[torch.Tensor]:
        """Parameters, then buffers of all models (side 0) or all targets (side 1)."""
        objects = [pair[side] for pair in self._pairs[0]]
        values = []
        for x in objects:
            values += [x] if isinstance(x, torch.Tensor) else _tensors_of(x)
        return values

    def _check_shapes(self) -> None:
        sources, targets = self._values(0), self._values(1)
        shapes = [tuple(x.shape) for x in sources], [tuple(x.shape) for x in targets]
        if shapes[0] != shapes[1]:
            raise ValueError(f"models and target_models differ: shapes {shapes[0]} and {shapes[1]}")

    @staticmethod
    def _copy(sources: list[torch.Tensor], targets: list[torch.Tensor]) -> None:
        for source, target in zip(sources, targets, strict=True):
            target.copy_(source)

    @torch.no_grad()
    def forward(self) -> None:
        """Count this call, and update the targets if it is time."""
        if not self._is_due():
            return
        sources, targets = self._values(0), self._values(1)
        if self._delayed:
            previous = [getattr(self, f"_previous_{i}") for i in range(len(sources))]
            self._follow(previous, targets)
            self._copy(sources, previous)
        else:
            self._follow(sources, targets)

    def _follow(self, sources: list[torch.Tensor], targets: list[torch.Tensor]) -> None:
        tau = self._tau()
        if tau >= 1:
            self._copy(sources, targets)
            return
        # numbers that count something cannot move by a fraction
        moving = [i for i, t in enumerate(targets) if t.is_floating_point()]
        lerp = torch._foreach_lerp_  # pyright: ignore[reportPrivateImportUsage] (one kernel for all)
        lerp([targets[i] for i in moving], [sources[i] for i in moving], tau)
        if len(moving) < len(targets):
            counting = [i for i, t in enumerate(targets) if not t.is_floating_point()]
            self._copy([sources[i] for i in counting], [targets[i] for i in counting])


@configurable
class PeriodicReset(_Counted):
    """Gives modules new initial parameters at every `period`-th call (arXiv:2205.07802).

    Each sub-module with a `reset_parameters()` is asked to; other parameters go back to the values
    they had when this object was made, and so do buffers.

    Args:
        models: module or parameter, or a list of them.
        period: how often; -1: never.
        reset_buffers: whether buffers are reset too.
        post_processings: functions called after each reset, such as a `TargetUpdater`.
    """

    def __init__(
        self,
        models: Any,
        period: int = 1,
        reset_buffers: bool = True,
        post_processings: Sequence[Callable[[], Any]] = (),
    ) -> None:
        super().__init__(None if period == -1 else period)
        self._reset_buffers = reset_buffers
        self._post_processings = (list(post_processings),)
        self._models = (_as_list(models),)  # in a tuple: not owned
        for i, value in enumerate(self._restorable()):
            self.register_buffer(f"_initial_{i}", value.detach().clone())

    def _resettable(self) -> list[Any]:
        modules = [m for x in self._models[0] if isinstance(x, nn.Module) for m in x.modules()]
        return [m for m in modules if callable(getattr(m, "reset_parameters", None))]

    def _restorable(self) -> list[torch.Tensor]:
        covered = {id(p) for module in self._resettable() for p in module.parameters()}
        parameters: Iterable[torch.Tensor] = [
            p
            for x in self._models[0]
            for p in ([x] if isinstance(x, torch.Tensor) else x.parameters())
            if id(p) not in covered
        ]
        modules = [x for x in self._models[0] if isinstance(x, nn.Module)]
        buffers = [b for x in modules for b in x.buffers()] if self._reset_buffers else []
        return [*parameters, *buffers]

    @torch.no_grad()
    def forward(self) -> None:
        """Count this call, and reset if it is time."""
        if not self._is_due():
            return
        for module in self._resettable():
            module.reset_parameters()
        for i, value in enumerate(self._restorable()):
            value.copy_(getattr(self, f"_initial_{i}"))
        for process in self._post_processings[0]:
            process()
