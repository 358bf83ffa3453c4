"""Hindsight: which spans get the goal of a later step, and of which one.

The "future" strategy of Andrychowicz et al. (2017, arXiv 1707.01495).

Axis letters: B spans, T records of a span.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch


class Later(NamedTuple):
    """A later step of the episode of each span.

    Fields:
        position: `[B]`, its record in the replay buffer; the span's first where nothing is later.
        swapped: `[B, T]`, bool, the records whose goal is swapped for what was achieved there.
    """

    position: torch.Tensor
    swapped: torch.Tensor


def draw_later(batch_info: Any, length: int, *, proportion: float) -> Later:
    """Draws a step after the first of each span, uniformly from the rest of its episode.

    Args:
        batch_info: where the spans lie in the replay buffer.
        length: T.
        proportion: of the spans whose goal is swapped.
    """
    buffer, env_B, first_B = batch_info.replay_buffer, batch_info.env_ids, batch_info.positions
    left_B = buffer.steps_to_episode_end(first_B, env_B).to(first_B.device)
    ahead_B = 1 + (torch.rand(left_B.shape, device=left_B.device) * left_B).long()
    ahead_B = torch.minimum(ahead_B, left_B)  # single precision may round up
    swapped_B = (torch.rand(left_B.shape, device=left_B.device) < proportion) & (left_B > 0)
    offset_T = torch.arange(length, device=left_B.device)
    return Later(first_B + ahead_B, swapped_B[:, None] & (offset_T <= left_B[:, None]))
