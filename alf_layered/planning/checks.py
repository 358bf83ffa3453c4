"""Which settings of a planning level go together."""

from __future__ import annotations

from typing import Any

from alf.tensor_specs import TensorSpec
from alf_layered.hierarchy.bounds import has_finite_bounds
from alf_layered.hierarchy.training import TrainingOptions
from alf_layered.planners.categorical_cem import CategoricalCEM
from alf_layered.planners.search import SearchOptions
from alf_layered.planning.exploration import Exploration
from alf_layered.planning.objective import Disagreement, PlanObjective
from alf_layered.predictors.predictor import Predictor


def check_learning(predictor: Predictor, *, level: str) -> None:
    """Raises `ValueError` for settings without effect where the level trains the predictor."""
    for what, learner in (("predictor", predictor), ("predictor's model", predictor.model)):
        if learner.learns_alone:
            raise ValueError(
                f"the {what} of level {level!r} has create_optimizer=True, but the level's "
                "optimizer trains it: leave that out, with its learning rates"
            )
    if predictor.model.needs_weight:
        raise ValueError(
            f"the model of level {level!r} has weighted_loss=True, but a level's transitions have "
            "no weights; it is for a model that learns from batches of your own"
        )


def check_spaces(
    action_spec: Any, reward_spec: TensorSpec, planner: SearchOptions, *, level: str
) -> None:
    """Raises `ValueError` where the planner cannot plan such actions for such a reward."""
    if not isinstance(action_spec, TensorSpec) or not has_finite_bounds(action_spec):
        raise ValueError(
            f"level {level!r} plans one action tensor with finite bounds, the action spec is "
            f"{action_spec}"
        )
    if reward_spec.numel != 1:
        raise ValueError(f"level {level!r} plans for one reward, the reward spec is {reward_spec}")
    discrete = not action_spec.dtype.is_floating_point
    if discrete and action_spec.ndim > 0:
        raise ValueError(f"level {level!r} plans over one choice, the action spec is {action_spec}")
    if discrete != isinstance(planner, CategoricalCEM):
        allowed = "a CategoricalCEM" if discrete else "a planner of continuous actions"
        raise ValueError(
            f"level {level!r} has {type(planner).__name__} for the action spec {action_spec}; "
            f"it needs {allowed}"
        )


def check_exploration(
    exploration: Exploration | None,
    predictor: Predictor,
    objective: PlanObjective,
    training: TrainingOptions | None,
    *,
    level: str,
) -> None:
    """Raises `ValueError` for exploration that the predictor or the training cannot give."""
    if exploration is None:
        return
    if training is None and exploration.no_planning_steps > 0:
        raise ValueError(
            f"level {level!r} has no_planning_steps={exploration.no_planning_steps}, but "
            "training=None: it stores and counts nothing"
        )
    members = predictor.model.n_models
    curious = exploration.use_ensemble_disagreement
    if curious and members < 2 and isinstance(objective.curiosity, Disagreement):
        raise ValueError(
            f"level {level!r} has use_ensemble_disagreement=True, but its model has n_models="
            f"{members}; at least 2 members can disagree"
        )
