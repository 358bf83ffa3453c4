"""The state of a ring buffer in a checkpoint: only what is used, and how it fits another length.

The record at position `p` of an environment lies in slot `p % n` of a ring of `n` slots. A file
holds the slots that were ever written to: all `n` of them, or the first so many.
"""

from __future__ import annotations

import torch


def used(storage: torch.Tensor, fill: float) -> torch.Tensor:
    """`storage` [B, n, ...] up to the last column that is not all `fill`, at least one."""
    differs = (storage != fill).flatten(2).any(dim=2) if storage.dim() > 2 else storage != fill
    columns = torch.nonzero(differs.any(dim=0))
    return storage[:, : int(columns[-1]) + 1 if len(columns) else 1]


def padded(storage: torch.Tensor, num_columns: int, fill: float) -> torch.Tensor:
    """`storage` [B, n, ...] with at least so many columns."""
    lacking = num_columns - storage.shape[1]
    if lacking <= 0:
        return storage
    more = torch.full_like(storage[:, :1], fill).expand(-1, lacking, *storage.shape[2:])
    return torch.cat([storage, more], dim=1)


def move(
    stored: torch.Tensor, target: torch.Tensor, end: torch.Tensor, count: torch.Tensor
) -> None:
    """Put the entries of the newest positions of one ring where they belong in another one.

    Args:
        stored: `[B, n, ...]`, a ring of `n` slots.
        target: `[B, m, ...]`, a ring of `m` slots; the other slots stay as they are.
        end: `[B]`, the position after the newest entry.
        count: `[B]`, how many of the newest entries, at most `n` and `m`.
    """
    n, m = stored.shape[1], target.shape[1]
    if n == m:
        target.copy_(stored)
        return
    last = int(end.max()) if len(end) else 0
    if last <= min(n, m):  # nothing was ever overwritten: every slot stays what it is
        target[:, :last] = stored[:, :last]
        return
    back = torch.arange(1, int(count.max()) + 1, device=end.device)
    env_ids, number = torch.nonzero(back <= count.unsqueeze(1), as_tuple=True)
    position = end[env_ids] - back[number]
    target[env_ids, position % m] = stored[env_ids, position % n].to(target.device)
