"""Transitions that a dynamics model learns from."""

from __future__ import annotations

from typing import NamedTuple

import torch


class ModelBatch(NamedTuple):
    """Transitions to learn from.

    Fields:
        state: `[B, S]`.
        context: `[B, C]`.
        action: `[B, A]`, or indices `[B]`.
        next_state: `[B, S]`.
        terminated: `[B]`, whether the environment terminated.
        weight: `[B]`, of each transition; for `weighted_loss`.
        validity_mask: `[B]`, which rows are transitions; None: all.
    """

    state: torch.Tensor
    context: torch.Tensor
    action: torch.Tensor
    next_state: torch.Tensor
    terminated: torch.Tensor
    weight: torch.Tensor | None = None
    validity_mask: torch.Tensor | None = None
