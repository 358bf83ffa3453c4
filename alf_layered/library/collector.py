"""`Collector`: steps an environment with a `Hierarchy`, counts episodes, tests, and writes.

Axis letters: M environments.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import alf
from alf_layered.library.callbacks import Callback
from alf_layered.library.episodes import EpisodeCount, Finished
from alf_layered.library.hierarchy import Hierarchy


@dataclass(frozen=True)
class Test:
    """One test.

    Attributes:
        n_total_env_steps: of training, when it was made.
        mean_return: over its episodes.
        mean_episode_length: likewise.
        success: share of its episodes with a success; NaN where the environment tells of none.
    """

    __test__ = False  # for pytest
    n_total_env_steps: int
    mean_return: float
    mean_episode_length: float
    success: float


@dataclass
class Statistics:
    """Of one call of `collect`, over the episodes that finished in it.

    Attributes:
        n_env_steps: of all environments together.
        returns: of each finished episode.
        lengths: likewise.
        successes: 1, 0, or NaN where the environment tells of none.
        tests: in order.
    """

    n_env_steps: int = 0
    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    successes: list[float] = field(default_factory=list)
    tests: list[Test] = field(default_factory=list)

    @property
    def n_episodes(self) -> int:
        """How many finished."""
        return len(self.returns)

    @property
    def mean_return(self) -> float:
        """Over finished episodes; NaN without any."""
        return _mean(self.returns)

    @property
    def mean_episode_length(self) -> float:
        """Over finished episodes; NaN without any."""
        return _mean(self.lengths)

    @property
    def success(self) -> float:
        """Share of finished episodes with a success; NaN if unknown."""
        return _mean([x for x in self.successes if not np.isnan(x)])

    def add(self, finished: Finished) -> None:
        """Counts episodes that finished."""
        self.returns += finished.returns.tolist()
        self.lengths += finished.lengths.tolist()
        self.successes += finished.success.tolist()


class Collector:
    """Collects with a hierarchy in an environment.

    Args:
        hierarchy: made for `env`.
        env: a gymnasium environment or vector environment.
        test_env: for tests; a vector environment may have another number of instances.
        callbacks: see `Callback`.
        log_dir: TensorBoard files go there: the levels' losses, returns, tests.
        log_interval: vector steps between two records of the losses.
        progress: whether a line on the terminal shows how far it is.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        env: Any,
        test_env: Any = None,
        *,
        callbacks: Sequence[Callback] = (),
        log_dir: str | Path | None = None,
        log_interval: int = 100,
        progress: bool = False,
    ) -> None:
        self.hierarchy, self.env, self.test_env = hierarchy, env, test_env
        self._callbacks = list(callbacks)
        self._progress = progress
        self.writer: Any = None
        """TensorBoard's, for scalars of one's own; None without `log_dir`."""
        if log_dir is not None:
            self.writer = alf.summary.create_summary_writer(str(log_dir))
            hierarchy.write_to(self.writer, log_interval)
        self._observation: Any = None
        self._count = EpisodeCount(hierarchy.n_env_instances)
        self._begins = np.zeros(hierarchy.n_env_instances, dtype=bool)

    def reset(self, seed: int | None = None) -> None:
        """Begins new episodes everywhere."""
        self._observation, _ = self.env.reset(seed=seed)
        self.hierarchy.soft_reset()
        self._count = EpisodeCount(self.hierarchy.n_env_instances)
        self._begins[:] = False

    def collect(
        self,
        n_steps: int,
        *,
        learn: bool = False,
        test_interval: int | None = None,
        n_test_episodes: int = 20,
    ) -> Statistics:
        """Makes at least `n_steps` environment steps, all environments together; goes on where an
        earlier call ended.

        Args:
            n_steps: how many.
            learn: whether the hierarchy learns after each vector step.
            test_interval: environment steps between two tests; None: there are none.
            n_test_episodes: of each test.

        Raises:
            ValueError: tests are asked for, but there is no `test_env`.
        """
        if test_interval is not None and self.test_env is None:
            raise ValueError(f"test_interval is {test_interval}, but test_env is None")
        if self._observation is None:
            self.reset()
        statistics, stops = Statistics(), False
        while statistics.n_env_steps < n_steps and not stops:
            before = statistics.n_env_steps
            stops = self._step(statistics)
            if learn:
                self.hierarchy.learn()
            tested = statistics.n_env_steps
            if test_interval is not None and tested // test_interval > before // test_interval:
                test = self.test(n_test_episodes)
                statistics.tests.append(test)
                stops |= self._tell("on_test", test)
            self._show(statistics, n_steps)
        return statistics

    def _step(self, statistics: Statistics) -> bool:
        """One vector step; returns whether a callback stops."""
        step, stepped, finished = _step_with(
            self.hierarchy, self.env, self._observation, self._begins, self._count
        )
        self._observation = step["next"]
        statistics.n_env_steps += int(stepped.sum())
        statistics.add(finished)
        stops = self._tell("on_step", step)
        if len(finished.returns):
            at = self.hierarchy.n_total_env_steps
            self._write("collect/return", finished.returns.mean(), at)
            self._write("collect/episode_length", finished.lengths.mean(), at)
            stops |= self._tell("on_episode", finished.returns, finished.lengths)
        return stops

    def test(self, n_episodes: int = 20, seed: int = 0) -> Test:
        """Evaluates a copy of the hierarchy in `test_env`; changes nothing.

        Args:
            n_episodes: at least so many are finished; the first ones count, as many in each
                environment.
            seed: of the episodes.
        """
        env = self.test_env
        num_envs = getattr(env, "num_envs", 1)
        copy = self.hierarchy.get_copy(num_envs, seed, env=env)
        count, begins = EpisodeCount(num_envs), np.zeros(num_envs, dtype=bool)
        share = -(-n_episodes // num_envs)
        left = np.full(num_envs, share)
        statistics = Statistics()
        observation, _ = env.reset(seed=seed)
        while left.any():
            step, _, finished = _step_with(copy, env, observation, begins, count)
            observation = step["next"]
            counts = left[step["ended"]] > 0
            statistics.add(Finished(*(x[counts] for x in finished)))
            left[step["ended"]] = np.maximum(left[step["ended"]] - 1, 0)
        test = Test(
            self.hierarchy.n_total_env_steps,
            statistics.mean_return,
            statistics.mean_episode_length,
            statistics.success,
        )
        for name in ("mean_return", "mean_episode_length", "success"):
            self._write(f"test/{name}", getattr(test, name), test.n_total_env_steps)
        return test

    def save(self, path: str | Path) -> None:
        """Saves the hierarchy with its replay buffers, so that another process goes on."""
        self.hierarchy.save(path, buffers=True)

    def load(self, path: str | Path) -> None:
        """Goes on from what `save` wrote; episodes begin anew."""
        self.hierarchy.load(path)
        self._observation = None

    def _tell(self, method: str, *arguments: Any) -> bool:
        stops = False
        for callback in self._callbacks:  # all are told, even if one stops
            stops |= getattr(callback, method)(self, *arguments) is True
        return stops

    def _write(self, name: str, value: float, step: int) -> None:
        if self.writer is not None and not np.isnan(value):
            self.writer.add_scalar(name, value, step)

    def _show(self, statistics: Statistics, n_steps: int) -> None:
        if not self._progress:
            return
        recent = _mean(statistics.returns[-20:])
        done = min(statistics.n_env_steps / n_steps, 1)
        sys.stderr.write(
            f"\r{done:4.0%}  {self.hierarchy.n_total_env_steps} steps  return {recent:.3g} "
        )
        sys.stderr.write("\n" if done == 1 else "")


def _step_with(
    hierarchy: Hierarchy, env: Any, observation: Any, begins: np.ndarray, count: EpisodeCount
) -> tuple[dict[str, Any], np.ndarray, Finished]:
    """One vector step: what it returned, `[M]` where an episode went on, and what finished.

    `begins` `[M]` remembers the environments whose next step begins an episode.
    """
    obs, reward, terminated, truncated, info = env.step(hierarchy.get_action(observation))
    hierarchy.process_transition(obs, reward, terminated, truncated, info)
    stepped = ~begins
    over = (np.atleast_1d(terminated) | np.atleast_1d(truncated)).astype(bool) & stepped
    finished = count.add(reward, over, stepped, info)
    following, mode = obs, hierarchy.autoreset_mode
    begins[:] = over & (mode == "NEXT_STEP")
    if mode == "DISABLED" and over.any():
        options = {"options": {"reset_mask": over}} if hasattr(env, "num_envs") else {}
        following, _ = env.reset(**options)
    step = {
        "obs": obs,
        "reward": reward,
        "terminated": terminated,
        "truncated": truncated,
        "info": info,
        "next": following,
        "ended": np.flatnonzero(over),
    }
    return step, stepped, finished


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
