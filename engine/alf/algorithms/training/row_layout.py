"""Which time steps the rows of a train step are: the first and last may have less to learn from.

A train step without state gets all steps of a mini batch at once, `[T * B, ...]`, time first. Most
algorithms need not know. One whose loss leaves out some steps saves their work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

from alf.networks.network import Network

__all__ = ["ReadsRowLayout", "RowLayout", "rows_are"]


class RowLayout(NamedTuple):
    """Rows `[num_steps * batch_size, ...]`, time first."""

    num_steps: int
    batch_size: int


class ReadsRowLayout:
    """An algorithm that is told which time steps the rows of its train step are.

    Attributes:
        row_layout: that of the train step that is being made, set by `rows_are()`; None: unknown.
    """

    row_layout: RowLayout | None = None

    def sequences_of(self, num_rows: int) -> RowLayout | None:
        """Time steps and sequences of `num_rows` rows; None where that is unknown, or T is 1.

        A level or a wrapper may pass on fewer rows than it got: then their layout is unknown.
        """
        layout = self.row_layout
        if layout is None or layout.num_steps < 2:
            return None
        return layout if layout.num_steps * layout.batch_size == num_rows else None


@contextlib.contextmanager
def rows_are(algorithm: nn.Module, num_steps: int, batch_size: int) -> Iterator[None]:
    """Within, `algorithm` and those that it holds know the layout of their rows."""
    told = list(_readers(algorithm))
    before = [reader.row_layout for reader in told]
    for reader in told:
        reader.row_layout = RowLayout(num_steps, batch_size)
    try:
        yield
    finally:
        for reader, layout in zip(told, before, strict=True):
            reader.row_layout = layout


def _readers(module: nn.Module) -> Iterator[ReadsRowLayout]:
    if isinstance(module, ReadsRowLayout):
        yield module
    for child in module.children():
        if not isinstance(child, Network):
            yield from _readers(child)
