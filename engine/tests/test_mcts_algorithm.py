"""Tree search as an algorithm: scores and policies by hand, noise, masks, players, temperatures."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch

from alf.algorithms import mcts_algorithm as mcts
from alf.algorithms.mcts_algorithm import (
    MCTSAlgorithm,
    VisitSoftmaxTemperatureByMoves,
    VisitSoftmaxTemperatureByProgress,
    calculate_exploration_policy,
    calculate_kl_exploration_policy,
)
from alf.algorithms.mcts_models import ModelOutput, ModelState, SimpleMCTSModel
from alf.algorithms.muzero_algorithm import MuzeroAlgorithm
from alf.algorithms.muzero_representation_learner import MuzeroRepresentationImpl
from alf.data_structures import StepType, TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import schedulers
from alf.utils.action_samplers import CategoricalSeedSampler

OBSERVATION = TensorSpec((3,))
THREE = BoundedTensorSpec((), torch.int64, 0, 2)
CONTINUOUS = BoundedTensorSpec((2,), torch.float32, -1.0, 1.0)


def make(action_spec: Any = THREE, observation_spec: Any = OBSERVATION, **options: Any) -> Any:
    return MCTSAlgorithm(
        **{
            "observation_spec": observation_spec,
            "action_spec": action_spec,
            "num_simulations": 12,
            "root_dirichlet_alpha": 0.3,
            "root_exploration_fraction": 0.25,
            "pb_c_init": 1.25,
            "pb_c_base": 19652,
            "discount": 0.9,
            "is_two_player_game": False,
            "visit_softmax_temperature_fn": VisitSoftmaxTemperatureByMoves([(100, 1e-3)]),
            **options,
        }
    )


def steps_of(observation: Any, rows: int) -> TimeStep:
    return TimeStep(
        step_type=torch.full((rows,), StepType.MID, dtype=torch.int32),
        reward=torch.zeros(rows),
        discount=torch.ones(rows),
        observation=observation,
    )


class Choice:
    """The first action decides: its index is the reward of player 0, then nothing comes."""

    def initial_representation(self, observation: Any) -> torch.Tensor:
        board = observation["board"] if isinstance(observation, dict) else observation
        return torch.zeros(len(board))

    def initial_predict(self, latent: torch.Tensor, pred_state: Any = ()) -> ModelOutput:
        return self._output(latent, torch.zeros_like(latent))

    def recurrent_inference(self, state: ModelState, action: torch.Tensor) -> ModelOutput:
        reward = torch.where(state.state == 0, action.to(torch.float32), 0.0)
        return self._output(state.state + 1, reward)

    def _output(self, state: torch.Tensor, reward: torch.Tensor) -> ModelOutput:
        return ModelOutput(
            value=torch.zeros_like(state),
            reward=reward,
            game_over=state > 0,
            action_probs=torch.full((len(state), 3), 1 / 3),
            state=ModelState(state=state),
        )


def test_an_exploration_policy_has_hand_numbers() -> None:
    """Prior 1/2 each, values 1 and 0, c = 1/2: alpha solves 1/4 / (a - 1) + 1/4 / a = 1.

    That is a^2 - 3/2 a + 1/4 = 0, of which the root above 1 is (3 + sqrt 5) / 4.
    """
    value, prior = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.5]])
    alpha = (3 + math.sqrt(5)) / 4
    p, iterations = calculate_exploration_policy(value, prior, torch.tensor([[0.5]]))
    assert p[0].tolist() == pytest.approx([0.25 / (alpha - 1), 0.25 / alpha], abs=1e-5)
    assert 0 < iterations < 15
    p, iterations = calculate_kl_exploration_policy(value, prior, torch.tensor([[0.5]]))
    assert p[0].tolist() == pytest.approx([math.e**2 / (math.e**2 + 1), 1 / (math.e**2 + 1)])
    assert iterations == 0


def test_exploration_policies_sum_to_one_whatever_the_numbers() -> None:
    torch.manual_seed(0)
    for scale in (1e-3, 1.0, 1e3):
        prior = torch.randn(200, 6).mul(3).softmax(dim=1)
        prior[:, 0] = 0
        prior = prior / prior.sum(dim=1, keepdim=True)
        value, c = scale * torch.randn(200, 6), torch.rand(200, 1) + 1e-3
        p, _ = calculate_exploration_policy(value, prior, c)
        assert ((p.sum(dim=1) - 1).abs() <= 2e-6).all()
        assert (p >= 0).all()
        assert (p[:, 0] == 0).all()


def test_small_regularisation_makes_the_best_child_certain_and_large_leaves_the_prior() -> None:
    value, prior = torch.tensor([[0.1, 0.9, 0.5]]), torch.tensor([[0.5, 0.2, 0.3]])
    for policy in (calculate_exploration_policy, calculate_kl_exploration_policy):
        assert float(policy(value, prior, torch.tensor([[1e-5]]))[0][0, 1]) > 0.999
        torch.testing.assert_close(
            policy(value, prior, torch.tensor([[1e5]]))[0], prior, atol=1e-4, rtol=0
        )


def test_temperatures_follow_moves_and_progress() -> None:
    by_moves = VisitSoftmaxTemperatureByMoves([(2, 1.0), (4, 0.5), (6, 0.25)])
    assert by_moves(torch.tensor([0, 1, 2, 3, 4, 5, 9])).tolist() == [1, 1, 1, 0.5, 0.5, 0.25, 0.25]
    by_progress = VisitSoftmaxTemperatureByProgress()
    before = schedulers.get_progress("percent")
    try:
        found = []
        for progress in (0.0, 0.5, 0.8, 1.0):
            schedulers.update_progress("percent", progress)
            found.append(float(by_progress(torch.zeros(1, dtype=torch.int64))))
    finally:
        schedulers.update_progress("percent", before)
    assert found == [1.0, 0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"act_with_exploration_policy": True, "learn_with_exploration_policy": True},
        {
            "act_with_exploration_policy": True,
            "learn_with_exploration_policy": True,
            "search_with_exploration_policy": True,
            "exploration_policy_type": "kl",
            "unexpanded_value_score": "none",
        },
        {"expand_all_children": True, "act_with_exploration_policy": True},
        {"expand_all_root_children": True, "num_parallel_sims": 4},
        {"ucb_break_tie_eps": 1e-3, "ucb_parent_visit_count_minus_one": True},
    ],
    ids=lambda options: ",".join(options) or "visits",
)
def test_the_best_action_is_found_for_either_player(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    spec = {"board": OBSERVATION, "to_play": BoundedTensorSpec((), torch.int8, 0, 1)}
    search = make(observation_spec=spec, is_two_player_game=True, **options)
    search.set_model(Choice())
    to_play = torch.arange(6, dtype=torch.int8) % 2
    observation = {"board": torch.zeros(6, 3), "to_play": to_play}
    state = search.get_initial_predict_state(6)
    step = search.predict_step(steps_of(observation, 6), state)
    best = torch.where(to_play == 0, 2, 0)
    assert torch.equal(step.output, best)
    torch.testing.assert_close(step.info.candidate_action_policy.sum(dim=1), torch.ones(6))
    if "expand_all_children" not in options:
        assert torch.equal(step.info.candidate_action_policy.argmax(dim=1), best)
    assert step.state.steps.tolist() == [1] * 6
    assert step.state.next_predicted_reward == ()
    state = search.get_initial_rollout_state(6)
    rolled = search.rollout_step(steps_of(observation, 6), state)
    torch.testing.assert_close(rolled.state.next_predicted_reward, rolled.output.float())


def test_without_to_play_the_players_move_in_turn() -> None:
    search = make(is_two_player_game=True)
    search.set_model(Choice())
    state = search.get_initial_predict_state(4)._replace(steps=torch.arange(4))
    step = search.predict_step(steps_of(torch.zeros(4, 3), 4), state)
    assert step.output.tolist() == [2, 0, 2, 0]


def test_actions_that_are_not_valid_are_never_taken() -> None:
    torch.manual_seed(0)
    spec = {"board": OBSERVATION, "valid_action_mask": TensorSpec((3,), torch.bool)}
    search = make(observation_spec=spec, visit_softmax_temperature_fn=lambda steps: steps + 10.0)
    search.set_model(Choice())
    mask = torch.tensor([[True, True, False], [False, True, True]]).repeat(50, 1)
    observation = {"board": torch.zeros(100, 3), "valid_action_mask": mask}
    step = search.rollout_step(steps_of(observation, 100), search.get_initial_rollout_state(100))
    assert mask.gather(1, step.output.unsqueeze(1)).all()
    assert (step.info.candidate_action_policy[~mask] == 0).all()


def test_noise_is_for_rollouts_only_and_the_temperature_of_learning_sharpens() -> None:
    torch.manual_seed(0)
    model = SimpleMCTSModel(OBSERVATION, THREE, 2)
    search = make(model=model, root_dirichlet_alpha=0.05, root_exploration_fraction=0.9)
    inputs = steps_of(torch.randn(1, 3).expand(40, 3), 40)
    predicted = search.predict_step(inputs, search.get_initial_predict_state(40)).info
    rolled = search.rollout_step(inputs, search.get_initial_rollout_state(40)).info
    policy = predicted.candidate_action_policy
    assert torch.equal(policy, policy[:1].expand(40, 3))
    assert len(rolled.candidate_action_policy.unique(dim=0)) > 3
    sharp = make(model=model, learn_policy_temperature=0.5)
    found = sharp.predict_step(inputs, sharp.get_initial_predict_state(40)).info
    expected = policy[0] ** 2 / (policy[0] ** 2).sum()
    torch.testing.assert_close(found.candidate_action_policy[0], expected)


def test_sampled_actions_are_the_candidates() -> None:
    torch.manual_seed(0)
    model = SimpleMCTSModel(OBSERVATION, CONTINUOUS, 2, num_sampled_actions=7)
    search = make(action_spec=CONTINUOUS, model=model)
    inputs = steps_of(torch.randn(5, 3), 5)
    step = search.rollout_step(inputs, search.get_initial_rollout_state(5))
    assert step.info.candidate_actions.shape == (5, 7, 2)
    assert (step.info.candidate_actions == step.output.unsqueeze(1)).all(dim=2).any(dim=1).all()
    # Of a discrete action the most probable ones.
    model = SimpleMCTSModel(OBSERVATION, THREE, 2, num_sampled_actions=2)
    with torch.no_grad():
        root = model.initial_inference(torch.randn(5, 3))
    logits = root.action_distribution.logits
    assert torch.equal(root.actions, logits.topk(2, dim=1).indices)
    torch.testing.assert_close(root.action_probs.sum(dim=1), torch.ones(5))


def test_a_sampler_with_a_state_keeps_its_noise() -> None:
    sampler = CategoricalSeedSampler(num_classes=3, new_noise_prob=0.0)
    search = make(
        rollout_action_sampler=sampler, visit_softmax_temperature_fn=lambda steps: steps + 10.0
    )
    search.set_model(Choice())
    state = search.get_initial_rollout_state(6)
    first = search.rollout_step(steps_of(torch.zeros(6, 3), 6), state)
    second = search.rollout_step(steps_of(torch.zeros(6, 3), 6), first.state)
    kept = first.state.action_sampler_state
    assert torch.equal(kept, second.state.action_sampler_state)
    assert search.get_initial_predict_state(6).action_sampler_state == ()


def test_wrong_settings_are_refused_by_name() -> None:
    for options, text in (
        ({"exploration_policy_type": "js"}, "'js'.*rkl"),
        ({"unexpanded_value_score": "best"}, "'best'.*mean_with_parent"),
        ({"num_parallel_sims": 5}, "multiple of num_parallel_sims=5"),
        ({"reward_spec": TensorSpec((2,))}, "one reward"),
        ({"action_spec": {"a": THREE}}, "one action"),
        (
            {"expand_all_children": True, "num_parallel_sims": 4},
            "num_parallel_sims is 4; allowed: 1 with expand_all_children=True",
        ),
        ({"max_unroll_length": 0}, "max_unroll_length is 0"),
        ({"num_parallel_sims": 0}, "num_parallel_sims is 0; allowed"),
        ({"num_simulations": 0}, "num_simulations is 0; allowed"),
        ({"known_value_bounds": (1.0, -1.0)}, r"known_value_bounds=\(1.0, -1.0\)"),
        ({"root_exploration_fraction": 1.5}, r"fraction is 1.5; allowed: .* in \[0, 1\]"),
        ({"learn_policy_temperature": 0.0}, "temperature is 0.0; allowed: .* above 0"),
    ):
        with pytest.raises(ValueError, match=text):
            make(**options)
    with pytest.raises(ValueError, match="set_model"):
        make().predict_step(steps_of(torch.zeros(1, 3), 1), make().get_initial_predict_state(1))
    search = make(model=SimpleMCTSModel(OBSERVATION, THREE, 2, train_policy=False))
    with pytest.raises(ValueError, match="train_policy=True"):
        search.predict_step(steps_of(torch.zeros(1, 3), 1), search.get_initial_predict_state(1))


class Coarse(Choice):
    """Every state is worth 1, nothing is earned, the game never ends; all in half precision."""

    def _output(self, state: torch.Tensor, reward: torch.Tensor) -> ModelOutput:
        output = super()._output(state, torch.zeros_like(reward, dtype=torch.bfloat16))
        return output._replace(
            value=torch.ones_like(state, dtype=torch.bfloat16),
            action_probs=output.action_probs.bfloat16(),
            game_over=torch.zeros_like(output.game_over),
        )


@pytest.mark.parametrize("options", [{}, {"expand_all_children": True}, {"num_parallel_sims": 4}])
def test_trees_keep_single_precision_where_the_model_does_not(options: dict[str, Any]) -> None:
    """The mean of 401 times 1 is 1; in bfloat16 their sum would stop at 256."""
    search = make(num_simulations=400, discount=1.0, **options)
    search.set_model(Coarse())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        step = search.rollout_step(
            steps_of(torch.zeros(2, 3), 2), search.get_initial_rollout_state(2)
        )
    assert step.info.value.tolist() == pytest.approx([1.0, 1.0])
    for x in (*step.info[1:], step.state.next_predicted_reward):
        assert x.dtype == torch.float32


@pytest.mark.parametrize(
    "create",
    [
        partial(mcts.create_board_game_mcts, dirichlet_alpha=0.3, num_simulations=4),
        partial(mcts.create_go_mcts, debug_summaries=False),
        partial(mcts.create_chess_mcts, debug_summaries=False),
        partial(mcts.create_shogi_mcts, debug_summaries=False),
        mcts.create_atari_mcts,
        mcts.create_control_mcts,
    ],
)
def test_the_settings_of_the_paper_can_be_made(create: Any) -> None:
    assert create(OBSERVATION, THREE).discount in (1.0, 0.997)


def test_muzero_goes_on_where_it_was_saved() -> None:
    """Model, target model, and the count of updates until that follows are all saved."""
    torch.manual_seed(0)
    search = partial(
        make, num_simulations=4, visit_softmax_temperature_fn=lambda steps: steps + 1.0
    )

    def build() -> MuzeroAlgorithm:
        return MuzeroAlgorithm(
            OBSERVATION,
            THREE,
            discount=0.9,
            mcts_algorithm_ctor=search,
            representation_learner_ctor=partial(
                MuzeroRepresentationImpl,
                model_ctor=partial(SimpleMCTSModel, num_unroll_steps=2),
                num_unroll_steps=2,
                td_steps=2,
                reanalyze_ratio=0.5,
                reanalyze_algorithm_ctor=search,
                target_update_period=3,
            ),
        )

    one, other = build(), build()
    one.after_update((), ())
    other.load_state_dict(one.state_dict())
    inputs = steps_of(torch.randn(4, 3), 4)
    found = [a.predict_step(inputs, a.get_initial_predict_state(4)).info for a in (one, other)]
    assert torch.equal(found[0].candidate_action_policy, found[1].candidate_action_policy)
    assert torch.equal(found[0].value, found[1].value)
    saved = one.state_dict()
    assert any(key.endswith("_counter") and int(saved[key]) == 1 for key in saved)
    assert any("_target_model" in key for key in saved)
