"""An agent and its parts."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.distributions as td

from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm
from alf.algorithms.agent import Agent, AgentInfo
from alf.algorithms.agent_helpers import AgentHelper
from alf.algorithms.algorithm import Algorithm
from alf.algorithms.config import TrainerConfig
from alf.algorithms.rl_algorithm import RLAlgorithm
from alf.algorithms.sac_algorithm import SacAlgorithm, SacInfo
from alf.data_structures import AlgStep, LossInfo, StepType, TimeStep
from alf.nest import nest
from alf.nest.utils import NestConcat
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.critic_networks import CriticNetwork
from alf.networks.value_networks import ValueNetwork
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils

OBSERVATION = TensorSpec((3,))
ACTION = BoundedTensorSpec((2,), torch.float32, -1.0, 1.0)
GOAL = BoundedTensorSpec((2,), torch.float32, 0.0, 1.0)

config = TrainerConfig(
    root_dir="unused",
    whole_replay_buffer_training=False,
    clear_replay_buffer=False,
    mini_batch_length=2,
    mini_batch_size=8,
)


class DoublingLearner(Algorithm):
    """Represents an observation by its double, and is trained to be small."""

    def __init__(self, observation_spec, action_spec, reward_spec, config, debug_summaries):
        super().__init__(name="Doubling")
        self.output_spec = observation_spec
        self._factor = torch.nn.Parameter(torch.tensor(2.0))

    def predict_step(self, inputs, state):
        return AlgStep(output=inputs.observation * self._factor)

    rollout_step = predict_step

    def train_step(self, inputs, state, rollout_info=None):
        output = inputs.observation * self._factor
        return AlgStep(output=output, info=LossInfo(loss=output.square().mean(-1)))


class ConstantGoal(RLAlgorithm):
    """The goal (0, 1) with the reward 0.25."""

    def __init__(self):
        super().__init__(
            observation_spec=OBSERVATION, action_spec=GOAL, train_state_spec=(), name="Goal"
        )

    def predict_step(self, inputs, state):
        rows = inputs.step_type.shape[0]
        goal = torch.tensor([0.0, 1.0]).expand(rows, 2)
        return AlgStep(output=(goal, torch.full((rows,), 0.25)), info=LossInfo())

    def rollout_step(self, inputs, state):
        return self.predict_step(inputs, state)._replace(info=())

    def train_step(self, inputs, state, rollout_info=None):
        return self.predict_step(inputs, state)

    def calc_loss(self, info):
        return LossInfo()


class CountingReward(Algorithm):
    """The reward is the number of steps since FIRST; every step is counted in the state."""

    def __init__(self):
        super().__init__(train_state_spec=TensorSpec(()), name="Counting")

    def rollout_step(self, inputs, state):
        state = torch.where(inputs.step_type == StepType.FIRST, 0.0, state + 1.0)
        return AlgStep(output=state, state=state)

    predict_step = rollout_step

    def train_step(self, inputs, state, rollout_info=None):
        return self.rollout_step(inputs, state)

    def calc_loss(self, info):
        return LossInfo()


sac_ctor = partial(
    SacAlgorithm,
    actor_network_cls=partial(
        ActorDistributionNetwork, fc_layer_params=(8,), preprocessing_combiner=NestConcat()
    ),
    critic_network_cls=partial(
        CriticNetwork,
        observation_preprocessing_combiner=NestConcat(),
        joint_fc_layer_params=(8,),
    ),
)
actor_critic_ctor = partial(
    ActorCriticAlgorithm,
    actor_network_ctor=partial(
        ActorDistributionNetwork, fc_layer_params=(8,), preprocessing_combiner=NestConcat()
    ),
    value_network_ctor=partial(
        ValueNetwork, fc_layer_params=(8,), preprocessing_combiner=NestConcat()
    ),
)


def make_agent(**options) -> Agent:
    return Agent(
        **{
            "observation_spec": OBSERVATION,
            "action_spec": ACTION,
            "config": config,
            "rl_algorithm_cls": sac_ctor,
            "optimizer": Adam(lr=1e-2),
            **options,
        }
    )


def make_time_step(rows: int, step_type=StepType.MID) -> TimeStep:
    return TimeStep(
        step_type=torch.full((rows,), step_type, dtype=torch.int32),
        reward=torch.arange(rows, dtype=torch.float32),
        discount=torch.ones(rows),
        observation=torch.randn(rows, 3),
        prev_action=torch.zeros(rows, 2),
        env_id=torch.arange(rows, dtype=torch.int32),
    )


def time_major(info, time: int):
    spec = dist_utils.extract_spec(info)
    params = dist_utils.distributions_to_params(info)
    params = nest.map_structure(lambda x: x.unflatten(0, (time, -1)), params)
    return dist_utils.params_to_distributions(params, spec)


def test_an_agent_around_sac_has_the_losses_of_flat_sac():
    agent = make_agent()
    flat = sac_ctor(OBSERVATION, ACTION, config=config)
    flat.load_state_dict(agent._rl_algorithm.state_dict())
    inputs, taken = make_time_step(8), ACTION.sample((8,))

    torch.manual_seed(0)
    info = agent.train_step(
        inputs, agent.get_initial_train_state(8), AgentInfo(rl=SacInfo(action=taken))
    ).info
    loss = agent.calc_loss(time_major(info, 2))
    torch.manual_seed(0)
    flat_info = flat.train_step(inputs, flat.get_initial_train_state(8), SacInfo(action=taken)).info
    flat_loss = flat.calc_loss(time_major(flat_info, 2))
    assert torch.equal(loss.loss, flat_loss.loss)
    for got, expected in zip(
        nest.flatten(loss.extra["rl"]), nest.flatten(flat_loss.extra), strict=True
    ):
        assert torch.equal(got, expected)


def test_an_agent_around_sac_trains_with_its_own_optimizer():
    optimizer = Adam(lr=1e-2)
    agent = make_agent(optimizer=optimizer)
    assert agent.on_policy is False
    inputs = make_time_step(8)
    rollout_info = AgentInfo(rl=SacInfo(action=ACTION.sample((8,))))
    info = agent.train_step(inputs, agent.get_initial_train_state(8), rollout_info).info
    sac = agent._rl_algorithm
    before = [p.clone() for p in sac._actor_network.parameters()]
    targets = [p.clone() for p in sac._target_critic_networks.parameters()]
    agent.update_with_gradient(agent.calc_loss(time_major(info, 2)))
    agent.after_update(inputs, info)
    assert all(
        not torch.equal(a, b) for a, b in zip(before, sac._actor_network.parameters(), strict=True)
    )
    assert any(
        not torch.equal(a, b)
        for a, b in zip(targets, sac._target_critic_networks.parameters(), strict=True)
    )
    assert not optimizer.param_groups[0]["params"]


def test_every_part_sees_what_the_parts_before_it_made():
    agent = make_agent(
        representation_learner_cls=DoublingLearner,
        goal_generator=ConstantGoal(),
        intrinsic_reward_module=CountingReward(),
        intrinsic_reward_coef=10.0,
        extrinsic_reward_coef=2.0,
    )
    seen = []
    sac = agent._rl_algorithm
    nest.assert_same_structure(sac.observation_spec, [OBSERVATION, GOAL])
    original = sac.rollout_step
    sac.rollout_step = lambda inputs, state: (seen.append(inputs), original(inputs, state))[1]

    state = agent.get_initial_rollout_state(4)
    first = make_time_step(4, StepType.FIRST)
    step = agent.rollout_step(first, state)
    mid = make_time_step(4)
    step = agent.rollout_step(mid, step.state)
    nest.assert_same_structure(step.state, state)
    torch.testing.assert_close(seen[1].observation[0], 2 * mid.observation)
    assert seen[1].observation[1].tolist() == [[0.0, 1.0]] * 4
    assert torch.equal(seen[1].reward, mid.reward)  # off-policy: added when sampled
    assert step.state.irm.tolist() == [1.0] * 4

    root_inputs = nest.map_structure(lambda x: x.unsqueeze(1), mid)
    info = dist_utils.distributions_to_params(step.info)
    rollout_info = nest.map_structure(lambda x: x.unsqueeze(1), info)
    processed, _ = agent.preprocess_experience(root_inputs, rollout_info, None)
    expected = 2 * mid.reward + 10 * 1.0 + 0.25
    torch.testing.assert_close(processed.reward[:, 0], expected)


def test_all_parts_are_trained_by_one_loss():
    agent = make_agent(
        representation_learner_cls=DoublingLearner,
        goal_generator=ConstantGoal(),
        intrinsic_reward_module=CountingReward(),
    )
    rollout_info = AgentInfo(rl=SacInfo(action=ACTION.sample((8,))))
    state = agent.get_initial_train_state(8)
    info = agent.train_step(make_time_step(8), state, rollout_info).info
    loss = agent.calc_loss(time_major(info, 2))
    rl_loss = agent._rl_algorithm.calc_loss(time_major(info.rl, 2)).loss
    torch.testing.assert_close(loss.loss, rl_loss + info.repr.loss.reshape(2, 4))
    assert set(loss.extra) == {"repr", "goal_generator", "irm", "rl"}


def test_evaluation_sees_representation_and_goal():
    agent = make_agent(representation_learner_cls=DoublingLearner, goal_generator=ConstantGoal())
    state = agent.get_initial_predict_state(4)
    step = agent.predict_step(make_time_step(4), state)
    assert step.output.shape == (4, 2)
    nest.assert_same_structure(step.state, state)


def test_on_policy_the_rl_algorithm_gets_the_overall_reward():
    agent = make_agent(
        rl_algorithm_cls=actor_critic_ctor,
        intrinsic_reward_module=CountingReward(),
        intrinsic_reward_coef=10.0,
    )
    assert agent.on_policy
    inputs = make_time_step(4)
    step = agent.rollout_step(inputs, agent.get_initial_rollout_state(4))
    torch.testing.assert_close(step.info.rl.reward, inputs.reward + 10.0)


@pytest.mark.parametrize("action_spec", [ACTION, {"a": ACTION, "b": ACTION}])
def test_an_entropy_target_adds_its_weighted_entropy(action_spec):
    agent = make_agent(
        rl_algorithm_cls=actor_critic_ctor, action_spec=action_spec, enforce_entropy_target=True
    )
    inputs = make_time_step(8)
    info = agent.rollout_step(inputs, agent.get_initial_rollout_state(8)).info
    loss = agent.calc_loss(time_major(info, 2))
    rl_loss = agent._rl_algorithm.calc_loss(time_major(info.rl, 2)).loss
    entropy = dist_utils.compute_entropy(info.rl.action_distribution).reshape(2, 4)
    # alpha starts at 0.1 and waits for the window of the first entropies to be full
    torch.testing.assert_close(loss.loss, rl_loss - 0.1 * entropy)


def test_an_entropy_target_without_distributions_is_an_error():
    class Silent(ActorCriticAlgorithm):
        def rollout_step(self, inputs, state):
            step = super().rollout_step(inputs, state)
            return step._replace(info=step.info._replace(action_distribution=()))

    agent = make_agent(
        rl_algorithm_cls=partial(Silent, **actor_critic_ctor.keywords), enforce_entropy_target=True
    )
    with pytest.raises(ValueError, match="whose info has action_distribution"):
        agent.rollout_step(make_time_step(4), agent.get_initial_rollout_state(4))


class FixedWeights(Algorithm):
    def __init__(self, reward_spec, debug_summaries):
        super().__init__(name="FixedWeights")
        self.reward_weights = torch.tensor([1.0, -3.0])

    def rollout_step(self, inputs, state):
        return AlgStep(info=inputs.reward)

    def predict_step(self, inputs, state):
        return AlgStep()

    def after_train_iter(self, root_inputs, info=None):
        self.reward_weights = self.reward_weights + 1


def test_learnt_reward_weights_replace_those_of_the_rl_algorithm():
    agent = make_agent(reward_spec=TensorSpec((2,)), reward_weight_algorithm_cls=FixedWeights)
    sac = agent._rl_algorithm
    assert sac.reward_weights.tolist() == [1.0, -3.0]
    agent.after_train_iter(None, None)
    assert sac.reward_weights.tolist() == [2.0, -2.0]


def test_the_parts_know_their_paths():
    agent = make_agent(representation_learner_cls=DoublingLearner)
    agent.set_path("")
    assert agent._rl_algorithm.path == "rl"
    assert agent._representation_learner.path == "repr"
    agent.set_path("top")
    assert agent._rl_algorithm.path == "top.rl"


def test_wrong_parts_are_refused():
    with pytest.raises(TypeError, match=r"Agent\.goal_generator must be an Algorithm"):
        make_agent(goal_generator=ConstantGoal)
    with pytest.raises(ValueError, match="needs a vector reward"):
        make_agent(reward_weight_algorithm_cls=FixedWeights)


def test_rewards_are_weighted_and_empty_ones_left_out():
    seen = {}
    total = AgentHelper.accumulate_algorithm_rewards(
        [torch.tensor([[1.0, 2.0]]), (), torch.tensor([3.0])],
        [2.0, 5.0, 10.0],
        ["extrinsic", "none", "irm"],
        "reward",
        lambda name, reward: seen.update({name: reward}),
    )
    assert total.tolist() == [[32.0, 34.0]]
    assert set(seen) == {"reward/extrinsic", "reward/irm", "reward/overall"}


def test_a_field_belongs_to_one_algorithm():
    helper = AgentHelper(lambda **fields: fields)
    helper.register_algorithm(CountingReward(), "irm")
    with pytest.raises(ValueError, match="registered already"):
        helper.register_algorithm(CountingReward(), "irm")


def test_the_distribution_of_an_agent_info_can_be_stacked():
    agent = make_agent(rl_algorithm_cls=actor_critic_ctor)
    info = agent.rollout_step(make_time_step(6), agent.get_initial_rollout_state(6)).info
    stacked = time_major(info, 2).rl.action_distribution
    assert isinstance(stacked, td.Distribution)
    assert stacked.batch_shape == (2, 3)
