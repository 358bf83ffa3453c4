"""Nests of tensors: stacking, devices, gradients, and modules that combine a nest into one."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from alf.config_util import configurable
from alf.device_ctx import get_default_device
from alf.nest import nest
from alf.tensor_specs import TensorSpec


class NestCombiner(nn.Module, abc.ABC):
    """A module that makes one tensor of all leaves of a nest.

    Args:
        name: for printing.
        batch_dims: how many leading dimensions are batch dimensions.
    """

    def __init__(self, name: str, batch_dims: int = 1) -> None:
        super().__init__()
        self._name = name
        self._batch_dims = batch_dims

    @property
    def name(self) -> str:
        return self._name

    def forward(self, nested: Any) -> torch.Tensor:
        """Combines the leaves of ``nested``; specs give a spec."""
        if not nest.is_nested(nested):
            return nested
        leaves = nest.flatten(nested)
        if not leaves:
            raise ValueError(f"{self._name}: the nest has no leaf")
        if isinstance(leaves[0], TensorSpec):
            return self._combine_specs(nested, leaves)
        return self._combine(nested, leaves)

    def _combine_specs(self, nested: Any, specs: list[Any]) -> Any:
        # Specs have no batch dimensions, so a batch of one makes the shapes real.
        outer_dims = (1,) * self._batch_dims
        with torch.no_grad():
            tensors = [spec.zeros(outer_dims) for spec in specs]
            result = self._combine(nested, tensors)
        return type(specs[0]).from_tensor(result, from_dim=self._batch_dims)

    @abc.abstractmethod
    def _combine(self, nested: Any, tensors: list[torch.Tensor]) -> torch.Tensor:
        """Makes one tensor of ``tensors``, the leaves of ``nested``."""


@configurable
class NestConcat(NestCombiner):
    """Concatenates all leaves.

    Args:
        nest_mask: a nest of booleans with the structure of the input; only leaves where it is
            True are taken.
        dim: the dimension along which to concatenate; 0 is the first after the batch dimensions.
        name: for printing.
    """

    def __init__(self, nest_mask: Any = None, dim: int = -1, name: str = "NestConcat") -> None:
        super().__init__(name)
        self._nest_mask = nest_mask
        self._dim = dim

    def _combine(self, nested: Any, tensors: list[torch.Tensor]) -> torch.Tensor:
        if self._nest_mask is not None:
            nest.assert_same_structure(nested, self._nest_mask)
            keep = nest.flatten(self._nest_mask)
            tensors = [t for t, wanted in zip(tensors, keep, strict=True) if wanted]
            if not tensors:
                raise ValueError(f"{self.name}: nest_mask keeps no leaf")
        if len(tensors) == 1:
            return tensors[0]
        dim = self._dim if self._dim < 0 else self._dim + self._batch_dims
        return torch.cat(tensors, dim=dim)

    def make_parallel(self, n: int) -> NestConcat:
        """The combiner for inputs [B, n, ...]."""
        parallel = NestConcat(self._nest_mask, self._dim, f"parallel_{self.name}")
        parallel._batch_dims = self._batch_dims + 1
        return parallel


@configurable
class NestSum(NestCombiner):
    """Adds all leaves, which must broadcast.

    Args:
        average: divide by the number of leaves.
        activation: applied to the result.
        name: for printing.
    """

    def __init__(
        self,
        average: bool = False,
        activation: Callable[[torch.Tensor], torch.Tensor] | None = None,
        name: str = "NestSum",
    ) -> None:
        super().__init__(name)
        self._average = average
        self._activation = activation

    def _combine(self, nested: Any, tensors: list[torch.Tensor]) -> torch.Tensor:
        result = sum(tensors[1:], tensors[0])
        if self._average:
            result = result / len(tensors)
        return result if self._activation is None else self._activation(result)

    def make_parallel(self, n: int) -> NestSum:
        return NestSum(self._average, self._activation, f"parallel_{self.name}")


@configurable
class NestMultiply(NestCombiner):
    """Multiplies all leaves, which must broadcast.

    Args:
        activation: applied to the result.
        name: for printing.
    """

    def __init__(
        self,
        activation: Callable[[torch.Tensor], torch.Tensor] | None = None,
        name: str = "NestMultiply",
    ) -> None:
        super().__init__(name)
        self._activation = activation

    def _combine(self, nested: Any, tensors: list[torch.Tensor]) -> torch.Tensor:
        result = tensors[0]
        for tensor in tensors[1:]:
            result = result * tensor
        return result if self._activation is None else self._activation(result)

    def make_parallel(self, n: int) -> NestMultiply:
        return NestMultiply(self._activation, f"parallel_{self.name}")


@configurable
class NestOuterProduct(NestCombiner):
    """The outer product of all leaves, flattened: [B, n1], [B, n2] give [B, n1 * n2].

    A leaf [B] counts as [B, 1].

    Args:
        activation: applied to the result.
        batch_dims: how many leading dimensions are batch dimensions.
        padding: append a constant 1 to each leaf first, so that the result also contains the
            leaves themselves.
        name: for printing.
    """

    def __init__(
        self,
        activation: Callable[[torch.Tensor], torch.Tensor] | None = None,
        batch_dims: int = 1,
        padding: bool = False,
        name: str = "NestOuterProduct",
    ) -> None:
        super().__init__(name, batch_dims)
        self._activation = activation
        self._padding = padding

    def _combine(self, nested: Any, tensors: list[torch.Tensor]) -> torch.Tensor:
        factors = [t.reshape(*t.shape[: self._batch_dims], -1) for t in tensors]
        if self._padding:
            factors = [torch.cat([f, f.new_ones(*f.shape[:-1], 1)], dim=-1) for f in factors]
        result = factors[0]
        for factor in factors[1:]:
            result = (result.unsqueeze(-1) * factor.unsqueeze(-2)).flatten(-2)
        return result if self._activation is None else self._activation(result)

    def make_parallel(self, n: int) -> NestOuterProduct:
        return NestOuterProduct(
            self._activation, self._batch_dims + 1, self._padding, f"parallel_{self.name}"
        )


def stack_nests(nests: Sequence[Any], dim: int = 0) -> Any:
    """Stacks the corresponding leaves of ``nests`` along a new dimension ``dim``."""
    if len(nests) == 1:
        return nest.map_structure(lambda tensor: tensor.unsqueeze(dim), nests[0])
    return nest.map_structure(lambda *tensors: torch.stack(tensors, dim=dim), *nests)


def get_outer_rank(tensors: Any, specs: Any) -> int:
    """How many dimensions the tensors have in front of those of their specs.

    Raises:
        ValueError: the inner shapes are not those of the specs, or the outer dimensions differ
            from tensor to tensor.
    """
    outer_shapes = []

    def record(path: str, tensor: torch.Tensor, spec: Any) -> None:
        rank = tensor.ndim - spec.ndim
        if rank < 0 or tuple(tensor.shape[rank:]) != tuple(spec.shape):
            raise ValueError(
                f"tensor {path!r} of shape {tuple(tensor.shape)} does not end in the shape "
                f"{tuple(spec.shape)} of its spec"
            )
        outer_shapes.append(tuple(tensor.shape[:rank]))

    nest.py_map_structure_with_path(record, tensors, specs)
    if len(set(outer_shapes)) > 1:
        raise ValueError(f"outer dimensions differ: {sorted(set(outer_shapes))}")
    return len(outer_shapes[0]) if outer_shapes else 0


def convert_device(nests: Any, device: str | None = None) -> Any:
    """``nests`` with their tensors on ``device``, the default device if it is ``None``.

    Leaves that are no tensors stay as they are.
    """
    target = torch.device(get_default_device() if device is None else device)

    def convert(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or _is_on(leaf.device, target):
            return leaf
        return leaf.to(target, non_blocking=target.type != "cpu")

    leaves = nest.flatten(nests)
    if all(not isinstance(x, torch.Tensor) or _is_on(x.device, target) for x in leaves):
        return nests
    return nest.map_structure(convert, nests)


def _is_on(device: torch.device, target: torch.device) -> bool:
    return device.type == target.type and target.index in (None, device.index)


def zeros_like(nested: Any) -> Any:
    """A nest of zeros with the shapes and dtypes of ``nested``."""
    return nest.map_structure(torch.zeros_like, nested)


def grad(nested: Any, objective: torch.Tensor, retain_graph: bool = False) -> Any:
    """The gradients of the sum of ``objective`` with respect to the leaves of ``nested``."""
    leaves = nest.flatten(nested)
    gradients = torch.autograd.grad(objective.sum(), leaves, retain_graph=retain_graph)
    return nest.pack_sequence_as(nested, gradients)


def get_nested_field(nested: Any, nest_fields: Any) -> Any:
    """The nodes of ``nested`` at each dotted path of ``nest_fields``, packed like the latter."""
    return nest.map_structure(lambda field: nest.get_field(nested, field), nest_fields)


def make_nested_module(nested: Any, ignore_non_module_element: bool = True) -> nn.Module | None:
    """A module that registers all modules of ``nested``; a single module is returned itself.

    Args:
        nested: nest of modules.
        ignore_non_module_element: None stands where ``nested`` has a leaf that is no module,
            instead of a ``ValueError``. A nest without modules gives ``None``.
    """
    if isinstance(nested, nn.Module):
        return nested
    if not nest.is_nested(nested):
        if ignore_non_module_element:
            return None
        raise ValueError(f"a {type(nested).__name__} is no module")
    is_named = nest.is_namedtuple(nested) or isinstance(nested, dict)
    named = list(nest.extract_fields_from_nest(nested)) if is_named else enumerate(nested)
    made = {
        str(name): make_nested_module(child, ignore_non_module_element) for name, child in named
    }
    if all(module is None for module in made.values()):
        return None
    # Both hold None as PyTorch's containers of modules do.
    return nn.ModuleDict(made) if is_named else nn.ModuleList(made.values())  # pyright: ignore[reportArgumentType]
