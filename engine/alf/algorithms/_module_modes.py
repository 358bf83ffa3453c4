"""Training and evaluation mode of a tree of modules, switched in a few microseconds."""

from __future__ import annotations

from typing import Any

from torch import nn


class ModuleModes:
    """Does what `nn.Module.train()` does, for a module that is switched twice in an iteration.

    The modules below are found once and again whenever one of them has got, lost or exchanged a
    child. Cycles and shared modules are allowed; a module with a `train()` of its own is asked.

    Args:
        module: the root.
    """

    def __init__(self, module: nn.Module) -> None:
        self._modules: list[nn.Module] = []
        self._own_ways: list[nn.Module] = []
        self._childless: list[dict[str, Any]] = []
        self._families: list[tuple[dict[str, Any], tuple[Any, ...]]] = []
        self._find(module)

    def _find(self, root: nn.Module) -> None:
        stack: list[nn.Module | None] = [root]
        seen: set[int] = set()
        while stack:
            module = stack.pop()
            if module is None or id(module) in seen:
                continue
            seen.add(id(module))
            if type(module).train is not nn.Module.train:
                self._own_ways.append(module)
                continue
            self._modules.append(module)
            children = module._modules
            if children:
                self._families.append((children, tuple(children.values())))
                stack.extend(children.values())
            else:
                self._childless.append(children)

    def is_current(self) -> bool:
        """Are these still all the modules?"""
        if any(self._childless):
            return False
        # children are compared by identity, as modules have no equality of their own
        return all(tuple(now.values()) == before for now, before in self._families)

    def set(self, training: bool) -> None:
        """Switch all modules."""
        # nn.Module's own way to set an attribute takes ten times as long
        for module in self._modules:
            module.__dict__["training"] = training
        for module in self._own_ways:
            module.train(training)
