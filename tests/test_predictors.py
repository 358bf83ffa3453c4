"""Predictors: what they learn, from what, and what plans are worth to them."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium
import pytest
import torch
from torch import nn

import alf
from alf.data_structures import Experience, StepType, TimeStep
from alf.experience_replayers.replay_buffer import ReplayBuffer
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered.encoders import EncoderNet, FixedEncoderNet, IdentityEncoder
from alf_layered.models.known_model import KnownModel
from alf_layered.models.probabilistic_ensemble import ProbabilisticEnsemble
from alf_layered.networks.prob_dynamics import ProbFCDynamics
from alf_layered.networks.reward_net import DiscountNet, RewardNet
from alf_layered.networks.value_net import ValueNet
from alf_layered.predictors.batch import PredictorBatch, ReplayedSpans
from alf_layered.predictors.plan_score import plan_return, score_plans
from alf_layered.predictors.predictor import Predictor
from alf_layered.predictors.predictor_factory import (
    PredictorFactory,
    get_default_predictor_factory,
)
from alf_layered.predictors.reward_predictor import RewardPredictor
from alf_layered.predictors.standardizer import DeltaStandardizer
from alf_layered.predictors.static_predictor import StaticPredictor
from alf_layered.replay import LevelReplayBuffer

FIRST, MID, LAST = (int(k) for k in (StepType.FIRST, StepType.MID, StepType.LAST))
SMALL = (32, 32)


def _predictor(encoder: Any = None, *, n_models: int = 1, **options: Any) -> RewardPredictor:
    """Over 2-dimensional states without context, and 1-dimensional actions."""
    torch.manual_seed(0)
    encoder = IdentityEncoder((2,)) if encoder is None else encoder
    state, context = TensorSpec((encoder.latent_state_dim,)), TensorSpec((encoder.context_dim,))
    action = BoundedTensorSpec((1,), minimum=-1.0, maximum=1.0)
    model_options = options.pop("model_options", {})
    return RewardPredictor(
        ProbabilisticEnsemble(
            state,
            context,
            action,
            partial(ProbFCDynamics, hidden=SMALL),
            n_models=n_models,
            **model_options,
        ),
        ValueNet(state, context, hidden=SMALL),
        RewardNet(state, context, action, hidden=SMALL),
        encoder,
        **options,
    )


class Line:
    """Spans of a point on a line: state (x, goal); the action moves x, the reward is its nearness.

    `duration` environment steps per decision; an episode has no end.
    """

    def __init__(self, *, gamma: float = 0.9, seed: int = 0) -> None:
        self._gamma = gamma
        self._generator = torch.Generator().manual_seed(seed)

    def sample(self, batch_size: int, batch_length: int) -> PredictorBatch:
        def uniform(*shape: int) -> torch.Tensor:
            return 2 * torch.rand(*shape, generator=self._generator) - 1

        action = uniform(batch_size, batch_length, 1)
        moves = torch.cat([uniform(batch_size, 1), 0.3 * action[:, :-1, 0]], dim=1)
        x = moves.cumsum(1)
        goal = uniform(batch_size, 1).expand_as(x)
        shape = x.shape
        return PredictorBatch(
            observation=torch.stack([x, goal], dim=-1),
            action=action,
            reward=1 - (x - goal).abs(),
            discount=torch.full(shape, self._gamma),
            step_type=torch.full(shape, MID, dtype=torch.int32),
            passage=torch.full(shape, self._gamma),
        )


def _spans(rows: int = 8, length: int = 4) -> PredictorBatch:
    """Random spans with all kinds of episode ends."""
    torch.manual_seed(1)
    kinds = torch.randint(0, 3, (rows, length), dtype=torch.int32)
    return PredictorBatch(
        observation=torch.randn(rows, length, 2),
        action=torch.randn(rows, length, 1),
        reward=torch.randn(rows, length),
        discount=torch.where(torch.rand(rows, length) < 0.3, 0.0, 0.9),
        step_type=kinds,
    )


# ---- losses -------------------------------------------------------------------------------------


def test_only_real_transitions_count() -> None:
    """Rows that cross an episode may hold anything."""
    batch = _spans(length=2)
    real = (batch.step_type[:, 0] != LAST) & (batch.step_type[:, 1] != FIRST)
    assert 0 < int(real.sum()) < 8
    spoilt = batch._replace(
        reward=torch.where(real[:, None], batch.reward, 1e6),
        discount=torch.where(real[:, None], batch.discount, 7.0),
    )
    kept = PredictorBatch(*(x[real] if x is not None else None for x in batch))
    for found, expected in zip(_predictor().losses(spoilt), _predictor().losses(kept), strict=True):
        torch.testing.assert_close(found, expected)


def test_gradients_reach_the_encoder_through_the_reward_alone() -> None:
    encoder = EncoderNet((2,), 2, 0)
    predictor = _predictor(encoder)
    losses = predictor.losses(_spans(length=2))
    for name, loss in losses._asdict().items():
        if loss.requires_grad:
            loss.backward()
        reached = encoder.to_state.weight.grad is not None
        assert reached == (name in ("reward", "discount", "standardizer"))  # reward comes third


def test_a_fixed_encoder_gets_no_gradient() -> None:
    encoder = EncoderNet((2,), 2, 0)
    predictor = _predictor(encoder, learn_encoder=False)
    before = encoder.change_rate.clone()
    predictor.total_loss(predictor.losses(_spans(length=2))).backward()
    assert encoder.to_state.weight.grad is None
    assert torch.equal(encoder.change_rate, before)


def test_the_value_is_learned_from_the_planners_decisions() -> None:
    batch = _spans()._replace(step_type=torch.full((8, 4), MID))
    planned = torch.zeros(8, 4, dtype=torch.bool)
    planned[:3, 0] = True
    predictor = _predictor(n_steps=3)
    some = predictor.losses(batch._replace(planned=planned)).value
    alone = predictor.losses(PredictorBatch(*(None if x is None else x[:3] for x in batch))).value
    torch.testing.assert_close(some, alone)
    assert predictor.losses(batch._replace(planned=~planned & False)).value == 0


def test_the_value_bootstraps_from_the_next_observation() -> None:
    predictor = _predictor()
    nn.init.normal_(predictor.target_val_func._net.last.weight)  # type: ignore[union-attr]
    batch = _spans(length=2)._replace(step_type=torch.tensor([[MID, LAST]]).expand(8, 2))
    last, context = predictor.encode(batch.observation[:, 1])
    target = batch.reward[:, 1] + batch.discount[:, 1] * predictor.target_val_func(last, context)  # type: ignore[misc]
    expected = (target - predictor.value(batch.observation[:, 0])).square().mean()
    torch.testing.assert_close(predictor.losses(batch).value, expected)


def test_spans_that_are_too_short_are_an_error() -> None:
    predictor = _predictor(k_steps=2, n_steps=3)
    assert predictor.span_length == 5
    with pytest.raises(ValueError, match="need 5"):
        predictor.losses(_spans(length=4))


def test_warm_up_learns_encoder_and_reward_alone() -> None:
    predictor = _predictor(EncoderNet((2,), 2, 0), encoder_warm_up=1)
    losses = predictor.losses(_spans(length=2))
    torch.testing.assert_close(predictor.total_loss(losses), losses.reward)
    predictor.after_update()
    torch.testing.assert_close(predictor.total_loss(losses), torch.stack(losses).sum())


def test_the_target_value_follows() -> None:
    predictor = _predictor(tau=0.25)
    with torch.no_grad():
        for p in predictor.val_func.parameters():  # type: ignore[union-attr]
            p.add_(1.0)
    before = [p.clone() for p in predictor.target_val_func.parameters()]  # type: ignore[union-attr]
    predictor.after_update()
    for old, new in zip(before, predictor.target_val_func.parameters(), strict=True):  # type: ignore[union-attr]
        torch.testing.assert_close(new, old + 0.25)
        assert not new.requires_grad


def test_nothing_changes_in_eval_mode() -> None:
    predictor = _predictor(EncoderNet((2,), 2, 0), model_options={"symmetry_breaking_start": True})
    predictor.eval()
    before = {k: v.clone() for k, v in predictor.state_dict().items()}
    predictor.losses(Line().sample(4, 2))
    predictor.prospect(torch.zeros(1, 2), torch.zeros(1, 0), torch.zeros(1, 3, 4, 1))
    assert all(torch.equal(v, before[k]) for k, v in predictor.state_dict().items())


# ---- learning -----------------------------------------------------------------------------------


def test_a_predictor_learns_the_line() -> None:
    predictor = _predictor(
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


def test_values_of_long_decisions_are_discounted_by_their_duration() -> None:
    """With reward 1 and a discount of 0.5 the value is 2 everywhere."""
    predictor = _predictor(create_optimizer=True, value_lr=1e-2, tau=0.1)

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
    predictor = _predictor(
        encoder, create_optimizer=True, model_lr=3e-3, reward_lr=3e-3, encoder_lr=1e-2
    )
    predictor.learn(Line(), 400, 64, 64)
    assert encoder.mask.tolist() == [True, False]
    batch = Line(seed=1).sample(200, 2)
    reward = predictor.predict_reward(batch.observation[:, 0], batch.action[:, 0])
    assert (reward - batch.reward[:, 1]).abs().mean() < 0.15


def test_durations_are_learned_from_state_and_action() -> None:
    specs = (TensorSpec((2,)), TensorSpec((0,)), TensorSpec((1,)))
    predictor = _predictor(
        create_optimizer=True, reward_lr=1e-2, discount_func=DiscountNet(*specs, hidden=SMALL)
    )

    class Lasting(Line):
        def sample(self, batch_size: int, batch_length: int) -> PredictorBatch:
            batch = super().sample(batch_size, batch_length)
            long = torch.where(batch.action[:, :-1, 0] > 0, 0.9**10, 0.9)
            passage = torch.cat([torch.ones(batch_size, 1), long], dim=1)
            return batch._replace(passage=passage, discount=passage)

    predictor.learn(Lasting(), 400, 64, 16)
    state, context = predictor.encode(torch.zeros(2, 2))
    found = predictor.discount(state, context, torch.tensor([[-0.5], [0.5]]))
    assert found.tolist() == pytest.approx([0.9, 0.9**10], abs=0.05)


def test_learning_alone_needs_an_optimizer_and_data() -> None:
    with pytest.raises(ValueError, match="create_optimizer=True"):
        _predictor().learn(Line())

    class Empty:
        def sample(self, batch_size: int, batch_length: int) -> None:
            return None

    assert _predictor(create_optimizer=True).learn(Empty()) == (None, {})


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
    predictor = _predictor(model_options={"symmetry_breaking_start": True})
    predictor.total_loss(predictor.losses(Line().sample(64, 2)))
    predictor.after_update()
    zeros = torch.zeros(1, 2)
    mean = predictor.model.predict(zeros, zeros[:, :0], torch.ones(1, 1))[0][:, 0, 0]
    assert predictor.standardize_change(mean).norm().item() == pytest.approx(1.5, rel=1e-3)


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("dims", [[0], [0, 1]])
def test_standardised_densities_work_for_any_state(on: bool, dims: list[int]) -> None:
    predictor = _predictor(FixedEncoderNet((2,), dims), delta_standardizer=on, n_models=2)
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


# ---- plans --------------------------------------------------------------------------------------


def _known(**options: Any) -> StaticPredictor:
    """The state counts up by the action; the reward is the state, the value 100 times it."""
    model = KnownModel(
        lambda state, context, action: state + action,
        lambda state, context, action: 0.5 * (state[..., 0] >= 1).float(),
    )
    return StaticPredictor(
        model,
        lambda state, context: 100 * state[..., 0],
        lambda state, context, action: state[..., 0],
        IdentityEncoder((1,)),
        1,
        0,
        gamma=0.5,
        **options,
    )


def test_the_score_of_a_plan_by_hand() -> None:
    plans = torch.tensor([[[1.0], [1.0]], [[0.0], [2.0]]])[None]
    start = (torch.tensor([[1.0]]), torch.zeros(1, 0), plans)
    # Rewards 1, 2 and 1, 1; each step from a state of 1 or more ends with probability 1/2.
    without = score_plans(_known(), *start, value_tail=False)
    assert without.tolist() == [[1 + 0.25 * 2, 1 + 0.25 * 1]]
    full = score_plans(_known(), *start)
    assert full.tolist() == [[1 + 0.25 * 2 + 0.25**2 * 300, 1 + 0.25 * 1 + 0.25**2 * 300]]
    forever = score_plans(_known(), *start, terminations=False)
    assert forever.tolist() == [[1 + 0.5 * 2 + 0.25 * 300, 1 + 0.5 * 1 + 0.25 * 300]]


def test_a_prospect_has_one_reward_for_each_member_and_step() -> None:
    predictor = _predictor(n_models=3, model_options={"n_particles_per_model": 2})
    plans = torch.randn(4, 5, 6, 1)
    found = predictor.prospect(torch.randn(4, 2), torch.zeros(4, 0), plans, deterministic=False)
    assert found.reward.shape == (6, 3, 4, 5, 2)
    assert plan_return(found).shape == (4, 5)
    state = found.imagined.state
    expected = predictor.rew_func(state[2], torch.zeros(0), plans[:, :, 2, None])
    torch.testing.assert_close(found.reward[2], expected, atol=1e-5, rtol=1e-4)


def test_a_static_predictor_serves_wherever_a_learning_one_does() -> None:
    predictor = _known(change_std=2.0)
    assert predictor.learn(Line(), 1, 4, 4, 10) == (None, {})
    assert predictor.model.n_total_env_steps == 10
    assert predictor.total_loss(predictor.losses(_spans())) == 0
    state = torch.zeros(3, 1)
    found = predictor.get_standardized_log_prob(state, state[:, :0], state, state + 2, std=1.0)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor(1.0))
    torch.testing.assert_close(found, expected.expand(3))
    with pytest.raises(ValueError, match="deviations are positive"):
        _known(change_std=0.0)


# ---- factories ----------------------------------------------------------------------------------

GOALS = {
    "observation": TensorSpec((3,)),
    "achieved_goal": TensorSpec((2,)),
    "desired_goal": TensorSpec((2,)),
}
ACTION = BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)


def _goal_observation(rows: int) -> dict[str, torch.Tensor]:
    """Each field has numbers of its own."""
    ones = torch.ones(rows, 2)
    return {"observation": torch.zeros(rows, 3), "achieved_goal": ones, "desired_goal": 2 * ones}


def test_the_default_factory_splits_what_is_achieved_from_what_is_desired() -> None:
    predictor = get_default_predictor_factory(GOALS)(GOALS, ACTION)
    state, context = predictor.encode(_goal_observation(4))
    assert (state == 1).all()
    assert (context == 2).all()
    assert predictor.model.n_models == 1
    mean, _, _, reward, _ = predictor.predict(_goal_observation(4), torch.zeros(4, 2))
    assert (mean.shape, reward.shape) == ((4, 1, 4, 2), (4,))


def test_the_default_factory_reads_gymnasiums_environments_and_takes_other_fields() -> None:
    space = gymnasium.spaces.Dict(
        {name: gymnasium.spaces.Box(-1, 1, spec.shape) for name, spec in GOALS.items()}
    )

    class Environment:
        observation_space = space

    factory = get_default_predictor_factory(
        Environment(), 0, state_fields=("achieved_goal", "observation"), n_models=2
    )
    predictor = factory(GOALS, ACTION)
    assert predictor.latent_state_dim == 5
    assert not predictor.model.breaks_symmetry


def test_an_environment_without_goals_is_an_error() -> None:
    with pytest.raises(ValueError, match="no fields \\['achieved_goal', 'desired_goal'\\]"):
        get_default_predictor_factory({"position": TensorSpec((2,))})


@pytest.mark.parametrize("action", [ACTION, gymnasium.spaces.Discrete(3)])
def test_a_factory_fits_the_spaces_together(action: Any) -> None:
    factory = PredictorFactory(
        ProbabilisticEnsemble,
        ValueNet,
        RewardNet,
        partial(EncoderNet, latent_state_dim=4, context_dim=1),
        partial(RewardPredictor, k_steps=2),
    )
    predictor = factory(GOALS, action)
    discrete = not isinstance(action, TensorSpec)
    shape, plans = (3, 4), torch.zeros(3, 6, 5, 2)
    actions = torch.zeros(*shape, 2)
    if discrete:
        actions, plans = torch.randint(3, shape), torch.randint(3, (3, 6, 5))
    batch = _spans(3)._replace(observation=torch.randn(*shape, 7), action=actions)
    predictor.total_loss(predictor.losses(batch)).backward()
    scores = score_plans(predictor, *predictor.encode(_goal_observation(3)), plans)
    assert scores.shape == (3, 6)
    assert scores.isfinite().all()


def test_dimensions_that_contradict_the_encoder_are_an_error() -> None:
    with pytest.raises(ValueError, match="latent_state_dim is 5, but the encoder's is 2"):
        _predictor(latent_state_dim=5)


# ---- replayed data ------------------------------------------------------------------------------


def test_spans_come_from_a_levels_replay_buffer() -> None:
    """Record p holds the observation p, the reward 10 p and the action 100 p."""

    def record(p: float) -> Experience:
        step = TimeStep(
            step_type=torch.tensor([MID], dtype=torch.int32),
            reward=torch.tensor([10 * p]),
            discount=torch.tensor([0.5]),
            observation={"position": torch.tensor([[p]])},
            prev_action=torch.zeros(1, 1),
            env_id=torch.zeros(1, dtype=torch.int32),
            env_info={"passage": torch.tensor([0.25])},
        )
        return Experience(time_step=step, action=torch.tensor([[100 * p]]))

    spec = alf.nest.map_structure(lambda x: TensorSpec.from_tensor(x, from_dim=1), record(0.0))
    buffer = LevelReplayBuffer.in_place_of(
        ReplayBuffer(spec, num_environments=1, max_length=16), prioritized=False, name="spans"
    )
    spans = ReplayedSpans(buffer, {"position": TensorSpec((1,))}, gamma=0.9)
    assert spans.sample(4, 3) is None
    for p in range(6):
        buffer.add_batch(record(float(p)), torch.zeros(1, dtype=torch.int64))
    batch = spans.sample(32, 3)
    assert batch is not None
    position = batch.observation.squeeze(-1)
    assert batch.observation.shape == (32, 3, 1)
    assert (position.diff(dim=1) == 1).all()
    torch.testing.assert_close(batch.reward, 10 * position)
    torch.testing.assert_close(batch.action.squeeze(-1), 100 * position)
    torch.testing.assert_close(batch.discount, torch.full((32, 3), 0.45))
    torch.testing.assert_close(batch.passage, torch.full((32, 3), 0.225))


def test_a_predictor_without_value_scores_by_its_rewards() -> None:
    known = _known()
    predictor = Predictor(known.model, None, known.rew_func, known.encoder, gamma=0.5)
    start = (torch.tensor([[1.0]]), torch.zeros(1, 0), torch.zeros(1, 2, 3, 1))
    torch.testing.assert_close(
        score_plans(predictor, *start), score_plans(known, *start, value_tail=False)
    )
