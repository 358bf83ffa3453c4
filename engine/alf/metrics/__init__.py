"""Shelf of the metrics which are computed from the time steps of an environment."""

from alf.data_structures import TimeStep
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
    MetricBuffer,
    NumberOfEpisodes,
)

__all__ = [
    "AverageDiscountedReturnMetric",
    "AverageEnvInfoMetric",
    "AverageEpisodeLengthMetric",
    "AverageEpisodicAggregationMetric",
    "AverageReturnMetric",
    "AverageRewardMetric",
    "EnvironmentSteps",
    "EpisodicStartAverageDiscountedReturnMetric",
    "MetricBuffer",
    "NumberOfEpisodes",
    "StepMetric",
    "TimeStep",
]
