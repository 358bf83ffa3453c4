"""What the trainers of several processes have to agree about."""

from __future__ import annotations

import zlib
from typing import Any

import torch
from torch import nn

from alf.summary import summary_ops as summary
from alf.utils import distributed
from alf.utils.data_buffer import RingBuffer


class Together:
    """The training of one algorithm by several processes, or by this one alone.

    Args:
        algorithm: this process's copy.
        rank: number of this process; -1: it is alone.
    """

    def __init__(self, algorithm: Any, rank: int) -> None:
        if rank >= 0:
            algorithm.activate_ddp(rank)
            if torch.cuda.is_available() and _has_batch_norm(algorithm):
                algorithm = nn.SyncBatchNorm.convert_sync_batchnorm(algorithm)
        self.algorithm = algorithm

    def share_state(self) -> None:
        """Give all the parameters and buffers of process 0, but not its data."""
        if not distributed.is_shared(self.algorithm):
            return
        modules = list(self.algorithm.modules())
        data = {id(t) for m in modules if isinstance(m, RingBuffer) for t in m.buffers()}
        buffers = [b for b in self.algorithm.buffers() if id(b) not in data]
        distributed.broadcast_tensors([*self.algorithm.parameters(), *buffers])

    def check_same_checkpoint(self, step: int) -> None:
        """Raise a ValueError, in all processes, unless all have the same checkpoint.

        Args:
            step: of the checkpoint that this process has; -1: it has none.
        """
        if not distributed.is_shared(self.algorithm):
            return
        steps = [int(number) for (number,) in distributed.gather_numbers(step)]
        if len(set(steps)) > 1:
            found = ", ".join(f"process {i} {s if s >= 0 else 'none'}" for i, s in enumerate(steps))
            raise ValueError(
                "root_dir must be the same folder on all machines, or a copy of it with the same "
                f"checkpoints; the newest checkpoint in it is, for {found}"
            )

    def agreed(self, env_steps: int, stop_signal: int | None) -> tuple[int, int | None]:
        """Mean steps, and the signal of any: if one process stopped, the others would wait."""
        if not distributed.is_shared(self.algorithm):
            return env_steps, stop_signal
        steps, signals = zip(*distributed.gather_numbers(env_steps, stop_signal or 0), strict=True)
        return int(sum(steps) / len(steps)), int(max(signals)) or None

    def check_parameters(self) -> None:
        """Raise a RuntimeError if parameters differ between processes."""
        if distributed.is_shared(self.algorithm):
            distributed.check_same_parameters(self.algorithm)


def derived_seed(number: int) -> int:
    """A seed that follows from the state of torch's generator, which does not change."""
    state = torch.get_rng_state().numpy().tobytes()
    return zlib.crc32(state + f"{summary.get_global_counter()} {number}".encode())


def _has_batch_norm(algorithm: nn.Module) -> bool:
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in algorithm.modules())
