"""Spans of records drawn uniformly, equally many from each ring."""

from __future__ import annotations

import torch


class StratifiedSpans:
    """Draws where spans of consecutive records start; each environment gets its share.

    Args:
        num_environments: number of rings.
        with_replacement: draw spans independently; by default draws are spread evenly.
    """

    def __init__(self, num_environments: int, with_replacement: bool) -> None:
        self._num_envs = num_environments
        self._with_replacement = with_replacement
        # Which environment each row of a batch belongs to, see _strata.
        self._strata_of: dict[tuple[int, torch.device], _Strata] = {}

    def draw(self, batch_size: int, num_starts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw from `num_starts` [B], all positive, spans of each environment.

        Returns for each row its environment, in ascending order, and how many starts before the
        newest one its span starts: both int64 [batch_size].
        """
        device = num_starts.device
        env_ids, edges, count = self._strata(batch_size, device)
        u = torch.rand(batch_size, dtype=torch.float64, device=device)
        choices = num_starts.index_select(0, env_ids)
        if self._with_replacement:
            return env_ids, (u * choices).long()
        # An environment's spans lie on a circle, which is turned at random and cut into as many
        # pieces as spans are wanted from it; one is drawn from each. So all are equally probable,
        # and none is drawn twice.
        turn = torch.rand(self._num_envs, dtype=torch.float64, device=device)
        turn = (turn * num_starts).long().index_select(0, env_ids)
        low, high = (edges * choices // count).unbind()
        width = (high - low).clamp_(min=1)
        return env_ids, (low + (u * width).long() + turn) % choices

    def _strata(self, batch_size: int, device: torch.device) -> _Strata:
        """Spread a batch over the environments; who gets one more than others is drawn.

        Returns for each row its environment; [2, batch_size], its number among the rows of that
        environment and the next number; and how many these rows are.
        """
        known = self._strata_of.get((batch_size, device))
        if known is not None:
            return known
        each, rest = divmod(batch_size, self._num_envs)
        count = torch.full((self._num_envs,), each, device=device)
        # Without a rest nothing may be drawn: the result is kept, and a run that was stopped and
        # resumed, which makes it anew, would go on with other random numbers.
        if rest > 0:
            count[torch.randperm(self._num_envs, device=device)[:rest]] += 1
        env_ids = torch.arange(self._num_envs, device=device).repeat_interleave(count)
        before = (count.cumsum(0) - count).index_select(0, env_ids)
        rank = torch.arange(batch_size, device=device) - before
        strata = env_ids, torch.stack((rank, rank + 1)), count.index_select(0, env_ids)
        if rest == 0:
            self._strata_of[batch_size, device] = strata
        return strata


_Strata = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
