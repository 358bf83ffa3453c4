"""Which time steps the rows of a train step are: the first and last may have less to learn from.

A train step without state gets all steps of a mini batch at once, `[T * B, ...]`, time first. Most
algorithms need not know. One whose loss leaves out some steps saves their work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_layout: ContextVar[tuple[int, int]] = ContextVar("alf_row_layout", default=(1, 0))


@contextlib.contextmanager
def rows_of(num_steps: int, batch_size: int) -> Iterator[None]:
    """Within, the rows of a train step are `num_steps` time steps of `batch_size` sequences."""
    token = _layout.set((num_steps, batch_size))
    try:
        yield
    finally:
        _layout.reset(token)


def sequences_of(num_rows: int) -> tuple[int, int] | None:
    """Time steps T and sequences B of the rows; None where that is not known, or T is 1."""
    num_steps, batch_size = _layout.get()
    if num_steps < 2 or num_steps * batch_size != num_rows:
        return None
    return num_steps, batch_size
