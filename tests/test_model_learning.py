"""What models learn, from which rows, and the made-up start before it."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from alf.tensor_specs import TensorSpec
from alf_layered.models.batch import ModelBatch
from alf_layered.models.mixture import Mixture, beta_nll
from alf_layered.models.probabilistic_ensemble import ProbabilisticEnsemble
from alf_layered.networks.prob_dynamics import ProbFCDynamics
from tests.small_models import make_model, rollout_inputs, transitions


def test_nothing_updates_in_eval_mode_or_while_planning() -> None:
    model = make_model(partial_net=partial(ProbFCDynamics, hidden=(8,), normalize_inputs=True))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.loss(transitions())
    model.train().rollout(*rollout_inputs(), deterministic=True)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    model.loss(transitions())
    assert not torch.equal(model.targets.var, before["targets.var"])


@pytest.mark.parametrize("predict_delta", [True, False])
def test_the_target_scale_is_that_of_what_is_predicted(predict_delta: bool) -> None:
    model, batch = make_model(predict_delta=predict_delta).train(), transitions()
    model.loss(batch)
    target = batch.next_state - batch.state if predict_delta else batch.next_state
    torch.testing.assert_close(model.target_scale, target.std(0, unbiased=False), rtol=1e-3, atol=0)


def test_with_normalised_targets_the_loss_knows_no_scale() -> None:
    losses = []
    for scale in (1.0, 50.0):
        net = partial(ProbFCDynamics, hidden=(16,), normalize_inputs=True)
        loss = make_model(partial_net=net).train().loss(transitions(scale=scale))
        losses.append(loss.item() - 3 * torch.tensor(scale).log().item())
    assert losses[0] == pytest.approx(losses[1], abs=1e-2)


def test_the_loss_is_the_members_mean() -> None:
    model, batch = make_model(n_models=3, n_modes=2), transitions()
    rows = (batch.state, batch.context, batch.action)
    expected = 0.0
    for i in range(3):
        log_prob, term_prob, _ = model.get_member_log_prob(i, *rows, batch.next_state)
        entropy = torch.nn.functional.binary_cross_entropy(term_prob, batch.terminated.float())
        expected += (entropy - log_prob.mean()).item() / 3
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-4)


def test_rows_that_are_not_valid_change_nothing() -> None:
    batch = transitions(rows=6)
    mask = torch.tensor([1, 0, 1, 1, 0, 1], dtype=torch.bool)
    spoilt = batch._replace(
        next_state=torch.where(mask[:, None], batch.next_state, torch.nan), validity_mask=mask
    )
    valid = ModelBatch(*(x[mask] for x in batch[:5]))
    model, other = make_model().train(), make_model().train()
    assert model.loss(spoilt).item() == pytest.approx(other.loss(valid).item(), rel=1e-5)
    torch.testing.assert_close(model.targets.var, other.targets.var)


def test_weights_weigh() -> None:
    batch = transitions(rows=4)
    model = make_model(weighted_loss=True)
    alone = model.loss(batch._replace(weight=torch.tensor([4.0, 0, 0, 0])))
    first = make_model().loss(ModelBatch(*(x[:1] for x in batch[:5])))
    assert alone.item() == pytest.approx(first.item(), rel=1e-5)
    with pytest.raises(ValueError, match="no weight"):
        model.loss(batch)


def test_a_learning_rate_without_an_optimizer_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"learning_rate=0\.1.*create_optimizer=True"):
        make_model(learning_rate=0.1)


def _beta_nll(beta: float) -> tuple[float, float, float]:
    """Of N(1, 2^2) at 3 in a unit of 0.5: the loss, and its slopes in mean and deviation."""
    mean, std = (
        torch.tensor([[[[1.0]]]]).requires_grad_(),
        torch.tensor([[[[2.0]]]]).requires_grad_(),
    )
    mixture = Mixture(mean, std, torch.zeros(1, 1, 1), torch.zeros(1, 1))
    loss = beta_nll(mixture, torch.tensor([[3.0]]), beta=beta, unit=torch.tensor([0.5]))
    loss.sum().backward()
    assert mean.grad is not None
    assert std.grad is not None
    return float(loss.detach()), float(mean.grad), float(std.grad)


def test_the_beta_nll_by_hand() -> None:
    # (3 - 1)^2 / (2 2^2) + log 2 + log(2 pi) / 2; slopes -(3 - 1) / 2^2 and 1/2 - (3 - 1)^2 / 2^3
    nll = (0.5 + 0.693147 + 0.918939, -0.5, 0.0)
    for beta, weight in ((0.0, 1.0), (0.5, 4.0), (1.0, 16.0)):  # (2 / 0.5)^(2 beta)
        assert _beta_nll(beta) == pytest.approx([weight * x for x in nll], abs=1e-4)


def test_with_beta_one_deviations_do_not_matter_for_how_means_are_pulled() -> None:
    slopes = []
    for std in (0.1, 3.0):
        mean = torch.zeros(1, 1, 1, 1).requires_grad_()
        mixture = Mixture(mean, torch.full((1, 1, 1, 1), std), torch.zeros(1, 1, 1), torch.zeros(1))
        beta_nll(mixture, torch.ones(1, 1), beta=1.0, unit=torch.ones(1)).sum().backward()
        assert mean.grad is not None
        slopes.append(float(mean.grad))
    assert slopes == pytest.approx([-1.0, -1.0])


@pytest.mark.parametrize(("beta", "modes"), [(-0.1, 1), (1.1, 1), (0.5, 2)])
def test_a_beta_needs_its_range_and_one_mode(beta: float, modes: int) -> None:
    with pytest.raises(
        ValueError, match=rf"beta_nll is {beta}(; allowed: .* in \[0, 1\]| with n_modes=2)"
    ):
        make_model(beta_nll=beta, n_modes=modes)


@pytest.mark.parametrize("rows", [6, 7, 2])
def test_partitioned_members_learn_from_rows_of_their_own(rows: int) -> None:
    batch = transitions(rows=rows)
    model, whole = make_model(n_models=3, partition_batch=True), make_model(n_models=3)
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

    def moves(rows: int) -> ModelBatch:
        state, action = 2 * torch.rand(rows, 2) - 1, 2 * torch.rand(rows, 1) - 1
        speed = 0.8 * state[:, 1:] + 0.5 * action
        next_state = torch.cat([state[:, :1] + 0.2 * speed, speed], dim=-1)
        return ModelBatch(state, state[:, :0], action, next_state, state[:, 0] > 0.5)

    first = model.learn([moves(256)])
    last = model.learn(moves(256) for _ in range(600))
    assert first is not None
    assert last is not None
    assert last < first - 3
    test = moves(500)
    mean, _, _, term_prob = model.predict(*test[:3])
    error = (mean[:, :, 0] - test.next_state[:, None]).abs().mean()
    assert error < 0.02
    assert ((term_prob > 0.5) == test.terminated).float().mean() > 0.95


# ---- the made-up start ------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "action"), [(3, 2), (2, 5), (1, 1), (4, 4)])
def test_the_start_pushes_each_skill_its_own_way(state: int, action: int) -> None:
    model = make_model(
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
    model, learned = make_model(symmetry_breaking_start=True, sb_start_duration=100), make_model()
    learned.net.load_state_dict(model.net.state_dict())
    rows = transitions()[:3]
    after = learned.predict(*rows)

    def at(steps: int) -> tuple[torch.Tensor, ...]:
        model.set_n_total_env_steps(steps)
        return model.predict(*rows)

    before = at(0)
    for steps, share in [(50, 0.0), (75, 0.5), (90, 0.8), (100, 1.0), (1000, 1.0)]:
        for found, old, new in zip(at(steps), before, after, strict=True):
            torch.testing.assert_close(found, (1 - share) * old + share * new, atol=1e-5, rtol=1e-4)


def test_learning_ignores_the_start() -> None:
    model, learned = make_model(symmetry_breaking_start=True), make_model()
    learned.net.load_state_dict(model.net.state_dict())
    assert model.loss(transitions()).item() == pytest.approx(learned.loss(transitions()).item())
    batch = transitions()
    found = model.get_log_prob(*batch[:4], loss_mode=True)[0]
    torch.testing.assert_close(found, learned.get_log_prob(*batch[:4])[0])
