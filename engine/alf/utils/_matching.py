"""The cheapest one-to-one assignment."""

from __future__ import annotations

import numpy as np
import torch


def cheapest_matching(costs: torch.Tensor) -> torch.Tensor:
    """For each cost matrix of [B, N, N], the column assigned to each row: int64 [B, N]."""
    if costs.dim() != 3 or costs.shape[1] != costs.shape[2]:
        raise ValueError(f"costs have to be [B, N, N], got {list(costs.shape)}")
    if not bool(torch.isfinite(costs).all()):
        raise ValueError("costs have to be finite")
    columns = [_assign(c) for c in costs.double().cpu().numpy()]
    return torch.as_tensor(np.array(columns).reshape(costs.shape[:2]), device=costs.device)


def _assign(costs: np.ndarray) -> np.ndarray:
    """Shortest augmenting paths (Jonker and Volgenant 1987), rows added one after the other."""
    n = costs.shape[0]
    row_price, column_price = np.zeros(n), np.zeros(n)
    row_of = np.full(n, -1)
    for new_row in range(n):
        distance, previous = np.full(n, np.inf), np.full(n, -1)
        done = np.zeros(n, dtype=bool)
        row, column, reached = new_row, -1, 0.0
        while row >= 0:
            through = reached + costs[row] - row_price[row] - column_price
            closer = ~done & (through < distance)
            distance[closer], previous[closer] = through[closer], column
            column = int(np.where(done, np.inf, distance).argmin())
            reached, done[column], row = distance[column], True, row_of[column]
        slack = reached - distance[done]
        rows = row_of[done]
        row_price[new_row] += reached
        row_price[rows[rows >= 0]] += slack[rows >= 0]
        column_price[done] -= slack
        while column >= 0:
            before = previous[column]
            row_of[column] = new_row if before < 0 else row_of[before]
            column = before
    return np.argsort(row_of)
