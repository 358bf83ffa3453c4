"""A wrong value of any setting of the plugin is refused by owner, value and what is allowed."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import pkgutil
from functools import cache
from typing import Any

import pytest

import alf_layered
from alf_layered import DADSLevel, Goal, OnPolicyOptions, SkillOptions, TrainingOptions, allowed
from alf_layered.allowed import allowed_arguments
from alf_layered.encoders import EncoderNet
from alf_layered.environments import gymnasium_loader, maze2d_alf
from alf_layered.levels.fixed_levels import ConstantLevel
from alf_layered.planners.icem import ICEM
from alf_layered.planning.exploration import Exploration
from alf_layered.planning.objective import PlanObjective
from alf_layered.predictors.predictor_factory import get_default_predictor_factory
from alf_layered.skills.schedules import Ramp
from alf_layered.tdmpc2.settings import PlanningSettings, TDMPC2Settings, WorldModelSettings
from tests.runs import REPOSITORY

NAN = math.nan


@cache
def parts() -> list[Any]:
    """All classes and functions that the plugin defines."""
    found = {}
    for module in pkgutil.walk_packages(alf_layered.__path__, "alf_layered."):
        for part in vars(importlib.import_module(module.name)).values():
            if (
                inspect.isclass(part) or inspect.isfunction(part)
            ) and part.__module__ == module.name:
                found[f"{part.__module__}.{part.__qualname__}"] = part
    return list(found.values())


def _options() -> list[Any]:
    """The dataclasses all of whose fields have a default: those that a user makes."""
    return [p for p in parts() if dataclasses.is_dataclass(p) and hasattr(p, "__post_init__")]


def _example(options: Any) -> dict[str, Any]:
    """Values of the fields without a default."""
    fields = dataclasses.fields(options)
    missing = [f for f in fields if f.default is f.default_factory is dataclasses.MISSING]
    return {f.name: len if str(f.type).startswith("Callable") else 1 for f in missing}


@pytest.mark.parametrize("options", _options(), ids=lambda p: p.__name__)
def test_every_field_of_options_refuses_what_is_no_value_of_its_kind(options: Any) -> None:
    example = _example(options)
    options(**example)
    tried = 0
    for field in dataclasses.fields(options):
        kinds: list[tuple[Any, tuple[str, ...]]] = [
            (NAN, ("int", "float")),
            ("False", ("bool",)),
            ("luck", ("Literal",)),
        ]
        kinds.append((5, ("Callable",)))
        for value, names in kinds:
            if field.init and str(field.type).startswith(names):
                tried += 1
                with pytest.raises(ValueError, match=rf"{field.name} is .*; allowed: "):
                    options(**example | {field.name: value})
    assert tried > 0


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: TrainingOptions(updates_per_transition=NAN), "updates_per_transition is nan"),
        (lambda: TrainingOptions(mini_batch_size=8.0), "mini_batch_size is 8.0"),  # type: ignore
        (lambda: TrainingOptions(priority_replay="no"), "priority_replay is 'no'"),  # type: ignore
        (lambda: OnPolicyOptions(epochs=0), "OnPolicyOptions.epochs is 0"),
        (lambda: SkillOptions(clip_low="x"), "SkillOptions.clip_low is 'x'"),  # type: ignore
        (lambda: SkillOptions(fixed_std="most"), "SkillOptions.fixed_std is 'most'"),  # type: ignore
        (lambda: Goal(radius=math.inf), "Goal.radius is inf; allowed: a number above 0"),
        (lambda: Goal(radius=1, hindsight=-1), r"Goal.hindsight is -1; .*in \[0, 1\]"),
        (lambda: Exploration(switch_random_prob=2), "switch_random_prob is 2"),
        (lambda: PlanObjective(discounted="yes"), "discounted is 'yes'"),  # type: ignore
        (lambda: ICEM(n_samples=25.5), "ICEM.n_samples is 25.5"),  # type: ignore
        (lambda: ICEM(return_mode="most"), "'mean', 'best', 'random'"),  # type: ignore
        (lambda: Ramp(0.0, NAN, 0, 1), "Ramp.end is nan"),
        (lambda: TDMPC2Settings(tau=7), r"TDMPC2Settings.tau is 7; allowed: a number in \(0, 1\]"),
        (lambda: TDMPC2Settings(horizon=2.5), "horizon is 2.5"),  # type: ignore
        (lambda: WorldModelSettings(dropout=1.0), r"dropout is 1.0; .*in \[0, 1\)"),
        (lambda: PlanningSettings(mppi=5), "PlanningSettings.mppi is 5; allowed: .*MPPI"),  # type: ignore
        (lambda: EncoderNet((3,), 0, 0), "EncoderNet.latent_state_dim is 0"),
        (lambda: get_default_predictor_factory(n_models=0), "n_models is 0"),
        (lambda: gymnasium_loader.load("x", discount=2.0), "gymnasium_loader.load.discount is 2.0"),
        (lambda: maze2d_alf.load("x", goal_radius=0), "maze2d_alf.load.goal_radius is 0"),
        (lambda: maze2d_alf.load("x", action_noise=NAN), "action_noise is nan"),
        (
            lambda: ConstantLevel((), (), action=1, control_interval=2.5, name="boss"),  # type: ignore
            "ConstantLevel.control_interval of 'boss' is 2.5; allowed: a whole number of at least",
        ),
        (
            lambda: DADSLevel((), (), (), above=None, termination_probability=2.0),
            r"DADSLevel.termination_probability is 2.0; allowed: a number in \[0, 1\]",
        ),
    ],
)
def test_a_wrong_setting_is_named(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text) as error:
        make()
    assert len(str(error.value)) < 300


def test_every_configurable_of_the_plugin_is_checked() -> None:
    """Numbers and flags of what a conf file can configure, by all names of the plugin."""
    unchecked = []
    for part in parts():
        function = part.__init__ if inspect.isclass(part) else part
        if not _is_configurable(part) or not allowed_arguments(function, "", {}):
            continue
        if not _is_checked(function):
            unchecked.append(part.__qualname__)
    assert unchecked == []


def _is_configurable(part: Any) -> bool:
    try:
        source = inspect.getsource(part)
    except (OSError, TypeError):
        return False
    return source.startswith("@alf.configurable")


def _is_checked(function: Any) -> bool:
    while function is not None:
        if (
            function.__code__.co_name == "wrapper"
            and function.__code__.co_filename == allowed.__file__
        ):
            return True
        function = getattr(function, "__wrapped__", None)
    return False


def test_engine_and_plugin_say_it_alike() -> None:
    ours, engines = REPOSITORY / "alf_layered/allowed.py", REPOSITORY / "engine/alf/_allowed.py"
    assert ours.read_text() == engines.read_text()
