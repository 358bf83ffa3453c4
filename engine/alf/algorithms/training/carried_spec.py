"""Parts of a train state that training only carries along: they make no step wait for another."""

from __future__ import annotations

from typing import Any

from alf._marked_spec import MarkedSpec
from alf.nest import nest

__all__ = ["CarriedSpec", "carried", "links_steps"]


class CarriedSpec(MarkedSpec):
    """The spec of a state that `train_step()` gives back as it came, without a look at it.

    Exploration noise is one: acting changes it, training does not. Only `links_steps()` sees the
    difference to a `BoundedTensorSpec`.
    """

    __slots__ = ()


def carried(spec: Any) -> Any:
    """The nest of bounded specs `spec`, each a `CarriedSpec`."""
    return nest.map_structure(
        lambda s: CarriedSpec(s.shape, s.dtype, s.minimum, s.maximum),
        spec,
    )


def links_steps(train_state_spec: Any) -> bool:
    """Does a train step depend on the one before it, by a state of this spec?"""
    return any(not isinstance(spec, CarriedSpec) for spec in nest.flatten(train_state_spec))
