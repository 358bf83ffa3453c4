"""What a planning level remembers, stores and shows of a search.

Axis letters: B environments, R rows that are planned for, K plans.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch

from alf.data_structures import namedtuple
from alf_layered.predictors.predictor import PredictedRollout

PlannerState = namedtuple("PlannerState", ["plan", "phase"], default_value=())
PlannerState.__doc__ = """What a planning level remembers of an environment.

Fields:
    plan: `Plan` of the last search, what the next one starts from.
    phase: `Phase` of its exploration; `()` in evaluation.
"""

PlannerInfo = namedtuple("PlannerInfo", ["planned"], default_value=())
PlannerInfo.__doc__ = """What is stored with a decision.

Fields:
    planned: `[B]`, bool, whether it is the first of a plan for the task.
"""

PlannerTrainInfo = namedtuple(
    "PlannerTrainInfo",
    [
        "observation",
        "action",
        "reward",
        "discount",
        "step_type",
        "time_discount",
        "planned",
        "reached",
    ],
    default_value=(),
)
PlannerTrainInfo.__doc__ = "The fields of `PredictorBatch`, or `()` for those that are not known."


class PlanningStep(NamedTuple):
    """One iteration of a search, for those who want to look on.

    Fields:
        env_id: `[R]`, the environments that are planned for.
        rollout: the plans, and what they are predicted to lead to.
        score: `[R, K]`.
    """

    env_id: torch.Tensor
    rollout: PredictedRollout
    score: torch.Tensor

    @property
    def outlook(self) -> PredictedRollout:
        """The former name of `rollout`."""
        warnings.warn("PlanningStep.outlook is rollout now", DeprecationWarning, stacklevel=2)
        return self.rollout
