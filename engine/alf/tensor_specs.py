"""Specs: shape, dtype and range of tensors, without their batch dimensions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Union

import numpy as np
import torch

from alf.config_util import configurable

_NUMPY_DTYPES = {
    torch.float16: "float16",
    torch.float32: "float32",
    torch.float64: "float64",
    torch.uint8: "uint8",
    torch.int8: "int8",
    torch.int16: "int16",
    torch.int32: "int32",
    torch.int64: "int64",
    torch.bool: "bool",
}


def torch_dtype_to_str(dtype: torch.dtype) -> str:
    """The numpy name of ``dtype``, e.g. ``"float32"``."""
    if dtype not in _NUMPY_DTYPES:
        allowed = ", ".join(map(str, _NUMPY_DTYPES))
        raise ValueError(f"dtype {dtype!r} has no numpy counterpart; allowed: {allowed}")
    return _NUMPY_DTYPES[dtype]


@configurable
class TensorSpec:
    """Shape and dtype of a tensor without its outer (batch, time) dimensions. Immutable."""

    __slots__ = ("_dtype", "_shape")

    def __init__(self, shape: Iterable[int], dtype: torch.dtype = torch.float32) -> None:
        self._shape = torch.Size(tuple(shape))
        self._dtype = _as_torch_dtype(dtype)

    @classmethod
    def from_spec(cls, spec: TensorSpec) -> TensorSpec:
        """The shape and dtype of ``spec``."""
        return TensorSpec(spec.shape, spec.dtype)

    @classmethod
    def from_tensor(cls, tensor: torch.Tensor, from_dim: int = 0) -> TensorSpec:
        """The spec of ``tensor`` without its first ``from_dim`` dimensions."""
        return TensorSpec(tensor.shape[from_dim:], tensor.dtype)

    @classmethod
    def from_array(cls, array: np.ndarray, from_dim: int = 0) -> TensorSpec:
        """The spec of ``array`` without its first ``from_dim`` dimensions."""
        return TensorSpec(array.shape[from_dim:], _as_torch_dtype(array.dtype))

    @classmethod
    def is_bounded(cls) -> bool:
        """Does this kind of spec carry a minimum and a maximum?"""
        return False

    @property
    def shape(self) -> torch.Size:
        return self._shape

    @property
    def numel(self) -> int:
        return self._shape.numel()

    @property
    def ndim(self) -> int:
        return len(self._shape)

    @property
    def dtype(self) -> torch.dtype:
        return self._dtype

    @property
    def dtype_str(self) -> str:
        """The numpy name of the dtype."""
        return torch_dtype_to_str(self._dtype)

    @property
    def is_discrete(self) -> bool:
        return not self._dtype.is_floating_point

    @property
    def is_continuous(self) -> bool:
        return self._dtype.is_floating_point

    def replace(
        self, shape: Iterable[int] | None = None, dtype: torch.dtype | None = None
    ) -> TensorSpec:
        """A copy with some properties replaced."""
        return TensorSpec(
            self._shape if shape is None else shape, self._dtype if dtype is None else dtype
        )

    def constant(self, value: Any, outer_dims: Sequence[int] | None = None) -> torch.Tensor:
        """A tensor [*outer_dims, *shape] filled with ``value`` on the default device."""
        shape = self._full_shape(outer_dims)
        if isinstance(value, (bool, int, float)):
            return torch.full(shape, value, dtype=self._dtype)
        return torch.as_tensor(value, dtype=self._dtype).expand(shape).clone()

    def zeros(self, outer_dims: Sequence[int] | None = None) -> torch.Tensor:
        """Zeros [*outer_dims, *shape] on the default device."""
        return torch.zeros(self._full_shape(outer_dims), dtype=self._dtype)

    def ones(self, outer_dims: Sequence[int] | None = None) -> torch.Tensor:
        """Ones [*outer_dims, *shape] on the default device."""
        return torch.ones(self._full_shape(outer_dims), dtype=self._dtype)

    def rand(self, outer_dims: Sequence[int] | None = None) -> torch.Tensor:
        """Uniform numbers in [0, 1), [*outer_dims, *shape] on the default device."""
        return torch.rand(self._full_shape(outer_dims), dtype=self._dtype)

    def randn(self, outer_dims: Sequence[int] | None = None) -> torch.Tensor:
        """Standard normal numbers [*outer_dims, *shape] on the default device."""
        return torch.randn(self._full_shape(outer_dims), dtype=self._dtype)

    def numpy_constant(self, value: Any, outer_dims: Sequence[int] | None = None) -> np.ndarray:
        """An array [*outer_dims, *shape] filled with ``value``."""
        return np.full(self._full_shape(outer_dims), value, dtype=self.dtype_str)

    def numpy_zeros(self, outer_dims: Sequence[int] | None = None) -> np.ndarray:
        """An array of zeros [*outer_dims, *shape]."""
        return np.zeros(self._full_shape(outer_dims), dtype=self.dtype_str)

    def _full_shape(self, outer_dims: Sequence[int] | None) -> tuple[int, ...]:
        return (*outer_dims, *self._shape) if outer_dims else tuple(self._shape)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._shape == other._shape and self._dtype == other._dtype

    def __hash__(self) -> int:
        return hash((type(self), self._shape, self._dtype))

    def __repr__(self) -> str:
        return f"TensorSpec(shape={tuple(self._shape)}, dtype={self._dtype!r})"

    def __reduce__(self) -> tuple:
        return TensorSpec, (tuple(self._shape), self._dtype)


@configurable
class BoundedTensorSpec(TensorSpec):
    """A spec with an inclusive minimum and maximum for each element.

    For discrete dtypes, 0..n-1 is written ``minimum=0, maximum=n-1``.
    """

    __slots__ = ("_maximum", "_minimum")

    def __init__(
        self,
        shape: Iterable[int],
        dtype: torch.dtype = torch.float32,
        minimum: Any = 0,
        maximum: Any = 1,
    ) -> None:
        super().__init__(shape, dtype)
        self._minimum = self._as_bound("minimum", minimum)
        self._maximum = self._as_bound("maximum", maximum)
        if not np.all(self._minimum <= self._maximum):  # NaN is refused, too
            raise ValueError(f"minimum {minimum} is larger than maximum {maximum}, or one is NaN")

    @classmethod
    def from_spec(cls, spec: TensorSpec) -> BoundedTensorSpec:
        """A copy of ``spec``, which has bounds."""
        if not isinstance(spec, BoundedTensorSpec):
            raise ValueError(
                f"BoundedTensorSpec.from_spec: {spec} has no bounds; allowed: a BoundedTensorSpec"
            )
        return BoundedTensorSpec(spec.shape, spec.dtype, spec.minimum, spec.maximum)

    @classmethod
    def is_bounded(cls) -> bool:
        return True

    @property
    def minimum(self) -> np.ndarray:
        """An array that broadcasts to ``shape``; not to be written to."""
        return self._minimum

    @property
    def maximum(self) -> np.ndarray:
        """An array that broadcasts to ``shape``; not to be written to."""
        return self._maximum

    def replace(
        self,
        shape: Iterable[int] | None = None,
        dtype: torch.dtype | None = None,
        minimum: Any = None,
        maximum: Any = None,
    ) -> BoundedTensorSpec:
        """A copy with some properties replaced."""
        return BoundedTensorSpec(
            self._shape if shape is None else shape,
            self._dtype if dtype is None else dtype,
            self._minimum if minimum is None else minimum,
            self._maximum if maximum is None else maximum,
        )

    def sample(self, outer_dims: Sequence[int] | None = None) -> torch.Tensor:
        """Uniform samples [*outer_dims, *shape] on the default device.

        Where a float bound is infinite: normal if both are, exponential away from the finite
        one otherwise (gymnasium's rule).
        """
        shape = self._full_shape(outer_dims)
        low, high = torch.as_tensor(self._minimum), torch.as_tensor(self._maximum)
        device = torch.empty(()).device
        low, high = low.to(device), high.to(device)
        if self._dtype == torch.bool:
            flips = torch.rand(shape) < 0.5
            return torch.where(low == high, low, flips)
        if self.is_discrete:
            span = high.double() - low.double() + 1
            steps = torch.floor(torch.rand(shape, dtype=torch.float64) * span)
            return (low.to(torch.int64) + steps.to(torch.int64)).clamp(low, high).to(self._dtype)
        # Half the difference, doubled, because high - low overflows for the full float range.
        u = torch.rand(shape, dtype=torch.float64)
        low, high = low.double(), high.double()
        uniform = low * (1 - u) + high * u
        if not bool(np.all(np.isfinite(self._minimum)) and np.all(np.isfinite(self._maximum))):
            tail = -torch.log1p(-u)
            above = torch.where(low.isfinite(), low + tail, torch.randn(shape).double())
            unbounded = torch.where(high.isfinite(), high - tail, above)
            uniform = torch.where(low.isfinite() & high.isfinite(), uniform, unbounded)
        return uniform.to(self._dtype)

    def numpy_sample(
        self, outer_dims: Sequence[int] | None = None, rng: Any = np.random
    ) -> np.ndarray:
        """As ``sample``, but an array, drawn from ``rng`` (``np.random`` or a ``Generator``)."""
        shape = self._full_shape(outer_dims)
        low, high = self._minimum, self._maximum
        u = rng.uniform(size=shape)
        if self._dtype == torch.bool:
            return np.where(low == high, low, u < 0.5)
        low, high = low.astype(np.float64), high.astype(np.float64)
        if self.is_discrete:
            steps = np.floor(u * (high - low + 1)).astype(np.int64)
            low, high = self._minimum.astype(np.int64), self._maximum.astype(np.int64)
            return np.clip(low + steps, low, high).astype(self.dtype_str)
        finite_low, finite_high = np.isfinite(low), np.isfinite(high)
        tail = -np.log1p(-u)
        with np.errstate(invalid="ignore"):
            uniform = low * (1 - u) + high * u
        if not (finite_low.all() and finite_high.all()):
            above = np.where(finite_low, low + tail, rng.normal(size=shape))
            unbounded = np.where(finite_high, high - tail, above)
            uniform = np.where(finite_low & finite_high, uniform, unbounded)
        return np.asarray(uniform, dtype=self.dtype_str)

    def _as_bound(self, name: str, value: Any) -> np.ndarray:
        array = np.array(value, dtype=self.dtype_str)
        try:
            np.broadcast_to(array, tuple(self._shape))
        except ValueError:
            raise ValueError(
                f"{name} of shape {array.shape} does not broadcast to shape {tuple(self._shape)}"
            ) from None
        return array

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return (
            self._shape == other._shape
            and self._dtype == other._dtype
            and bool(np.all(self._minimum == other._minimum))
            and bool(np.all(self._maximum == other._maximum))
        )

    __hash__ = TensorSpec.__hash__

    def __repr__(self) -> str:
        return (
            f"BoundedTensorSpec(shape={tuple(self._shape)}, dtype={self._dtype!r}, "
            f"minimum={self._minimum.tolist()}, maximum={self._maximum.tolist()})"
        )

    def __reduce__(self) -> tuple:
        arguments = (tuple(self._shape), self._dtype, self._minimum, self._maximum)
        return BoundedTensorSpec, arguments


def _as_torch_dtype(dtype: Any) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    try:
        return getattr(torch, np.dtype(dtype).name)
    except (TypeError, AttributeError):
        raise ValueError(f"{dtype!r} is no dtype that torch knows") from None


NestedTensorSpec = Union[  # noqa: UP007 (a name of ALF's API)
    TensorSpec, list["NestedTensorSpec"], tuple["NestedTensorSpec", ...],
    dict[str, "NestedTensorSpec"],
]  # fmt: skip
NestedBoundedTensorSpec = Union[  # noqa: UP007
    BoundedTensorSpec, list["NestedBoundedTensorSpec"], tuple["NestedBoundedTensorSpec", ...],
    dict[str, "NestedBoundedTensorSpec"],
]  # fmt: skip
