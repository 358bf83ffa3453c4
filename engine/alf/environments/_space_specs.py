"""Specs of integers that tell indices from numbers, as the spaces of gymnasium do."""

from __future__ import annotations

from alf._marked_spec import MarkedSpec


class IndexSpec(MarkedSpec):
    """Integers that are indices: of a MultiDiscrete space."""

    __slots__ = ()
    are_indices = True


class NumberSpec(MarkedSpec):
    """An integer that is a number: of a Box without axes."""

    __slots__ = ()
    are_indices = False
