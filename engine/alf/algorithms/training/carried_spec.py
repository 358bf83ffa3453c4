"""Parts of a train state that training only carries along: they make no step wait for another."""

from __future__ import annotations

from typing import Any

from alf.nest import nest
from alf.tensor_specs import BoundedTensorSpec

__all__ = ["CarriedSpec", "carried", "links_steps"]


class CarriedSpec(BoundedTensorSpec):
    """The spec of a state that `train_step()` gives back as it came, without a look at it.

    Exploration noise is one: acting changes it, training does not. It equals a `BoundedTensorSpec`
    of the same form; only `links_steps()` sees the difference.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoundedTensorSpec):
            return NotImplemented
        return BoundedTensorSpec.from_spec(self) == BoundedTensorSpec.from_spec(other)

    def __hash__(self) -> int:
        return hash(BoundedTensorSpec.from_spec(self))

    def __reduce__(self) -> tuple:
        return CarriedSpec, super().__reduce__()[1]


def carried(spec: Any) -> Any:
    """The nest of bounded specs `spec`, each a `CarriedSpec`."""
    return nest.map_structure(
        lambda s: CarriedSpec(s.shape, s.dtype, s.minimum, s.maximum),
        spec,
    )


def links_steps(train_state_spec: Any) -> bool:
    """Does a train step depend on the one before it, by a state of this spec?"""
    return any(not isinstance(spec, CarriedSpec) for spec in nest.flatten(train_state_spec))
