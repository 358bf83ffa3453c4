"""An `Agent` with one of its parts as a level: intrinsic rewards, skills, encoder, entropy."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from alf.algorithms.agent import Agent
from alf.algorithms.diayn_algorithm import DIAYNAlgorithm, create_discrete_skill_spec
from alf.algorithms.encoding_algorithm import EncodingAlgorithm
from alf.algorithms.goal_generator import RandomCategoricalGoalGenerator
from alf.algorithms.icm_algorithm import ICMAlgorithm
from alf.algorithms.rnd_algorithm import RNDAlgorithm
from alf.nest.utils import NestConcat
from alf.networks import EncodingNetwork
from alf.optimizers import Adam
from alf_layered import AlgorithmLevel, TrainingOptions
from tests.small_learners import DISCRETE, REPLAY, ROUNDS, dqn, make_agent, mean_reward, ppo


def _parts(kind: str, observation_spec: Any, action_spec: Any) -> dict[str, Any]:
    net = partial(EncodingNetwork, fc_layer_params=(8,))
    seen = partial(net, observation_spec)
    if kind == "curiosity":
        return {"intrinsic_reward_module": ICMAlgorithm(action_spec, observation_spec, 8)}
    if kind == "distillation":
        return {"intrinsic_reward_module": RNDAlgorithm(seen(), seen(), keep_stacked_frames=0)}
    if kind == "skills":
        return {
            "goal_generator": RandomCategoricalGoalGenerator(observation_spec, 2),
            "intrinsic_reward_module": DIAYNAlgorithm(create_discrete_skill_spec(2), seen()),
        }
    if kind == "entropy":
        return {"enforce_entropy_target": True}
    return {"representation_learner_cls": partial(EncodingAlgorithm, encoder_cls=net)}


def _agent_with(kind: str, rl: Any) -> Any:
    """A constructor of an `Agent` that makes parts of its own at each call."""
    networks = {"preprocessing_combiner": NestConcat()} if kind == "skills" else {}

    def make(**arguments: Any) -> Agent:
        return Agent(
            rl_algorithm_cls=rl(**networks),
            intrinsic_reward_coef=0.01,
            # The bounds of entropy learn nothing of their own.
            optimizer=None if kind == "entropy" else Adam(lr=1e-2),
            **_parts(kind, arguments["observation_spec"], arguments["action_spec"]),
            **arguments,
        )

    return make


@pytest.mark.parametrize(
    ("kind", "rl", "training"),
    [
        ("curiosity", dqn, REPLAY),
        ("distillation", dqn, REPLAY),
        ("distillation", ppo, ROUNDS),
        ("skills", dqn, REPLAY),
        ("encoder", dqn, REPLAY),
        ("encoder", ppo, ROUNDS),
        ("entropy", ppo, ROUNDS),
    ],
)
def test_an_agent_with_such_a_part_learns_as_a_level(
    kind: str, rl: Any, training: TrainingOptions
) -> None:
    torch.manual_seed(1)
    level = partial(AlgorithmLevel, algorithm_ctor=_agent_with(kind, rl), training=training)
    agent = make_agent([level], DISCRETE)
    for _ in range(30):
        agent.train_iter()
    assert mean_reward(agent, DISCRETE) > 0.8
