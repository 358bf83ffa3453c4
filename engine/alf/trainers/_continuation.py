"""Going on in the middle of episodes: what a checkpoint holds of environment and interaction."""

from __future__ import annotations

from typing import Any

import torch

from alf.experience_replayers.replay_buffer import ReplayBuffer
from alf.metrics.metrics import AverageEpisodicAggregationMetric
from alf.nest import nest


class Continuation:
    """Saves where the interaction is, and goes on there, if the environment can do it as well.

    An environment that can has methods `state_dict()` and `load_state_dict()` of its own class; all
    others begin new episodes.

    Args:
        algorithm: the root algorithm.
        env: its environment.
        is_alone: False with several processes: what one of them saves is not what the others do.
    """

    def __init__(self, algorithm: Any, env: Any, *, is_alone: bool) -> None:
        self._algorithm = algorithm
        self._env = env
        methods = [getattr(type(env), name, None) for name in ("state_dict", "load_state_dict")]
        config = algorithm._config
        self._saves = is_alone and all(map(callable, methods)) and not config.async_unroll
        self._loaded: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """Plain values; empty where the environment cannot be saved, or nothing was done yet."""
        interaction = self._algorithm._unroller.state() if self._saves else None
        if interaction is None:
            return {}
        return {
            "interaction": {name: tuple(nest.flatten(x)) for name, x in interaction.items()},
            "environment": self._env.state_dict(),
            "running_metrics": {m.name: m.running_episodes() for m in self._averages()},
        }

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True) -> None:
        """Keep it for `resume()`, as whatever else is loaded begins new episodes."""
        self._loaded = state_dict if self._saves else {}

    def resume(self) -> bool:
        """Go on where the loaded state was; False: there is none, or it does not fit."""
        loaded, self._loaded = self._loaded, {}
        if not loaded:
            return False
        if not self._fits(loaded["interaction"]):
            return False
        self._env.load_state_dict(loaded["environment"])
        self._algorithm._unroller.set_state(loaded["interaction"], self._env.current_time_step())
        for metric in self._averages():
            metric.continue_episodes(loaded["running_metrics"].get(metric.name, {}))
        for module in self._algorithm.modules():
            if isinstance(module, ReplayBuffer):
                module.continue_episodes()
        return True

    def _averages(self) -> list[AverageEpisodicAggregationMetric]:
        metrics = self._algorithm.get_metrics()
        return [m for m in metrics if isinstance(m, AverageEpisodicAggregationMetric)]

    def _fits(self, interaction: dict[str, Any]) -> bool:
        """Is it that of as many environments?"""
        sizes = {len(x) for x in interaction["time_step"] if isinstance(x, torch.Tensor) and x.ndim}
        return sizes == {self._env.batch_size}
