"""What each process of `test_distributed.py` does: train on its part of known data.

Started by torchrun as `data_parallel_worker.py <folder>`; process r leaves `<folder>/<r>.pt`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from tiny_rl import CountingEnv, TinyOffPolicy, TinyOnPolicy, make_config
from torch import nn

from alf.algorithms.algorithm import Algorithm
from alf.data_structures import TimeStep
from alf.optimizers import Adam
from alf.trainers._together import Together
from alf.utils import distributed


class PartOfEnv(CountingEnv):
    """Environments `first`, `first + 1`, ... of a larger number."""

    def __init__(self, batch_size: int, first: int) -> None:
        self._first = first
        super().__init__(batch_size, length=4)

    def _make(self, action: torch.Tensor) -> TimeStep:
        step = super()._make(action)
        step.observation[:, 0] += self._first
        return step


class Spy(TinyOffPolicy):
    """Remembers its losses; has a parameter that only the process with environment 3 uses."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sometimes = nn.Parameter(torch.tensor(0.0))
        self.never = nn.Parameter(torch.tensor(7.0))
        self.losses: list[float] = []

    def train_step(self, inputs: TimeStep, state: Any, rollout_info: Any) -> Any:
        step = super().train_step(inputs, state, rollout_info)
        theirs = inputs.observation[:, 0] == 3
        if theirs.any():
            own = theirs.float() * (self.sometimes - 2) ** 2
            step = step._replace(info=step.info._replace(loss=step.info.loss + own))
        return step

    def update_with_gradient(self, *args: Any, **kwargs: Any) -> Any:
        loss_info, params = super().update_with_gradient(*args, **kwargs)
        self.losses.append(float(loss_info.loss.detach()))
        return loss_info, params


def train(rank: int, num_processes: int) -> dict[str, Any]:
    """Losses and parameters of off- and on-policy training with 4 environments in all."""
    share = 4 // num_processes
    settings = {"whole_replay_buffer_training": True, "unroll_length": 3, "mini_batch_length": None}
    config = make_config(**settings, mini_batch_size=None, initial_collect_steps=0)
    torch.manual_seed(rank)
    result: dict[str, Any] = {}
    for kind in (Spy, TinyOnPolicy):
        env = PartOfEnv(share, rank * share)
        alg = kind(env=env, config=config, optimizer=Adam(lr=0.1))
        _prepare(alg, rank, num_processes)
        for _ in range(6):
            alg.train_iter()
        result[kind.__name__] = {name: p.detach() for name, p in alg.named_parameters()}
        if kind is Spy:
            result["losses"] = alg.losses
            result["no gradient"] = alg.never.grad is None
        if num_processes > 1:
            distributed.check_same_parameters(alg)
    return result


def _prepare(alg: Algorithm, rank: int, num_processes: int) -> None:
    if num_processes > 1:
        alg.activate_ddp(rank)
        distributed.broadcast_tensors(alg.parameters())


def difference_is_noticed(rank: int) -> str:
    """What is said when one process has other parameters."""
    alg = TinyOnPolicy(config=make_config(), optimizer=Adam(lr=0.1))
    with torch.no_grad():
        alg.layer.weight.fill_(1.0)
        alg.layer.bias.fill_(float(rank))
    try:
        distributed.check_same_parameters(alg)
    except RuntimeError as error:
        return str(error)
    return ""


def other_checkpoint_is_noticed(rank: int) -> str:
    """What is said when only process 0 has a checkpoint."""
    together = Together(TinyOnPolicy(config=make_config(), optimizer=Adam(lr=0.1)), rank)
    together.check_same_checkpoint(7)
    try:
        together.check_same_checkpoint(7 if rank == 0 else -1)
    except ValueError as error:
        return str(error)
    return ""


def threads_of_the_group() -> list[str]:
    """Names of the threads here that talk to other processes."""
    names = (path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm"))
    return sorted(name for name in names if "gloo" in name)


if __name__ == "__main__":
    with distributed.process_group("gloo"):
        own_rank, count = dist.get_rank(), dist.get_world_size()
        outcome = {**train(own_rank, count), "difference": difference_is_noticed(own_rank)}
        outcome["checkpoint"] = other_checkpoint_is_noticed(own_rank)
        outcome["threads"] = threads_of_the_group()
    outcome["threads afterwards"] = threads_of_the_group()
    torch.save(outcome, Path(sys.argv[1]) / f"{own_rank}.pt")
