"""What ALF's code keeps once per process, kept once per hierarchy: random numbers, counter, writer.

A hierarchy enters its `OwnRun` for each of its calls, so that hierarchies in one process neither
share a stream of random numbers nor a counter of updates.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch

import alf


class OwnRun(AbstractContextManager["OwnRun"]):
    """The random numbers, the global counter and the summary writer of one hierarchy.

    Args:
        seed: of its random numbers; None: drawn from torch's generator, so that
            `torch.manual_seed` makes a program repeatable.
    """

    def __init__(self, seed: int | None = None) -> None:
        if seed is None:
            seed = int(torch.randint(2**31, (), device="cpu"))
        generator = torch.Generator().manual_seed(seed)
        self._random = generator.get_state()
        self._device_random: list[torch.Tensor] = []
        self._seed = seed
        self.counter = 0
        """Calls of `learn()`, ALF's global counter."""
        self.writer: Any = None
        """A TensorBoard writer, or None."""
        self.summary_interval = 100
        """Counts between two recorded summaries."""
        self._entered: list[ExitStack] = []
        self._outside: list[tuple[torch.Tensor, list[torch.Tensor], int, bool]] = []

    def __enter__(self) -> OwnRun:
        devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        self._outside.append(
            (
                torch.get_rng_state(),
                devices,
                alf.summary.get_global_counter(),
                alf.summary.is_summary_enabled(),
            )
        )
        torch.set_rng_state(self._random)
        if devices:
            if not self._device_random:
                torch.cuda.manual_seed_all(self._seed)
            else:
                torch.cuda.set_rng_state_all(self._device_random)
        alf.summary.set_global_counter(self.counter)
        alf.summary.enable_summary(self.writer is not None)
        stack = ExitStack()
        stack.enter_context(alf.summary.push_summary_writer(self.writer))
        stack.enter_context(alf.summary.record_if(self._records))
        self._entered.append(stack)
        return self

    def __exit__(self, *error: object) -> None:
        self._entered.pop().close()
        self.counter = alf.summary.get_global_counter()
        self._random = torch.get_rng_state()
        random, devices, counter, enabled = self._outside.pop()
        torch.set_rng_state(random)
        if devices:
            self._device_random = torch.cuda.get_rng_state_all()
            torch.cuda.set_rng_state_all(devices)
        alf.summary.set_global_counter(counter)
        alf.summary.enable_summary(enabled)

    def count(self) -> None:
        """Counts one call of `learn()`, once entered."""
        alf.summary.increment_global_counter()

    def _records(self) -> bool:
        return alf.summary.get_global_counter() % self.summary_interval == 0

    def state_dict(self) -> dict[str, Any]:
        """Random numbers and counter."""
        return {"random": self._random, "counter": self.counter}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undo of `state_dict`; random numbers of an accelerator begin anew."""
        self._random, self.counter = state["random"], int(state["counter"])
        self._device_random = []
