"""Hierarchical reinforcement learning for ALF, the Agent Learning Framework."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

_PUBLIC = {
    "ActionSequenceLevel": "levels.fixed_levels",
    "AlgorithmLevel": "levels.algorithm_level",
    "CEM": "planners.cem",
    "CategoricalCEM": "planners.categorical_cem",
    "Callback": "library.callbacks",
    "Collector": "library.collector",
    "ConstantLevel": "levels.fixed_levels",
    "DADSLevel": "skills.dads_level",
    "DIAYNLevel": "skills.diayn_level",
    "Disagreement": "planning.objective",
    "DiscountNet": "networks.reward_net",
    "EncoderNet": "encoders",
    "Exploration": "planning.exploration",
    "FixedEncoderNet": "encoders",
    "Goal": "goals.goal",
    "FlatHierarchy": "library.ready_made",
    "Hierarchy": "library.hierarchy",
    "HierarchyAgent": "hierarchy.agent",
    "ICEM": "planners.icem",
    "IdentityEncoder": "encoders",
    "KeepBest": "library.callbacks",
    "KnownModel": "models.known_model",
    "Level": "hierarchy.level",
    "LevelObservation": "hierarchy.level",
    "MPPI": "planners.mppi",
    "Model": "models.model",
    "MuzeroLevel": "levels.muzero_level",
    "NegativeDistance": "goals.goal",
    "ObservationMap": "hierarchy.observation_maps",
    "OnPolicyOptions": "hierarchy.on_policy",
    "PlanObjective": "planning.objective",
    "PlannerLevel": "planning.planner_level",
    "PlanningSettings": "tdmpc2.settings",
    "PolicyLevel": "levels.policy_level",
    "Predictor": "predictors.predictor",
    "PredictorFactory": "predictors.predictor_factory",
    "ProbFCDynamics": "networks.prob_dynamics",
    "ProbabilisticEnsemble": "models.probabilistic_ensemble",
    "RandomHierarchy": "library.ready_made",
    "RandomLevel": "levels.fixed_levels",
    "RewardNet": "networks.reward_net",
    "RewardPredictor": "predictors.reward_predictor",
    "SPlaTESLevel": "skills.splates_level",
    "SacLevel": "levels.sac_level",
    "ShortestPath": "goals.goal",
    "SkillInput": "skills.records",
    "SkillLevel": "skills.skill_level",
    "SkillOptions": "skills.options",
    "SkillTDMPC2Algorithm": "tdmpc2.skill_tdmpc2",
    "StaticPredictor": "predictors.static_predictor",
    "StopAt": "library.callbacks",
    "TDMPC2Algorithm": "tdmpc2.tdmpc2_algorithm",
    "TDMPC2Level": "tdmpc2.tdmpc2_level",
    "TDMPC2Settings": "tdmpc2.settings",
    "TrainingOptions": "hierarchy.training",
    "ValueNet": "networks.value_net",
    "WorldModelSettings": "tdmpc2.settings",
    "get_default_predictor_factory": "predictors.predictor_factory",
    "model_of_size": "tdmpc2.settings",
    "newest_checkpoint": "checkpoints",
    "option": "hierarchy.joints",
    "select": "hierarchy.observation_maps",
    "skill": "hierarchy.joints",
    "subgoal": "hierarchy.joints",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _check_alf() -> None:
    """Raises where `alf` is missing or is another package of that name."""
    found = importlib.util.find_spec("alf")
    try:
        if found is not None and importlib.util.find_spec("alf.algorithms") is not None:
            return
    except ImportError:  # a module named alf that holds no packages
        found = importlib.util.find_spec("alf")
    what = "is not installed" if found is None else f"at {found.origin} is another package"
    raise ImportError(
        f"alf_layered needs ALF, the Agent Learning Framework, but the package 'alf' {what} "
        "(the package index has an unrelated OAuth client under this name: 'pip uninstall alf' "
        "removes it). There are two ways to get one: 'pip install ./engine' from a clone of "
        "alf_layered, or upstream ALF from its own repository."
    )


_check_alf()

from alf_layered.environments.registration import register_mazes  # noqa: E402 (after the check)

register_mazes()
