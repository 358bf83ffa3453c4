"""Predictors: what they learn, and from what."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from alf.tensor_specs import TensorSpec
from alf_layered.encoders import EncoderNet, FixedEncoderNet
from alf_layered.networks.reward_net import DiscountNet
from alf_layered.predictors.batch import PredictorBatch
from alf_layered.predictors.standardizer import DeltaStandardizer
from tests.small_predictors import FIRST, LAST, MID, SMALL, Line, random_spans, small_predictor

# ---- losses -------------------------------------------------------------------------------------


def test_only_real_transitions_count() -> None:
    """Rows that cross an episode may hold anything."""
    batch = random_spans(length=2)
    real = (batch.step_type[:, 0] != LAST) & (batch.step_type[:, 1] != FIRST)
    assert 0 < int(real.sum()) < 8
    spoilt = batch._replace(
        reward=torch.where(real[:, None], batch.reward, 1e6),
        discount=torch.where(real[:, None], batch.discount, 7.0),
    )
    kept = PredictorBatch(*(x[real] if x is not None else None for x in batch))
    for found, expected in zip(
        small_predictor().losses(spoilt), small_predictor().losses(kept), strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_gradients_reach_the_encoder_through_the_reward_alone() -> None:
    encoder = EncoderNet((2,), 2, 0)
    predictor = small_predictor(encoder)
    losses = predictor.losses(random_spans(length=2))
    for name, loss in losses._asdict().items():
        if loss.requires_grad:
            loss.backward()
        reached = encoder.to_state.weight.grad is not None
        assert reached == (name in ("reward", "discount", "standardizer"))  # reward comes third


def test_a_fixed_encoder_gets_no_gradient() -> None:
    encoder = EncoderNet((2,), 2, 0)
    predictor = small_predictor(encoder, learn_encoder=False)
    before = encoder.change_rate.clone()
    predictor.total_loss(predictor.losses(random_spans(length=2))).backward()
    assert encoder.to_state.weight.grad is None
    assert torch.equal(encoder.change_rate, before)


def test_the_value_is_learned_from_the_planners_decisions() -> None:
    batch = random_spans()._replace(step_type=torch.full((8, 4), MID))
    planned = torch.zeros(8, 4, dtype=torch.bool)
    planned[:3, 0] = True
    predictor = small_predictor(n_steps=3)
    some = predictor.losses(batch._replace(planned=planned)).value
    alone = predictor.losses(PredictorBatch(*(None if x is None else x[:3] for x in batch))).value
    torch.testing.assert_close(some, alone)
    assert predictor.losses(batch._replace(planned=~planned & False)).value == 0


def test_the_value_bootstraps_from_the_next_observation() -> None:
    predictor = small_predictor()
    nn.init.normal_(predictor.target_val_func._net.last.weight)  # type: ignore[union-attr]
    batch = random_spans(length=2)._replace(step_type=torch.tensor([[MID, LAST]]).expand(8, 2))
    last, context = predictor.encode(batch.observation[:, 1])
    target = batch.reward[:, 1] + batch.discount[:, 1] * predictor.target_val_func(last, context)  # type: ignore[misc]
    expected = (target - predictor.value(batch.observation[:, 0])).square().mean()
    torch.testing.assert_close(predictor.losses(batch).value, expected)


def test_spans_that_are_too_short_are_an_error() -> None:
    predictor = small_predictor(k_steps=2, n_steps=3)
    assert predictor.span_length == 5
    with pytest.raises(ValueError, match="need 5"):
        predictor.losses(random_spans(length=4))


def test_warm_up_learns_encoder_and_reward_alone() -> None:
    predictor = small_predictor(EncoderNet((2,), 2, 0), encoder_warm_up=1)
    losses = predictor.losses(random_spans(length=2))
    torch.testing.assert_close(predictor.total_loss(losses), losses.reward)
    predictor.after_update()
    torch.testing.assert_close(predictor.total_loss(losses), torch.stack(losses).sum())


def test_the_target_value_follows() -> None:
    predictor = small_predictor(tau=0.25)
    with torch.no_grad():
        for p in predictor.val_func.parameters():  # type: ignore[union-attr]
            p.add_(1.0)
    before = [p.clone() for p in predictor.target_val_func.parameters()]  # type: ignore[union-attr]
    predictor.after_update()
    for old, new in zip(before, predictor.target_val_func.parameters(), strict=True):  # type: ignore[union-attr]
        torch.testing.assert_close(new, old + 0.25)
        assert not new.requires_grad


def test_nothing_changes_in_eval_mode() -> None:
    predictor = small_predictor(
        EncoderNet((2,), 2, 0), model_options={"symmetry_breaking_start": True}
    )
    predictor.eval()
    before = {k: v.clone() for k, v in predictor.state_dict().items()}
    predictor.losses(Line().sample(4, 2))
    predictor.rollout_plans(torch.zeros(1, 2), torch.zeros(1, 0), torch.zeros(1, 3, 4, 1))
    assert all(torch.equal(v, before[k]) for k, v in predictor.state_dict().items())


# ---- learning -----------------------------------------------------------------------------------


def test_a_predictor_learns_the_line() -> None:
    predictor = small_predictor(
        create_optimizer=True, model_lr=3e-3, reward_lr=3e-3, value_lr=lambda step: 3e-3
    )
    loss, report = predictor.learn(Line(), 400, 64, 64)
    assert loss is not None
    assert set(report) == {"consistency", "value", "reward", "discount", "standardizer"}
    batch = Line(seed=1).sample(200, 2)
    now, then = batch.observation[:, 0], batch.observation[:, 1]
    mean, _, _, reward, term_prob = predictor.predict(now, batch.action[:, 0])
    assert (mean[:, 0, 0] - then).abs().mean() < 0.03
    assert (reward - batch.reward[:, 1]).abs().mean() < 0.1
    assert term_prob.max() < 0.05
    plan = torch.zeros(200, 3, 1)
    rollout, _ = predictor.rollout(now, plan, deterministic=True)
    assert rollout.reward.shape == (200, 1, 1, 3)
    still = 1 - (now[:, 0] - now[:, 1]).abs()
    assert (rollout.reward[:, 0, 0] - still[:, None]).abs().mean() < 0.15


@pytest.mark.parametrize("field", ["reward", "observation"])
def test_an_update_that_is_not_finite_changes_no_parameter(field: str) -> None:
    class Broken(Line):
        def sample(self, batch_size: int, batch_length: int) -> Any:
            batch = super().sample(batch_size, batch_length)
            getattr(batch, field)[0] = torch.nan
            return batch

    predictor = small_predictor(create_optimizer=True)
    before = [p.detach().clone() for p in predictor.parameters()]
    with pytest.raises(ValueError, match=r"update is not made: the loss is nan.*gradient norm of"):
        predictor.learn(Broken(), 1, 8, 8)
    assert all(map(torch.equal, before, predictor.parameters()))


def test_values_of_long_decisions_are_discounted_by_their_duration() -> None:
    """With reward 1 and a discount of 0.5 the value is 2 everywhere."""
    predictor = small_predictor(create_optimizer=True, value_lr=1e-2, tau=0.1)

    class Constant(Line):
        def sample(self, batch_size: int, batch_length: int) -> PredictorBatch:
            batch = super().sample(batch_size, batch_length)
            return batch._replace(reward=torch.ones_like(batch.reward))

    predictor.learn(Constant(gamma=0.5), 300, 64, 16)
    obs = Line(seed=1).sample(100, 2).observation[:, 0]
    assert (predictor.value(obs) - 2).abs().mean() < 0.1
    assert predictor.mean_discount.item() == pytest.approx(0.5)


def test_a_learned_encoder_tells_goals_by_the_reward() -> None:
    encoder = EncoderNet((2,), 1, 1)
    predictor = small_predictor(
        encoder, create_optimizer=True, model_lr=3e-3, reward_lr=3e-3, encoder_lr=1e-2
    )
    predictor.learn(Line(), 400, 64, 64)
    assert encoder.mask.tolist() == [True, False]
    batch = Line(seed=1).sample(200, 2)
    reward = predictor.predict_reward(batch.observation[:, 0], batch.action[:, 0])
    assert (reward - batch.reward[:, 1]).abs().mean() < 0.15


def test_durations_are_learned_from_state_and_action() -> None:
    specs = (TensorSpec((2,)), TensorSpec((0,)), TensorSpec((1,)))
    predictor = small_predictor(
        create_optimizer=True, reward_lr=1e-2, discount_func=DiscountNet(*specs, hidden=SMALL)
    )

    class Lasting(Line):
        def sample(self, batch_size: int, batch_length: int) -> PredictorBatch:
            batch = super().sample(batch_size, batch_length)
            long = torch.where(batch.action[:, :-1, 0] > 0, 0.9**10, 0.9)
            time_discount = torch.cat([torch.ones(batch_size, 1), long], dim=1)
            return batch._replace(time_discount=time_discount, discount=time_discount)

    predictor.learn(Lasting(), 400, 64, 16)
    state, context = predictor.encode(torch.zeros(2, 2))
    found = predictor.discount(state, context, torch.tensor([[-0.5], [0.5]]))
    assert found.tolist() == pytest.approx([0.9, 0.9**10], abs=0.05)


def test_learning_alone_needs_an_optimizer_and_data() -> None:
    with pytest.raises(ValueError, match="create_optimizer=True"):
        small_predictor().learn(Line())

    class Empty:
        def sample(self, batch_size: int, batch_length: int) -> None:
            return None

    assert small_predictor(create_optimizer=True).learn(Empty()) == (None, {})


@pytest.mark.parametrize(
    "name",
    ["delta_standardizer_lr", "encoder_lr", "reward_lr", "model_lr", "value_lr"]
    + ["clip_grad_max_norm"],
)
def test_settings_of_the_own_optimizer_are_errors_without_one(name: str) -> None:
    message = f"'{name}': 0.5.*need create_optimizer=True.*PlannerLevel.*optimizer=Adam"
    with pytest.raises(ValueError, match=message):
        small_predictor(**{name: 0.5})


def test_each_part_learns_at_its_own_rate_or_the_documented_one() -> None:
    predictor = small_predictor(
        EncoderNet((2,), 1, 1), create_optimizer=True, model_lr=0.5, value_lr=lambda step: 0.01
    )
    predictor.learn(Line(), 1, 4, 4)
    assert predictor._optimizer is not None
    rates = {group["name"]: group["lr"] for group in predictor._optimizer._adam.param_groups}
    assert rates == {
        "model": 0.5,
        "val_func": 0.01,
        "rew_func": 3e-4,
        "encoder": 3e-4,
        "standardizer": 1e-3,
    }


# ---- standardised changes -----------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_standardised_changes_have_unit_covariance(scale: float) -> None:
    torch.manual_seed(0)
    standardizer = DeltaStandardizer(2)
    mix = scale * torch.tensor([[1.0, 0.0], [0.8, 0.5]])
    adam = torch.optim.Adam(standardizer.parameters(), lr=1e-2)
    valid = torch.ones(512, dtype=torch.bool)
    for _ in range(600):
        loss = standardizer.loss(torch.randn(512, 2) @ mix.T, valid)
        adam.zero_grad()
        loss.backward()
        adam.step()
    covariance = torch.cov(standardizer(torch.randn(20_000, 2) @ mix.T).T)
    torch.testing.assert_close(covariance.detach(), torch.eye(2), atol=0.1, rtol=0)
    torch.testing.assert_close(
        (standardizer.matrix @ standardizer.inverse).detach(), torch.eye(2), atol=1e-4, rtol=0
    )


def test_the_made_up_start_follows_the_standardizer() -> None:
    predictor = small_predictor(model_options={"symmetry_breaking_start": True})
    predictor.total_loss(predictor.losses(Line().sample(64, 2)))
    predictor.after_update()
    zeros = torch.zeros(1, 2)
    mean = predictor.model.predict(zeros, zeros[:, :0], torch.ones(1, 1))[0][:, 0, 0]
    assert predictor.standardize_change(mean).norm().item() == pytest.approx(1.5, rel=1e-3)


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("dims", [[0], [0, 1]])
def test_standardised_densities_work_for_any_state(on: bool, dims: list[int]) -> None:
    predictor = small_predictor(FixedEncoderNet((2,), dims), delta_standardizer=on, n_models=2)
    batch = Line().sample(16, 2)
    predictor.total_loss(predictor.losses(batch)).backward()
    state, context = predictor.encode(batch.observation)
    args = (state[:, 0], context[:, 0], batch.action[:, 0], state[:, 1])
    found = predictor.get_standardized_log_prob(*args, std=0.5)
    mean = predictor.model.predict(*args[:3])[0][:, :, 0]
    residual = predictor.standardize_change(state[:, 1, None] - mean)
    each = torch.distributions.Normal(0.0, 0.5).log_prob(residual).sum(-1)
    expected = each.logsumexp(1) - torch.tensor(2.0).log()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
