"""Environments that are reset ahead, to take the place of one whose episode is over."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from alf.data_structures import TimeStep
from alf.environments.process_environment import ProcessEnvironment


class SpareEnvironments:
    """A queue of environments in processes, each with a first step that is being made.

    An environment whose episode is over goes to its end, where it is reset while the others are
    stepped; the one at its front, reset long ago, takes its place. Which one comes next does not
    depend on how long a reset takes, so that seeds reproduce a run.
    """

    def __init__(self, envs: Sequence[ProcessEnvironment]) -> None:
        """
        Args:
            envs: those that are spare at first; may be empty.
        """
        self._queue: deque[tuple[ProcessEnvironment, Callable[[], TimeStep]]] = deque()
        self._new = list(envs)

    def __len__(self) -> int:
        return len(self._new) + len(self._queue)

    def prepare(self) -> None:
        """Begin to reset those that were not reset yet."""
        for env in self._new:
            self._queue.append((env, env.reset(blocking=False)))
        self._new.clear()

    def exchange(self, env: ProcessEnvironment) -> tuple[ProcessEnvironment, Callable[[], Any]]:
        """Take `env` back; returns another and a function that waits for its first step."""
        self._queue.append((env, env.reset(blocking=False)))
        return self._queue.popleft()

    def call(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Call a method in each; the first steps that are there stay."""
        self._settle()
        for env in self._envs():
            env.call(name, *args, **kwargs)()

    def seed(self, seeds: Sequence[int]) -> None:
        """Seed each; they will be reset again."""
        self._settle()
        self._new = self._envs()
        self._queue.clear()
        for env, seed in zip(self._new, seeds, strict=True):
            env.call("seed", seed)()

    def close(self) -> None:
        """End their processes."""
        for _, wait in self._queue:
            with contextlib.suppress(RuntimeError):  # a failure is of no interest any more
                wait()
        for env in self._envs():
            env.close()

    def _envs(self) -> list[ProcessEnvironment]:
        return [*self._new, *(env for env, _ in self._queue)]

    def _settle(self) -> None:
        """Wait for all first steps, so that the processes can be asked for other things."""
        for i, (env, wait) in enumerate(self._queue):
            time_step = wait()
            self._queue[i] = (env, lambda time_step=time_step: time_step)
