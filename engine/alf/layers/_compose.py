"""Modules made of modules, and n replicas of any module."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from alf.config_util import configurable
from alf.nest import nest
from alf.nest.utils import get_nested_field, make_nested_module
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

PUBLIC_MODULE = "alf.layers"  # under which these names are configured


def reset_parameters(module: Callable[..., Any]) -> None:
    """Draw the initial parameters of ``module`` and all its descendants anew.

    A plain function has none.

    Raises:
        ValueError: if a descendant has parameters of its own and no ``reset_parameters``.
    """
    reset: Callable[[], Any] | None = getattr(module, "reset_parameters", None)
    if reset is not None:
        reset()
        return
    if not isinstance(module, nn.Module):
        return
    if next(module.parameters(recurse=False), None) is not None:
        raise ValueError(f"{type(module).__name__} has parameters but no reset_parameters()")
    for child in module.children():
        reset_parameters(child)


def make_parallel_input(inputs: Any, n: int) -> Any:
    """Give each tensor [B, ...] of a nest a replica axis: [B, n, ...], without copying."""
    return nest.map_structure(lambda x: x.unsqueeze(1).expand(-1, n, *x.shape[1:]), inputs)


def make_parallel_spec(specs: Any, n: int) -> Any:
    """Specs of tensors that have n replicas as their first axis."""
    return nest.map_structure(lambda spec: _with_replicas(spec, n), specs)


def _with_replicas(spec: TensorSpec, n: int) -> TensorSpec:
    shape = (n, *spec.shape)
    if isinstance(spec, BoundedTensorSpec):
        return BoundedTensorSpec(shape, spec.dtype, spec.minimum, spec.maximum)
    return TensorSpec(shape, spec.dtype)


def make_parallel_net(module: Callable[..., Any], n: int) -> Any:
    """n independent replicas of ``module`` as one, which maps [B, n, ...] to [B, n, ...].

    Uses its ``make_parallel`` if there is one, else :class:`NaiveParallelLayer`. A plain function,
    having no parameters, is given back.
    """
    if hasattr(module, "make_parallel"):
        return module.make_parallel(n)
    if isinstance(module, nn.Module):
        return NaiveParallelLayer(module, n)
    return module


class NaiveParallelLayer(nn.Module):
    """n copies of any module called one after another.

    Args:
        module: the first copy's structure; each copy draws its own parameters. A function is called
            n times.
        n: number of copies.
    """

    def __init__(self, module: Callable[..., Any], n: int) -> None:
        super().__init__()
        if not callable(module):
            raise TypeError(f"module must be a module or a function, got {type(module).__name__}")
        self._replicas = [copy.deepcopy(module) for _ in range(n)]
        for replica in self._replicas:
            reset_parameters(replica)
        self._modules_list = nn.ModuleList(m for m in self._replicas if isinstance(m, nn.Module))
        self._n = n

    def forward(self, inputs: Any) -> Any:
        """[B, n, ...] to [B, n, ...], nests on both sides."""
        outputs = [
            module(nest.map_structure(lambda x, i=i: x[:, i], inputs))
            for i, module in enumerate(self._replicas)
        ]
        return nest.map_structure(lambda *xs: torch.stack(xs, dim=1), *outputs)

    def reset_parameters(self) -> None:
        """Draw initial parameters of each copy anew."""
        for module in self._modules_list:
            reset_parameters(module)


def split_element(element: Any) -> tuple[Any, Callable[..., Any]]:
    """The input name (None: the result before) and the module of one element of a Sequential."""
    if isinstance(element, tuple):
        if len(element) != 2 or not callable(element[1]) or isinstance(element[1], type):
            raise ValueError(
                f"an element must be a module or a (nested str, module) pair, got {element!r}"
            )
        return element
    if not callable(element) or isinstance(element, type):
        raise ValueError(f"an element must be a module or a function, got {element!r}")
    return None, element


@configurable
class Sequential(nn.Module):
    """Modules applied one after another.

    Args:
        modules: each a module, a function, or a pair (nested str, module): the name, or a nest of
            names, of the results that the module takes instead of the result before it. "input"
            names the input.
        output: name, or nest of names, of the results to return; empty for the last one.
        named_modules: modules after those of ``modules``, whose results can be named.
    """

    def __init__(self, *modules: Any, output: Any = "", **named_modules: Any) -> None:
        super().__init__()
        if "input" in named_modules:
            raise ValueError('"input" names the input of a Sequential, not one of its modules')
        elements = [("", element) for element in modules] + list(named_modules.items())
        if not elements:
            raise ValueError("Sequential needs at least one module")
        self._output = output
        self._steps = [(name, *split_element(element)) for name, element in elements]
        self._is_plain = output == "" and all(inputs is None for _, inputs, _ in self._steps)
        self._nets = nn.ModuleList(m for *_, m in self._steps if isinstance(m, nn.Module))

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, i: int) -> Callable[..., Any]:
        return self._steps[i][2]

    def _rebuild(self, change: Callable[[Any], Any]) -> Sequential:
        """The same composition of ``change(module)`` for each module."""

        def changed(inputs: Any, module: Any) -> Any:
            return change(module) if inputs is None else (inputs, change(module))

        unnamed = [changed(inputs, m) for name, inputs, m in self._steps if name == ""]
        named = {name: changed(inputs, m) for name, inputs, m in self._steps if name != ""}
        return Sequential(*unnamed, output=self._output, **named)

    def forward(self, inputs: Any) -> Any:
        x = inputs
        if self._is_plain:
            for _, _, module in self._steps:
                x = module(x)
            return x
        results = {"input": inputs}
        for name, source, module in self._steps:
            x = module(x if source is None else get_nested_field(results, source))
            if name:
                results[name] = x
        return x if self._output == "" else get_nested_field(results, self._output)

    def make_parallel(self, n: int) -> Sequential:
        """n independent replicas, [B, n, ...] to [B, n, ...]."""
        return self._rebuild(lambda module: make_parallel_net(module, n))

    def reset_parameters(self) -> None:
        """Draw initial parameters of each module anew."""
        for module in self._nets:
            reset_parameters(module)


@configurable
class Branch(nn.Module):
    """Several modules applied to the same input.

    Returns a tuple of their results, or a dict if they are named.
    """

    def __init__(self, *modules: Any, **named_modules: Any) -> None:
        super().__init__()
        if bool(modules) == bool(named_modules):
            raise ValueError("Branch takes either positional or named modules")
        if len(modules) == 1 and nest.is_nested(modules[0]):
            modules = modules[0]
        self._branches: Any = modules or named_modules
        self._nets = make_nested_module(self._branches)

    @property
    def networks(self) -> Any:
        """The modules as they were given: a tuple, or a dict if they are named."""
        return self._branches

    def _rebuild(self, change: Callable[[Any], Any]) -> Branch:
        branches = nest.map_structure(change, self._branches)
        if isinstance(branches, dict):
            return Branch(**branches)
        return Branch(*branches) if isinstance(branches, tuple) else Branch(branches)

    def forward(self, inputs: Any) -> Any:
        return nest.map_structure(lambda module: module(inputs), self._branches)

    def make_parallel(self, n: int) -> Branch:
        """n independent replicas, [B, n, ...] to [B, n, ...]."""
        return self._rebuild(lambda module: make_parallel_net(module, n))

    def reset_parameters(self) -> None:
        """Draw initial parameters of each module anew."""
        if self._nets is not None:
            reset_parameters(self._nets)


class AMPWrapper(nn.Module):
    """Calls ``net`` with automatic mixed precision on or off.

    Args:
        enabled: compute in the device's lower precision.
        net: the wrapped module.
    """

    def __init__(self, enabled: bool, net: nn.Module) -> None:
        super().__init__()
        self._enabled, self._net = enabled, net

    def forward(self, input: Any) -> Any:
        device = _device_of(input)
        if not self._enabled:
            input = nest.map_structure(to_float32, input)
        with torch.autocast(device, enabled=self._enabled):
            return self._net(input)


def _device_of(nested: Any) -> str:
    return nest.flatten(nested)[0].device.type


def to_float32(x: Tensor) -> Tensor:
    """Numbers of any precision in that of the parameters; whole numbers stay."""
    return x.to(torch.float32) if x.is_floating_point() else x


def normalize_along_batch_dims(
    x: Tensor, mean: Tensor, variance: Tensor, variance_epsilon: float
) -> Tensor:
    """``(x - mean) / sqrt(variance + variance_epsilon)``; x may have batch axes in front."""
    rank = x.ndim - mean.ndim
    if mean.shape != variance.shape or rank < 0 or x.shape[rank:] != mean.shape:
        raise ValueError(
            f"mean {list(mean.shape)} and variance {list(variance.shape)} must have the shape of "
            f"the last axes of x {list(x.shape)}"
        )
    return (x - mean) * torch.rsqrt(variance + variance_epsilon)
