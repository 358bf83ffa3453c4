"""Paths as people write them."""

from __future__ import annotations

import os


def abs_path(path: str) -> str:
    """`path` absolute, with `~` and environment variables expanded."""
    return os.path.abspath(os.path.expanduser(os.path.expandvars(path)))
