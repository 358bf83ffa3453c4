"""Soft actor-critic as an algorithm: shapes, who gets which gradient, acting, saving, learning."""

from __future__ import annotations

import contextlib
from functools import partial

import pytest
import torch
import torch.distributions as td

from alf.algorithms.config import TrainerConfig
from alf.algorithms.one_step_loss import OneStepTDLoss
from alf.algorithms.prior_actor import SameActionPriorActor, UniformPriorActor
from alf.algorithms.sac_algorithm import SacAlgorithm, SacInfo
from alf.algorithms.td_loss import TDLoss
from alf.algorithms.training.row_layout import rows_are
from alf.data_structures import Experience, StepType, TimeStep
from alf.nest import nest
from alf.nest.utils import NestConcat
from alf.networks.actor_distribution_networks import (
    ActorDistributionNetwork,
    ActorDistributionRNNNetwork,
)
from alf.networks.critic_networks import CriticNetwork, CriticRNNNetwork
from alf.networks.projection_networks import NormalProjectionNetwork
from alf.networks.q_networks import QNetwork
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import dist_utils
from alf.utils.math_ops import clipped_exp

OBSERVATION = TensorSpec((3,))
CONTINUOUS = BoundedTensorSpec((2,), torch.float32, -1.0, 1.0)
DISCRETE = BoundedTensorSpec((), torch.int64, 0, 3)
NESTED = {"arm": CONTINUOUS, "leg": BoundedTensorSpec((1,), torch.float32, -2.0, 2.0)}
MIXED = (DISCRETE, CONTINUOUS)
ACTIONS = {"continuous": CONTINUOUS, "nested": NESTED, "discrete": DISCRETE, "mixed": MIXED}
REWARDS = {"scalar": TensorSpec(()), "vector": TensorSpec((3,))}

hidden = (16,)
projection = partial(
    NormalProjectionNetwork,
    state_dependent_std=True,
    scale_distribution=True,
    std_transform=clipped_exp,
)


def config_of(**settings) -> TrainerConfig:
    return TrainerConfig(
        root_dir="unused",
        **{
            "whole_replay_buffer_training": False,
            "clear_replay_buffer": False,
            "mini_batch_length": 2,
            "mini_batch_size": 64,
            "num_updates_per_train_iter": 1,
            **settings,
        },
    )


def make_sac(
    action_spec=CONTINUOUS, *, config=None, lr=1e-3, cls=SacAlgorithm, **options
) -> SacAlgorithm:
    is_nested = isinstance(action_spec, dict)
    is_mixed = isinstance(action_spec, tuple)
    return cls(
        **{
            "observation_spec": OBSERVATION,
            "action_spec": action_spec,
            "actor_network_cls": partial(
                ActorDistributionNetwork,
                fc_layer_params=hidden,
                continuous_projection_net_ctor=projection,
            ),
            "critic_network_cls": partial(
                CriticNetwork,
                joint_fc_layer_params=hidden,
                action_preprocessing_combiner=NestConcat() if is_nested else None,
            ),
            "q_network_cls": partial(
                QNetwork,
                fc_layer_params=hidden,
                preprocessing_combiner=NestConcat() if is_mixed else None,
            ),
            "config": config_of() if config is None else config,
            "actor_optimizer": Adam(lr=lr),
            "critic_optimizer": Adam(lr=lr),
            "alpha_optimizer": Adam(lr=lr),
            **options,
        }
    )


def random_time_step(sac: SacAlgorithm, rows: int) -> TimeStep:
    reward_spec = sac._reward_spec
    return TimeStep(
        step_type=torch.full((rows,), StepType.MID, dtype=torch.int32),
        reward=reward_spec.randn((rows,)),
        discount=torch.ones(rows),
        observation=OBSERVATION.randn((rows,)),
        prev_action=nest.map_structure(lambda s: s.sample((rows,)), sac.action_spec),
        env_id=torch.arange(rows, dtype=torch.int32),
    )


def train_info(
    sac: SacAlgorithm, time: int = 2, batch: int = 5, knows_layout: bool = False
) -> tuple[TimeStep, SacInfo]:
    """One training step on random data, [T * B] rows in, [T, B] out."""
    inputs = random_time_step(sac, time * batch)
    taken = nest.map_structure(lambda s: s.sample((time * batch,)), sac.action_spec)
    state = sac.get_initial_train_state(time * batch)
    with rows_are(sac, time, batch) if knows_layout else contextlib.nullcontext():
        info = sac.train_step(inputs, state, SacInfo(action=taken)).info
    spec = dist_utils.extract_spec(info)
    params = dist_utils.distributions_to_params(info)
    params = nest.map_structure(lambda x: x.unflatten(0, (time, batch)), params)
    return inputs, dist_utils.params_to_distributions(params, spec)


def gradients(sac: SacAlgorithm) -> dict[str, bool]:
    """For each part of the algorithm whether any / all of its parameters got a gradient."""
    parts = {
        "critic": list(sac._critic_networks.parameters()),
        "alpha": list(sac._temperatures.log_alphas),
    }
    if sac._actor_network is not None:
        parts["actor"] = list(sac._actor_network.parameters())
    has = {name: [p.grad is not None for p in params] for name, params in parts.items()}
    assert all(all(flags) or not any(flags) for flags in has.values()), has
    return {name for name, flags in has.items() if any(flags)}


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("action", ACTIONS)
def test_acting_and_training_keep_to_their_specs(action, reward):
    torch.manual_seed(0)
    sac = make_sac(ACTIONS[action], reward_spec=REWARDS[reward])
    step = random_time_step(sac, 4)
    for acting, state in (
        (sac.rollout_step, sac.get_initial_rollout_state(4)),
        (sac.predict_step, sac.get_initial_predict_state(4)),
    ):
        result = acting(step, state)
        nest.assert_same_structure(result.output, ACTIONS[action])
        for value, spec in zip(
            nest.flatten(result.output), nest.flatten(ACTIONS[action]), strict=True
        ):
            assert value.dtype == spec.dtype
            assert value.shape == (4, *spec.shape)
            assert (value >= torch.as_tensor(spec.minimum)).all()
            assert (value <= torch.as_tensor(spec.maximum)).all()
        nest.assert_same_structure(result.state, state)
    _, info = train_info(sac, time=3, batch=4)
    loss = sac.calc_loss(info).loss
    assert info.critic.critics.shape == (3, 4, 2, *REWARDS[reward].shape)
    assert info.critic.target_critic.shape == (3, 4, *REWARDS[reward].shape)
    assert loss.shape == (3, 4)
    assert torch.isfinite(loss).all()


def test_the_rollout_says_from_what_the_action_was_drawn():
    sac = make_sac()
    step = sac.rollout_step(random_time_step(sac, 4), sac.get_initial_rollout_state(4))
    assert torch.isfinite(step.info.action_distribution.log_prob(step.output)).all()


def test_what_is_stored_has_the_policy_of_the_rollout_only_where_a_variant_may_look_at_it():
    class Looks(SacAlgorithm):
        def train_step(self, inputs, state, rollout_info):
            return super().train_step(inputs, state, rollout_info)

    for cls, stored in ((SacAlgorithm, 1), (Looks, 3)):
        sac = make_sac(cls=cls)
        sac.set_replay_buffer(4, 2)
        inputs = random_time_step(sac, 4)
        step = sac.rollout_step(inputs, sac.get_initial_rollout_state(4))
        sac.observe_for_replay(
            Experience(time_step=inputs, action=step.output, rollout_info=step.info, state=())
        )
        assert len(nest.flatten(sac._replay_buffer._buffer.rollout_info)) == stored


@pytest.mark.parametrize("action", ACTIONS)
def test_each_loss_reaches_its_own_parameters_only(action):
    sac = make_sac(ACTIONS[action])
    _, info = train_info(sac)
    sac.calc_loss(info).extra.critic.sum().backward(retain_graph=True)
    assert gradients(sac) == {"critic"}
    sac.zero_grad()
    info.alpha.sum().backward(retain_graph=True)
    assert gradients(sac) == {"alpha"}
    sac.zero_grad()
    if action == "discrete":
        assert info.actor.loss == ()
        return
    info.actor.loss.sum().backward()
    assert gradients(sac) == {"actor"}


def test_the_target_critics_never_get_a_gradient_or_an_optimizer():
    sac = make_sac()
    _, info = train_info(sac)
    sac.update_with_gradient(sac.calc_loss(info))
    assert all(p.grad is None for p in sac._target_critic_networks.parameters())


def test_the_actor_gradient_is_that_of_alpha_log_pi_minus_the_least_q():
    sac = make_sac(initial_log_alpha=-1.0)
    inputs = random_time_step(sac, 7)
    taken = CONTINUOUS.sample((7,))
    torch.manual_seed(1)
    state = sac.get_initial_train_state(7)
    info = sac.train_step(inputs, state, SacInfo(action=taken)).info
    params = list(sac._actor_network.parameters())
    ours = torch.autograd.grad(info.actor.loss.sum(), params)

    torch.manual_seed(1)
    dist, _ = sac._actor_network(inputs.observation)
    action = dist.rsample()
    q, _ = sac._critic_networks((inputs.observation, action))
    alpha = torch.tensor(-1.0).exp()
    loss = (alpha * dist.log_prob(action) - q.min(1).values).sum()
    for got, expected in zip(ours, torch.autograd.grad(loss, params), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


def test_the_mixed_actor_climbs_the_soft_value_of_its_continuous_action():
    """d/dc of the softmax policy's E[Q] + alpha * entropy equals d/dc of alpha * logsumexp."""
    sac = make_sac(MIXED, initial_log_alpha=-0.5, num_critic_replicas=1)
    inputs = random_time_step(sac, 6)
    taken = nest.map_structure(lambda s: s.sample((6,)), MIXED)
    torch.manual_seed(1)
    info = sac.train_step(inputs, sac.get_initial_train_state(6), SacInfo(action=taken)).info
    params = list(sac._actor_network.parameters())
    ours = torch.autograd.grad(info.actor.loss.sum(), params)

    torch.manual_seed(1)
    alpha = torch.tensor(-0.5).exp()
    dist, _ = sac._actor_network(inputs.observation)
    c = dist.rsample()
    q, _ = sac._critic_networks((inputs.observation, c))
    soft_value = alpha * torch.logsumexp(q[:, 0] / alpha, dim=1)
    loss = (alpha * dist.log_prob(c) - soft_value).sum()
    for got, expected in zip(ours, torch.autograd.grad(loss, params), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


def test_the_critic_loss_is_the_squared_error_to_the_soft_target():
    sac = make_sac(critic_loss_ctor=partial(OneStepTDLoss, gamma=0.9), initial_log_alpha=-1.0)
    inputs, info = train_info(sac)
    values = info.critic
    reward, critics = inputs.reward.unflatten(0, (2, 5)), values.critics
    alpha = torch.tensor(-1.0).exp()
    target = reward[1] + 0.9 * (values.target_critic[1] - alpha * info.log_pi[1])
    expected = (critics[0] - target.unsqueeze(-1)).square().sum(-1).detach()
    loss_info = sac.calc_loss(info)
    # the loss has the sum of both replicas, `extra` the mean
    torch.testing.assert_close(2 * loss_info.extra.critic[0].detach(), expected)
    assert loss_info.extra.critic[1].eq(0).all()
    total = info.actor.loss + info.alpha + 2 * loss_info.extra.critic
    torch.testing.assert_close(loss_info.loss, total)


def test_without_entropy_reward_the_target_is_hard():
    sac = make_sac(use_entropy_reward=False, critic_loss_ctor=partial(OneStepTDLoss, gamma=0.9))
    inputs, info = train_info(sac)
    values = info.critic
    target = inputs.reward.unflatten(0, (2, 5))[1] + 0.9 * values.target_critic[1]
    expected = (values.critics[0] - target.unsqueeze(-1)).square().mean(-1)
    torch.testing.assert_close(sac.calc_loss(info).extra.critic[0], expected)


def test_a_discrete_target_is_the_expectation_under_the_softmax_policy():
    sac = make_sac(DISCRETE, initial_log_alpha=0.3)
    inputs, info = train_info(sac, time=2, batch=4)
    critic = info.critic
    q, _ = sac._critic_networks(inputs.observation)
    target_q, _ = sac._target_critic_networks(inputs.observation)
    probs = torch.softmax(q.amin(1) / torch.tensor(0.3).exp(), dim=-1)
    torch.testing.assert_close(info.action_distribution.probs.flatten(0, 1), probs)
    torch.testing.assert_close(critic.target_critic[1], (probs * target_q.amin(1)).sum(1)[4:])
    torch.testing.assert_close(critic.critics[0], q[torch.arange(4), :, info.action[0]])


def test_the_entropy_of_a_discrete_action_is_that_of_the_one_drawn(monkeypatch):
    sac = make_sac(DISCRETE, initial_log_alpha=0.3, use_entropy_reward=False)
    inputs = random_time_step(sac, 6)
    probs = torch.softmax(sac._critic_networks(inputs.observation)[0].amin(1) / 1.349859, dim=-1)
    drawn = torch.tensor([0, 1, 2, 3, 0, 1])
    monkeypatch.setattr(torch.distributions.Categorical, "sample", lambda self: drawn)
    taken = torch.zeros(6, dtype=torch.int64)
    info = sac.train_step(inputs, sac.get_initial_train_state(6), SacInfo(action=taken)).info
    expected = probs.log()[torch.arange(6), drawn]
    torch.testing.assert_close(info.log_pi, expected)
    torch.testing.assert_close(info.actor.extra.neg_entropy, expected)


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("td_lambda", [0.0, 0.5, 1.0])
def test_leaving_out_steps_that_do_not_count_changes_no_loss(action, reward, td_lambda):
    loss_ctor = partial(TDLoss, td_lambda=td_lambda)
    sac = make_sac(ACTIONS[action], reward_spec=REWARDS[reward], critic_loss_ctor=loss_ctor)
    losses = []
    for knows_layout in (True, False):
        torch.manual_seed(0)
        _, info = train_info(sac, time=4, batch=6, knows_layout=knows_layout)
        step_type = torch.randint(0, 3, (4, 6))
        losses.append(sac.calc_loss(info._replace(step_type=step_type)).loss)
        losses[-1] = losses[-1] * (step_type != StepType.LAST)
    torch.testing.assert_close(*losses)


def test_reward_weights_decide_what_the_policy_wants():
    spec = TensorSpec((2,))
    sac = make_sac(DISCRETE, reward_spec=spec, reward_weights=[2.0, -1.0])
    values = torch.tensor([[[[1.0, 0.0]], [[3.0, 4.0]]]]).transpose(1, 2)  # [B=1, R=1, A=2, n=2]
    assert sac._critics.policy_values(values).tolist() == [[2.0, 2.0]]
    sac.set_reward_weights(torch.tensor([1.0, 0.0]))
    assert sac._critics.policy_values(values).tolist() == [[1.0, 3.0]]


def test_greedy_evaluation_takes_the_mode():
    sac = make_sac(epsilon_greedy=0.0)
    step, state = random_time_step(sac, 6), sac.get_initial_predict_state(6)
    result = sac.predict_step(step, state)
    mode = dist_utils.get_mode(sac._actor_network(step.observation)[0])
    torch.testing.assert_close(result.output, mode)
    discrete = make_sac(DISCRETE, epsilon_greedy=0.0)
    q, _ = discrete._critic_networks(step.observation)
    chosen = discrete.predict_step(step, discrete.get_initial_predict_state(6)).output
    assert torch.equal(chosen, q.amin(1).argmax(1))


def test_epsilon_greedy_comes_from_the_config():
    assert make_sac(config=config_of(epsilon_greedy=0.25))._epsilon_greedy == 0.25


def test_without_critics_a_continuous_algorithm_can_act():
    sac = make_sac(critic_network_cls=None)
    step = random_time_step(sac, 3)
    assert sac.predict_step(step, sac.get_initial_predict_state(3)).output.shape == (3, 2)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ((DISCRETE, DISCRETE), {}, "at most one discrete action"),
        (BoundedTensorSpec((), torch.int64, 1, 3), {}, "counts from 0"),
        ((CONTINUOUS, DISCRETE), {}, "must be a pair"),
        (DISCRETE, {"q_network_cls": None}, "needs a q_network_cls"),
        (DISCRETE, {"prior_actor_ctor": UniformPriorActor}, "continuous actions only"),
        (CONTINUOUS, {"target_entropy": (1.0, 2.0)}, "for each part"),
    ],
)
def test_what_cannot_be_built_is_refused(spec, options, message):
    with pytest.raises(ValueError, match=message):
        make_sac(spec, **options)


def test_two_algorithms_never_share_a_configured_optimizer():
    optimizer = Adam(lr=1e-2)
    first = make_sac(actor_optimizer=optimizer)
    second = make_sac(actor_optimizer=optimizer)
    for sac in (first, second):
        _, info = train_info(sac)
        sac.update_with_gradient(sac.calc_loss(info))
        held = {id(p) for o in sac.optimizers() for g in o.param_groups for p in g["params"]}
        own = {
            id(p) for p in [*sac._actor_network.parameters(), *sac._critic_networks.parameters()]
        }
        assert held == own | {id(sac._log_alpha)}


def test_an_optimizer_that_is_in_use_is_refused():
    optimizer = Adam(lr=1e-2)
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))]})
    with pytest.raises(ValueError, match="already holds 1 parameters"):
        make_sac(critic_optimizer=optimizer)


def test_one_optimizer_for_two_parts_stays_one():
    optimizer = Adam(lr=1e-2)
    sac = make_sac(actor_optimizer=optimizer, critic_optimizer=optimizer)
    assert len({id(o) for o in sac.optimizers()}) == 2


def test_the_target_critics_follow_slowly():
    sac = make_sac(target_update_tau=0.25)
    before = [p.clone() for p in sac._target_critic_networks.parameters()]
    for critic, target in zip(sac._critic_networks.parameters(), before, strict=True):
        torch.testing.assert_close(critic, target)
    with torch.no_grad():
        for p in sac._critic_networks.parameters():
            p.add_(1.0)
    sac.after_update((), ())
    for old, new in zip(before, sac._target_critic_networks.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.25)


def test_log_alpha_is_capped():
    sac = make_sac(MIXED, initial_log_alpha=2.0, max_log_alpha=0.5)
    sac.after_update((), ())
    assert [p.item() for p in sac._temperatures.log_alphas] == [0.5, 0.5]


def test_networks_start_anew_every_reset_period_of_iterations():
    sac = make_sac(parameter_reset_period=2, target_update_tau=0.0)
    weight = next(sac._critic_networks.parameters())
    actor_weight = next(sac._actor_network.parameters())
    before = weight.clone(), actor_weight.clone()
    for _ in range(5):
        sac.after_update((), ())
    sac.after_train_iter(None, None)
    assert torch.equal(weight, before[0])
    sac.after_train_iter(None, None)
    assert not torch.equal(weight, before[0])
    assert not torch.equal(actor_weight, before[1])
    for critic, target in zip(
        sac._critic_networks.parameters(), sac._target_critic_networks.parameters(), strict=True
    ):
        torch.testing.assert_close(critic, target)


def test_locomotion_mode_acts_uniformly_until_training_starts():
    torch.manual_seed(0)
    sac = make_sac(reproduce_locomotion=True)
    with torch.no_grad():
        for p in sac._actor_network.parameters():
            p.zero_()
        for p in list(sac._actor_network.parameters())[-1:]:
            p.fill_(-20.0)  # the log of the deviation: a policy without spread
    step, state = random_time_step(sac, 2000), sac.get_initial_rollout_state(2000)
    uniform = sac.rollout_step(step, state).output
    assert abs(uniform.var().item() - 1 / 3) < 0.03
    _, info = train_info(sac)
    assert sac.rollout_step(step, state).output.var().item() < 0.03
    policy_loss = sac.calc_loss(info).loss - 2 * sac.calc_loss(info).extra.critic
    assert policy_loss[0].abs().max() < 1e-5
    assert policy_loss[1].ne(0).all()


def test_locomotion_mode_learns_the_same_where_it_knows_which_steps_are_first(monkeypatch):
    monkeypatch.setattr(td.Normal, "rsample", lambda self, shape=(): self.mean + 0 * self.stddev)
    gradients = []
    for knows_layout in (True, False):
        torch.manual_seed(0)
        sac = make_sac(reproduce_locomotion=True)
        _, info = train_info(sac, knows_layout=knows_layout)
        sac.calc_loss(info).loss.mean().backward()
        gradients.append([p.grad for p in sac.parameters() if p.requires_grad])
    for knowing, blind in zip(*gradients, strict=True):
        torch.testing.assert_close(knowing, blind)


@pytest.mark.parametrize("action", ["continuous", "nested"])
def test_the_actor_has_no_graph_at_first_steps_where_it_is_known_which_rows_they_are(
    action, monkeypatch
):
    sac = make_sac(ACTIONS[action], reproduce_locomotion=True)
    n = 5
    # Without noise, rows do not depend on how many others there are.
    monkeypatch.setattr(td.Normal, "rsample", lambda self, shape=(): self.mean + 0 * self.stddev)
    actor = list(sac._actor_network.parameters())
    inputs = random_time_step(sac, 2 * n)
    taken = nest.map_structure(lambda s: s.sample((2 * n,)), sac.action_spec)

    def learned(rows):
        step = nest.map_structure(lambda x: x[rows], (inputs, SacInfo(action=taken)))
        state = sac.get_initial_train_state(len(step[0].step_type))
        return sac.train_step(step[0], state, step[1]).info

    def gradients(log_pi):
        return torch.autograd.grad(log_pi.sum(), actor, retain_graph=True)

    with rows_are(sac, 2, n):
        info = learned(slice(2 * n))
        of_other_rows = learned(slice(1, 2 * n))
    last_alone = learned(slice(n, 2 * n))
    torch.testing.assert_close(info.log_pi[n:], last_alone.log_pi)
    for got, expected in zip(gradients(info.log_pi[n:]), gradients(last_alone.log_pi), strict=True):
        torch.testing.assert_close(got, expected)
    assert not info.log_pi[:n].requires_grad or all(
        g.eq(0).all() for g in gradients(info.log_pi[:n])
    )
    assert any(g.ne(0).any() for g in gradients(of_other_rows.log_pi[: n - 1]))
    for leaf in nest.flatten(dist_utils.distributions_to_params(info.action_distribution)):
        assert leaf.shape[0] == 2 * n


def test_priorities_are_one_for_each_sequence():
    sac = make_sac(calculate_priority=True)
    _, info = train_info(sac)
    loss_info = sac.calc_loss(info)
    # the mean over both steps of the sum over both replicas
    torch.testing.assert_close(loss_info.priority, loss_info.extra.critic.sum(0).sqrt())


def test_a_uniform_prior_shifts_the_entropy_by_a_constant():
    sac = make_sac(prior_actor_ctor=UniformPriorActor, target_kld_per_dim=3.0)
    assert sac._target_entropies == [-6.0]
    inputs = random_time_step(sac, 4)
    taken, state = CONTINUOUS.sample((4,)), sac.get_initial_train_state(4)
    torch.manual_seed(0)
    with_prior = sac.train_step(inputs, state, SacInfo(action=taken)).info.log_pi
    sac._prior_actor = None
    torch.manual_seed(0)
    without = sac.train_step(inputs, state, SacInfo(action=taken)).info.log_pi
    torch.testing.assert_close(with_prior, without + 2 * torch.tensor(2.0).log())


def test_the_same_action_prior_can_be_used():
    sac = make_sac(prior_actor_ctor=SameActionPriorActor)
    _, info = train_info(sac)
    assert torch.isfinite(sac.calc_loss(info).loss).all()


def test_a_normalized_entropy_reward_is_finite_and_moves_with_the_data():
    sac = make_sac(normalize_entropy_reward=True)
    _, info = train_info(sac)
    assert torch.isfinite(sac.calc_loss(info).loss).all()


@pytest.mark.parametrize("action", ["continuous", "mixed"])
def test_a_saved_algorithm_comes_back_exactly(action):
    options = {"reproduce_locomotion": True, "lr": 1e-2}
    sac, other = make_sac(ACTIONS[action], **options), make_sac(ACTIONS[action], **options)
    _, info = train_info(sac)
    sac.update_with_gradient(sac.calc_loss(info))
    sac.after_update((), info)
    _, info = train_info(other)
    other.update_with_gradient(other.calc_loss(info))
    other.load_state_dict(sac.state_dict())
    results = []
    for algorithm in (sac, other):
        torch.manual_seed(3)
        _, info = train_info(algorithm)
        loss_info = algorithm.calc_loss(info)
        algorithm.update_with_gradient(loss_info)
        algorithm.after_update((), info)
        results.append([loss_info.loss, *algorithm.state_dict().values()])
    assert len(results[0]) == len(results[1])
    for got, expected in zip(*map(nest.flatten, results), strict=True):
        if isinstance(got, torch.Tensor):
            assert torch.equal(got, expected)


def test_recurrent_networks_carry_their_states():
    sac = make_sac(
        actor_network_cls=partial(
            ActorDistributionRNNNetwork,
            fc_layer_params=hidden,
            lstm_hidden_size=8,
            continuous_projection_net_ctor=projection,
        ),
        critic_network_cls=partial(
            CriticRNNNetwork, joint_fc_layer_params=hidden, lstm_hidden_size=8
        ),
        config=config_of(use_rollout_state=True),
    )
    sac.use_rollout_state = True
    step, state = random_time_step(sac, 4), sac.get_initial_rollout_state(4)
    new_state = sac.rollout_step(step, state).state
    nest.assert_same_structure(new_state, sac.rollout_state_spec)
    assert all(x.abs().sum() > 0 for x in nest.flatten(new_state))
    taken = CONTINUOUS.sample((4,))
    trained = sac.train_step(step, sac.get_initial_train_state(4), SacInfo(action=taken))
    nest.assert_same_structure(trained.state, sac.train_state_spec)


def one_step_experience(sac, action, reward, observation) -> list[Experience]:
    """FIRST and LAST records of one-step episodes, one environment for each action."""
    rows = observation.shape[0]
    shared = {
        "discount": torch.zeros(rows),
        "observation": observation,
        "prev_action": action,
        "env_id": torch.arange(rows, dtype=torch.int32),
    }
    step_types = (StepType.FIRST, StepType.LAST)
    rewards = (torch.zeros(rows), reward)
    return [
        Experience(
            time_step=TimeStep(
                step_type=torch.full((rows,), t, dtype=torch.int32), reward=r, **shared
            ),
            action=action,
            rollout_info=SacInfo(action=action),
            state=(),
        )
        for t, r in zip(step_types, rewards, strict=True)
    ]


def learn_one_step_task(sac, action, reward, observation, *, updates):
    sac.set_replay_buffer(observation.shape[0], 2)
    for experience in one_step_experience(sac, action, reward, observation):
        sac.observe_for_replay(experience)
    for _ in range(updates):
        sac.train_from_replay_buffer(update_global_counter=False)


def test_it_finds_the_best_continuous_action():
    """One step, reward -(a - x)^2 for the observation x: the greedy action is x."""
    torch.manual_seed(0)
    sac = make_sac(
        BoundedTensorSpec((1,), torch.float32, -1.0, 1.0),
        observation_spec=TensorSpec((1,)),
        target_entropy=-3.0,
        lr=1e-2,
        config=config_of(mini_batch_size=256),
    )
    observation = torch.rand(256, 1) - 0.5
    action = 2 * torch.rand(256, 1) - 1
    reward = -10 * (action - observation).square().squeeze(-1)
    learn_one_step_task(sac, action, reward, observation, updates=400)
    x = torch.tensor([[-0.4], [0.0], [0.4]])
    step = TimeStep(observation=x, step_type=torch.zeros(3, dtype=torch.int32))
    greedy = sac.predict_step(step, sac.get_initial_predict_state(3)).output
    torch.testing.assert_close(greedy, x, atol=0.12, rtol=0)


def test_it_finds_the_best_discrete_action():
    torch.manual_seed(0)
    sac = make_sac(
        DISCRETE,
        observation_spec=TensorSpec((4,)),
        target_entropy=0.2,
        lr=1e-2,
        config=config_of(mini_batch_size=256),
    )
    best = torch.arange(256) % 4
    observation = torch.nn.functional.one_hot(best, 4).float()
    action = torch.randint(0, 4, (256,))
    learn_one_step_task(sac, action, (action == best).float(), observation, updates=200)
    step = TimeStep(observation=torch.eye(4), step_type=torch.zeros(4, dtype=torch.int32))
    greedy = sac.predict_step(step, sac.get_initial_predict_state(4)).output
    assert greedy.tolist() == [0, 1, 2, 3]
