"""What plans are worth to a predictor; how predictors are built and fed."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium
import pytest
import torch

import alf
from alf.data_structures import Experience, TimeStep
from alf.experience_replayers.replay_buffer import ReplayBuffer
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered.encoders import EncoderNet, IdentityEncoder
from alf_layered.hierarchy.replay import LevelReplayBuffer
from alf_layered.models.known_model import KnownModel
from alf_layered.models.probabilistic_ensemble import ProbabilisticEnsemble
from alf_layered.networks.reward_net import RewardNet
from alf_layered.networks.value_net import ValueNet
from alf_layered.planning.objective import PlanObjective
from alf_layered.predictors.batch import ReplayedSpans
from alf_layered.predictors.plan_score import plan_return
from alf_layered.predictors.predictor import Predictor
from alf_layered.predictors.predictor_factory import (
    PredictorFactory,
    get_default_predictor_factory,
)
from alf_layered.predictors.reward_predictor import RewardPredictor
from alf_layered.predictors.static_predictor import StaticPredictor
from tests.small_predictors import MID, Line, random_spans, small_predictor


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


def _score(
    predictor: Predictor,
    state: torch.Tensor,
    context: torch.Tensor,
    plans: torch.Tensor,
    **options: Any,
) -> torch.Tensor:
    objective = PlanObjective(**options)
    return objective.score(objective.rollout(predictor, state, context, plans))


def test_the_score_of_a_plan_by_hand() -> None:
    plans = torch.tensor([[[1.0], [1.0]], [[0.0], [2.0]]])[None]
    start = (torch.tensor([[1.0]]), torch.zeros(1, 0), plans)
    # Rewards 1, 2 and 1, 1; each step from a state of 1 or more ends with probability 1/2.
    without = _score(_known(), *start, use_value_func=False)
    assert without.tolist() == [[1 + 0.25 * 2, 1 + 0.25 * 1]]
    full = _score(_known(), *start)
    assert full.tolist() == [[1 + 0.25 * 2 + 0.25**2 * 300, 1 + 0.25 * 1 + 0.25**2 * 300]]
    forever = _score(_known(), *start, use_term_prob=False)
    assert forever.tolist() == [[1 + 0.5 * 2 + 0.25 * 300, 1 + 0.5 * 1 + 0.25 * 300]]


def test_a_rollout_of_plans_has_one_reward_for_each_member_and_step() -> None:
    predictor = small_predictor(n_models=3, model_options={"n_particles_per_model": 2})
    plans = torch.randn(4, 5, 6, 1)
    roller = predictor.model.roller(deterministic=False)
    found = predictor.rollout_plans(torch.randn(4, 2), torch.zeros(4, 0), plans, roller=roller)
    assert found.reward.shape == (4, 5, 3, 2, 6)
    assert plan_return(found).shape == (4, 5)
    state = found.trajectories.state[..., 2, :]
    expected = predictor.rew_func(state, torch.zeros(0), plans[:, :, None, None, 2])
    torch.testing.assert_close(found.reward[..., 2], expected, atol=1e-5, rtol=1e-4)


def test_a_static_predictor_serves_wherever_a_learning_one_does() -> None:
    predictor = _known(change_std=2.0)
    assert predictor.learn(Line(), 1, 4, 4, 10) == (None, {})
    assert predictor.model.n_total_env_steps == 10
    assert predictor.total_loss(predictor.losses(random_spans())) == 0
    state = torch.zeros(3, 1)
    found = predictor.get_standardized_log_prob(state, state[:, :0], state, state + 2, std=1.0)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor(1.0))
    torch.testing.assert_close(found, expected.expand(3))
    with pytest.raises(ValueError, match=r"change_std is 0.0.*above 0"):
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
    batch = random_spans(3)._replace(observation=torch.randn(*shape, 7), action=actions)
    predictor.total_loss(predictor.losses(batch)).backward()
    scores = _score(predictor, *predictor.encode(_goal_observation(3)), plans)
    assert scores.shape == (3, 6)
    assert scores.isfinite().all()


def test_dimensions_that_contradict_the_encoder_are_an_error() -> None:
    with pytest.raises(ValueError, match="latent_state_dim is 5, but the encoder's is 2"):
        small_predictor(latent_state_dim=5)


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
            env_info={"time_discount": torch.tensor([0.25])},
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
    torch.testing.assert_close(batch.time_discount, torch.full((32, 3), 0.225))


def test_a_predictor_without_value_scores_by_its_rewards() -> None:
    known = _known()
    predictor = Predictor(known.model, None, known.rew_func, known.encoder, gamma=0.5)
    start = (torch.tensor([[1.0]]), torch.zeros(1, 0), torch.zeros(1, 2, 3, 1))
    torch.testing.assert_close(
        _score(predictor, *start), _score(known, *start, use_value_func=False)
    )
