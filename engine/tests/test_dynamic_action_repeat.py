"""Actions that are repeated as often as the agent wants: the clock by hand, records, learning."""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

import pytest
import small_learners as small
import torch

from alf.algorithms.data_transformer import RewardNormalizer
from alf.algorithms.dynamic_action_repeat_agent import DynamicActionRepeatAgent
from alf.algorithms.encoding_algorithm import EncodingAlgorithm
from alf.algorithms.off_policy_algorithm import OffPolicyAlgorithm
from alf.data_structures import AlgStep, Experience, LossInfo, StepType, TimeStep, namedtuple
from alf.environments.suite_unittest import ActionType
from alf.nest import nest
from alf.nest.utils import NestConcat
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.q_networks import QNetwork
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.normalizers import ScalarAdaptiveNormalizer

OBSERVATION = TensorSpec((1,))
ACTION = BoundedTensorSpec((1,), minimum=-1.0, maximum=1.0)
FIRST, MID, LAST = (int(t) for t in (StepType.FIRST, StepType.MID, StepType.LAST))
Info = namedtuple("Info", ["action"], default_value=())


class Counting(OffPolicyAlgorithm):
    """Acts with the number of decisions in the episode, and always wants three steps."""

    def __init__(self, observation_spec, action_spec, reward_spec, config, debug_summaries):
        super().__init__(
            observation_spec, action_spec, train_state_spec=TensorSpec(()), config=config
        )
        self.seen: list[TimeStep] = []

    def rollout_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        self.seen.append(inputs)
        repeat = torch.full(state.shape, 2)
        action = (repeat, state.unsqueeze(-1))
        return AlgStep(output=action, state=state + 1, info=Info(action=action))

    predict_step = rollout_step

    def train_step(self, inputs: TimeStep, state: Any, rollout_info: Any) -> AlgStep:
        return AlgStep(state=state, info=LossInfo(loss=torch.zeros_like(inputs.reward)))


def _run(types: list[int], discount_at_end: float = 1.0) -> tuple[list[float], list[Any]]:
    """One environment whose reward at time t is t; actions, and infos of steps that decide."""
    agent = DynamicActionRepeatAgent(OBSERVATION, ACTION, rl_algorithm_cls=Counting, gamma=0.5, K=3)
    state = agent.get_initial_rollout_state(1)
    actions, decisions = [], []
    for t, step_type in enumerate(types):
        step = small.in_time(
            reward=torch.tensor([float(t) if step_type != FIRST else 0.0]),
            observation=torch.tensor([[float(t)]]),
        )._replace(
            step_type=torch.tensor([step_type], dtype=torch.int32),
            discount=torch.tensor([discount_at_end if step_type == LAST else 1.0]),
        )
        if step_type == FIRST:
            state = agent.get_initial_rollout_state(1)
        result = agent.rollout_step(step, state)
        state = result.state
        actions.append(float(result.output))
        if bool(result.info.decides):
            decisions.append((t, result.info))
    return actions, decisions


def test_an_action_is_repeated_as_often_as_was_wanted():
    actions, decisions = _run([FIRST, MID, MID, MID, MID, MID, MID, MID])
    assert actions == [0, 0, 0, 1, 1, 1, 2, 2]
    assert [t for t, _ in decisions] == [0, 3, 6]


def test_a_decision_gathers_discounted_rewards_and_a_discount():
    _, decisions = _run([FIRST, MID, MID, MID, MID, LAST], discount_at_end=0.0)
    (_, first), (_, second), (t, last) = decisions
    assert (float(first.time_step.reward), float(first.time_step.discount)) == (0.0, 1.0)
    # 1 + 2 / 2 + 3 / 4; the loss multiplies the discount with 0.5 once more
    assert float(second.time_step.reward) == 2.75
    assert float(second.time_step.discount) == 0.25
    assert t == 5
    assert float(last.time_step.reward) == 4 + 5 / 2
    assert float(last.time_step.discount) == 0.0
    # three steps were chosen each time, though the episode ended after two of the last
    assert [float(d.time_step.prev_action[0]) for d in (second, last)] == [2, 2]


def test_an_episode_begins_with_a_decision_and_nothing_gathered():
    actions, decisions = _run([FIRST, MID, LAST, FIRST, MID])
    assert actions == [0, 0, 1, 0, 0]
    assert [t for t, _ in decisions] == [0, 2, 3]
    assert float(decisions[-1][1].time_step.reward) == 0


def test_it_predicts_the_same_without_rewards():
    agent = DynamicActionRepeatAgent(OBSERVATION, ACTION, rl_algorithm_cls=Counting, K=3)
    state, seen = agent.get_initial_predict_state(1), []
    step = small.in_time(reward=torch.zeros(1), observation=torch.zeros(1, 1))
    for step_type in [FIRST, MID, MID, MID, MID, LAST]:
        step = step._replace(step_type=torch.tensor([step_type], dtype=torch.int32))
        result = agent.predict_step(step, state)
        state = result.state
        seen.append((float(result.output), int(state.steps)))
    assert seen == [(0, 2), (0, 1), (0, 0), (1, 2), (1, 1), (2, 2)]
    nest.assert_same_structure(state, agent.predict_state_spec)
    assert (state.k, state.rl_reward, state.rl_discount, state.sample_rewards) == ((), (), (), ())
    (rl,) = agent._child_algorithms()
    assert {(x.reward, x.discount, x.prev_action) for x in rl.seen} == {((), (), ())}


def test_only_decisions_are_stored_with_the_raw_observation():
    agent = DynamicActionRepeatAgent(
        OBSERVATION, ACTION, rl_algorithm_cls=Counting, config=small.replayed(), K=3
    )
    agent.set_replay_buffer(3, 10)
    step = small.in_time(reward=torch.zeros(3), observation=torch.ones(3, 1))
    step = step._replace(env_id=torch.arange(3, dtype=torch.int32))
    result = agent.rollout_step(step, agent.get_initial_rollout_state(3))
    decides = torch.tensor([True, False, True])
    info = result.info._replace(decides=decides)
    raw = step._replace(observation=torch.tensor([[10.0], [20.0], [30.0]]))
    agent.observe_for_replay(Experience(time_step=raw, action=result.output, rollout_info=info))
    assert agent._replay_buffer._current_size.tolist() == [1, 0, 1]
    stored = agent._replay_buffer._buffer
    assert stored.time_step.observation[[0, 2], 0, 0].tolist() == [10, 30]
    # until every environment has a sequence there is nothing to train from
    assert agent.train_from_replay_buffer() == 0


@pytest.mark.parametrize("part", ["alone", "representation", "normalizer"])
def test_a_short_memory_is_no_harm_where_repeating_does_not_pay(part):
    """In the bandit another action pays at every step: the agent learns not to repeat."""
    torch.manual_seed(0)
    options: dict[str, Any] = {}
    if part == "representation":
        net = partial(EncodingNetwork, fc_layer_params=(16,))
        options["representation_learner_cls"] = partial(EncodingAlgorithm, encoder_cls=net)
    if part == "normalizer":
        options["reward_normalizer_ctor"] = partial(
            RewardNormalizer, normalizer=ScalarAdaptiveNormalizer(auto_update=False)
        )
    env = small.bandit(ActionType.Continuous)
    agent = DynamicActionRepeatAgent(
        env.observation_spec(),
        env.action_spec(),
        env=env,
        config=small.replayed(num_updates_per_train_iter=4),
        K=3,
        gamma=0.9,
        rl_algorithm_cls=small.sac(
            target_entropy=(0.1, -1.0),
            q_network_cls=partial(
                QNetwork, fc_layer_params=(32,), preprocessing_combiner=NestConcat()
            ),
        ),
        optimizer=None if part != "representation" else small.Adam(lr=1e-2),
        **options,
    )
    rewards = []
    for i in range(200 if part == "alone" else 20):
        agent.train_iter()
        if i >= 99 and i % 20 == 19:
            rewards.append(float(small.mean_reward(agent, ActionType.Continuous)))
    if part == "alone":
        # one greedy policy may repeat where the values of repeating and not are almost the same
        assert statistics.median(rewards) > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action_spec": BoundedTensorSpec((), torch.int64, 0, 1)}, "continuous actions"),
        ({"K": 0}, "K is 0"),
    ],
)
def test_what_cannot_be_repeated_is_an_error(options, message):
    arguments = {"observation_spec": OBSERVATION, "action_spec": ACTION, **options}
    with pytest.raises(ValueError, match=message):
        DynamicActionRepeatAgent(**arguments)
