"""Shelf of the wrappers of ALF environments."""

from alf.data_structures import TimeStep
from alf.environments._alf_action_wrappers import (
    DiscreteActionWrapper,
    NormalizedActionWrapper,
    TemporallyCorrelatedNoiseWrapper,
)
from alf.environments._goal_replay_wrapper import GoalReplayEnvWrapper
from alf.environments._single_wrappers import (
    ActionObservationWrapper,
    AlfEnvironmentBaseWrapper,
    AtariTerminalOnLifeLossWrapper,
    NonEpisodicAgent,
    PerformanceProfiler,
    RandomFirstEpisodeLength,
    ScalarRewardWrapper,
    TimeLimit,
)
from alf.environments._task_wrappers import (
    BatchedTensorWrapper,
    CurriculumWrapper,
    MultitaskWrapper,
    TensorWrapper,
)
from alf.environments._vector_environment import BatchEnvironmentWrapper

__all__ = [
    "ActionObservationWrapper",
    "AlfEnvironmentBaseWrapper",
    "AtariTerminalOnLifeLossWrapper",
    "BatchEnvironmentWrapper",
    "BatchedTensorWrapper",
    "CurriculumWrapper",
    "DiscreteActionWrapper",
    "GoalReplayEnvWrapper",
    "MultitaskWrapper",
    "NonEpisodicAgent",
    "NormalizedActionWrapper",
    "PerformanceProfiler",
    "RandomFirstEpisodeLength",
    "ScalarRewardWrapper",
    "TemporallyCorrelatedNoiseWrapper",
    "TensorWrapper",
    "TimeLimit",
    "TimeStep",
]
