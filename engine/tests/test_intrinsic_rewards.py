"""Curiosity, random network distillation, skills and encoders, alone and inside an agent."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import small_learners as small
import torch

from alf.algorithms.agent import Agent
from alf.algorithms.diayn_algorithm import DIAYNAlgorithm, DIAYNInfo, create_discrete_skill_spec
from alf.algorithms.encoding_algorithm import EncodingAlgorithm
from alf.algorithms.goal_generator import GoalInfo, GoalState, RandomCategoricalGoalGenerator
from alf.algorithms.icm_algorithm import ICMAlgorithm, ICMInfo
from alf.algorithms.rnd_algorithm import RNDAlgorithm
from alf.data_structures import StepType
from alf.environments.suite_unittest import ActionType
from alf.nest import nest
from alf.nest.utils import NestConcat
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.encoding_networks import EncodingNetwork
from alf.networks.network import Network
from alf.networks.q_networks import QNetwork
from alf.networks.value_networks import ValueNetwork
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.common import eval_context

OBSERVATION = TensorSpec((2,))
ACTION = BoundedTensorSpec((1,), minimum=-1.0, maximum=1.0)
CHOICE = BoundedTensorSpec((), torch.int64, 0, 3)
FIRST, MID = int(StepType.FIRST), int(StepType.MID)


class Constant(Network):
    """The same numbers [B, n] for every input."""

    def __init__(self, numbers: list[float], spec: Any = OBSERVATION):
        super().__init__(spec, name="Constant")
        self.numbers = torch.nn.Parameter(torch.tensor(numbers))

    def forward(self, inputs: Any, state: Any = ()) -> Any:
        leaf = inputs[0] if isinstance(inputs, list) else inputs
        return self.numbers.expand(leaf.shape[0], -1), state


def _steps(types: list[int], observation: Any, **fields: Any) -> Any:
    B = len(types)
    return small.in_time(reward=torch.zeros(B), observation=observation, **fields)._replace(
        step_type=torch.tensor(types, dtype=torch.int32)
    )


# ---- curiosity ----


def _icm(**options: Any) -> ICMAlgorithm:
    return ICMAlgorithm(
        ACTION,
        encoding_net=EncodingNetwork(OBSERVATION, last_layer_size=2, last_activation=lambda x: x),
        forward_net=Constant([1.0, 0.0]),
        inverse_net=Constant([0.5]),
        **options,
    )


def test_curiosity_by_hand():
    alg = ICMAlgorithm(
        ACTION, OBSERVATION, forward_net=Constant([1.0, 0.0]), inverse_net=Constant([0.5])
    )
    step = _steps(
        [FIRST, MID],
        torch.tensor([[9.0, 9.0], [3.0, 4.0]]),
        prev_action=torch.tensor([[0.0], [-0.5]]),
    )
    alg.set_on_policy(False)
    rolled = alg.rollout_step(step, torch.ones(2, 2))
    # The observations are 1 and -1, normalized by the statistics of the two. Half the mean of 0 and
    # 1, of 2^2 and 1; half of 0.5^2 and of 1^2.
    torch.testing.assert_close(rolled.info.forward_loss, torch.tensor([0.25, 1.25]))
    torch.testing.assert_close(rolled.info.inverse_loss, torch.tensor([0.125, 0.5]))
    # FIRST steps count as 0 in the mean
    torch.testing.assert_close(alg.calc_loss(rolled.info).scalar_loss, torch.tensor(0.875))
    # The statistics of rewards know the two as well: mean 0.75, deviation 0.5.
    torch.testing.assert_close(rolled.output, torch.tensor([-1.0, 1.0]))


def test_a_discrete_action_is_guessed_by_its_logits():
    alg = ICMAlgorithm(CHOICE, OBSERVATION, hidden_size=8, inverse_net=Constant([0.0] * 4))
    step = _steps([MID] * 2, torch.randn(2, 2), prev_action=torch.tensor([1, 3]))
    info = alg.train_step(step, torch.tensor([[1.0, 0.0], [0.0, 0.0]])).info
    # a feature of zeros is a feature
    torch.testing.assert_close(info.inverse_loss, torch.full((2,), math.log(4.0)))


def test_the_forward_model_does_not_teach_the_features():
    alg = _icm()
    step = _steps([MID] * 2, torch.randn(2, 2), prev_action=torch.zeros(2, 1))
    info = alg.train_step(step, torch.ones(2, 2, requires_grad=True)).info
    info.forward_loss.sum().backward()
    assert alg._forward_net.numbers.grad is not None
    assert all(p.grad is None for p in alg._encoding_net.parameters())


def _rnd(**options: Any) -> RNDAlgorithm:
    net = partial(EncodingNetwork, OBSERVATION, last_layer_size=2, last_activation=torch.tanh)
    return RNDAlgorithm(net(), net(), reward_adapt_speed=8.0, keep_stacked_frames=0, **options)


def _diayn(**options: Any) -> DIAYNAlgorithm:
    net = EncodingNetwork(OBSERVATION, last_layer_size=2, last_activation=torch.tanh)
    return DIAYNAlgorithm(create_discrete_skill_spec(2), net, **options)


def _statistics(alg: Any) -> list[dict[str, torch.Tensor]]:
    """Those of rewards, and those of observations."""
    modules = (alg._reward_scale, alg._observation_normalizer)
    return [{key: x.clone() for key, x in m.state_dict().items()} for m in modules]


def _have_moved(alg: Any, before: list[dict[str, torch.Tensor]]) -> list[bool]:
    now = _statistics(alg)
    return [any(not x.equal(b[k]) for k, x in n.items()) for n, b in zip(now, before, strict=True)]


@pytest.mark.parametrize("training", [True, False], ids=["train()", "eval()"])
@pytest.mark.parametrize("on_policy", [True, False])
@pytest.mark.parametrize("ctor", [_icm, _rnd, _diayn])
def test_statistics_move_where_a_reward_is_made_and_where_one_learns(ctor, on_policy, training):
    """The trainer rolls out in the mode `eval()`."""
    alg = ctor(observation_spec=OBSERVATION).train(training)
    alg.set_on_policy(on_policy)
    observation = torch.randn(4, 2)
    if ctor is _diayn:
        observation = [observation, torch.tensor([0, 1, 0, 1])]
    step = _steps([MID] * 4, observation, prev_action=torch.zeros(4, 1))
    state = () if ctor is _rnd else torch.eye(2).repeat(2, 1)

    before = _statistics(alg)
    alg.predict_step(step, state)
    with eval_context():
        alg.rollout_step(step, state)
    assert _have_moved(alg, before) == [False, False]
    alg.rollout_step(step, state)
    assert _have_moved(alg, before) == [True, True]
    before = _statistics(alg)
    alg.train_step(step, state)
    assert _have_moved(alg, before) == [False, True]


@pytest.mark.parametrize("ctor", [_icm, _rnd, _diayn])
def test_rewards_of_another_process_are_learned_once(ctor):
    """With `async_unroll` the statistics of the other process are replaced by those here."""
    alg, other = ctor(), ctor()
    other.load_state_dict(alg.state_dict())
    rewards, infos = [], []
    for _ in range(3):
        observation = torch.randn(4, 2)
        if ctor is _diayn:
            observation = [observation, torch.tensor([0, 1, 0, 1])]
        step = _steps([MID] * 4, observation, prev_action=torch.zeros(4, 1))
        rolled = other.rollout_step(step, () if ctor is _rnd else torch.eye(2).repeat(2, 1))
        rewards.append(rolled.output)
        infos.append(rolled.info)
    info = nest.map_structure(lambda *x: torch.stack(x), *infos)
    for learner in (alg, other):
        learner.after_train_iter(None, info)
    for key, x in other._reward_scale.state_dict().items():
        torch.testing.assert_close(alg._reward_scale.state_dict()[key], x)
    assert not torch.stack(rewards).equal(torch.zeros(3, 4))


@pytest.mark.parametrize("ctor", [_icm, _diayn])
def test_what_comes_before_a_replayed_sequence_is_not_learned_from(ctor):
    alg = ctor()
    alg.set_on_policy(False)
    B = 4
    infos = {
        _icm: ICMInfo(torch.full((2, B), MID), torch.ones(2, B), torch.ones(2, B)),
        _diayn: DIAYNInfo(2 * torch.ones(2, B)),
    }
    assert float(alg.calc_loss(infos[ctor]).scalar_loss) == 1.0  # of one of the two steps
    alg.use_rollout_state = True
    assert float(alg.calc_loss(infos[ctor]).scalar_loss) == 2.0


def test_sequences_of_one_step_without_a_state_are_an_error():
    alg = ICMAlgorithm(ACTION, OBSERVATION, hidden_size=8)
    alg.set_on_policy(False)
    info = ICMInfo(torch.full((1, 4), int(MID)), torch.zeros(1, 4), torch.zeros(1, 4))
    with pytest.raises(ValueError, match="mini_batch_length of at least 2"):
        alg.calc_loss(info)
    alg.use_rollout_state = True
    assert alg.calc_loss(info).scalar_loss.shape == ()


def test_curiosity_needs_to_know_what_a_feature_is():
    with pytest.raises(ValueError, match="encoding_net"):
        ICMAlgorithm(ACTION)


# ---- random network distillation ----


def test_distillation_by_hand():
    alg = RNDAlgorithm(Constant([1.0, 0.0]), Constant([3.0, 1.0]), keep_stacked_frames=0)
    alg.set_on_policy(False)
    rolled = alg.rollout_step(_steps([FIRST, MID], torch.zeros(2, 2)), ())
    torch.testing.assert_close(rolled.output, torch.full((2,), 5.0))  # 2^2 + 1^2
    trained = alg.train_step(_steps([MID, MID], torch.zeros(2, 2)), ())
    torch.testing.assert_close(trained.info, torch.full((2,), 5.0))
    loss = alg.calc_loss(trained.info)
    assert (loss.loss, loss.extra) == ((), ())
    torch.testing.assert_close(loss.scalar_loss, torch.tensor(5.0))
    loss.scalar_loss.backward()
    assert alg._target_net.numbers.grad is None
    assert alg._predictor_net.numbers.grad is not None


def test_what_was_seen_often_is_rewarded_less():
    torch.manual_seed(0)
    net = partial(EncodingNetwork, OBSERVATION, fc_layer_params=(32,), last_layer_size=8)
    net = partial(net, last_activation=lambda x: x)
    alg = RNDAlgorithm(net(), net(), keep_stacked_frames=0, optimizer=Adam(lr=1e-2))
    alg.set_on_policy(False)
    known, new = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 2.0]])
    for _ in range(100):
        info = alg.train_step(_steps([MID] * 8, known.expand(8, 2)), ()).info
        alg.update_with_gradient(alg.calc_loss(info))
    reward = alg.rollout_step(_steps([MID] * 2, torch.cat([known, new])), ()).output
    assert float(reward[0]) < 0.1 * float(reward[1])


def test_only_the_newest_frames_are_looked_at():
    spec = TensorSpec((4, 3, 3))
    net = partial(EncodingNetwork, TensorSpec((1, 3, 3)), input_preprocessors=torch.nn.Flatten())
    alg = RNDAlgorithm(net(last_layer_size=2, last_activation=lambda x: x),
                       net(last_layer_size=2, last_activation=lambda x: x),
                       observation_spec=spec, reward_adapt_speed=8.0)  # fmt: skip
    alg.set_on_policy(False)
    image = torch.randn(2, 4, 3, 3)
    other = torch.cat([torch.randn(2, 3, 3, 3), image[:, 3:]], dim=1)
    rewards = [alg.rollout_step(_steps([MID] * 2, x), ()).output for x in (image, other)]
    torch.testing.assert_close(*rewards)


# ---- skills ----


def test_the_reward_is_the_discriminators_log_probability_of_the_skill_before():
    net = EncodingNetwork(OBSERVATION, last_layer_size=2, last_activation=lambda x: x)
    alg = DIAYNAlgorithm(create_discrete_skill_spec(3), net)
    alg._discriminator_net = Constant([math.log(2.0), 0.0, 0.0])
    alg.set_on_policy(False)
    step = _steps([FIRST, MID, MID], [torch.zeros(3, 2), torch.tensor([2, 2, 2])])
    before = torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0]])
    rolled = alg.rollout_step(step, before)
    torch.testing.assert_close(rolled.info.loss, torch.tensor([0.0, math.log(2.0), math.log(4.0)]))
    # 0, -1 and -2 times log 2, whose mean is -log 2 and whose variance is 2/3 of log(2)^2
    torch.testing.assert_close(rolled.output, torch.tensor([1.5**0.5, 0.0, -(1.5**0.5)]))
    assert rolled.state.tolist() == [[0, 0, 1]] * 3


def test_a_continuous_skill_is_guessed_itself():
    net = EncodingNetwork(OBSERVATION, last_layer_size=2, last_activation=lambda x: x)
    alg = DIAYNAlgorithm(TensorSpec((2,)), net)
    alg._discriminator_net = Constant([1.0, 1.0])
    step = _steps([MID], [torch.zeros(1, 2), torch.zeros(1, 2)])
    info = alg.train_step(step, torch.tensor([[0.0, 3.0]])).info
    torch.testing.assert_close(info.loss, torch.tensor([5.0]))


def test_the_discriminator_learns_to_tell_skills_apart():
    torch.manual_seed(0)
    net = EncodingNetwork(OBSERVATION, fc_layer_params=(16,))
    alg = DIAYNAlgorithm(create_discrete_skill_spec(2), net, observation_spec=OBSERVATION)
    alg.add_optimizer(Adam(lr=1e-2), [alg._encoding_net, alg._discriminator_net])
    skill = torch.arange(64) % 2
    where = torch.randn(64, 2) + 4 * skill.unsqueeze(1)
    before = torch.nn.functional.one_hot(skill, 2).float()
    step = _steps([MID] * 64, [where, skill])
    losses = []
    for _ in range(60):
        loss = alg.calc_loss(alg.train_step(step, before).info)
        losses.append(float(loss.scalar_loss.detach()))
        alg.update_with_gradient(loss)
    assert losses[0] > 0.5
    assert losses[-1] < 0.1


def test_a_goal_lasts_for_an_episode_and_is_any_of_them():
    alg = RandomCategoricalGoalGenerator(OBSERVATION, 4)
    step = _steps([FIRST] * 400, torch.zeros(400, 2))
    first = alg.rollout_step(step, GoalState(goal=torch.zeros(400, 4)))
    goal, reward = first.output
    assert reward == ()
    assert goal.sum(1).tolist() == [1.0] * 400
    assert goal.sum(0).min() > 60
    later = alg.rollout_step(_steps([MID] * 400, torch.zeros(400, 2)), first.state)
    assert later.output[0].equal(goal)
    again = alg.train_step(step, GoalState(goal=torch.zeros(400, 4)), GoalInfo(goal=goal))
    assert again.output[0].equal(goal)


# ---- encoders ----


class Encoder(Network):
    """Doubles the observation, and gives its mean as a loss."""

    def forward(self, inputs: Any, state: Any = ()) -> Any:
        return {"code": {"z": 2 * inputs}, "loss": inputs.mean(-1)}, state


def test_parts_of_the_encoders_output_are_output_and_losses():
    alg = EncodingAlgorithm(
        OBSERVATION,
        ACTION,
        encoder_cls=lambda spec: Encoder(spec),
        output_fields="code.z",
        loss_fields=["loss", "loss"],
        loss_weights=[1.0, 0.5],
    )
    assert alg.output_spec == OBSERVATION
    with pytest.raises(ValueError, match="one number for each row"):
        EncodingAlgorithm(OBSERVATION, ACTION, encoder_cls=Encoder, loss_fields="code.z")
    step = _steps([MID], torch.tensor([[1.0, 3.0]]))
    trained = alg.train_step(step, ())
    assert trained.output.tolist() == [[2.0, 6.0]]
    assert trained.info.loss.tolist() == [3.0]


def test_an_encoder_without_losses_gives_all_it_has():
    ctor = partial(EncodingNetwork, fc_layer_params=(5,))
    alg = EncodingAlgorithm(OBSERVATION, ACTION, encoder_cls=ctor)
    assert alg.output_spec.shape == (5,)
    trained = alg.train_step(_steps([MID], torch.ones(1, 2)), ())
    assert trained.info.loss == ()
    with pytest.raises(ValueError, match="loss_fields"):
        EncodingAlgorithm(OBSERVATION, ACTION, encoder_cls=ctor, loss_weights=[1.0])


def test_an_encoder_can_see_the_whole_time_step():
    ctor = partial(EncodingNetwork, preprocessing_combiner=NestConcat(), fc_layer_params=(5,))
    seen = []

    def spy(spec: Any) -> Any:
        seen.append(spec)
        return ctor(spec.observation)

    EncodingAlgorithm(OBSERVATION, ACTION, encoder_cls=spy, time_step_as_input=True)
    assert seen[0].prev_action == ACTION
    assert seen[0].observation == OBSERVATION


# ---- inside an agent ----

BANDIT = TensorSpec((1,))


def _parts(kind: str) -> dict[str, Any]:
    net = partial(EncodingNetwork, fc_layer_params=(8,))
    env = small.bandit(ActionType.Discrete)
    if kind == "curiosity":
        return {"intrinsic_reward_module": ICMAlgorithm(env.action_spec(), BANDIT, 8)}
    if kind == "distillation":
        rnd = RNDAlgorithm(net(BANDIT), net(BANDIT), reward_adapt_speed=8.0)
        return {"intrinsic_reward_module": rnd}
    if kind == "skills":
        return {
            "goal_generator": RandomCategoricalGoalGenerator(BANDIT, 2),
            "intrinsic_reward_module": DIAYNAlgorithm(create_discrete_skill_spec(2), net(BANDIT)),
        }
    if kind == "entropy":
        return {"enforce_entropy_target": True}
    return {"representation_learner_cls": partial(EncodingAlgorithm, encoder_cls=net)}


@pytest.mark.parametrize("kind", ["curiosity", "distillation", "skills", "entropy", "encoder"])
@pytest.mark.parametrize("learner", ["PPO", "actor-critic", "DQN"])
def test_an_agent_with_such_a_part_still_learns_the_bandit(kind, learner):
    if (kind, learner) == ("entropy", "DQN"):
        pytest.skip("DQN has no action distribution")
    torch.manual_seed(1)
    env = small.bandit(ActionType.Discrete)
    rl, config = {
        "PPO": (small.ppo, small.whole(use_rollout_state=True)),
        "actor-critic": (small.actor_critic, small.whole()),
        "DQN": (small.dqn, small.replayed()),
    }[learner]
    options: dict[str, Any] = {}
    if kind == "skills":
        concatenated = {"preprocessing_combiner": NestConcat()}
        options = _with_goals(learner, concatenated)
    agent = Agent(
        env.observation_spec(),
        env.action_spec(),
        env=env,
        config=config,
        rl_algorithm_cls=rl(**options),
        intrinsic_reward_coef=0.01,
        optimizer=Adam(lr=small.LR),
        **_parts(kind),
    )
    for _ in range(90 if learner == "actor-critic" else 30):
        agent.train_iter()
    assert small.mean_reward(agent, ActionType.Discrete) > 0.75


def _with_goals(learner: str, options: dict[str, Any]) -> dict[str, Any]:
    def network(cls: Any) -> Any:
        return partial(cls, fc_layer_params=small.HIDDEN, **options)

    if learner == "DQN":
        return {"q_network_cls": network(QNetwork)}
    actor, value = network(ActorDistributionNetwork), network(ValueNetwork)
    return {"actor_network_ctor": actor, "value_network_ctor": value}
