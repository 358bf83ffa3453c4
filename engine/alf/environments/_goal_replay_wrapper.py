"""The interface of environments whose trajectories can be seen as aimed at another goal."""

from __future__ import annotations

import abc
from typing import Any

from alf.environments._single_wrappers import AlfEnvironmentBaseWrapper

PUBLIC_MODULE = "alf.environments.alf_wrappers"  # under which these names are configured


class GoalReplayEnvWrapper(AlfEnvironmentBaseWrapper, abc.ABC):
    """Base of wrappers that know which goal a trajectory reached, and its rewards for another goal.

    Both methods take and give time-major nests [T, B, ...] and do not touch the environment's
    state.
    """

    @abc.abstractmethod
    def get_trajectory_with_goal(self, trajectory: Any, goal: Any) -> Any:
        """The trajectory as it would have been with ``goal``: observations and rewards replaced.

        Args:
            trajectory: nest of [T, B, ...] of experience.
            goal: nest of [B, ...] or [T, B, ...].
        """

    @abc.abstractmethod
    def get_goal_from_trajectory(self, trajectory: Any) -> Any:
        """The goal, a nest of [B, ...], that ``trajectory`` reached."""
