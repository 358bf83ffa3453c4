"""Failures of other processes, after which the training itself is as good as before."""

from __future__ import annotations


class OutsideError(RuntimeError):
    """An environment's, the unroll or the evaluation process has failed or is gone."""
