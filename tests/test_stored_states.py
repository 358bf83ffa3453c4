"""A level's record holds the state from which the level decided, where its algorithm needs it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

import alf
from alf.algorithms.config import TrainerConfig
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.data_structures import AlgStep, Experience, TimeStep
from alf.environments.suite_unittest import ActionType, PolicyUnittestEnv
from alf.networks import ActorDistributionRNNNetwork, CriticRNNNetwork
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import AlgorithmLevel, HierarchyAgent, Level, TrainingOptions
from tests.scripted import reset_where_first, time_step

ACTION = BoundedTensorSpec((1,), minimum=-100.0, maximum=100.0)


class Counting(Level):
    """Decides how many decisions its state has counted since its state was new."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        count = TensorSpec((1,))
        super().__init__(*args, train_state_spec=count, rollout_state_spec=count, **kwargs)

    def rollout_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        return AlgStep(output=state, state=state + 1.0, info={"count": state})


def _stored(monkeypatch: pytest.MonkeyPatch, *, use_rollout_state: bool, **options: Any) -> Any:
    """What the two levels store of an episode of 5 steps: a list of records for each level."""
    config = TrainerConfig(root_dir="", use_rollout_state=use_rollout_state)
    training = TrainingOptions(replay_buffer_length=8)
    agent = HierarchyAgent(
        TensorSpec((1,)),
        ACTION,
        levels=[
            partial(Counting, name="upper", training=training),
            partial(Counting, name="lower", control_interval=2, training=training),
        ],
        joints=[ACTION],
        config=config,
        **options,
    )
    stored: dict[str, list[Experience]] = {"upper": [], "lower": []}
    monkeypatch.setattr(
        Level, "observe_for_replay", lambda level, exp: stored[level.name].append(exp)
    )
    initial = agent.get_initial_rollout_state(1)
    state = initial
    for kind in (0, 1, 1, 1, 2):
        step = time_step([kind], [1.0], [1.0], [[0.0]])
        step = step._replace(prev_action=torch.zeros(1, 1))
        result = agent.rollout_step(step, reset_where_first(step, state, initial))
        agent.observe_for_replay(Experience(time_step=step, rollout_info=result.info))
        state = result.state
    return stored


@pytest.mark.parametrize(
    ("options", "lower"),
    [
        # decisions 0, 1 for the first input, its LAST step, then anew
        ({}, [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]),
        ({"joint_end": "continue"}, [0.0, 1.0, 2.0, 3.0, 4.0]),
    ],
)
def test_a_record_holds_the_state_before_its_decision(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], lower: list[float]
) -> None:
    stored = _stored(monkeypatch, use_rollout_state=True, **options)
    assert [float(exp.state) for exp in stored["upper"]] == [0.0, 1.0, 2.0]
    assert [float(exp.state) for exp in stored["lower"]] == lower
    for exp in [*stored["upper"], *stored["lower"]]:
        assert torch.equal(exp.state, exp.rollout_info["count"])


def test_without_use_rollout_state_no_state_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = _stored(monkeypatch, use_rollout_state=False)
    assert [exp.state for exp in [*stored["upper"], *stored["lower"]]] == [()] * 9


def test_a_recurrent_learner_trains_from_stored_states() -> None:
    networks = {"fc_layer_params": (8,), "lstm_hidden_size": (8,)}
    recurrent = partial(
        SacAlgorithm,
        actor_network_cls=partial(ActorDistributionRNNNetwork, **networks),
        critic_network_cls=partial(
            CriticRNNNetwork, joint_fc_layer_params=(8,), lstm_hidden_size=(8,)
        ),
        actor_optimizer=Adam(lr=1e-2),
        critic_optimizer=Adam(lr=1e-2),
        alpha_optimizer=Adam(lr=1e-2),
    )
    level = partial(
        AlgorithmLevel,
        algorithm_ctor=recurrent,
        training=TrainingOptions(mini_batch_size=8, mini_batch_length=4, warm_up=40),
    )
    env = PolicyUnittestEnv(4, 6, action_type=ActionType.Continuous)
    config = TrainerConfig(root_dir="", unroll_length=8, use_rollout_state=True)
    agent = HierarchyAgent(
        env.observation_spec(), env.action_spec(), levels=[level], env=env, config=config
    )
    before = {name: p.detach().clone() for name, p in agent.named_parameters()}
    seen = []
    train_step = SacAlgorithm.train_step

    def spy(self: SacAlgorithm, inputs: Any, state: Any, rollout_info: Any) -> AlgStep:
        seen.append(alf.nest.flatten(state)[0].abs().max().item())
        return train_step(self, inputs, state, rollout_info)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SacAlgorithm, "train_step", spy)
        for _ in range(4):
            agent.train_iter()
    assert len(seen) % 4 == 0
    assert max(seen[::4]) > 0, "sequences begin with zeros, not with what was stored"
    changed = [not torch.equal(p, before[name]) for name, p in agent.named_parameters()]
    assert all(changed)
