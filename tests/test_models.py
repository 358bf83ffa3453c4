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
from alf_layered.models.batch import ModelBatch
from alf_layered.models.known_model import KnownModel
from alf_layered.models.model import Model
from alf_layered.models.probabilistic_ensemble import ProbabilisticEnsemble
from alf_layered.networks.prob_dynamics import ProbFCDynamics

Build = partial(ProbabilisticEnsemble)


def _model(state: int = 3, context: int = 2, action: int = 1, **options: Any) -> Any:
    torch.manual_seed(0)
    options.setdefault("partial_net", partial(ProbFCDynamics, hidden=(16, 16)))
    return ProbabilisticEnsemble(
        TensorSpec((state,)), TensorSpec((context,)), TensorSpec((action,)), **options
    ).eval()


def _batch(rows: int = 40, scale: float = 1.0, **fields: Any) -> ModelBatch:
    torch.manual_seed(1)
    state, context, action = torch.randn(rows, 3), torch.randn(rows, 2), torch.randn(rows, 1)
    return ModelBatch(
        state=scale * state,
        context=context,
        action=action,
        next_state=scale * (state + 0.5 * action + 0.1 * torch.randn(rows, 3)),
        terminated=torch.rand(rows) < 0.2,
        **fields,
    )


def _inputs(rows: int = 5, horizon: int = 4) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(2)
    return torch.randn(rows, 3), torch.randn(rows, 2), torch.randn(rows, 6, horizon, 1)


ALL_KINDS = [
    {},
    {"n_models": 3},
    {"n_models": 2, "n_modes": 3, "n_particles_per_model": 2},
    {"n_models": 2, "predict_delta": False},
    {"n_modes": 2, "normalize_targets": False},
    {"n_models": 2, "symmetry_breaking_start": True, "sb_start_duration": 100},
    {"n_modes": 2, "symmetry_breaking_start": True, "predict_delta": False},
    {
        "n_models": 2,
        "n_modes": 2,
        "partial_net": partial(
            ProbFCDynamics, hidden=(16, 16), normalize_inputs=True, ignore_context=False
        ),
    },
]
over_all_kinds = pytest.mark.parametrize("options", ALL_KINDS, ids=[str(i) for i in range(8)])


def _used(options: dict) -> Any:
    """A model whose moments and schedule are somewhere in between."""
    model = _model(**options).train()
    model.loss(_batch(scale=2.0))
    model.set_n_total_env_steps(70)
    return model.eval()


# ---- densities --------------------------------------------------------------------------------


@over_all_kinds
def test_the_density_equals_an_explicit_mixture(options: dict) -> None:
    model, batch = _used(options), _batch()
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
    model = _model(state=1, context=0, n_models=3, n_modes=2)
    grid = torch.linspace(-60, 60, 40_001)
    rows = (torch.full((len(grid), 1), 0.3), torch.zeros(len(grid), 0), torch.ones(len(grid), 1))
    prob, _, _ = model.get_prob(*rows, grid[:, None])
    assert torch.trapezoid(prob, grid).item() == pytest.approx(1.0, abs=1e-3)


def test_a_transform_acts_on_changes_and_means_with_the_given_deviation() -> None:
    model, batch = _model(), _batch()
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
    model, batch = _model(n_models=2, n_modes=2), _batch()
    log_prob, _, _ = model.get_log_prob(*batch[:3], batch.next_state + 1e6, std=torch.tensor(0.1))
    assert log_prob.isfinite().all()


def test_rows_broadcast_so_that_many_actions_share_a_state() -> None:
    model, batch = _model(n_models=2, n_modes=2), _batch()
    actions = torch.randn(40, 7, 1)
    shared, _, _ = model.get_log_prob(
        batch.state[:, None], batch.context[:, None], actions, batch.next_state[:, None]
    )
    for i in range(7):
        own, _, _ = model.get_log_prob(batch.state, batch.context, actions[:, i], batch.next_state)
        torch.testing.assert_close(shared[:, i], own, atol=1e-4, rtol=1e-4)


# ---- one batched module -----------------------------------------------------------------------


def test_batched_members_equal_networks_evaluated_one_by_one() -> None:
    model, batch = _model(n_models=3, n_modes=2), _batch()
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
    model = _used(options)
    slow = copy.deepcopy(model)
    slow._step_function = partial(Model._step_function, slow)

    def imagine(model: Model) -> Any:
        generator = torch.Generator().manual_seed(3)
        return model.imagine(
            *_inputs(), deterministic=deterministic, terminations=True, generator=generator
        )

    fast, expected = imagine(model), imagine(slow)
    torch.testing.assert_close(fast.state, expected.state, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(fast.term_prob, expected.term_prob, atol=1e-4, rtol=1e-4)


# ---- rollouts ---------------------------------------------------------------------------------


@over_all_kinds
def test_a_rollout_has_the_documented_shapes(options: dict) -> None:
    model = _used(options)
    n, p = model.n_models, model.n_particles_per_model
    state, context, plans = _inputs()
    for deterministic in (True, False):
        found = model.rollout(state, context, plans[:, 0], deterministic)
        assert found.state.shape == (5, n, p, 5, 3)
        assert found.state_mean.shape == (5, n, 5, 3)
        assert found.state_epistemic_var.shape == found.state_aleatoric_var.shape == (5, 5, 3)
        assert found.term_prob.shape == (5, n, p, 4)
        torch.testing.assert_close(found.state[:, 0, 0, 0], state)


def test_a_deterministic_rollout_repeats_the_mean_prediction() -> None:
    model, (state, context, plans) = _model(n_models=1, n_modes=2), _inputs()
    found = model.rollout(state, context, plans[:, 0], deterministic=True)
    for t in range(4):
        mean, weight, _, term_prob = model.predict(state, context, plans[:, 0, t])
        torch.testing.assert_close(found.term_prob[:, 0, 0, t], term_prob)
        state = (weight[..., None] * mean).sum(2)[:, 0]
        torch.testing.assert_close(found.state[:, 0, 0, t + 1], state, atol=1e-5, rtol=1e-4)


def test_variances_of_one_step_match_the_predicted_mixture() -> None:
    model, (state, context, plans) = (
        _model(n_models=3, n_modes=2, n_particles_per_model=40_000),
        _inputs(rows=1),
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


def test_two_members_disagree_and_differently_for_each_plan() -> None:
    disagreement = _model(n_models=2).imagine(*_inputs()).disagreement()
    assert disagreement.shape == (5, 6)
    assert (disagreement > 0).all()
    assert len(disagreement.flatten().unique()) == 30


def test_one_member_cannot_disagree() -> None:
    with pytest.raises(ValueError, match="n_models must be at least 2"):
        _model().imagine(*_inputs()).disagreement()


def test_plans_are_independent_of_their_neighbours() -> None:
    model, (state, context, plans) = _model(n_models=2), _inputs()
    before = model.imagine(state, context, plans).state
    plans[2, 3] += 1
    after = model.imagine(state, context, plans).state
    changed = (before != after).any(-1).any(0).any(0).squeeze(-1)
    assert changed.nonzero().tolist() == [[2, 3]]


def test_more_rows_than_a_block_holds_are_rolled_out_alike() -> None:
    model, (state, context, plans) = _model(n_models=2), _inputs()
    many = plans.repeat(1, 60, 1, 1)
    found = model.imagine(state, context, many).state
    expected = model.imagine(state, context, plans).state.repeat(1, 1, 1, 60, 1, 1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "actions", [gymnasium.spaces.Discrete(3), BoundedTensorSpec((), torch.int64, 0, 2)]
)
def test_discrete_actions_enter_one_hot(actions: Any) -> None:
    box = gymnasium.spaces.Box(-1.0, 1.0, (3,))
    model = ProbabilisticEnsemble(box, TensorSpec((0,)), actions).eval()
    state, context = torch.randn(4, 3), torch.zeros(4, 0)
    plans = torch.randint(3, (4, 5, 2))
    found = model.imagine(state, context, plans).state
    vectors = torch.nn.functional.one_hot(plans, 3).float()
    torch.testing.assert_close(found, model.imagine(state, context, vectors).state)


def test_samples_follow_the_prediction() -> None:
    model, (state, context, plans) = _model(n_models=2, n_modes=2), _inputs(rows=1)
    rows = [x.expand(50_000, -1) for x in (state, context, plans[:, 0, 0])]
    drawn = model.sample(*rows, generator=torch.Generator().manual_seed(0))
    mean, weight, std, _ = model.predict(state, context, plans[:, 0, 0])
    w = weight[..., None] / 2
    expected = (w * mean).sum((1, 2))[0]
    second = (w * (mean.square() + std.square())).sum((1, 2))[0]
    torch.testing.assert_close(drawn.mean(0), expected, atol=0.05, rtol=0.02)
    torch.testing.assert_close(drawn.square().mean(0), second, atol=0.05, rtol=0.05)


# ---- learning ---------------------------------------------------------------------------------


def test_nothing_updates_in_eval_mode_or_while_planning() -> None:
    model = _model(partial_net=partial(ProbFCDynamics, hidden=(8,), normalize_inputs=True))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.loss(_batch())
    model.train().imagine(*_inputs())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    model.loss(_batch())
    assert not torch.equal(model.targets.var, before["targets.var"])


@pytest.mark.parametrize("predict_delta", [True, False])
def test_the_target_scale_is_that_of_what_is_predicted(predict_delta: bool) -> None:
    model, batch = _model(predict_delta=predict_delta).train(), _batch()
    model.loss(batch)
    target = batch.next_state - batch.state if predict_delta else batch.next_state
    torch.testing.assert_close(model.target_scale, target.std(0, unbiased=False), rtol=1e-3, atol=0)


def test_with_normalised_targets_the_loss_knows_no_scale() -> None:
    losses = []
    for scale in (1.0, 50.0):
        net = partial(ProbFCDynamics, hidden=(16,), normalize_inputs=True)
        loss = _model(partial_net=net).train().loss(_batch(scale=scale))
        losses.append(loss.item() - 3 * torch.tensor(scale).log().item())
    assert losses[0] == pytest.approx(losses[1], abs=1e-2)


def test_the_loss_is_the_members_mean() -> None:
    model, batch = _model(n_models=3, n_modes=2), _batch()
    rows = (batch.state, batch.context, batch.action)
    expected = 0.0
    for i in range(3):
        log_prob, term_prob, _ = model.get_member_log_prob(i, *rows, batch.next_state)
        entropy = torch.nn.functional.binary_cross_entropy(term_prob, batch.terminated.float())
        expected += (entropy - log_prob.mean()).item() / 3
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-4)


def test_rows_that_are_not_valid_change_nothing() -> None:
    batch = _batch(rows=6)
    mask = torch.tensor([1, 0, 1, 1, 0, 1], dtype=torch.bool)
    spoilt = batch._replace(
        next_state=torch.where(mask[:, None], batch.next_state, torch.nan), validity_mask=mask
    )
    valid = ModelBatch(*(x[mask] for x in batch[:5]))
    model, other = _model().train(), _model().train()
    assert model.loss(spoilt).item() == pytest.approx(other.loss(valid).item(), rel=1e-5)
    torch.testing.assert_close(model.targets.var, other.targets.var)


def test_weights_weigh() -> None:
    batch = _batch(rows=4)
    model = _model(weighted_loss=True)
    alone = model.loss(batch._replace(weight=torch.tensor([4.0, 0, 0, 0])))
    first = _model().loss(ModelBatch(*(x[:1] for x in batch[:5])))
    assert alone.item() == pytest.approx(first.item(), rel=1e-5)
    with pytest.raises(ValueError, match="no weight"):
        model.loss(batch)


@pytest.mark.parametrize("rows", [6, 7, 2])
def test_partitioned_members_learn_from_rows_of_their_own(rows: int) -> None:
    batch = _batch(rows=rows)
    model, whole = _model(n_models=3, partition_batch=True), _model(n_models=3)
    expected = []
    for i in range(3):
        own = [x[i::3] for x in batch[:4]]
        if len(own[0]) == 0:
            expected.append(0.0)
            continue
        log_prob, term_prob, _ = whole.get_member_log_prob(i, *own)
        entropy = torch.nn.functional.binary_cross_entropy(
            term_prob, batch.terminated[i::3].float()
        )
        expected.append((entropy - log_prob.mean()).item())
    assert model.loss(batch).item() == pytest.approx(sum(expected) / 3, rel=1e-4)


def test_an_ensemble_learns_a_simple_system() -> None:
    """A damped point pushed by the action, which terminates outside of a strip."""
    torch.manual_seed(0)
    model = ProbabilisticEnsemble(
        TensorSpec((2,)),
        TensorSpec((0,)),
        TensorSpec((1,)),
        partial(ProbFCDynamics, hidden=(32, 32)),
        n_models=2,
        create_optimizer=True,
        learning_rate=3e-3,
    )

    def transitions(rows: int) -> ModelBatch:
        state, action = 2 * torch.rand(rows, 2) - 1, 2 * torch.rand(rows, 1) - 1
        speed = 0.8 * state[:, 1:] + 0.5 * action
        next_state = torch.cat([state[:, :1] + 0.2 * speed, speed], dim=-1)
        return ModelBatch(state, state[:, :0], action, next_state, state[:, 0] > 0.5)

    first = model.learn([transitions(256)])
    last = model.learn(transitions(256) for _ in range(600))
    assert first is not None
    assert last is not None
    assert last < first - 3
    test = transitions(500)
    mean, _, _, term_prob = model.predict(*test[:3])
    error = (mean[:, :, 0] - test.next_state[:, None]).abs().mean()
    assert error < 0.02
    assert ((term_prob > 0.5) == test.terminated).float().mean() > 0.95


# ---- the made-up start ------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "action"), [(3, 2), (2, 5), (1, 1), (4, 4)])
def test_the_start_pushes_each_skill_its_own_way(state: int, action: int) -> None:
    model = _model(
        state=state, action=action, symmetry_breaking_start=True, normalize_targets=False
    )
    zeros = torch.zeros(action, state)
    mean, _, std, term_prob = model.predict(zeros, torch.zeros(action, 2), torch.eye(action))
    pushes = mean[:, 0, 0]
    assert (std == 0.3).all()
    assert (term_prob == 0).all()
    if action <= state:
        torch.testing.assert_close(pushes @ pushes.T, 2.25 * torch.eye(action), atol=1e-5, rtol=0)
    else:
        torch.testing.assert_close(pushes.T @ pushes, 2.25 * torch.eye(state), atol=1e-5, rtol=0)


def test_the_start_gives_way_in_its_second_half() -> None:
    model, learned = _model(symmetry_breaking_start=True, sb_start_duration=100), _model()
    learned.net.load_state_dict(model.net.state_dict())
    rows = _batch()[:3]
    after = learned.predict(*rows)

    def at(steps: int) -> tuple[torch.Tensor, ...]:
        model.set_n_total_env_steps(steps)
        return model.predict(*rows)

    before = at(0)
    for steps, share in [(50, 0.0), (75, 0.5), (90, 0.8), (100, 1.0), (1000, 1.0)]:
        for found, old, new in zip(at(steps), before, after, strict=True):
            torch.testing.assert_close(found, (1 - share) * old + share * new, atol=1e-5, rtol=1e-4)


def test_learning_ignores_the_start() -> None:
    model, learned = _model(symmetry_breaking_start=True), _model()
    learned.net.load_state_dict(model.net.state_dict())
    assert model.loss(_batch()).item() == pytest.approx(learned.loss(_batch()).item())
    batch = _batch()
    found = model.get_log_prob(*batch[:4], loss_mode=True)[0]
    torch.testing.assert_close(found, learned.get_log_prob(*batch[:4])[0])


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
        _model(**{name: 0})


def test_learning_alone_needs_an_optimizer() -> None:
    with pytest.raises(ValueError, match="create_optimizer=True"):
        _model().learn([_batch()])


def test_all_statistics_survive_saving() -> None:
    model = _used({"symmetry_breaking_start": True, "n_models": 2})
    other = _model(symmetry_breaking_start=True, n_models=2)
    other.load_state_dict(model.state_dict())
    for a, b in zip(model.predict(*_batch()[:3]), other.predict(*_batch()[:3]), strict=True):
        assert torch.equal(a, b)
