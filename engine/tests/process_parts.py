"""What the processes of tests do: importable by name, as a spawned process needs it."""

from __future__ import annotations

import time
from typing import Any


def put_numbers(numbers: Any, start: int) -> None:
    """One round: the next number."""
    put_numbers.next = getattr(put_numbers, "next", start) + 1
    numbers.put(put_numbers.next)
    time.sleep(0.02)


def fail(numbers: Any, start: int) -> None:
    """Fails at once."""
    raise ValueError(f"cannot start at {start}")
