"""Deep Q learning and quantile critics, by hand."""

from __future__ import annotations

from functools import partial

import pytest
import small_learners as small
import torch

from alf.algorithms.dqn_algorithm import DqnAlgorithm
from alf.algorithms.one_step_loss import OneStepTDLoss
from alf.algorithms.qrsac_algorithm import QrsacAlgorithm
from alf.algorithms.sac_algorithm import SacInfo, SacState
from alf.data_structures import StepType
from alf.nest import nest
from alf.networks.critic_networks import CriticNetwork
from alf.networks.network import Network
from alf.networks.q_networks import QRNNNetwork
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

OBSERVATION = TensorSpec((1,))
CHOICE = BoundedTensorSpec((), torch.int64, 0, 1)
ACTION = BoundedTensorSpec((1,), minimum=-1.0, maximum=1.0)


class Table(Network):
    """Values [2 replicas, 2 actions], the same everywhere, whatever the observation."""

    def __init__(self, input_tensor_spec, action_spec=CHOICE, name="Table"):
        super().__init__(input_tensor_spec, name=name)
        self.values = torch.nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 0.5]]))

    def make_parallel(self, n):
        return Table(self.input_tensor_spec)

    def forward(self, inputs, state=()):
        return self.values.expand(inputs.shape[0], 2, 2), state


def _dqn(**options) -> DqnAlgorithm:
    alg = DqnAlgorithm(
        OBSERVATION,
        CHOICE,
        q_network_cls=Table,
        critic_loss_ctor=partial(OneStepTDLoss, gamma=0.5),
        **options,
    )
    with torch.no_grad():
        # The least of the target replicas is (4, 6): the second action, online the first is best.
        alg._target_critic_networks.values.copy_(torch.tensor([[4.0, 7.0], [5.0, 6.0]]))
    return alg


def _loss(alg) -> torch.Tensor:
    """[T, B] = [2, 1]: action 1 is taken, for the reward 1."""
    step = small.in_time(reward=torch.tensor([0.0, 1.0]), observation=torch.zeros(2, 1))
    info = SacInfo(action=torch.tensor([1, 0]))
    info = alg.train_step(step, alg.get_initial_train_state(2), info).info
    info = info._replace(action_distribution=())
    return alg.calc_loss(nest.map_structure(lambda x: x.reshape(2, 1, *x.shape[1:]), info)).loss


def test_the_target_is_the_least_value_of_the_action_that_the_target_network_takes():
    # 1 + 0.5 * 6 = 4; values of action 1 are 2 and 0.5
    torch.testing.assert_close(_loss(_dqn()), torch.tensor([[2.0**2 + 3.5**2], [0.0]]))


def test_in_double_q_learning_the_trained_network_takes_it():
    # Online the least values are (1, 0.5), so action 0: 1 + 0.5 * 4 = 3
    loss = _loss(_dqn(target_net_target_action=False))
    torch.testing.assert_close(loss, torch.tensor([[1.0**2 + 2.5**2], [0.0]]))


def test_only_the_values_of_actions_taken_are_trained():
    alg = _dqn()
    _loss(alg).sum().backward()
    assert alg._critic_networks.values.grad[:, 0].abs().max() == 0
    assert not alg._log_alpha.requires_grad


def test_the_best_action_is_taken_but_for_a_share_of_random_ones():
    alg = _dqn(rollout_epsilon_greedy=0.2)
    step = small.in_time(reward=torch.zeros(10_000), observation=torch.zeros(10_000, 1))
    action = alg.rollout_step(step, alg.get_initial_rollout_state(10_000)).output
    assert float(action.float().mean()) == pytest.approx(0.1, abs=0.02)
    assert alg.predict_step(step, alg.get_initial_predict_state(10_000)).output.max() == 0
    assert action.dtype == torch.int64


def test_recurrent_q_networks_keep_their_states():
    alg = DqnAlgorithm(OBSERVATION, CHOICE, q_network_cls=partial(QRNNNetwork, lstm_hidden_size=4))
    alg.use_rollout_state = True
    step = small.in_time(reward=torch.zeros(3), observation=torch.ones(3, 1))
    rolled = alg.rollout_step(step, alg.get_initial_rollout_state(3))
    assert all(bool(x.abs().sum() > 0) for x in nest.flatten(rolled.state))
    trained = alg.train_step(step, alg.get_initial_train_state(3), rolled.info)
    nest.assert_same_structure(trained.state, alg.train_state_spec)
    assert isinstance(trained.state, SacState)


def test_a_vector_reward_is_summed_for_the_choice():
    alg = small.dqn()(
        observation_spec=OBSERVATION, action_spec=CHOICE, reward_spec=TensorSpec((3,))
    )
    step = small.in_time(reward=torch.zeros(2, 3), observation=torch.zeros(2, 1))
    step = step._replace(
        step_type=torch.full((2,), int(StepType.MID), dtype=torch.int32), discount=torch.ones(2)
    )
    info = SacInfo(action=torch.tensor([1, 0]))
    info = alg.train_step(step, alg.get_initial_train_state(2), info).info
    info = info._replace(action_distribution=())
    info = nest.map_structure(lambda x: x.reshape(2, 1, *x.shape[1:]), info)
    assert alg.calc_loss(info).loss.shape == (2, 1)


def test_a_continuous_action_is_not_for_dqn():
    with pytest.raises(ValueError, match="exactly one discrete action"):
        DqnAlgorithm(OBSERVATION, ACTION)


# ---- quantiles ----


QUANTILES = torch.tensor([[[1.0, 5.0], [2.0, 3.0]]])  # [B, R, N] = [1, 2, 2]


@pytest.mark.parametrize(("by_mean", "expected"), [(False, [1.0, 3.0]), (True, [2.0, 3.0])])
def test_the_least_replica_is_found_for_each_quantile_or_by_the_mean(by_mean, expected):
    alg = small.qrsac(min_critic_by_critic_mean=by_mean)(
        observation_spec=OBSERVATION, action_spec=ACTION
    )
    assert alg._least_replica(QUANTILES, None).tolist() == [expected]


def test_the_policy_maximizes_the_mean_of_the_quantiles():
    assert QrsacAlgorithm._scalarize(torch.tensor([[1.0, 5.0]]), None).tolist() == [3.0]


def test_each_dimension_of_a_vector_reward_has_quantiles():
    """Two equal dimensions with weights that sum to 1 learn as one: critic and actor losses."""
    losses = []
    for reward_spec, weights in ((TensorSpec(()), None), (TensorSpec((2,)), [0.25, 0.75])):
        torch.manual_seed(0)
        alg = small.qrsac()(
            observation_spec=OBSERVATION, action_spec=ACTION, reward_spec=reward_spec
        )
        if weights:
            alg.set_reward_weights(torch.tensor(weights))
        with torch.no_grad():
            for p in alg._critic_networks.parameters():
                # all replicas and dimensions are the same
                p.copy_(torch.linspace(-0.5, 0.4, p[0].numel()).reshape(p[:1].shape).expand_as(p))
        alg._target_critic_networks.load_state_dict(alg._critic_networks.state_dict())
        reward = torch.tensor([0.0, 1.0])
        if weights:
            reward = torch.stack([reward, reward], dim=-1)
        step = small.in_time(reward=reward, observation=torch.ones(2, 1))
        taken = SacInfo(action=torch.full((2, 1), 0.5))
        torch.manual_seed(1)
        info = alg.train_step(step, alg.get_initial_train_state(2), taken).info
        losses.append([info.actor.loss])
        info = info._replace(action_distribution=())
        info = nest.map_structure(lambda x: x.reshape(2, 1, *x.shape[1:]), info)
        losses[-1].append(alg.calc_loss(info).loss)
    torch.testing.assert_close(*losses)


def test_the_weighted_least_of_a_vector_reward_is_the_greatest_where_a_weight_is_negative():
    values = torch.stack([QUANTILES, QUANTILES], dim=2)  # [B, R, n, N]
    weights = torch.tensor([1.0, -1.0])
    each = small.qrsac()(observation_spec=OBSERVATION, action_spec=ACTION)
    assert each._least_replica(values, weights).tolist() == [[[1.0, 3.0], [2.0, 5.0]]]
    by_mean = small.qrsac(min_critic_by_critic_mean=True)(
        observation_spec=OBSERVATION, action_spec=ACTION
    )
    assert by_mean._least_replica(values, weights).tolist() == [[[2.0, 3.0], [1.0, 5.0]]]
    assert QrsacAlgorithm._scalarize(values[:, 0], weights).tolist() == [0.0]


def test_quantiles_become_those_of_a_random_reward():
    """Episodes of one step with the reward 0 or 1: the quantiles are 0 below, 1 above one half."""
    torch.manual_seed(0)
    alg = small.qrsac(target_update_tau=1.0)(observation_spec=OBSERVATION, action_spec=ACTION)
    first, last = int(StepType.FIRST), int(StepType.LAST)
    B = 64
    taken = torch.zeros(2 * B, 1)
    for _ in range(150):
        reward = torch.cat([torch.zeros(B), torch.randint(0, 2, (B,)).float()])
        step = small.in_time(reward=reward, observation=torch.zeros(2 * B, 1))._replace(
            step_type=torch.tensor([first] * B + [last] * B, dtype=torch.int32),
            discount=torch.tensor([1.0] * B + [0.0] * B),
        )
        info = alg.train_step(step, alg.get_initial_train_state(2 * B), SacInfo(action=taken)).info
        dist = info.action_distribution
        info = info._replace(action_distribution=())
        info = nest.map_structure(lambda x: x.reshape(2, B, *x.shape[1:]), info)
        alg.update_with_gradient(alg.calc_loss(info._replace(action_distribution=dist)))
        alg.after_update(step, info)
    values, _ = alg._critic_networks((torch.zeros(1, 1), torch.zeros(1, 1)), ())
    quantiles = values[0].mean(0).detach()
    assert float(quantiles[0]) < 0.25
    assert float(quantiles[-1]) > 0.75


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action_spec": CHOICE}, "continuous actions"),
        (
            {"critic_network_cls": partial(CriticNetwork, joint_fc_layer_params=(4,))},
            r"must give quantiles \[N\]",
        ),
    ],
)
def test_what_has_no_quantiles_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        QrsacAlgorithm(**{"observation_spec": OBSERVATION, "action_spec": ACTION, **options})
