"""Which optimizer trains which parameter, in a tree of algorithms.

The default optimizer of an algorithm takes every parameter below it, but those which

* one of its `add_optimizer()` claims,
* a child algorithm trains with an optimizer of its own,
* lie under an attribute named by `_trainable_attributes_to_ignore()`.

Without a default optimizer the rest goes up to the parent algorithm.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from alf.algorithms.algorithm_interface import AlgorithmInterface

Named = dict[int, tuple[str, nn.Parameter]]


def params_of(optimizer: torch.optim.Optimizer) -> set[nn.Parameter]:
    """All parameters of an optimizer, whatever their group."""
    return {p for group in optimizer.param_groups for p in group["params"]}


def flatten_module(module: nn.Module | nn.Parameter) -> list[nn.Module | nn.Parameter]:
    """The parts of lists of modules or parameters, at any depth; anything else is one part."""
    if isinstance(module, nn.ModuleList | nn.ParameterList):
        return [part for child in module for part in flatten_module(child)]
    return [module]


@dataclasses.dataclass
class Assignment:
    """The optimizers of an algorithm and of all algorithms below it.

    Attributes:
        optimizers: each once, parents after their children.
        params: names and parameters they train.
        unhandled: names and parameters that none of them trains.
        by_optimizer: for each optimizer its names.
        algorithms: ids of the algorithms which were looked at.
        gradients_checked: whether parameters without gradients have been reported.
    """

    optimizers: list[torch.optim.Optimizer] = dataclasses.field(default_factory=list)
    params: list[tuple[str, nn.Parameter]] = dataclasses.field(default_factory=list)
    unhandled: list[tuple[str, nn.Parameter]] = dataclasses.field(default_factory=list)
    by_optimizer: list[tuple[torch.optim.Optimizer, list[str]]] = dataclasses.field(
        default_factory=list
    )
    algorithms: set[int] = dataclasses.field(default_factory=set)
    gradients_checked: bool = False


class Fingerprint:
    """All that an assignment depends on, as it was when this was made.

    To ask whether it still holds, as every update does, takes half as long as a walk over all
    modules. It keeps what it saw, so that nothing new can pass for something old.

    Args:
        alg: the algorithm; None: of nothing, which never holds. Copies are of nothing.
    """

    def __init__(self, alg: nn.Module | None = None) -> None:
        modules: dict[int, nn.Module] = {}
        stack = [] if alg is None else [alg]
        while stack:
            module = stack.pop()
            if id(module) not in modules:
                modules[id(module)] = module
                stack.extend(m for m in module._modules.values() if m is not None)
        self._modules = list(modules.values())
        self._algorithms = [m for m in self._modules if isinstance(m, AlgorithmInterface)]
        self._seen = self._look()

    def __reduce__(self) -> tuple[type, tuple]:
        return Fingerprint, ()

    def holds(self) -> bool:
        """Whether nothing has changed since."""
        if not self._modules:
            return False
        found = self._look()
        return len(found) == len(self._seen) and all(map(operator.is_, found, self._seen))

    def _look(self) -> list[Any]:
        parameters = itertools.chain.from_iterable(m._parameters.values() for m in self._modules)
        trained = [p for p in parameters if p is not None and p.requires_grad]
        found = [*itertools.chain.from_iterable(m._modules.values() for m in self._modules)]
        for alg in self._algorithms:
            found += alg.__dict__.get("_optimizers", ())
            found.append(alg.__dict__.get("_force_params_visible_to_parent", False))
        return [*found, None, *trained]


def assign(alg: Any) -> Assignment:
    """Fill the optimizers at and below `alg`.

    Raises:
        ValueError: two optimizers would train one parameter.
    """
    tree = _Tree()
    unhandled = tree.visit(alg, "")
    tree.assignment.algorithms = tree.visited
    handled = {id(p) for _, p in tree.assignment.params}
    tree.assignment.unhandled = [
        (name, p) for name, p in unhandled.values() if id(p) not in handled
    ]
    return tree.assignment


class _Tree:
    def __init__(self) -> None:
        self.visited: set[int] = set()
        self._trained_by: dict[int, str] = {}
        self._forced: set[int] = set()
        self.assignment = Assignment()

    def visit(self, alg: Any, prefix: str) -> Named:
        """Fill the optimizers of `alg`; returns the parameters which its parent gets to see."""
        if id(alg) in self.visited:  # a cycle or a second name: it counts under its first one
            return {}
        self.visited.add(id(alg))
        trained_before = set(self._trained_by)
        below: Named = {}
        self._collect(alg, prefix, set(alg._trainable_attributes_to_ignore()), below, set())
        # what algorithms further down train themselves
        taken = self._trained_by.keys() - trained_before - self._forced
        claims = self._claims(alg, below, taken)
        claimed = {key for _, params in claims for key in params}
        rest = {key: named for key, named in below.items() if key not in claimed}
        if alg.default_optimizer is not None:
            own = {key: named for key, named in rest.items() if key not in taken}
            claims.insert(0, (alg.default_optimizer, own))
            rest = {}
        for optimizer, params in claims:
            self._fill(alg, optimizer, params)
        if not alg.force_params_visible_to_parent:
            return rest
        self._forced.update(below)
        return below

    def _collect(
        self, module: nn.Module, prefix: str, ignored: set[str], found: Named, seen: set[int]
    ) -> None:
        seen.add(id(module))
        for name, param in module._parameters.items():
            if param is not None and param.requires_grad and name not in ignored:
                found.setdefault(id(param), (prefix + name, param))
        for name, child in module._modules.items():
            if child is None or name in ignored or id(child) in seen:
                continue
            if isinstance(child, AlgorithmInterface):
                for key, named in self.visit(child, f"{prefix}{name}.").items():
                    found.setdefault(key, named)
            else:
                self._collect(child, f"{prefix}{name}.", set(), found, seen)

    def _claims(
        self, alg: Any, below: Named, taken: set[int]
    ) -> list[tuple[torch.optim.Optimizer, Named]]:
        """What each `add_optimizer()` of `alg` asks for."""
        claims: list[tuple[torch.optim.Optimizer, Named]] = []
        claimed_by: dict[int, torch.optim.Optimizer] = {}
        for optimizer, objects in alg._added_optimizers:
            params: Named = {}
            for param in _parameters(objects):
                key = id(param)
                if key in taken:
                    continue
                if claimed_by.setdefault(key, optimizer) is not optimizer:
                    raise ValueError(
                        f"parameter {below.get(key, ('?', param))[0]!r} of {alg.name!r} is given "
                        f"to two optimizers: {_name(claimed_by[key])} and {_name(optimizer)}"
                    )
                params[key] = below.get(key, (_name_in(alg, param), param))
            claims.append((optimizer, params))
        return claims

    def _fill(self, alg: Any, optimizer: torch.optim.Optimizer, params: Named) -> None:
        for key, (name, _) in params.items():
            if key in self._trained_by and key not in self._forced:
                raise ValueError(
                    f"parameter {name!r} is trained by two optimizers: {self._trained_by[key]} "
                    f"and {_name(optimizer)} of {alg.name!r}"
                )
            self._trained_by[key] = f"{_name(optimizer)} of {alg.name!r}"
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        new = [param for key, (_, param) in params.items() if key not in held]
        if new:
            optimizer.add_param_group({"params": new})
        assignment = self.assignment
        if all(o is not optimizer for o in assignment.optimizers):
            assignment.optimizers.append(optimizer)
        assignment.params.extend(params.values())
        assignment.by_optimizer.append((optimizer, [name for name, _ in params.values()]))


def _parameters(objects: Iterable[Any]) -> list[nn.Parameter]:
    found = []
    for x in objects:
        found += [x] if isinstance(x, torch.Tensor) else list(x.parameters())
    return [p for p in found if p.requires_grad]


def _name(optimizer: torch.optim.Optimizer) -> str:
    return str(getattr(optimizer, "name", None) or type(optimizer).__name__)


def _name_in(alg: nn.Module, param: nn.Parameter) -> str:
    return next((name for name, p in alg.named_parameters() if p is param), "?")


def describe(assignment: Assignment, every: Iterable[torch.optim.Optimizer] = ()) -> str:
    """Json text: for each optimizer its settings and the names of its parameters.

    Args:
        every: all optimizers; those that train nothing here are listed too.
    """
    entries: list[dict[str, Any]] = []
    assigned = {id(optimizer) for optimizer, _ in assignment.by_optimizer}
    idle = [(optimizer, []) for optimizer in every if id(optimizer) not in assigned]
    for optimizer, names in [*assignment.by_optimizer, *idle]:
        hypers = {k: _as_json(v) for k, v in optimizer.defaults.items() if k != "params"}
        entries.append(
            {"optimizer": _name(optimizer), "hypers": hypers, "parameters": sorted(names)}
        )
    if assignment.unhandled:
        names = sorted(name for name, _ in assignment.unhandled)
        entries.append({"optimizer": "None", "parameters": names})
    return json.dumps(entries, indent=2)


def _as_json(value: Any) -> Any:
    """Numbers, texts and None as they are, anything else as Python writes it."""
    return value if isinstance(value, int | float | str | None) else repr(value)
