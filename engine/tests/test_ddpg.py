"""Deep deterministic policy gradient: losses by hand, noise, replicas, states."""

from __future__ import annotations

from functools import partial

import pytest
import small_learners as small
import torch

from alf.algorithms.agent import Agent
from alf.algorithms.ddpg_algorithm import DdpgAlgorithm, DdpgInfo
from alf.algorithms.one_step_loss import OneStepTDLoss
from alf.algorithms.training.row_layout import rows_are
from alf.data_structures import StepType
from alf.environments.suite_unittest import ActionType
from alf.nest import nest
from alf.networks.actor_networks import ActorRNNNetwork
from alf.networks.critic_networks import CriticRNNNetwork
from alf.networks.network import Network
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

OBSERVATION = TensorSpec((1,))
ACTION = BoundedTensorSpec((1,), minimum=-1.0, maximum=1.0)


class Half(Network):
    """The action is half the observation, times a weight of 1."""

    def __init__(self, input_tensor_spec, action_spec, name="Half"):
        super().__init__(input_tensor_spec, name=name)
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, state=()):
        return 0.5 * self.weight * inputs, state


class Sum(Network):
    """Q(s, a) = s + 3 a of the first replica, 10 more of each further one."""

    def __init__(self, input_tensor_spec, output_tensor_spec=None, replicas=1, name="Sum"):
        super().__init__(input_tensor_spec, name=name)
        self.bias = torch.nn.Parameter(10 * torch.arange(float(replicas)))

    def make_parallel(self, n):
        return Sum(self.input_tensor_spec, replicas=n)

    def forward(self, inputs, state=()):
        observation, action = inputs
        return observation + 3 * action + self.bias, state


def _known(**options) -> DdpgAlgorithm:
    return DdpgAlgorithm(
        OBSERVATION,
        ACTION,
        **{
            "actor_network_ctor": Half,
            "critic_network_ctor": Sum,
            "num_critic_replicas": 2,
            "critic_loss_ctor": partial(OneStepTDLoss, gamma=0.5),
            **options,
        },
    )


def _steps() -> tuple:
    """[T, B] = [2, 1]: observation 1 then 2, action 0.2 taken at 1, reward 4 for it."""
    time_step = small.in_time(
        reward=torch.tensor([0.0, 4.0]), observation=torch.tensor([[1.0], [2.0]])
    )
    return time_step, DdpgInfo(action=torch.tensor([[0.2], [0.0]]))


def _in_time(info):
    return nest.map_structure(lambda x: x.reshape(2, 1, *x.shape[1:]), info)


def test_the_losses_of_one_transition_by_hand():
    alg = _known()
    time_step, rollout_info = _steps()
    info = alg.train_step(time_step, alg.get_initial_train_state(2), rollout_info).info
    loss = alg.calc_loss(_in_time(info))
    # target 4 + 0.5 * (2 + 3 * 1) = 6.5 by the lesser replica; values 1.6 and 11.6
    critic = (6.5 - 1.6) ** 2 + (6.5 - 11.6) ** 2
    torch.testing.assert_close(loss.extra.critic, torch.tensor([[critic], [0.0]]))
    # the gradient for the action is 3 everywhere: 0.5 * 3^2
    torch.testing.assert_close(loss.extra.actor, torch.full((2, 1), 4.5))


def test_the_actor_climbs_the_lesser_critic_alone():
    alg = _known(action_l2=2.0)
    time_step, rollout_info = _steps()
    info = alg.train_step(time_step, alg.get_initial_train_state(2), rollout_info).info
    info.actor_loss.loss.sum().backward()
    torch.testing.assert_close(info.actor_loss.extra, info.actor_loss.loss)
    # -dQ/da * da/dw = -3 * (0.5 + 1); action_l2 adds 2 * 2 a * da/dw with a = 0.5, 1
    torch.testing.assert_close(
        alg._actor_network.weight.grad, torch.tensor([-4.5 + 4 * (0.25 + 1.0)])
    )
    assert alg._critic_networks.bias.grad is None


def test_dqda_is_clipped_on_request():
    time_step, rollout_info = _steps()
    alg = _known(dqda_clipping=1.0)
    info = alg.train_step(time_step, alg.get_initial_train_state(2), rollout_info).info
    torch.testing.assert_close(info.actor_loss.loss.detach(), torch.full((2,), 0.5))


def test_there_is_no_target_after_the_end_of_an_episode():
    alg = _known()
    time_step, rollout_info = _steps()
    last, terminated = int(StepType.LAST), torch.tensor([1.0, 0.0])
    time_step = time_step._replace(
        step_type=torch.tensor([1, last], dtype=torch.int32), discount=terminated
    )
    info = alg.train_step(time_step, alg.get_initial_train_state(2), rollout_info).info
    loss = alg.calc_loss(_in_time(info)).extra.critic
    torch.testing.assert_close(loss[0, 0], torch.tensor((4 - 1.6) ** 2 + (4 - 11.6) ** 2))


def test_noise_is_reverting_and_forgets_the_episode_before():
    alg = _known(ou_stddev=0.1, ou_damping=0.15)
    step = small.in_time(reward=torch.zeros(20_000), observation=torch.zeros(20_000, 1))
    state = alg.get_initial_rollout_state(20_000)
    one = alg.rollout_step(step, state)
    assert float(one.output.detach().std()) == pytest.approx(0.1, rel=0.05)
    two = alg.rollout_step(step, one.state)
    # var = 0.85^2 * 0.01 + 0.01
    assert float(two.output.detach().std()) == pytest.approx(
        (0.01 * (1 + 0.85**2)) ** 0.5, rel=0.05
    )
    assert alg.predict_step(step, alg.get_initial_predict_state(20_000)).output.abs().max() == 0


def test_actions_stay_within_their_bounds():
    alg = _known(ou_stddev=5.0)
    step = small.in_time(reward=torch.zeros(100), observation=torch.ones(100, 1))
    action = alg.rollout_step(step, alg.get_initial_rollout_state(100)).output.detach()
    assert float(action.min()) == -1
    assert float(action.max()) == 1


def test_random_actions_are_uniform_and_as_frequent_as_wanted():
    alg = _known(ou_stddev=0.0, rollout_random_action=0.3)
    step = small.in_time(reward=torch.zeros(20_000), observation=torch.zeros(20_000, 1))
    action = alg.rollout_step(step, alg.get_initial_rollout_state(20_000)).output.detach()
    moved = action != 0
    assert float(moved.float().mean()) == pytest.approx(0.3, abs=0.02)
    assert float(action[moved].std()) == pytest.approx(3**-0.5, rel=0.05)


def test_targets_follow_slowly():
    alg = _known(target_update_tau=0.1)
    with torch.no_grad():
        alg._critic_networks.bias.fill_(1.0)
        alg._target_critic_networks.bias.zero_()
    alg.after_update(None, None)
    torch.testing.assert_close(alg._target_critic_networks.bias, torch.full((2,), 0.1))


def test_leaving_out_steps_that_do_not_count_changes_no_loss():
    alg = small.ddpg()(observation_spec=OBSERVATION, action_spec=ACTION)
    time_step, rollout_info = _steps()
    state = alg.get_initial_train_state(2)
    every = alg.calc_loss(_in_time(alg.train_step(time_step, state, rollout_info).info))
    with rows_are(alg, 2, 1):
        info = alg.train_step(time_step, state, rollout_info).info
    assert info.critic.q_values[1].eq(0).all()
    torch.testing.assert_close(alg.calc_loss(_in_time(info)).loss, every.loss)


def test_recurrent_networks_keep_their_states():
    alg = DdpgAlgorithm(
        OBSERVATION,
        ACTION,
        actor_network_ctor=partial(ActorRNNNetwork, lstm_hidden_size=4),
        critic_network_ctor=partial(CriticRNNNetwork, lstm_hidden_size=4),
        num_critic_replicas=2,
    )
    alg.use_rollout_state = True
    step, rollout_info = _steps()
    rolled = alg.rollout_step(step, alg.get_initial_rollout_state(2)).state
    assert all(bool(x.abs().sum() > 0) for x in nest.flatten(rolled))
    state = alg.get_initial_train_state(2)
    trained = alg.train_step(step, state, rollout_info).state
    nest.assert_same_structure(trained, alg.train_state_spec)


def test_training_passes_the_noise_on():
    alg = small.ddpg()(observation_spec=OBSERVATION, action_spec=ACTION)
    time_step, rollout_info = _steps()
    noise = torch.tensor([[0.5], [-0.25]])
    state = alg.get_initial_train_state(2)
    assert state.noise.tolist() == [[0.0], [0.0]]
    trained = alg.train_step(time_step, state._replace(noise=noise), rollout_info).state
    assert trained.noise is noise
    predicting = alg.convert_train_state_to_predict_state(trained)
    nest.assert_same_structure(predicting, alg.predict_state_spec)
    assert predicting.noise is noise


@pytest.mark.parametrize("stored", [False, True], ids=["zero states", "stored states"])
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in an Agent"])
@pytest.mark.parametrize("recurrent", [False, True], ids=["flat", "recurrent"])
def test_the_noise_makes_no_training_step_wait_for_another(recurrent, inside, stored):
    """Two steps of eight sequences are one train step, unless networks have states."""
    actor = {"actor_network_ctor": partial(ActorRNNNetwork, lstm_hidden_size=4)}
    ctor = small.ddpg(**actor if recurrent else {})
    if inside:
        ctor = partial(Agent, rl_algorithm_cls=ctor)
    config = small.replayed(
        mini_batch_size=8,
        num_updates_per_train_iter=1,
        initial_collect_steps=0,
        use_rollout_state=stored,
    )
    alg = small.make(ctor, small.bandit(ActionType.Continuous), config)
    rows, train_step = [], alg.train_step

    def counted(inputs, *arguments):
        rows.append(len(inputs.step_type))
        return train_step(inputs, *arguments)

    alg.train_step = counted
    alg.train_iter()
    assert rows == ([8, 8] if recurrent else [16])
    assert alg.need_full_rollout_state() == (recurrent and stored)


def test_a_vector_reward_has_critics_of_its_own():
    alg = small.ddpg(reward_weights=[1.0, -1.0])(
        observation_spec=OBSERVATION, action_spec=ACTION, reward_spec=TensorSpec((2,))
    )
    time_step, rollout_info = _steps()
    time_step = time_step._replace(reward=torch.zeros(2, 2))
    info = alg.train_step(time_step, alg.get_initial_train_state(2), rollout_info).info
    assert info.critic.q_values.shape[2:] == (2,)
    assert alg.calc_loss(_in_time(info)).loss.shape == (2, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action_spec": BoundedTensorSpec((), torch.int64, 0, 1)}, "continuous actions"),
        ({"rollout_random_action": 1.5}, r"is 1.5; allowed: a number in \[0, 1\]"),
    ],
)
def test_what_cannot_be_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        DdpgAlgorithm(**{"observation_spec": OBSERVATION, "action_spec": ACTION, **options})
