"""What a spawned process knows about itself, and how it gets the configuration of its parent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from alf.utils.per_process_context import PerProcessContext


class SpawnedProcessContext(NamedTuple):
    """What the process that spawns another one tells it.

    Attributes:
        ddp_num_procs: number of processes in distributed training, else 1.
        ddp_rank: rank of the parent in distributed training, else -1.
        env_id: which of several environments this process is for.
        env_ctor: makes the environment of this process, called with `env_id=`; None: the
            configuration makes it.
        pre_configs: (name, value) of settings which are fixed before the conf file is parsed.
    """

    ddp_num_procs: int
    ddp_rank: int
    env_id: int
    env_ctor: Callable[..., Any] | None
    pre_configs: list[tuple[str, Any]]

    def create_env(self) -> Any:
        """The environment of this process, made by `env_ctor`."""
        assert self.env_ctor is not None, "this process has no env_ctor"
        return self.env_ctor(env_id=self.env_id)


_context: SpawnedProcessContext | None = None


def set_spawned_process_context(context: SpawnedProcessContext) -> None:
    """Notes that this is a spawned process, what it is for, and its place among the ranks."""
    global _context
    _context = context
    if context.ddp_rank >= 0:
        PerProcessContext().set_distributed(context.ddp_rank, context.ddp_num_procs)


def get_spawned_process_context() -> SpawnedProcessContext | None:
    """The context of this process; None: it is no spawned one."""
    return _context
