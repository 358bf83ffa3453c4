"""Dynamics models against explicit densities, single networks and slow rollouts."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import gymnasium
import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered.models.known_model import KnownModel
from alf_layered.models.model import Model
from alf_layered.models.probabilistic_ensemble import ProbabilisticEnsemble
from alf_layered.networks.ensemble_mlp import EnsembleMLP
from tests.small_models import make_model, over_all_kinds, rollout_inputs, transitions, used_model

# ---- densities --------------------------------------------------------------------------------


@over_all_kinds
def test_the_density_equals_an_explicit_mixture(options: dict) -> None:
    model, batch = used_model(options), transitions()
    rows = (batch.state, batch.context, batch.action)
    mean, weight, std, term_prob = model.predict(*rows)
    modes = MixtureSameFamily(  # all modes of all members as one mixture
        Categorical(probs=weight.flatten(1)),
        torch.distributions.Independent(Normal(mean.flatten(1, 2), std.flatten(1, 2)), 1),
    )
    found, found_term, info = model.get_log_prob(*rows, batch.next_state)
    torch.testing.assert_close(found, modes.log_prob(batch.next_state), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(found_term, term_prob)
    members = [model.get_member_log_prob(i, *rows, batch.next_state) for i in range(model.n_models)]
    each = torch.stack([m[0] for m in members])
    torch.testing.assert_close(each.exp().mean(0), found.exp(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(torch.stack([m[2] for m in members]), info["means"])


def test_the_density_integrates_to_one() -> None:
    model = make_model(state=1, context=0, n_models=3, n_modes=2)
    grid = torch.linspace(-60, 60, 40_001)
    rows = (torch.full((len(grid), 1), 0.3), torch.zeros(len(grid), 0), torch.ones(len(grid), 1))
    prob, _, _ = model.get_prob(*rows, grid[:, None])
    assert torch.trapezoid(prob, grid).item() == pytest.approx(1.0, abs=1e-3)


def test_a_transform_acts_on_changes_and_means_with_the_given_deviation() -> None:
    model, batch = make_model(), transitions()
    rows = (batch.state, batch.context, batch.action)
    matrix = torch.tensor([[2.0, 0, 0], [1, 1, 0], [0, 0, 3]])
    found, _, _ = model.get_log_prob(
        *rows, batch.next_state, std=torch.tensor(0.7), transform=lambda x: x @ matrix.T
    )
    mean = model.predict(*rows)[0][:, 0, 0]
    expected = Normal((mean - batch.state) @ matrix.T, 0.7).log_prob(
        (batch.next_state - batch.state) @ matrix.T
    )
    torch.testing.assert_close(found, expected.sum(-1), atol=1e-3, rtol=1e-4)


def test_far_away_the_log_density_is_finite() -> None:
    model, batch = make_model(n_models=2, n_modes=2), transitions()
    log_prob, _, _ = model.get_log_prob(*batch[:3], batch.next_state + 1e6, std=torch.tensor(0.1))
    assert log_prob.isfinite().all()


def test_rows_broadcast_so_that_many_actions_share_a_state() -> None:
    model, batch = make_model(n_models=2, n_modes=2), transitions()
    actions = torch.randn(40, 7, 1)
    shared, _, _ = model.get_log_prob(
        batch.state[:, None], batch.context[:, None], actions, batch.next_state[:, None]
    )
    for i in range(7):
        own, _, _ = model.get_log_prob(batch.state, batch.context, actions[:, i], batch.next_state)
        torch.testing.assert_close(shared[:, i], own, atol=1e-4, rtol=1e-4)


# ---- one batched module -----------------------------------------------------------------------


def test_wide_parts_that_many_rows_share_are_multiplied_once_with_the_same_result() -> None:
    net = EnsembleMLP([20, 0, 18], [8, 8], 3, n_members=2)
    state, nothing, action = torch.randn(2, 5, 1, 20), torch.ones(1, 1, 1, 0), torch.randn(1, 7, 18)
    action = action.unsqueeze(1)
    shared = net(state, nothing, action)
    repeated = net(state.expand(-1, -1, 7, -1), nothing, action.expand(-1, 5, -1, -1))
    assert shared.shape == (2, 5, 7, 3)
    torch.testing.assert_close(shared, repeated)


def test_batched_members_equal_networks_evaluated_one_by_one() -> None:
    model, batch = make_model(n_models=3, n_modes=2), transitions()
    mean, weight, std, _ = model.predict(*batch[:3])
    x = torch.cat([batch.state, batch.action], dim=-1)
    net = model.net.net
    for i in range(3):
        y = x
        for j, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
            y = torch.relu(y) if j else y
            y = y @ w[i] + b[i]
        torch.testing.assert_close(
            mean[:, i],
            batch.state[:, None] + y[:, :6].unflatten(-1, (2, 3)) * model.target_scale,
        )
        torch.testing.assert_close(weight[:, i], y[:, 12:14].softmax(-1))
        torch.testing.assert_close(
            std[:, i], y[:, 6:12].unflatten(-1, (2, 3)).exp() * model.target_scale
        )


@over_all_kinds
@pytest.mark.parametrize("deterministic", [True, False])
def test_the_fast_step_equals_what_the_members_say(options: dict, deterministic: bool) -> None:
    model = used_model(options)
    slow = copy.deepcopy(model)
    slow._steps = partial(Model._steps, slow)

    def rollout(model: Model) -> Any:
        generator = torch.Generator().manual_seed(3)
        return model.rollout(*rollout_inputs(), deterministic, generator=generator)

    fast, expected = rollout(model), rollout(slow)
    torch.testing.assert_close(fast.state, expected.state, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(fast.term_prob, expected.term_prob, atol=1e-4, rtol=1e-4)


# ---- rollouts ---------------------------------------------------------------------------------


def test_a_deterministic_rollout_repeats_the_mean_prediction() -> None:
    model, (state, context, plans) = make_model(n_models=1, n_modes=2), rollout_inputs()
    found = model.rollout(state, context, plans[:, 0], deterministic=True)
    for t in range(4):
        mean, weight, _, term_prob = model.predict(state, context, plans[:, 0, t])
        torch.testing.assert_close(found.term_prob[:, 0, 0, t], term_prob)
        state = (weight[..., None] * mean).sum(2)[:, 0]
        torch.testing.assert_close(found.state[:, 0, 0, t + 1], state, atol=1e-5, rtol=1e-4)


def test_variances_of_one_step_match_the_predicted_mixture() -> None:
    model, (state, context, plans) = (
        make_model(n_models=3, n_modes=2, n_particles_per_model=40_000),
        rollout_inputs(rows=1),
    )
    found = model.rollout(
        state, context, plans[:, 0, :1], generator=torch.Generator().manual_seed(0)
    )
    mean, weight, std, _ = model.predict(state, context, plans[:, 0, 0])
    w = weight[..., None]
    member_mean = (w * mean).sum(2)
    member_var = (w * (std.square() + mean.square())).sum(2) - member_mean.square()
    torch.testing.assert_close(
        found.state_aleatoric_var[:, 1], member_var.mean(1), rtol=0.05, atol=1e-2
    )
    torch.testing.assert_close(
        found.state_epistemic_var[:, 1], member_mean.var(1, unbiased=False), rtol=0.05, atol=2e-2
    )
    total = found.state.var((1, 2), unbiased=False)
    torch.testing.assert_close(
        total, found.state_aleatoric_var + found.state_epistemic_var, rtol=1e-3, atol=1e-4
    )


def test_variances_of_several_steps_match_a_monte_carlo_loop() -> None:
    n, particles, horizon = 3, 20_000, 3
    model, (state, context, plans) = (
        make_model(n_models=n, n_modes=2, n_particles_per_model=particles),
        rollout_inputs(rows=1, horizon=horizon),
    )
    found = model.rollout(state, context, plans[:, 0], generator=torch.Generator().manual_seed(0))

    drawn = torch.Generator().manual_seed(1)
    members = []
    for i in range(n):  # each particle stays with its member
        now, path = state.expand(particles, -1), []
        for t in range(horizon):
            action = plans[0, 0, t].expand(particles, -1)
            mean, weight, std, _ = model.predict(now, context.expand(particles, -1), action)
            mode = torch.multinomial(weight[:, i], 1, generator=drawn)
            rows = torch.arange(particles)
            mean, std = mean[rows, i, mode[:, 0]], std[rows, i, mode[:, 0]]
            now = mean + std * torch.randn(particles, 3, generator=drawn)
            path.append(now)
        members.append(torch.stack(path))
    state_NHPS = torch.stack(members).detach()
    aleatoric = state_NHPS.var(2, unbiased=False).mean(0)
    epistemic = state_NHPS.mean(2).var(0, unbiased=False)

    torch.testing.assert_close(found.state_aleatoric_var[0, 1:], aleatoric, rtol=0.05, atol=0)
    torch.testing.assert_close(found.state_epistemic_var[0, 1:], epistemic, rtol=0.1, atol=0.02)
    assert (aleatoric[2] > 1.5 * aleatoric[0]).all()  # it adds up, or this would be one step again
    total = found.state.var((1, 2), unbiased=False)
    torch.testing.assert_close(
        total, found.state_aleatoric_var + found.state_epistemic_var, rtol=1e-3, atol=1e-4
    )


def test_more_rows_than_a_block_holds_are_rolled_out_alike() -> None:
    model, (state, context, plans) = make_model(n_models=2), rollout_inputs()
    many = plans.repeat(1, 60, 1, 1)
    found = model.rollout(state, context, many, deterministic=True).state
    expected = model.rollout(state, context, plans, deterministic=True).state
    expected = expected.repeat(1, 60, 1, 1, 1, 1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "actions", [gymnasium.spaces.Discrete(3), BoundedTensorSpec((), torch.int64, 0, 2)]
)
def test_discrete_actions_enter_one_hot(actions: Any) -> None:
    box = gymnasium.spaces.Box(-1.0, 1.0, (3,))
    model = ProbabilisticEnsemble(box, TensorSpec((0,)), actions).eval()
    state, context = torch.randn(4, 3), torch.zeros(4, 0)
    plans = torch.randint(3, (4, 5, 2))
    found = model.rollout(state, context, plans, deterministic=True).state
    vectors = torch.nn.functional.one_hot(plans, 3).float()
    expected = model.rollout(state, context, vectors, deterministic=True).state
    torch.testing.assert_close(found, expected)


def test_samples_follow_the_prediction() -> None:
    model, (state, context, plans) = make_model(n_models=2, n_modes=2), rollout_inputs(rows=1)
    rows = [x.expand(50_000, -1) for x in (state, context, plans[:, 0, 0])]
    drawn = model.sample(*rows, generator=torch.Generator().manual_seed(0))
    mean, weight, std, _ = model.predict(state, context, plans[:, 0, 0])
    w = weight[..., None] / 2
    expected = (w * mean).sum((1, 2))[0]
    second = (w * (mean.square() + std.square())).sum((1, 2))[0]
    torch.testing.assert_close(drawn.mean(0), expected, atol=0.05, rtol=0.02)
    torch.testing.assert_close(drawn.square().mean(0), second, atol=0.05, rtol=0.05)


# ---- known dynamics, and errors ---------------------------------------------------------------


def test_a_known_model_follows_its_functions() -> None:
    model = KnownModel(
        lambda state, context, action: state + context + action,
        lambda state, context, action: (state[..., 0] > 2).float(),
        std=0.1,
        n_particles_per_model=2,
    )
    found = model.rollout(
        torch.zeros(1, 1), torch.ones(1, 1), torch.tensor([[[0.0], [1.0], [2.0]]]), True
    )
    assert found.state[0, 0, 0, :, 0].tolist() == [0, 1, 3, 6]
    assert found.term_prob[0, 0, 1].tolist() == [0, 0, 1]
    log_prob, _, _ = model.get_log_prob(*torch.zeros(4, 1, 1))
    expected = Normal(0.0, 0.1).log_prob(torch.tensor(0.0))
    torch.testing.assert_close(log_prob[0], expected)
    assert model.learn([]) is None


@pytest.mark.parametrize("name", ["n_models", "n_modes", "n_particles_per_model"])
def test_there_is_at_least_one_of_each(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0"):
        make_model(**{name: 0})


def test_learning_alone_needs_an_optimizer() -> None:
    with pytest.raises(ValueError, match="create_optimizer=True"):
        make_model().learn([transitions()])


@pytest.mark.parametrize("field", ["state", "next_state", "action"])
def test_an_update_that_is_not_finite_changes_no_parameter(field: str) -> None:
    model = make_model(create_optimizer=True)
    batch = transitions()
    before = [p.detach().clone() for p in model.parameters()]
    bad = batch._replace(**{field: torch.full_like(getattr(batch, field), torch.nan)})
    with pytest.raises(ValueError, match="update is not made: the loss is nan"):
        model.learn([bad])
    assert all(map(torch.equal, before, model.parameters()))


def test_all_statistics_survive_saving() -> None:
    model = used_model({"symmetry_breaking_start": True, "n_models": 2})
    other = make_model(symmetry_breaking_start=True, n_models=2)
    other.load_state_dict(model.state_dict())
    for a, b in zip(
        model.predict(*transitions()[:3]), other.predict(*transitions()[:3]), strict=True
    ):
        assert torch.equal(a, b)
