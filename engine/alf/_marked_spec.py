"""Bounded specs that say more than their bounds and equal those that do not."""

from __future__ import annotations

from alf.tensor_specs import BoundedTensorSpec


class MarkedSpec(BoundedTensorSpec):
    """Base of specs whose class is the mark; each equals a `BoundedTensorSpec` of the same form."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoundedTensorSpec):
            return NotImplemented
        return BoundedTensorSpec.from_spec(self) == BoundedTensorSpec.from_spec(other)

    def __hash__(self) -> int:
        return hash(BoundedTensorSpec.from_spec(self))

    def __reduce__(self) -> tuple:
        return type(self), super().__reduce__()[1]
