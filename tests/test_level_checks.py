"""Every level that learns refuses what it cannot learn by, or how: one contract for all of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

import alf_layered
from alf.algorithms.dynamic_action_repeat_agent import DynamicActionRepeatAgent
from alf.algorithms.one_step_loss import OneStepTDLoss
from alf.nest.utils import NestConcat
from alf.tensor_specs import TensorSpec
from alf_layered import (
    AlgorithmLevel,
    DADSLevel,
    DIAYNLevel,
    HierarchyAgent,
    MuzeroLevel,
    OnPolicyOptions,
    PlannerLevel,
    SacLevel,
    SkillOptions,
    SPlaTESLevel,
    TDMPC2Level,
    TrainingOptions,
    option,
)
from alf_layered.hierarchy.level import Level
from alf_layered.tdmpc2.skill_tdmpc2 import SkillTDMPC2Algorithm
from alf_layered.tdmpc2.tdmpc2_algorithm import TDMPC2Algorithm
from tests.planning_points import ACTION, known_predictor
from tests.skill_points import sac, skill_agent
from tests.small_learners import actor_critic, muzero, ppg, ppo, small_config, trac
from tests.small_learners import sac as small_sac
from tests.test_tdmpc2_level import SETTINGS


def _top(level: Any, action_spec: Any = ACTION, **options: Any) -> Any:
    return HierarchyAgent(
        TensorSpec((2,)),
        action_spec,
        levels=[partial(level, name="skills", **options)],
        config=small_config(),
    ).levels[0]


def _skills(level: Any, **options: Any) -> Any:
    options.setdefault("options", SkillOptions(n_skill_samples=4))
    return skill_agent(level, **options).levels[-1]


# How to make each level that learns by an algorithm of the user's choice, with that algorithm.
BY_ALGORITHM = {
    "AlgorithmLevel": partial(_top, AlgorithmLevel),
    "SacLevel": partial(_top, SacLevel),
    "DADSLevel": partial(_skills, DADSLevel),
    "SPlaTESLevel": partial(_skills, SPlaTESLevel),
    "DIAYNLevel": partial(_skills, DIAYNLevel),
}
SKILL_LEVELS = {k: v for k, v in BY_ALGORITHM.items() if v.func is _skills}
# Those that bring their own.
OTHERS = {
    "MuzeroLevel": partial(_top, MuzeroLevel, option(2), algorithm_ctor=muzero()),
    "TDMPC2Level": partial(_top, TDMPC2Level, settings=SETTINGS),
    "PlannerLevel": partial(_top, PlannerLevel, predictor_factory=known_predictor()),
}


def each(levels: dict[str, Any]) -> Any:
    return pytest.mark.parametrize("make", levels.values(), ids=levels)


def _sac(gamma: float) -> Any:
    return partial(sac, critic_loss_ctor=partial(OneStepTDLoss, gamma=gamma))


@each(BY_ALGORITHM)
def test_the_level_discounts_as_its_learner_s_losses(make: Any) -> None:
    assert make(algorithm_ctor=_sac(0.9)).gamma == 0.9
    with pytest.raises(
        ValueError, match=r"'skills' has more than one discount.*gamma=0.5.*\[0.9\]"
    ):
        make(algorithm_ctor=_sac(0.9), gamma=0.5)


@pytest.mark.parametrize("name", ["AlgorithmLevel", *SKILL_LEVELS])
def test_the_level_discounts_as_td_mpc2(name: str) -> None:
    kind = TDMPC2Algorithm if name == "AlgorithmLevel" else SkillTDMPC2Algorithm
    training = TrainingOptions(mini_batch_length=SETTINGS.horizon + 1)
    ctor = partial(kind, settings=SETTINGS, gamma=0.9)
    make = BY_ALGORITHM[name]
    assert make(algorithm_ctor=ctor, training=training).gamma == 0.9
    with pytest.raises(ValueError, match=r"gamma=0.5.*\[0.9\]"):
        make(algorithm_ctor=ctor, training=training, gamma=0.5)


def test_a_skill_level_tells_td_mpc2_its_discount() -> None:
    ctor = partial(SkillTDMPC2Algorithm, settings=SETTINGS)
    level = _skills(SPlaTESLevel, algorithm_ctor=ctor, gamma=0.8)
    assert level.gamma == level.algorithm.gamma == 0.8


@each(BY_ALGORITHM)
def test_algorithms_that_are_no_levels_are_refused(make: Any) -> None:
    rl = small_sac(preprocessing_combiner=NestConcat())
    repeating = partial(DynamicActionRepeatAgent, rl_algorithm_cls=rl, gamma=0.9)
    with pytest.raises(ValueError, match=r"'skills': DynamicActionRepeatAgent.*control_interval"):
        make(algorithm_ctor=repeating)


@each(BY_ALGORITHM)
@pytest.mark.parametrize("learner", [ppo, actor_critic, ppg, trac, partial(trac, ppo)])
def test_on_policy_learners_do_not_learn_from_replay(make: Any, learner: Any) -> None:
    with pytest.raises(ValueError, match=r"'skills'.*(PPO|PPG|ActorCritic|Trac)(Algorithm)?"):
        make(algorithm_ctor=learner())


@each(SKILL_LEVELS | OTHERS)
def test_levels_that_replay_take_no_rounds(make: Any) -> None:
    with pytest.raises(ValueError, match=r"level 'skills'.* TrainingOptions"):
        make(training=OnPolicyOptions())


@each(SKILL_LEVELS | {"TDMPC2Level": OTHERS["TDMPC2Level"]})
def test_levels_that_must_learn_need_options(make: Any) -> None:
    with pytest.raises(TypeError, match=r"training of level 'skills' is None.*TrainingOptions"):
        make(training=None)


def test_td_mpc2_learns_and_searches_with_the_level_s_discount() -> None:
    level = _top(TDMPC2Level, settings=SETTINGS, gamma=0.7)
    assert level.gamma == level.algorithm.gamma == 0.7


def test_the_contract_covers_all_public_levels_that_learn() -> None:
    levels = {name for name in alf_layered.__all__ if name.endswith("Level")}
    bases = {"Level", "SkillLevel"}
    stores_nothing = {"RandomLevel", "ConstantLevel", "ActionSequenceLevel", "PolicyLevel"}
    assert levels - bases - stores_nothing == {*BY_ALGORITHM, *OTHERS}


def test_former_names_of_class_attributes_hold_for_one_release_and_warn() -> None:
    with pytest.warns(DeprecationWarning, match=r"Old\.costly is active_rows_only now"):
        kind = type("Old", (Level,), {"costly": True})
    assert kind.active_rows_only
