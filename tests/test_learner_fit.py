"""Which algorithms are levels, and that a level and its algorithm discount alike."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from alf.algorithms.agent import Agent
from alf.algorithms.dynamic_action_repeat_agent import DynamicActionRepeatAgent
from alf.algorithms.mcts_models import SimpleMCTSModel
from alf.algorithms.muzero_representation_learner import (
    MuzeroRepresentationImpl,
    MuzeroRepresentationLearner,
    MuzeroRepresentationTrainingOptions,
)
from alf.nest.utils import NestConcat
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import AlgorithmLevel, MuzeroLevel, option
from tests.small_learners import dqn, muzero, sac, small_config

OBSERVATION = TensorSpec((3,))
ACTION = BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)


def _level(algorithm_ctor: Any, action_spec: Any = option(2), **options: Any) -> AlgorithmLevel:
    return AlgorithmLevel(
        OBSERVATION,
        action_spec,
        algorithm_ctor=algorithm_ctor,
        config=small_config(),
        name="low",
        **options,
    )


def test_the_discount_of_a_search_is_the_levels() -> None:
    assert _level(muzero(discount=0.5)).gamma == 0.5


def test_a_search_and_a_level_that_discount_differently_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"'low'.*gamma=0.99.*\[0.5\].*MuzeroLevel"):
        _level(muzero(discount=0.5), gamma=0.99)


def test_a_muzero_level_searches_with_a_discount_of_its_own() -> None:
    level = MuzeroLevel(
        OBSERVATION, option(2), algorithm_ctor=muzero(), gamma=0.9, decision_steps=3
    )
    assert level.gamma == 0.9
    assert level.algorithm._mcts.discount == pytest.approx(0.9**3)


def test_an_agent_that_repeats_its_actions_is_no_level() -> None:
    rl = sac(preprocessing_combiner=NestConcat())
    repeating = partial(DynamicActionRepeatAgent, rl_algorithm_cls=rl, gamma=0.9)
    with pytest.raises(ValueError, match=r"'low': DynamicActionRepeatAgent.*control_interval"):
        _level(repeating, ACTION)


def test_a_representation_that_would_never_learn_is_refused() -> None:
    impl = partial(
        MuzeroRepresentationImpl,
        model_ctor=partial(SimpleMCTSModel, num_unroll_steps=2, train_policy=False),
        num_unroll_steps=2,
        td_steps=2,
        discount=0.9,
        train_policy=False,
        optimizer=Adam(lr=1e-3),
    )
    learner = partial(
        MuzeroRepresentationLearner,
        training_options=MuzeroRepresentationTrainingOptions(),
        impl_cls=impl,
    )
    agent = partial(Agent, rl_algorithm_cls=dqn(), representation_learner_cls=learner)
    with pytest.raises(ValueError, match=r"'low': MuzeroRepresentationLearner.*MuzeroLevel"):
        _level(agent)
