"""What a MuZero model is to say: values, rewards, policies and ends by hand, and reanalyze."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from alf.algorithms.config import TrainerConfig
from alf.algorithms.data_transformer import FrameStacker, HindsightExperienceTransformer
from alf.algorithms.mcts_algorithm import (
    MCTSAlgorithm,
    MCTSInfo,
    MCTSState,
    VisitSoftmaxTemperatureByMoves,
)
from alf.algorithms.mcts_models import ModelOutput, ModelState, ModelTarget, SimpleMCTSModel
from alf.algorithms.muzero.targets import find_spans, n_step_values
from alf.algorithms.muzero_algorithm import MuzeroAlgorithm
from alf.algorithms.muzero_representation_learner import (
    LinearTdStepFunc,
    MuzeroRepresentationImpl,
)
from alf.data_structures import AlgStep, Experience, TimeStep
from alf.experience_replayers.replay_buffer import BatchInfo, ReplayBuffer
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils.dist_utils import extract_spec

OBSERVATION = TensorSpec((1,))
ACTION = BoundedTensorSpec((), torch.int64, 0, 99)


def filled_buffer(
    step_types: str,
    discounts: list[float],
    path: str = "",
    with_states: bool = False,
    **options: Any,
) -> ReplayBuffer:
    """Record t: observation t, reward 10 + t, value 100 + t, policy one-hot at t, action t.

    ``step_types`` are letters F, M and L; environment 1 holds the same. Infos and states of the
    search are at ``path``; states have counted 50 + t steps.
    """
    buffer = None
    for t, letter in enumerate(step_types):
        two = torch.ones(2)
        experience = Experience(
            time_step=TimeStep(
                step_type=torch.full((2,), "FML".index(letter), dtype=torch.int32),
                reward=two * (0 if letter == "F" else 10 + t),
                discount=two * discounts[t],
                observation=two.unsqueeze(1) * t,
                prev_action=torch.full((2,), max(t - 1, 0)),
                env_id=torch.arange(2, dtype=torch.int32),
            ),
            rollout_info=below(
                path,
                MCTSInfo(
                    value=two * (100 + t),
                    candidate_action_policy=torch.eye(20)[t].expand(2, 20),
                ),
            ),
            state=below(path, MCTSState(steps=torch.full((2,), 50 + t))) if with_states else (),
        )
        if buffer is None:
            buffer = ReplayBuffer(extract_spec(experience), 2, 32, **options)
        buffer.add_batch(experience, experience.env_id)
    assert buffer is not None
    return buffer


def below(path: str, node: Any) -> Any:
    return {path: node} if path else node


def make_learner(**options: Any) -> MuzeroRepresentationImpl:
    model = {
        key: options[key]
        for key in (
            "train_reward_function",
            "train_game_over_function",
            "train_repr_prediction",
        )
        if key in options
    }
    return MuzeroRepresentationImpl(
        **{
            "observation_spec": OBSERVATION,
            "action_spec": ACTION,
            "model_ctor": partial(SimpleMCTSModel, num_unroll_steps=2, **model),
            "num_unroll_steps": 2,
            "td_steps": 2,
            "discount": 0.5,
            **options,
        }
    )


def look_up(learner: Any, buffer: ReplayBuffer, start: int) -> Any:
    ids = torch.tensor([1])
    info = BatchInfo(env_ids=ids, positions=torch.tensor([start]), replay_buffer=buffer)
    root = TimeStep(step_type=torch.ones(1, 1, dtype=torch.int32), observation=torch.zeros(1, 1, 1))
    return learner.preprocess_experience(root, (), info)[1]


def policies(target: ModelTarget) -> list[int]:
    """Of which records the policies [1, 1, R + 1, K] are."""
    assert torch.equal(target.action_policy.sum(dim=3), torch.ones(1, 1, 3))
    return target.action_policy[0, 0].argmax(dim=1).tolist()


ONES = [1.0] * 12


def test_a_span_within_an_episode_has_n_step_values_by_hand() -> None:
    """From record 1: r2 + r3 / 2 + v3 / 4 = 12 + 6.5 + 25.75; and so on."""
    info = look_up(make_learner(), filled_buffer("FMMMMMMM", ONES), 1)
    target = info.target
    expected = [12 + 13 / 2 + 103 / 4, 13 + 14 / 2 + 104 / 4, 14 + 15 / 2 + 105 / 4]
    assert target.value[0, 0].tolist() == pytest.approx(expected)
    assert target.reward[0, 0].tolist() == [11, 12, 13]
    assert info.action[0, 0].tolist() == [1, 2]
    assert policies(target) == [1, 2, 3]
    assert target.is_partial_trajectory.tolist() == [[True]]  # it goes on
    assert not target.game_over.any()
    assert not target.beyond_episode_end.any()
    assert info.value[0, 0] == 101


def test_nothing_follows_a_game_that_is_over() -> None:
    """Record 3 is the last: from 2 only r3 comes, from 3 and behind it nothing.

    The stored policy stays: the loss ignores it where the game is over, if ends are predicted.
    """
    discounts = [1.0] * 3 + [0.0] + [1.0] * 4
    target = look_up(make_learner(), filled_buffer("FMMLFMMM", discounts), 2).target
    assert target.value[0, 0].tolist() == pytest.approx([13, 0, 0])
    assert target.reward[0, 0].tolist() == [12, 13, 0]
    assert target.game_over[0, 0].tolist() == [False, True, True]
    assert target.beyond_episode_end[0, 0].tolist() == [False, False, True]
    assert target.is_partial_trajectory.tolist() == [[False]]
    assert policies(target) == [2, 3, 3]


def test_an_episode_that_is_cut_off_is_worth_its_last_value() -> None:
    target = look_up(make_learner(), filled_buffer("FMMLFMMM", ONES), 2).target
    assert target.value[0, 0].tolist() == pytest.approx([13 + 103 / 2, 103, 103])
    assert not target.game_over.any()
    assert target.is_partial_trajectory.tolist() == [[True]]
    assert target.beyond_episode_end[0, 0].tolist() == [False, False, True]
    assert policies(target) == [2, 3, 3]


def test_the_newest_record_ends_a_span_too() -> None:
    info = look_up(make_learner(), filled_buffer("FMMM", ONES), 2)
    assert info.target.value[0, 0].tolist() == pytest.approx([13 + 103 / 2, 103, 103])
    assert info.target.is_partial_trajectory.tolist() == [[True]]
    assert info.target.beyond_episode_end[0, 0].tolist() == [False, False, True]
    assert info.action[0, 0].tolist() == [2, 2]  # the last one again


def test_discounts_of_a_semi_mdp_count_at_each_step() -> None:
    """From 1 with discounts 0.8 and 0.6 of records 2 and 3: r2 + 0.4 r3 + 0.4 * 0.3 v3."""
    discounts = [1.0, 1.0, 0.8, 0.6, 1.0, 1.0, 1.0, 1.0]
    target = look_up(make_learner(), filled_buffer("FMMMMMMM", discounts), 1).target
    assert float(target.value[0, 0, 0]) == pytest.approx(12 + 0.4 * 13 + 0.12 * 103)


def test_games_can_be_followed_to_their_end() -> None:
    """The reward 15 of record 5 counts 1, 1/2, 1/4 as the steps to it are 1, 2, 3."""
    discounts = [1.0] * 5 + [0.0]
    buffer = filled_buffer("FMMMML", discounts, keep_episodic_info=True)
    target = look_up(make_learner(td_steps=-1), buffer, 2).target
    assert target.value[0, 0].tolist() == pytest.approx([15 / 4, 15 / 2, 15])
    target = look_up(make_learner(td_steps=-1), buffer, 4).target
    assert target.value[0, 0].tolist() == pytest.approx([15, 0, 0])


def test_an_outcome_that_no_reward_tells_is_the_value_of_the_last_state() -> None:
    """The only reward is the 15 of record 5; from 4 it is one step away and not discounted."""
    discounts = [1.0] * 5 + [0.0]
    buffer = filled_buffer("FMMMML", discounts, keep_episodic_info=True)
    buffer._buffer.time_step.reward[:, :5] = 0.0
    for td_steps in (-1, 2):
        learner = make_learner(td_steps=td_steps, train_reward_function=False)
        target = look_up(learner, buffer, 4).target
        assert target.value[0, 0].tolist() == pytest.approx([15, 15, 15])
        assert target.reward == ()
        assert look_up(learner, buffer, 3).target.value[0, 0].tolist() == [7.5, 15, 15]
    assert float(look_up(learner, buffer, 1).target.value[0, 0, 0]) == pytest.approx(103 / 4)


def test_what_is_not_learnt_is_not_looked_up() -> None:
    learner = make_learner(train_reward_function=False, train_game_over_function=False)
    target = look_up(learner, filled_buffer("FMMMMMMM", ONES), 1).target
    assert target.reward == target.game_over == ()


def test_the_rewards_of_roots_are_transformed_too() -> None:
    learner = make_learner(reward_transformer=lambda reward: 2 * reward + 1)
    info = BatchInfo(torch.tensor([0]), torch.tensor([1]), (), filled_buffer("FMMMMMM", ONES))
    root = TimeStep(step_type=torch.ones(1, 1, dtype=torch.int32), reward=torch.full((1, 1), 11.0))
    root, info = learner.preprocess_experience(root, (), info)
    assert root.reward.tolist() == [[23.0]]
    assert info.target.reward[0, 0].tolist() == [23.0, 25.0, 27.0]


def test_n_step_values_agree_with_a_slow_twin() -> None:
    torch.manual_seed(0)
    N, S, steps = 50, 9, 4
    reward, value = torch.randn(N, S), torch.randn(N, S)
    end, n = torch.randint(0, S, (N,)), torch.randint(1, 6, (N,))
    discount = torch.rand(N, S)
    discount[torch.arange(N), end] *= torch.randint(0, 2, (N,))
    found = n_step_values(reward, discount, value, end, n, steps)
    for i in range(N):
        for s in range(steps):
            here = min(s, int(end[i]))
            until = min(here + int(n[i]), int(end[i]))
            total, factor = 0.0, 1.0
            for j in range(here + 1, until + 1):
                total += factor * float(reward[i, j])
                factor *= float(discount[i, j])
            is_over = s >= end[i] and discount[i, end[i]] == 0
            expected = 0.0 if is_over else total + factor * float(value[i, until])
            assert float(found[i, s]) == pytest.approx(expected, abs=1e-5)


def test_spans_stop_at_the_end_of_an_episode() -> None:
    buffer = filled_buffer("FMMLFMM", [1.0] * 3 + [0.0] + [1.0] * 3)
    spans = find_spans(buffer, torch.tensor([0, 1, 0]), torch.tensor([0, 2, 4]), 4)
    assert spans.end.tolist() == [3, 1, 2]
    assert spans.is_finished.tolist() == [True, True, False]
    assert spans.positions.tolist() == [[0, 1, 2, 3], [2, 3, 3, 3], [4, 5, 6, 6]]


class Oracle:
    """A search that finds the value 1000 + observation and the policy one-hot at 19."""

    def __init__(self) -> None:
        self.calls: list[list[float]] = []

    def __call__(self, **kwargs: Any) -> Any:
        return self

    def get_initial_predict_state(self, batch_size: int) -> Any:
        return ()

    def predict_step(self, time_step: TimeStep, state: Any) -> AlgStep:
        seen = time_step.observation[:, 0]
        self.calls.append(seen.tolist())
        policy = torch.eye(20)[19].expand(len(seen), 20)
        return AlgStep(info=MCTSInfo(value=1000 + seen, candidate_action_policy=policy))


class ValueModel(torch.nn.Module):
    """Says that an observation is worth 2000 more than it is."""

    def initial_inference(self, observation: torch.Tensor) -> ModelOutput:
        return ModelOutput(value=2000 + observation[:, 0], state=ModelState())


@pytest.mark.parametrize("full", [False, True])
def test_reanalyze_finds_values_and_policies_anew(full: bool) -> None:
    """Two more steps than those unrolled: of them the model says the value, or the search."""
    oracle = Oracle()
    learner = make_learner(
        model_ctor=lambda **kwargs: ValueModel(),
        reanalyze_algorithm_ctor=oracle,
        reanalyze_ratio=1.0,
        reanalyze_td_steps=2,
        reanalyze_batch_size=2,
        full_reanalyze=full,
        train_policy=True,
    )
    info = look_up(learner, filled_buffer("FMMMMMMM", ONES), 1)
    later = 1000 if full else 2000
    expected = [
        12 + 13 / 2 + 1003 / 4,
        13 + 14 / 2 + (later + 4) / 4,
        14 + 15 / 2 + (later + 5) / 4,
    ]
    assert info.target.value[0, 0].tolist() == pytest.approx(expected)
    assert info.target.action_policy[0, 0].argmax(dim=1).tolist() == [19] * 3
    searched = [x for call in oracle.calls for x in call]
    assert searched == ([1, 2, 3, 4, 5] if full else [1, 2, 3])
    assert max(map(len, oracle.calls)) == 2
    assert info.value[0, 0] == 101


def test_old_samples_are_bootstrapped_sooner() -> None:
    steps = LinearTdStepFunc(max_bootstrap_age=0.5, min_td_steps=1)
    age = torch.tensor([0.0, 0.25, 0.5, 0.9])
    assert steps(age, 5, 1.0).tolist() == [5, 3, 1, 1]
    assert steps(torch.tensor([0.1, 0.3]), 5, 1.0).tolist() == [5, 3]  # 4.2 and 2.6, rounded up


def test_representations_are_learnt_from_later_observations() -> None:
    learner = make_learner(train_repr_prediction=True, data_augmenter=lambda x: x + 0.5)
    root = TimeStep(step_type=torch.ones(1, 2, dtype=torch.int32), observation=torch.zeros(1, 2, 1))
    info = BatchInfo(torch.tensor([0]), torch.tensor([1]), (), filled_buffer("FMMMMMM", ONES))
    root, info = learner.preprocess_experience(root, (), info)
    assert info.target.observation.squeeze(-1).tolist() == [[[1.5, 2.5, 3.5], [2.5, 3.5, 4.5]]]
    assert root.observation.squeeze(-1).tolist() == [[1.5, 2.5]]


def search_ctor(**options: Any) -> Any:
    """Bound to its discount, which reanalyze does not tell."""
    return partial(
        MCTSAlgorithm,
        num_simulations=2,
        discount=0.5,
        root_dirichlet_alpha=0.3,
        root_exploration_fraction=0.25,
        pb_c_init=1.25,
        pb_c_base=19652,
        visit_softmax_temperature_fn=VisitSoftmaxTemperatureByMoves(),
        **{"is_two_player_game": False, **options},
    )


class Counting:
    """A search whose value is the number of steps that its state counts."""

    def __call__(self, **kwargs: Any) -> Any:
        return self

    def get_initial_predict_state(self, batch_size: int) -> Any:
        return MCTSState(steps=torch.zeros(batch_size, dtype=torch.int64))

    def predict_step(self, time_step: TimeStep, state: Any) -> AlgStep:
        value = state.steps.float()
        policy = torch.eye(20)[0].expand(len(value), 20)
        return AlgStep(info=MCTSInfo(value=value, candidate_action_policy=policy))


@pytest.mark.parametrize("path", ["", "rl"])
def test_reanalyze_searches_from_the_stored_states(path: str) -> None:
    """The state of record t has counted t + 50 steps; without it every search begins at 0."""
    learner = make_learner(
        reanalyze_algorithm_ctor=Counting(),
        reanalyze_ratio=1.0,
        reanalyze_td_steps=1,
        full_reanalyze=True,
    )
    learner.set_path(path)

    def found(with_states: bool) -> float:
        buffer = filled_buffer("FMMMMMMM", ONES, path=path, with_states=with_states)
        return float(look_up(learner, buffer, 1).target.value[0, 0, 0])

    assert found(with_states=True) == pytest.approx(12 + 52 / 2)
    assert found(with_states=False) == pytest.approx(12)


def test_constructors_get_what_alf_gives_them() -> None:
    """Its code gives ``model`` and ``num_unroll_steps`` too, and no ``discount`` to reanalyze."""
    given: dict[str, set[str]] = {}

    def noting(name: str, ctor: Any) -> Any:
        def make(**arguments: Any) -> Any:
            given[name] = set(arguments)
            return ctor(**arguments)

        return make

    learner = partial(
        MuzeroRepresentationImpl,
        model_ctor=noting("model", SimpleMCTSModel),
        num_unroll_steps=2,
        td_steps=2,
        reanalyze_ratio=0.5,
        reanalyze_algorithm_ctor=noting("reanalyze", search_ctor()),
    )
    algorithm = MuzeroAlgorithm(
        OBSERVATION,
        ACTION,
        discount=0.5,
        representation_learner_ctor=learner,
        mcts_algorithm_ctor=noting("search", search_ctor()),
    )
    specs = {"observation_spec", "action_spec", "debug_summaries"}
    assert given["model"] == specs | {"num_unroll_steps"}
    assert given["search"] == specs | {"discount", "name", "model"}
    assert given["reanalyze"] == specs | {"name", "model"}
    assert algorithm._mcts._model is algorithm._repr_learner.model
    assert not any(key.startswith("_mcts") for key in algorithm.state_dict())


def test_constructors_written_by_the_documentation_work() -> None:
    """They take neither ``model`` nor ``num_unroll_steps``, which it does not name."""

    def model_ctor(observation_spec: Any, action_spec: Any, debug_summaries: bool) -> Any:
        return SimpleMCTSModel(observation_spec, action_spec, num_unroll_steps=2)

    def search(
        observation_spec: Any, action_spec: Any, discount: float, debug_summaries: bool, name: str
    ) -> Any:
        return search_ctor()(observation_spec, action_spec, discount=discount, name=name)

    algorithm = MuzeroAlgorithm(
        OBSERVATION,
        ACTION,
        discount=0.5,
        representation_learner_ctor=partial(
            MuzeroRepresentationImpl, model_ctor=model_ctor, num_unroll_steps=2, td_steps=2
        ),
        mcts_algorithm_ctor=search,
    )
    assert algorithm._mcts._model is algorithm._repr_learner.model


@pytest.mark.parametrize(
    ("spec", "is_known"),
    [
        (OBSERVATION, False),
        ({"board": OBSERVATION}, False),
        ({"board": OBSERVATION, "to_play": TensorSpec((), torch.int8)}, True),
        ({"board": OBSERVATION, "steps": TensorSpec((), torch.int32)}, True),
    ],
    ids=str,
)
def test_reanalyze_has_to_know_whose_turn_it_is(spec: Any, is_known: bool) -> None:
    search = search_ctor(is_two_player_game=True)
    options = {"reanalyze_algorithm_ctor": search, "reanalyze_ratio": 0.5, "observation_spec": spec}
    stored = TrainerConfig(root_dir="", use_rollout_state=True)
    make_learner(**options, config=stored)  # the state counts the moves
    if is_known:
        make_learner(**options)
        return
    with pytest.raises(ValueError, match="'to_play' or 'steps'"):
        make_learner(**options)


def test_goals_that_were_not_pursued_are_refused() -> None:
    for transformers in (
        HindsightExperienceTransformer,
        [FrameStacker, HindsightExperienceTransformer],
    ):
        with pytest.raises(ValueError, match="HindsightExperienceTransformer cannot be used"):
            make_learner(data_transformer_ctor=transformers)


def test_contradicting_settings_are_refused() -> None:
    whole = partial(SimpleMCTSModel, num_unroll_steps=2)
    for options, text in (
        ({"td_steps": 0}, "td_steps=0"),
        ({"reanalyze_ratio": 0.5}, "reanalyze_algorithm_ctor"),
        (
            {"train_game_over_function": False, "model_ctor": whole},
            "train_game_over_function is False",
        ),
        ({"reward_spec": TensorSpec((2,))}, "one reward"),
    ):
        with pytest.raises(ValueError, match=text):
            make_learner(**options)
