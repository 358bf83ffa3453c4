"""Several processes which train the same levels: how many there are, and sums over them."""

from __future__ import annotations

import torch
import torch.distributed as dist


def num_processes() -> int:
    """How many processes train together; 1 without distributed training."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_processes(*numbers: float) -> list[float]:
    """Each number summed over all processes, which all have to call this."""
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    total = torch.tensor(numbers, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return total.tolist()
