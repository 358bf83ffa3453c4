"""What this process knows about its place in distributed training."""

from __future__ import annotations

from typing import Any


class PerProcessContext:
    """The same object wherever it is constructed in one process; fixed once finalized."""

    _instance: PerProcessContext | None = None
    _is_final: bool
    _ddp_rank: int
    _num_processes: int
    _paras_queue: Any

    def __new__(cls) -> PerProcessContext:
        if cls._instance is None:
            instance = super().__new__(cls)
            instance._is_final = False
            instance._ddp_rank = -1
            instance._num_processes = 1
            instance._paras_queue = None
            cls._instance = instance
        return cls._instance

    def finalize(self) -> None:
        """Refuses all changes from now on."""
        self._is_final = True

    def set_distributed(self, rank: int, num_processes: int) -> None:
        """Makes this process number ``rank`` of ``num_processes``."""
        self._check_not_final()
        if not 0 <= rank < num_processes:
            raise ValueError(f"rank is {rank}; allowed: 0 to {num_processes - 1}")
        self._ddp_rank = rank
        self._num_processes = num_processes

    def set_paras_queue(self, paras_queue: Any) -> None:
        """Sets the queue through which processes compare their parameters."""
        self._check_not_final()
        self._paras_queue = paras_queue

    @property
    def is_distributed(self) -> bool:
        return self._ddp_rank >= 0

    @property
    def ddp_rank(self) -> int:
        """-1 without distributed training."""
        return self._ddp_rank

    @property
    def num_processes(self) -> int:
        """1 without distributed training."""
        return self._num_processes

    @property
    def paras_queue(self) -> Any:
        return self._paras_queue

    def _check_not_final(self) -> None:
        if self._is_final:
            raise ValueError("the process context is finalized and cannot change any more")
