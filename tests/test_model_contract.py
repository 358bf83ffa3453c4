"""What holds of every dynamics model, learned or known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from alf_layered.models.model import Model
from tests.small_models import over_all_models, rollout_inputs, transitions

both_ways = pytest.mark.parametrize("deterministic", [True, False])


@over_all_models
def test_predictions_have_the_documented_shapes(make: Callable[[], Model]) -> None:
    model, batch = make(), transitions(rows=7)
    rows = (batch.state, batch.context, batch.action)
    mean, weight, std, term_prob = model.predict(*rows)
    assert mean.shape[:2] == (7, model.n_models)
    assert mean.shape == std.shape == (*weight.shape, 3)
    torch.testing.assert_close(weight.sum(-1), torch.ones(7, model.n_models))
    assert (std > 0).all()
    assert term_prob.shape == (7,)
    assert ((term_prob >= 0) & (term_prob <= 1)).all()
    assert model.sample(*rows).shape == (7, 3)
    log_prob, found_term, info = model.get_log_prob(*rows, batch.next_state)
    assert log_prob.shape == (7,)
    assert info["means"].shape == (model.n_models, 7, 3)
    torch.testing.assert_close(found_term, term_prob)
    assert model.loss(batch).shape == ()


@over_all_models
@both_ways
def test_a_rollout_has_the_documented_shapes(
    make: Callable[[], Model], deterministic: bool
) -> None:
    model = make()
    n, p = model.n_models, model.n_particles_per_model
    state, context, plans = rollout_inputs()
    found = model.rollout(state, context, plans[:, 0], deterministic)
    assert found.state.shape == (5, n, p, 5, 3)
    assert found.state_mean.shape == (5, n, 5, 3)
    assert found.state_epistemic_var.shape == found.state_aleatoric_var.shape == (5, 5, 3)
    assert found.term_prob.shape == (5, n, p, 4)
    torch.testing.assert_close(found.state[:, 0, 0, 0], state)


@over_all_models
def test_permuting_the_rows_permutes_the_results(make: Callable[[], Model]) -> None:
    model, order = make(), torch.tensor([3, 0, 4, 1, 2])
    state, context, plans = rollout_inputs()
    plain = model.rollout(state, context, plans, deterministic=True)
    moved = model.rollout(state[order], context[order], plans[order], deterministic=True)
    torch.testing.assert_close(moved.state, plain.state[order])
    torch.testing.assert_close(moved.term_prob, plain.term_prob[order])  # type: ignore[index]
    batch = transitions(rows=5)
    rows = (batch.state, batch.context, batch.action, batch.next_state)
    log_prob, _, _ = model.get_log_prob(*rows)
    found, _, _ = model.get_log_prob(*(x[order] for x in rows))
    torch.testing.assert_close(found, log_prob[order], atol=1e-4, rtol=1e-5)


@over_all_models
@pytest.mark.parametrize("changed", [0, 1, 2])
def test_changing_one_row_changes_no_other(make: Callable[[], Model], changed: int) -> None:
    """State, context or one plan; a model may ignore the context."""
    model, inputs = make(), list(rollout_inputs())
    before = model.rollout(*inputs, deterministic=True).state
    inputs[changed] = inputs[changed].clone()
    inputs[changed][2 if changed < 2 else (2, 3)] += 1
    after = model.rollout(*inputs, deterministic=True).state
    touched = (before != after).flatten(2).any(-1)
    rows = [[2, k] for k in range(6)] if changed < 2 else [[2, 3]]
    assert touched.nonzero().tolist() in ([rows, []] if changed == 1 else [rows])


@over_all_models
def test_the_same_generator_gives_the_same_draws(make: Callable[[], Model]) -> None:
    model, inputs, batch = make(), rollout_inputs(), transitions(rows=7)

    def draws(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        drawn = model.rollout(*inputs, generator=generator)
        sample = model.sample(batch.state, batch.context, batch.action, generator=generator)
        return drawn.state, sample

    for one, same, other in zip(draws(0), draws(0), draws(1), strict=True):
        assert torch.equal(one, same)
        assert not torch.equal(one, other)


@over_all_models
def test_planning_knows_no_gradients_and_changes_nothing(make: Callable[[], Model]) -> None:
    model = make().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state, context, plans = rollout_inputs()
    found = model.rollout(state.requires_grad_(), context, plans)
    assert not found.state.requires_grad
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
