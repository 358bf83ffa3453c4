"""Training by several processes: those torchrun has started, or one for each GPU here."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from absl import flags, logging

from alf.bin import _program
from alf.utils._machine import get_unused_port
from alf.utils.distributed import process_group
from alf.utils.per_process_context import PerProcessContext

_FIRST_PORT = 12355


def refuse_torchrun() -> None:
    """Raise ValueError in one of several processes that know nothing of each other."""
    count = os.environ.get("WORLD_SIZE", "1")
    if count != "1":
        raise ValueError(
            f"torchrun has started {count} processes, which would all write the same run; add "
            "--distributed=multi-gpu"
        )


def run(train: Callable[[], int], define_flags: Callable[[], None]) -> int:
    """Train with several processes; returns the exit status.

    With torchrun (on one or several machines) this process is one of them. Else one is started for
    each GPU of this machine. They talk by nccl if there are GPUs, by gloo otherwise.

    Args:
        train: does the work of one process and returns its exit status.
        define_flags: defines the flags of the program, for new processes.
    """
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return _run_as_one(train)
    count = torch.cuda.device_count()
    if count == 0:
        raise ValueError(
            "--distributed=multi-gpu: there is no GPU here. For several processes on CPUs start it "
            "by torchrun, such as: torchrun --nproc_per_node=2 -m alf.bin.train "
            "--distributed=multi-gpu ..."
        )
    if count == 1:
        logging.warning("--distributed=multi-gpu: there is one GPU, so there is one process")
        return train()
    return _spawn(count, train, define_flags)


def _run_as_one(train: Callable[[], int]) -> int:
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    options: dict[str, Any] = {"backend": "gloo"}
    if torch.cuda.is_available():
        local_rank = int(os.environ.get("LOCAL_RANK", rank))
        torch.cuda.set_device(local_rank)
        # Named, because the process group would have to guess it at its first use.
        options = {"backend": "nccl", "device_id": torch.device("cuda", local_rank)}
    with process_group(**options):
        context = PerProcessContext()
        context.set_distributed(rank, count)
        context.finalize()
        return train()


def _spawn(count: int, train: Callable[[], int], define_flags: Callable[[], None]) -> int:
    from torch.multiprocessing.spawn import ProcessExitedException, spawn

    port = get_unused_port(_FIRST_PORT)
    context: Any = spawn(
        _spawned, args=(count, port, sys.argv, train, define_flags), nprocs=count, join=False
    )

    def pass_on(signum: int, frame: FrameType | None) -> None:
        for pid in context.pids():
            os.kill(pid, signum)

    for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):  # Windows lacks the last two
            signal.signal(getattr(signal, name), pass_on)
    try:
        while not context.join():
            continue
    except ProcessExitedException as error:
        return error.exit_code if error.exit_code > 0 else 1
    return 0


def _spawned(
    rank: int,
    count: int,
    port: int,
    arguments: list[str],
    train: Callable[[], int],
    define_flags: Callable[[], None],
) -> None:
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(count),
        MASTER_ADDR="localhost",
        MASTER_PORT=str(port),
    )
    define_flags()
    flags.FLAGS(arguments)
    logging.use_absl_handler()
    sys.exit(_program.run(lambda: _run_as_one(train)))
