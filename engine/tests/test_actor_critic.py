"""Actor-critic, its loss, entropy targets and prior policies."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
import torch.distributions as td

from alf.algorithms.actor_critic_algorithm import ActorCriticAlgorithm, ActorCriticInfo
from alf.algorithms.actor_critic_loss import ActorCriticLoss
from alf.algorithms.config import TrainerConfig
from alf.algorithms.entropy_target_algorithm import (
    EntropyTargetAlgorithm,
    NestedEntropyTargetAlgorithm,
    SGDEntropyTargetAlgorithm,
)
from alf.algorithms.prior_actor import (
    SameActionPriorActor,
    TruncatedNormal,
    UniformPriorActor,
    normcdf,
)
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.data_structures import StepType, TimeStep
from alf.nest import nest
from alf.networks.actor_distribution_networks import ActorDistributionNetwork
from alf.networks.value_networks import ValueNetwork
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils
from alf.utils.schedulers import ConstantScheduler, StepScheduler, update_progress

DISCRETE = BoundedTensorSpec((), torch.int64, 0, 3)
CONTINUOUS = BoundedTensorSpec((2,), torch.float32, -1.0, 1.0)

# ---- the loss ----


def loss_info(value, reward, discount, *, step_type=None, reward_weights=()) -> ActorCriticInfo:
    """Two actions with equal probabilities, the first one always taken."""
    value, reward = torch.tensor(value), torch.tensor(reward)
    time, batch = value.shape[:2]
    if step_type is None:
        step_type = torch.full((time, batch), StepType.MID)
    return ActorCriticInfo(
        step_type=step_type,
        discount=torch.tensor(discount),
        reward=reward,
        action=torch.zeros(time, batch, dtype=torch.int64),
        action_distribution=td.Categorical(logits=torch.zeros(time, batch, 2)),
        value=value,
        reward_weights=reward_weights,
    )


def test_the_loss_of_two_steps_by_hand():
    info = loss_info([[1.0], [2.0], [4.0]], [[0.0], [1.0], [3.0]], [[1.0], [1.0], [1.0]])
    result = ActorCriticLoss(gamma=0.5)(info)
    # G_1 = 3 + 0.5 * 4 = 5, G_0 = 1 + 0.5 * 5 = 3.5; advantages 2.5, 3 and none at the end
    torch.testing.assert_close(result.extra.td_loss, torch.tensor([[6.25], [9.0], [0.0]]))
    log2 = math.log(2.0)
    torch.testing.assert_close(
        result.extra.pg_loss, torch.tensor([[2.5 * log2], [3 * log2], [0.0]])
    )
    torch.testing.assert_close(result.loss, result.extra.td_loss + result.extra.pg_loss)


def test_gae_fits_the_value_to_the_lambda_return():
    info = loss_info([[1.0], [2.0], [4.0]], [[0.0], [1.0], [3.0]], [[1.0], [1.0], [1.0]])
    result = ActorCriticLoss(gamma=0.5, use_gae=True, td_lambda=0.5)(info)
    # delta_1 = 3 + 2 - 2 = 3, delta_0 = 1 + 1 - 1 = 1, A_0 = 1 + 0.5 * 0.5 * 3 = 1.75
    torch.testing.assert_close(result.extra.td_loss, torch.tensor([[1.75**2], [9.0], [0.0]]))
    log2 = math.log(2.0)
    torch.testing.assert_close(
        result.extra.pg_loss, torch.tensor([[1.75 * log2], [3 * log2], [0.0]])
    )


def test_gae_with_lambda_one_is_return_minus_value():
    torch.manual_seed(0)
    info = loss_info(torch.randn(5, 3).tolist(), torch.randn(5, 3).tolist(), [[0.9] * 3] * 5)
    torch.testing.assert_close(
        ActorCriticLoss(use_gae=True, td_lambda=1.0)(info).loss, ActorCriticLoss()(info).loss
    )


def test_entropy_regularization_lowers_the_loss_by_the_entropy():
    info = loss_info([[1.0], [2.0]], [[0.0], [1.0]], [[1.0], [1.0]])
    plain, regularized = (ActorCriticLoss(entropy_regularization=e)(info) for e in (None, 0.1))
    log2 = math.log(2.0)
    torch.testing.assert_close(regularized.loss, plain.loss - 0.1 * log2)
    torch.testing.assert_close(regularized.extra.neg_entropy, torch.full((2, 1), -log2))


def test_advantages_can_be_normalized_and_clipped():
    info = loss_info([[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 3.0]], [[1.0, 1.0]] * 2)
    clipped = ActorCriticLoss(advantage_clip=2.0)(info).extra.pg_loss / math.log(2.0)
    torch.testing.assert_close(clipped, torch.tensor([[1.0, 2.0], [0.0, 0.0]]))
    normal = ActorCriticLoss(normalize_advantages=True)(info).extra.pg_loss
    torch.testing.assert_close(normal.mean(), torch.tensor(0.0))
    torch.testing.assert_close(normal.std(unbiased=False), torch.tensor(math.log(2.0)))


def test_reward_weights_weigh_the_advantages_of_a_vector_reward():
    value = [[[0.0, 0.0]], [[0.0, 0.0]]]
    reward = [[[0.0, 0.0]], [[1.0, 10.0]]]
    weights = torch.tensor([2.0, -1.0]).expand(2, 1, 2)
    info = loss_info(value, reward, [[1.0], [1.0]], reward_weights=weights)
    loss = ActorCriticLoss(gamma=[0.5, 0.9])(info)
    torch.testing.assert_close(loss.extra.pg_loss[0, 0].item(), -8.0 * math.log(2.0))
    torch.testing.assert_close(loss.extra.td_loss[0, 0].item(), (1.0 + 100.0) / 2)
    unweighted = ActorCriticLoss()(info._replace(reward_weights=()))
    torch.testing.assert_close(unweighted.extra.pg_loss[0, 0].item(), 11.0 * math.log(2.0))


# ---- the algorithm ----


def make_actor_critic(action_spec=DISCRETE, **options) -> ActorCriticAlgorithm:
    return ActorCriticAlgorithm(
        **{
            "observation_spec": TensorSpec((4,)),
            "action_spec": action_spec,
            "actor_network_ctor": partial(ActorDistributionNetwork, fc_layer_params=(16,)),
            "value_network_ctor": partial(ValueNetwork, fc_layer_params=(16,)),
            "config": TrainerConfig(root_dir="unused"),
            "optimizer": Adam(lr=1e-2),
            **options,
        }
    )


def time_step(observation, step_type=StepType.MID, reward=None, discount=1.0) -> TimeStep:
    rows = observation.shape[0]
    return TimeStep(
        step_type=torch.full((rows,), step_type, dtype=torch.int32),
        reward=torch.zeros(rows) if reward is None else reward,
        discount=torch.full((rows,), discount),
        observation=observation,
    )


@pytest.mark.parametrize("reward_spec", [TensorSpec(()), TensorSpec((3,))])
@pytest.mark.parametrize("action_spec", [DISCRETE, CONTINUOUS, {"a": DISCRETE, "b": CONTINUOUS}])
def test_rollout_keeps_to_its_specs(action_spec, reward_spec):
    algorithm = make_actor_critic(action_spec, reward_spec=reward_spec)
    assert algorithm.on_policy
    state = algorithm.get_initial_rollout_state(5)
    step = algorithm.rollout_step(time_step(torch.randn(5, 4)), state)
    nest.assert_same_structure(step.output, action_spec)
    assert step.info.value.shape == (5, *reward_spec.shape)
    expected = dist_utils.compute_log_probability(step.info.action_distribution, step.output)
    torch.testing.assert_close(step.info.log_prob, expected)
    nest.assert_same_structure(step.state, state)


def test_greedy_evaluation_takes_the_mode():
    algorithm = make_actor_critic(epsilon_greedy=0.0, value_network_ctor=None)
    step = time_step(torch.randn(5, 4))
    output = algorithm.predict_step(step, algorithm.get_initial_predict_state(5)).output
    logits = algorithm._actor_network(step.observation)[0].logits
    assert torch.equal(output, logits.argmax(-1))


def test_it_finds_the_best_action_of_one_step_episodes():
    torch.manual_seed(0)
    algorithm = make_actor_critic()
    best = torch.arange(64) % 4
    observation = torch.nn.functional.one_hot(best, 4).float()
    for _ in range(150):
        state = algorithm.get_initial_rollout_state(64)
        first = algorithm.rollout_step(time_step(observation, StepType.FIRST), state)
        reward = (first.output == best).float()
        last = algorithm.rollout_step(
            time_step(observation, StepType.LAST, reward, discount=0.0), state
        )
        infos = [first.info, last.info]
        dists = [info.action_distribution for info in infos]
        infos = [info._replace(action_distribution=()) for info in infos]
        info = nest.map_structure(lambda *x: torch.stack(x), *infos)
        logits = torch.stack([dist.logits for dist in dists])
        info = info._replace(action_distribution=td.Categorical(logits=logits))
        mask = (info.step_type != StepType.LAST).float()
        algorithm.update_with_gradient(algorithm.calc_loss(info), mask)
    state = algorithm.get_initial_predict_state(4)
    greedy = algorithm.predict_step(time_step(torch.eye(4)), state).output
    assert greedy.tolist() == [0, 1, 2, 3]


# ---- entropy targets ----


def entropy_target(**options) -> EntropyTargetAlgorithm:
    return EntropyTargetAlgorithm(
        **{
            "action_spec": CONTINUOUS,
            "initial_alpha": 1.0,
            "target_entropy": 1.0,
            "max_entropy": 3.0,
            "average_window": 1,
            **options,
        }
    )


def alphas(algorithm, *entropies: float) -> list[float]:
    return [algorithm.adjust_alpha(torch.tensor(e)).item() for e in entropies]


def test_in_the_init_stage_alpha_shrinks_very_slowly():
    algorithm = entropy_target(very_slow_update_rate=0.1)
    assert alphas(algorithm, 5.0, 5.0, 5.0) == pytest.approx(
        [math.exp(-0.1 * i) for i in (1, 2, 3)]
    )


def test_the_init_stage_ends_with_one_very_slow_step():
    algorithm = entropy_target(average_window=3, very_slow_update_rate=0.1)
    assert alphas(algorithm, 2.0, 2.0, 2.0, 2.0) == pytest.approx([math.exp(-0.1)] * 4)
    algorithm = entropy_target(average_window=2, very_slow_update_rate=0.1)
    # averages 5, 3.5, 2: above the target and falling is half the rate up, then nothing
    expected = [math.exp(x) for x in (-0.1, -0.05, 0.0, 0.0)]
    assert alphas(algorithm, 5.0, 2.0, 2.0, 1.5) == pytest.approx(expected)


def test_alpha_waits_for_the_default_max_entropy():
    algorithm = entropy_target(max_entropy=None, average_window=3, very_slow_update_rate=0.1)
    assert alphas(algorithm, 5.0, 6.0, 7.0) == pytest.approx([1.0, 1.0, math.exp(-0.1)])


def test_a_target_above_the_maximum_is_refused():
    with pytest.raises(ValueError, match="must not be above max_entropy"):
        entropy_target(target_entropy=3.5)


def test_nothing_changes_without_a_valid_step():
    algorithm = entropy_target(skip_free_stage=True)
    last = torch.full((1, 2), StepType.LAST)
    info = algorithm.train_step((td.Categorical(logits=torch.zeros(1, 2, 4)), last)).info
    alphas(algorithm, 2.0, 1.5)
    before = {k: v.clone() for k, v in algorithm.state_dict().items() if "_averager" not in k}
    algorithm.calc_loss(info)
    after = algorithm.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items())


def test_in_the_free_stage_alpha_stays():
    algorithm = entropy_target()
    before = alphas(algorithm, 2.0, 2.0)[-1]
    assert alphas(algorithm, 1.5, 2.5, 1.2) == pytest.approx([before] * 3)


def test_alpha_rises_while_a_low_entropy_falls_and_falls_while_it_recovers():
    algorithm = entropy_target(skip_free_stage=True, fast_update_rate=0.1, slow_update_rate=0.1)
    # before the first loss the entropy is taken for 0, so it recovers: half the rate down
    assert alphas(algorithm, 0.9, 0.8) == pytest.approx([math.exp(-0.05), math.exp(0.05)])
    # recovering below the target: half the rate down; above it and rising: the full rate down
    assert alphas(algorithm, 0.9, 1.5) == pytest.approx([1.0, math.exp(-0.1)])
    # above the target and falling: half the rate up
    assert alphas(algorithm, 1.2) == pytest.approx([math.exp(-0.05)])


def test_the_update_rate_decays_at_each_crossing_and_is_fast_again_far_below():
    algorithm = entropy_target(skip_free_stage=True, fast_update_rate=1.0, slow_update_rate=0.85)
    alphas(algorithm, 0.9, 1.1)
    assert algorithm._update_rate.item() == pytest.approx(0.9)
    alphas(algorithm, 0.9)
    assert algorithm._update_rate.item() == pytest.approx(0.85)
    alphas(algorithm, 0.4)  # below half of the target
    assert algorithm._update_rate.item() == pytest.approx(1.0)


def test_alpha_has_a_lower_bound():
    algorithm = entropy_target(very_slow_update_rate=10.0, min_alpha=0.01)
    assert alphas(algorithm, 5.0, 5.0)[-1] == pytest.approx(0.01)


def test_the_default_max_entropy_is_a_little_less_than_the_first_entropy():
    algorithm = entropy_target(max_entropy=None)
    alphas(algorithm, 10.0, 8.5)
    assert algorithm._stage.item() == 0
    alphas(algorithm, 7.9)
    assert algorithm._stage.item() == 1


def test_last_steps_do_not_count_for_the_entropy():
    algorithm = entropy_target(skip_free_stage=True)
    step_type = torch.tensor([StepType.MID, StepType.LAST])
    dist = td.Categorical(probs=torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
    info = algorithm.train_step((dist, step_type)).info
    loss = algorithm.calc_loss(nest.map_structure(lambda x: x.unsqueeze(0), info))
    assert algorithm._avg_entropy.item() == pytest.approx(math.log(2.0))
    # below the target and recovering: half of the fast rate, log 2, down
    expected = -torch.tensor([[math.log(2.0) / math.sqrt(2.0), 0.0]])
    torch.testing.assert_close(loss.loss, expected, atol=1e-6, rtol=0)


def test_nested_entropy_targets_are_independent():
    spec = {"a": DISCRETE, "b": CONTINUOUS}
    algorithm = NestedEntropyTargetAlgorithm(spec, target_entropy={"a": 0.5, "b": -2.0})
    assert [a._target_entropy for a in algorithm._algorithms()] == [0.5, -2.0]
    algorithm.set_on_policy(True)
    dists = {
        "a": td.Categorical(logits=torch.zeros(6, 4)),
        "b": td.Independent(td.Normal(torch.zeros(6, 2), 1.0), 1),
    }
    step_type = torch.full((6,), StepType.MID)
    info = algorithm.rollout_step((dists, step_type)).info
    loss = algorithm.calc_loss(nest.map_structure(lambda x: x.reshape(2, 3), info))
    assert loss.loss.shape == (2, 3)
    assert loss.extra["a"].neg_entropy.shape == loss.extra["b"].neg_entropy.shape == (2, 3)


@pytest.mark.parametrize(
    "kind", [EntropyTargetAlgorithm, NestedEntropyTargetAlgorithm, SGDEntropyTargetAlgorithm]
)
def test_a_target_entropy_may_be_a_schedule_that_stays(kind):
    algorithm = kind(CONTINUOUS, target_entropy=ConstantScheduler(-1.5))
    assert getattr(algorithm, "_alg0", algorithm)._target_entropy_schedule() == -1.5


@pytest.mark.parametrize(
    "kind", [EntropyTargetAlgorithm, NestedEntropyTargetAlgorithm, SGDEntropyTargetAlgorithm]
)
def test_a_target_entropy_may_follow_a_schedule(kind):
    """Below the target alpha grows, above it shrinks; the target falls from 1 to -1."""
    update_progress("percent", 0.0)
    target = StepScheduler("percent", [(0.5, 1.0), (1.0, -1.0)])
    options = {"optimizer": Adam(lr=0.1)} if kind is SGDEntropyTargetAlgorithm else {}
    if kind is not SGDEntropyTargetAlgorithm:
        options = {"skip_free_stage": True, "average_window": 1}
    algorithm = kind(CONTINUOUS, target_entropy=target, **options)
    alpha = getattr(algorithm, "_alg0", algorithm)._log_alpha

    def change(deviation: float) -> float:
        """The change of log alpha by losses of this and a somewhat smaller deviation."""
        for factor in (1.0, 0.99, 0.98):
            before = alpha.item()
            normal = td.Normal(torch.zeros(3, 2), factor * deviation)
            info = algorithm.train_step(
                (td.Independent(normal, 1), torch.full((3,), StepType.MID))
            ).info
            loss = algorithm.calc_loss(nest.map_structure(lambda x: x.unsqueeze(0), info))
            if kind is SGDEntropyTargetAlgorithm:
                algorithm.update_with_gradient(loss._replace(loss=loss.loss.mean()))
        return alpha.item() - before

    # The entropy of two dimensions of deviation 0.24 is -0.02, between the targets.
    try:
        assert change(0.24) > 0
        update_progress("percent", 0.9)
        grown = change(0.24)
        assert grown < 0 if kind is SGDEntropyTargetAlgorithm else grown != change(0.1)
    finally:
        update_progress("percent", 0.0)


def test_a_schedule_for_the_target_of_sac_is_refused():
    with pytest.raises(ValueError, match=r"target_entropy is StepScheduler.*allowed are numbers"):
        SacAlgorithm(
            TensorSpec((3,)), CONTINUOUS, target_entropy=StepScheduler("percent", [(1.0, 1.0)])
        )


def test_sgd_entropy_target_lowers_alpha_above_the_target():
    algorithm = SGDEntropyTargetAlgorithm(DISCRETE, target_entropy=0.5, optimizer=Adam(lr=0.1))
    dist = td.Categorical(logits=torch.zeros(3, 4))
    info = algorithm.train_step((dist, torch.full((3,), StepType.MID))).info
    loss = algorithm.calc_loss(nest.map_structure(lambda x: x.unsqueeze(0), info))
    loss.loss.mean().backward()
    torch.testing.assert_close(algorithm._log_alpha.grad, torch.tensor(math.log(4.0) - 0.5))


# ---- prior policies ----


def test_normcdf_is_precise_in_both_tails():
    a, b = torch.tensor([-1.0, 8.0, -9.0]), torch.tensor([1.0, 9.0, -8.0])
    expected = torch.tensor([0.6826895, 6.2197e-16, 6.2197e-16])
    torch.testing.assert_close(normcdf(a, b), expected, rtol=1e-3, atol=0)


def test_a_truncated_normal_integrates_to_one_and_stays_inside():
    dist = TruncatedNormal(*(torch.tensor(x) for x in (0.5, 2.0, -1.0, 1.0)))
    grid = torch.linspace(-1.0, 1.0, 20001)
    total = torch.trapezoid(dist.log_prob(grid).exp(), grid)
    torch.testing.assert_close(total, torch.tensor(1.0), rtol=1e-4, atol=0)
    assert dist.log_prob(torch.tensor(1.01)).item() == -torch.inf
    torch.manual_seed(0)
    sample = dist.sample((20000,))
    assert sample.min() >= -1.0
    assert sample.max() <= 1.0
    mean = torch.trapezoid(grid * dist.log_prob(grid).exp(), grid)
    torch.testing.assert_close(sample.mean(), mean, atol=0.02, rtol=0)


def prior_step(prior, step_type, prev_action):
    inputs = TimeStep(step_type=torch.tensor(step_type), prev_action=prev_action)
    return prior.train_step(inputs, ()).output


def test_the_next_action_is_probably_the_previous_one_but_not_at_first():
    prior = SameActionPriorActor(TensorSpec((3,)), CONTINUOUS)
    previous = torch.tensor([[0.5, -0.5], [0.5, -0.5]])
    dist = prior_step(prior, [StepType.MID, StepType.FIRST], previous)
    other = torch.tensor([[-0.5, 0.5], [-0.5, 0.5]])
    same, far = dist.log_prob(previous), dist.log_prob(other)
    assert same[0] > far[0] + 4
    torch.testing.assert_close(same[1], far[1])
    flat = TruncatedNormal(*(torch.tensor(x) for x in (0.0, 2.0, -1.0, 1.0)))
    torch.testing.assert_close(same[1], 2 * flat.log_prob(torch.tensor(0.5)))


def test_the_mixture_of_the_prior_by_hand():
    prior = SameActionPriorActor(
        TensorSpec(()), BoundedTensorSpec((), torch.float32, -1.0, 1.0), same_action_prob=0.75
    )
    dist = prior_step(prior, [StepType.MID], torch.tensor([0.2]))
    flat, sharp = (
        TruncatedNormal(*(torch.tensor(x) for x in (loc, scale, -1.0, 1.0)))
        for loc, scale in ((0.0, 2.0), (0.2, 0.2))
    )
    x = torch.tensor(0.3)
    expected = 0.25 * flat.log_prob(x).exp() + 0.75 * sharp.log_prob(x).exp()
    torch.testing.assert_close(dist.log_prob(x.unsqueeze(0)).exp(), expected.unsqueeze(0))


def test_the_uniform_prior_is_uniform_up_to_its_bounds():
    spec = {"a": DISCRETE, "b": CONTINUOUS}
    dist = prior_step(UniformPriorActor(TensorSpec((3,)), spec), [StepType.MID], ())
    torch.testing.assert_close(dist["a"].probs, torch.full((1, 4), 0.25))
    log_prob = dist["b"].log_prob(torch.tensor([[1.0, -1.0]]))
    torch.testing.assert_close(log_prob, torch.tensor([2 * math.log(0.5)]))


def test_a_discrete_action_cannot_be_the_same_up_to_noise():
    with pytest.raises(ValueError, match="needs continuous actions"):
        SameActionPriorActor(TensorSpec((3,)), DISCRETE)
