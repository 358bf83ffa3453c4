"""Which time steps the rows of a train step are: the last ones may have less to learn from.

A train step without state gets all steps of a mini batch at once, `[T * B, ...]`, time first. Most
algorithms need not know. One whose loss leaves out the last step saves its gradients.
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


def rows_before_last_step(num_rows: int) -> int:
    """How many of the rows come before the last time step; 0 where that is not known."""
    num_steps, batch_size = _layout.get()
    return num_rows - batch_size if num_steps * batch_size == num_rows else 0
