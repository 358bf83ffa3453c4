"""Layers without parameters: elementwise functions and changes of shape or type.

Shapes given to a layer never count the batch axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import alf.summary
from alf.config_util import configurable
from alf.nest import nest
from alf.nest.utils import get_nested_field
from alf.utils.tensor_utils import scale_gradient

PUBLIC_MODULE = "alf.layers"  # under which these names are configured


class ElementwiseLayerBase(nn.Module):
    """A layer without parameters that acts on each element or row alone, so n of it are itself."""

    def make_parallel(self, n: int) -> ElementwiseLayerBase:
        """This layer: it takes inputs with a replica axis as they are."""
        del n
        return self


class Identity(ElementwiseLayerBase):
    """Returns its input."""

    def forward(self, x: Any) -> Any:
        return x


@configurable
class Cast(ElementwiseLayerBase):
    """Converts each tensor of its input to ``dtype``."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self._dtype = dtype

    def forward(self, x: Any) -> Any:
        return nest.map_structure(lambda tensor: tensor.to(self._dtype), x)


class Detach(ElementwiseLayerBase):
    """Stops gradients."""

    def forward(self, input: Any) -> Any:
        return nest.map_structure(lambda tensor: tensor.detach(), input)


@configurable
class Scale(ElementwiseLayerBase):
    """Multiplies by ``scale``."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self._scale = scale

    def forward(self, input: Tensor) -> Tensor:
        return self._scale * input


@configurable
class ScaleGradient(ElementwiseLayerBase):
    """Multiplies the gradient by ``scale``, the value stays."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self._scale = scale

    def forward(self, input: Any) -> Any:
        return nest.map_structure(lambda tensor: scale_gradient(tensor, self._scale), input)


class AddN(ElementwiseLayerBase):
    """Adds all tensors of its input nest."""

    def forward(self, input: Any) -> Tensor:
        first, *rest = nest.flatten(input)
        for tensor in rest:
            first = first + tensor
        return first


class GetFields(ElementwiseLayerBase):
    """Picks fields of a nest.

    Args:
        field_nest: nest of field names such as "observation.image".
        fields: instead, names of the output dict and the field each one takes.
    """

    def __init__(self, field_nest: Any = None, **fields: str) -> None:
        super().__init__()
        if (field_nest is None) == (not fields):
            raise ValueError("GetFields takes either field_nest or named fields")
        self._fields = fields if field_nest is None else field_nest

    def forward(self, input: Any) -> Any:
        return get_nested_field(input, self._fields)


class SummarizeGradient(ElementwiseLayerBase):
    """Writes a summary of the gradient that passes here in the backward pass."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def forward(self, x: Tensor) -> Tensor:
        if not (alf.summary.should_record_summaries() and torch.is_grad_enabled()):
            return x
        if not x.requires_grad:
            return x
        x = x.clone()
        x.register_hook(lambda grad: alf.summary.histogram(self._name, grad))
        return x


class Lambda(nn.Module):
    """A function of tensors as a layer."""

    def __init__(self, func: Callable[[Any], Any]) -> None:
        super().__init__()
        self._func = func

    def forward(self, x: Any) -> Any:
        return self._func(x)


@configurable
class OneHot(nn.Module):
    """Class indices to float one-hot vectors along a new last axis."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self._num_classes = num_classes

    def forward(self, input: Tensor) -> Tensor:
        return F.one_hot(input.to(torch.int64), self._num_classes).to(torch.get_default_dtype())

    def make_parallel(self, n: int) -> OneHot:
        """This layer: it takes inputs with a replica axis as they are."""
        del n
        return self


def _as_shape(shape: tuple[Any, ...]) -> tuple[int, ...]:
    if len(shape) == 1 and not isinstance(shape[0], int):
        return tuple(shape[0])
    return shape


@configurable
class Reshape(nn.Module):
    """Reshapes each row; the numbers of ``shape`` may come as one tuple, one of them may be -1."""

    def __init__(self, *shape: Any) -> None:
        super().__init__()
        self._shape = _as_shape(shape)

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], *self._shape)

    def make_parallel(self, n: int) -> Reshape:
        """Reshapes each replica of [B, n, ...]."""
        return Reshape(n, *self._shape)


@configurable
class Transpose(nn.Module):
    """Swaps two axes of each row."""

    def __init__(self, dim0: int = 0, dim1: int = 1) -> None:
        super().__init__()
        self._dim0, self._dim1 = dim0, dim1

    def forward(self, x: Tensor) -> Tensor:
        dim0, dim1 = (dim + 1 if dim >= 0 else dim for dim in (self._dim0, self._dim1))
        return x.transpose(dim0, dim1)

    def make_parallel(self, n: int) -> Transpose:
        """Swaps the same axes in each replica of [B, n, ...]."""
        del n
        dim0, dim1 = (dim + 1 if dim >= 0 else dim for dim in (self._dim0, self._dim1))
        return Transpose(dim0, dim1)


@configurable
class Permute(nn.Module):
    """Reorders the axes of each row."""

    def __init__(self, *dims: int) -> None:
        super().__init__()
        if sorted(dims) != list(range(len(dims))):
            raise ValueError(f"dims must be a permutation of 0..{len(dims) - 1}, got {dims}")
        self._dims = dims

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, *(dim + 1 for dim in self._dims))

    def make_parallel(self, n: int) -> Permute:
        """Reorders the same axes in each replica of [B, n, ...]."""
        del n
        return Permute(0, *(dim + 1 for dim in self._dims))


@configurable
class Sum(nn.Module):
    """Sums each row over axis ``dim``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self._dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return input.sum(dim=self._dim + 1 if self._dim >= 0 else self._dim)

    def make_parallel(self, n: int) -> Sum:
        """Sums over the same axis in each replica of [B, n, ...]."""
        del n
        return Sum(self._dim + 1 if self._dim >= 0 else self._dim)


@configurable
class ReplicationPad2d(nn.Module):
    """Pads images [B, C, H, W] of any dtype by repeating their borders.

    Args:
        padding: number of repetitions on each side, or (left, right, top, bottom).
    """

    def __init__(self, padding: int | tuple[int, int, int, int]) -> None:
        super().__init__()
        self._padding = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
        if len(self._padding) != 4:
            raise ValueError(
                "ReplicationPad2d: padding must be one number or (left, right, top, bottom), "
                f"got {padding}"
            )

    def forward(self, input: Tensor) -> Tensor:
        return _repeat_borders(input, self._padding)


def _repeat_borders(images: Tensor, padding: tuple[int, ...]) -> Tensor:
    """``F.pad(mode="replicate")``, which takes no whole numbers."""
    left, right, top, bottom = padding
    height, width = images.shape[-2:]
    rows = torch.arange(-top, height + bottom, device=images.device).clamp(0, height - 1)
    columns = torch.arange(-left, width + right, device=images.device).clamp(0, width - 1)
    return images[..., rows[:, None], columns]


@configurable
class RandomCrop(nn.Module):
    """Crops each image of [B, C, H, W] at its own random place.

    Args:
        size: (height, width) of the crop, or one number for both.
        padding: number of times that the borders are repeated first, on each side.
    """

    def __init__(self, size: int | tuple[int, int], padding: int = 0) -> None:
        super().__init__()
        self._size = (size, size) if isinstance(size, int) else tuple(size)
        self._padding = padding

    def forward(self, input: Tensor) -> Tensor:
        if self._padding:
            input = _repeat_borders(input, (self._padding,) * 4)
        batch, _, height, width = input.shape
        rows = _random_windows(batch, height, self._size[0], input.device)
        columns = _random_windows(batch, width, self._size[1], input.device)
        b = torch.arange(batch, device=input.device)
        cropped = input.permute(0, 2, 3, 1)[b[:, None, None], rows[:, :, None], columns[:, None, :]]
        return cropped.permute(0, 3, 1, 2)


def _random_windows(batch: int, length: int, size: int, device: torch.device) -> Tensor:
    """Indices [batch, size] of one random window in each row."""
    if size > length:
        raise ValueError(f"cannot crop {size} pixels out of {length}")
    start = torch.randint(length - size + 1, (batch, 1), device=device)
    return start + torch.arange(size, device=device)


class SimpleAttention(nn.Module):
    """Scaled dot-product attention.

    Maps query [B, N, d], key [B, M, d] and value [B, M, v] to [B, N, v] and the weights [B, N, M].
    """

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        logits = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        weights = logits.softmax(dim=-1)
        return weights @ value, weights
