"""Feeding several metrics at once: what most of them gather, the reward, is written down once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alf.data_structures import TimeStep
from alf.metrics._episodes import MOST_WAITING, columns_of, phases_of
from alf.metrics.metric import StepMetric
from alf.metrics.metrics import (
    AverageDiscountedReturnMetric,
    AverageEnvInfoMetric,
    AverageEpisodeLengthMetric,
    AverageEpisodicAggregationMetric,
    AverageReturnMetric,
    AverageRewardMetric,
    EnvironmentSteps,
    EpisodicStartAverageDiscountedReturnMetric,
    NumberOfEpisodes,
)

_OF_REWARDS = {
    AverageReturnMetric,
    AverageEpisodeLengthMetric,
    AverageDiscountedReturnMetric,
    EpisodicStartAverageDiscountedReturnMetric,
    AverageRewardMetric,
}


class Together:
    """Does what a call of each metric does, at a fraction of the time.

    As long as all environments are in the middle of their episodes, rewards only wait; averages of
    finished episodes do not depend on them. At the first other step each metric gathers them.

    Args:
        metrics: of any kind; those that are not the engine's own are called at each step. The
            list may grow.
    """

    def __init__(self, metrics: Sequence[StepMetric]) -> None:
        self._metrics = metrics
        self._waiting = np.zeros((0, 0, 0))
        self._num_waiting = 0
        self._sort()

    def _sort(self) -> None:
        self._num_sorted = len(self._metrics)
        self._of_rewards: list[AverageEpisodicAggregationMetric] = []
        self._counts: list[EnvironmentSteps] = []
        self._others: list[StepMetric] = []
        for metric in self._metrics:
            if isinstance(metric, AverageEpisodicAggregationMetric) and _gathers_rewards(metric):
                self._of_rewards.append(metric)
            elif isinstance(metric, EnvironmentSteps) and type(metric) is EnvironmentSteps:
                self._counts.append(metric)
            elif not _waits_for_ends(metric):
                self._others.append(metric)

    def call(self, time_step: TimeStep) -> None:
        """Take in one batched time step."""
        if len(self._metrics) != self._num_sorted:
            self.gather()
            self._sort()
        phases = phases_of(time_step.step_type)
        if not phases.all_mid:
            self.gather()
            for metric in self._metrics:
                metric.call(time_step)
            return
        rewards = columns_of(time_step.reward)
        if self._waiting.shape[1:] != rewards.shape:
            self.gather()
            self._waiting = np.zeros((MOST_WAITING, *rewards.shape))
        self._waiting[self._num_waiting] = rewards
        self._num_waiting += 1
        if self._num_waiting == MOST_WAITING:
            self.gather()
        for metric in self._counts:
            metric.add(phases.num_not_first)
        for metric in self._others:
            metric.call(time_step)

    def gather(self) -> None:
        """Hand the waiting rewards to the metrics."""
        count, self._num_waiting = self._num_waiting, 0
        if count:
            for metric in self._of_rewards:
                metric.gather_rewards(self._waiting[:count])


def _gathers_rewards(metric: AverageEpisodicAggregationMetric) -> bool:
    """Is it one of the engine's own, of the rewards as they are or of their number?"""
    transforms = isinstance(metric, AverageDiscountedReturnMetric) and metric.transforms_rewards
    return type(metric) in _OF_REWARDS and not transforms


def _waits_for_ends(metric: StepMetric) -> bool:
    """Has it nothing to do in the middle of episodes?"""
    if isinstance(metric, AverageEnvInfoMetric):
        return type(metric) is AverageEnvInfoMetric and metric.is_of_nothing
    return type(metric) is NumberOfEpisodes
