"""Replay buffers sampled as one: a level's own records and those that another run has left.

Axis letters: B spans, T records of a span.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

import alf
from alf.experience_replayers.replay_buffer import BatchInfo
from alf_layered.hierarchy.replay import LevelReplayBuffer
from alf_layered.hierarchy.rows import as_mask

Nest = Any


class JoinedReplayBuffer(nn.Module):
    """Draws a share of each batch from each of several buffers with records of the same kind.

    To those who look something up it is one buffer, with the environments of all parts one after
    the other. It holds no records of its own, and saves none.

    Args:
        parts: the buffers; each must be able to give a span.
        shares: of a batch; they sum to 1. Parts are rounded to whole spans.
    """

    def __init__(self, parts: Sequence[LevelReplayBuffer], shares: Sequence[float]) -> None:
        super().__init__()
        self._parts = tuple(parts)  # no ModuleList: what is not this module's own is not saved
        self._ends = list(itertools.accumulate(shares))
        counts = [part.num_environments for part in parts]
        self._first_env = [sum(counts[:i]) for i in range(len(parts))]
        self.num_environments = sum(counts)

    @property
    def total_size(self) -> int:
        """Records of all environments of all parts."""
        return sum(part.total_size for part in self._parts)

    @torch.no_grad()
    def get_batch(self, batch_size: int, batch_length: int) -> tuple[Nest, BatchInfo]:
        """As `LevelReplayBuffer.get_batch()`; spans `[B, T, ...]` are in the order of the parts."""
        ends = [round(end * batch_size) for end in self._ends]
        drawn = [
            (first_env, *part.get_batch(end - start, batch_length))
            for part, first_env, start, end in zip(
                self._parts, self._first_env, [0, *ends[:-1]], ends, strict=True
            )
            if end > start
        ]
        batch = alf.nest.map_structure(lambda *xs: torch.cat(xs), *(part[1] for part in drawn))
        infos = [part[2] for part in drawn]
        return batch, BatchInfo(
            env_ids=torch.cat([info.env_ids + first for first, _, info in drawn]),
            positions=torch.cat([info.positions for info in infos]),
            importance_weights=_weights(infos),
            replay_buffer=self,
        )

    def steps_to_episode_end(self, pos: torch.Tensor, env_ids: torch.Tensor) -> torch.Tensor:
        """As the buffers' own, `[B]`."""
        return self._looked_up(
            lambda part, ids, at: part.steps_to_episode_end(at, ids), env_ids, pos
        )

    def get_episode_begin_position(self, pos: torch.Tensor, env_ids: torch.Tensor) -> torch.Tensor:
        """As the buffers' own, `[B]`."""
        return self._looked_up(
            lambda part, ids, at: part.get_episode_begin_position(at, ids), env_ids, pos
        )

    def get_field(self, field_name: str, env_ids: torch.Tensor, positions: torch.Tensor) -> Nest:
        """As the buffers' own: nest of `[*L, ...]` for environments and positions `[*L]`."""
        env_ids, positions = torch.broadcast_tensors(env_ids, positions)
        return self._looked_up(
            lambda part, ids, at: part.get_field(field_name, ids, at), env_ids, positions
        )

    def update_priority(
        self, env_ids: torch.Tensor, positions: torch.Tensor, priorities: torch.Tensor
    ) -> None:
        """Tells the parts that draw by priority."""
        for part, first in zip(self._parts, self._first_env, strict=True):
            rows = self._belongs(env_ids, part, first)
            if part.draws_by_priority and bool(rows.any()):
                part.update_priority(env_ids[rows] - first, positions[rows], priorities[rows])

    @staticmethod
    def _belongs(env_ids: torch.Tensor, part: LevelReplayBuffer, first: int) -> torch.Tensor:
        return (env_ids >= first) & (env_ids < first + part.num_environments)

    def _looked_up(
        self,
        function: Callable[[LevelReplayBuffer, torch.Tensor, torch.Tensor], Nest],
        env_ids: torch.Tensor,
        positions: torch.Tensor,
    ) -> Nest:
        """Results of `function`, called for the rows of each part, in the order of all rows."""
        found: Nest = None
        for part, first in zip(self._parts, self._first_env, strict=True):
            rows = self._belongs(env_ids, part, first)
            if not bool(rows.any()):
                continue
            of_part = function(part, env_ids[rows] - first, positions[rows])
            if found is None:
                found = alf.nest.map_structure(
                    lambda x, like=env_ids: x.new_zeros(*like.shape, *x.shape[1:]), of_part
                )
            alf.nest.map_structure(
                lambda full, x, rows=rows: full.masked_scatter_(as_mask(rows, full), x),
                found,
                of_part,
            )
        return found


def _weights(infos: Sequence[BatchInfo]) -> Any:
    """Importance weights `[B]`, 1 for what was drawn uniformly; `()` if all was."""
    known = [info.importance_weights for info in infos]
    if not any(isinstance(weight, torch.Tensor) for weight in known):
        return ()
    return torch.cat(
        [
            weight
            if isinstance(weight, torch.Tensor)
            else torch.ones(info.env_ids.shape, device=info.env_ids.device)
            for weight, info in zip(known, infos, strict=True)
        ]
    )
