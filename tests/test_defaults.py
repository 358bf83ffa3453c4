"""Who sets nothing gets a run that is neither wrong nor weak."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
import torch

import alf
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.networks import CriticNetwork
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import (
    AlgorithmLevel,
    DADSLevel,
    DIAYNLevel,
    HierarchyAgent,
    MuzeroLevel,
    PlannerLevel,
    ProbabilisticEnsemble,
    ProbFCDynamics,
    RandomLevel,
    SacLevel,
    SPlaTESLevel,
    TrainingOptions,
    get_default_predictor_factory,
    option,
    skill,
)
from tests.skill_points import sac
from tests.small_learners import CONTINUOUS, DISCRETE, make_agent, muzero, small_config

ACTION = BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)
GOALS = {
    "observation": TensorSpec((3,)),
    "achieved_goal": TensorSpec((2,)),
    "desired_goal": TensorSpec((2,)),
}


def _levels(
    levels: list[Any], joints: list[Any], observation: Any = GOALS, action: Any = ACTION
) -> Any:
    torch.manual_seed(0)
    agent = HierarchyAgent(observation, action, levels=levels, joints=joints, config=small_config())
    return agent.levels


# ---- the planner's model ------------------------------------------------------------------------


@pytest.mark.parametrize("observation", [GOALS, TensorSpec((3,))], ids=["goals", "vector"])
@pytest.mark.parametrize("place", ["alone", "over random moves", "in the middle"])
def test_a_planner_plans_with_what_it_has_learned(observation: Any, place: str) -> None:
    low = partial(RandomLevel, control_interval=2)
    levels, joints = {
        "alone": ([PlannerLevel], []),
        "over random moves": ([PlannerLevel, low], [skill(2)]),
        "in the middle": ([RandomLevel, PlannerLevel, low], [skill(2), skill(2)]),
    }[place]
    made: Any = _levels(levels, joints, observation)
    planner = made[min(1, len(made) - 2) if place == "in the middle" else 0]
    assert not planner.predictor.model.breaks_symmetry


@pytest.mark.parametrize("ctor", [SPlaTESLevel, DADSLevel, DIAYNLevel])
@pytest.mark.parametrize("observation", [GOALS, TensorSpec((3,))], ids=["goals", "vector"])
def test_skills_ask_the_default_predictor_for_a_made_up_start(ctor: Any, observation: Any) -> None:
    planner, _ = _levels([PlannerLevel, partial(ctor, algorithm_ctor=sac)], [skill(2)], observation)
    model: Any = planner.predictor.model  # type: ignore[attr-defined]
    asks = ctor is not DIAYNLevel  # a discriminator needs no model
    assert model.breaks_symmetry == asks
    for steps, made_up in ((49_000, asks), (99_000, asks), (100_000, False)):
        planner.predictor.set_n_total_env_steps(steps)  # type: ignore[attr-defined]
        assert model.breaks_symmetry == made_up


@pytest.mark.parametrize("ctor", [SPlaTESLevel, DADSLevel])
def test_who_says_how_long_is_not_overruled(ctor: Any) -> None:
    def model(duration: Any, **options: Any) -> ProbabilisticEnsemble:
        planner = partial(PlannerLevel, predictor_factory=get_default_predictor_factory(**duration))
        skills = partial(ctor, algorithm_ctor=sac, **options)
        return _levels([planner, skills], [skill(2)])[0].predictor.model  # type: ignore[attr-defined]

    assert not model({"sb_start_duration": 0}).breaks_symmetry
    short = model({"sb_start_duration": 20})
    assert short.breaks_symmetry
    short.set_n_total_env_steps(20)
    assert not short.breaks_symmetry
    # Skills of a checkpoint are learned already.
    assert not model({}, freeze_after=0).breaks_symmetry
    assert model({}).breaks_symmetry


def test_a_model_of_one_s_own_is_left_as_it_is() -> None:
    state, context = TensorSpec((2,)), TensorSpec((0,))
    ensemble = ProbabilisticEnsemble(state, context, ACTION)
    ensemble.break_symmetry(100)
    assert not ensemble.breaks_symmetry
    asked = ProbabilisticEnsemble(state, context, ACTION, symmetry_breaking_start=None)
    assert not asked.breaks_symmetry
    asked.break_symmetry(100)
    assert asked.breaks_symmetry


def test_without_goals_all_is_state_and_what_comes_from_above_is_context() -> None:
    low = partial(RandomLevel, control_interval=2)
    agent: Any = _levels([PlannerLevel], [], TensorSpec((3,)))
    assert (agent[0].predictor.latent_state_dim, agent[0].predictor.context_dim) == (3, 0)
    middle: Any = _levels([RandomLevel, PlannerLevel, low], [skill(2), skill(2)], TensorSpec((3,)))
    assert (middle[1].predictor.latent_state_dim, middle[1].predictor.context_dim) == (3, 2)


def test_the_search_goes_with_the_actions() -> None:
    kinds = [
        type(_levels([PlannerLevel], [], action=action)[0]._planner).__name__  # type: ignore[attr-defined]
        for action in (ACTION, option(3))
    ]
    assert kinds == ["ICEM", "CategoricalCEM"]


# ---- soft actor-critic --------------------------------------------------------------------------


def _hidden(network: Any) -> list[int]:
    """Outputs of the matrices of a network."""
    return sorted(p.shape[-2] for p in network.parameters() if p.ndim > 1)


@pytest.mark.parametrize("action_type", [CONTINUOUS, DISCRETE])
def test_sac_without_a_word_trains_all_that_it_has(action_type: Any) -> None:
    torch.manual_seed(0)
    quick = TrainingOptions(mini_batch_size=8, updates_per_transition=0.02, warm_up=10)
    agent = make_agent([partial(SacLevel, training=quick)], action_type)
    learned = {
        name: p.detach().clone()
        for name, p in agent.levels[0].named_parameters()
        if "target" not in name
    }
    for _ in range(3):
        agent.train_iter()
    after = dict(agent.levels[0].named_parameters())
    assert not [name for name, before in learned.items() if before.equal(after[name])]


@pytest.mark.parametrize("ctor", [AlgorithmLevel, SacLevel, SPlaTESLevel, DADSLevel, DIAYNLevel])
@pytest.mark.parametrize("own", [False, True], ids=["usual optimizers", "the level's optimizer"])
def test_sac_has_hidden_layers_and_every_parameter_an_optimizer(ctor: Any, own: bool) -> None:
    options = {"optimizer": Adam(lr=1e-3)} if own else {}
    level = partial(ctor, **options)
    top = ctor in (AlgorithmLevel, SacLevel)
    made: Any = _levels([level], []) if top else _levels([PlannerLevel, level], [skill(2)])
    sac_: Any = made[-1].algorithm
    assert isinstance(sac_, SacAlgorithm)
    assert _hidden(sac_._actor_network)[-2:] == [256, 256]
    assert _hidden(sac_._critic_networks)[-2:] == [256, 256]
    # Without those of the planner above, and without copies.
    left = json.loads(made[-1].get_unoptimized_parameter_info())
    left = [name for name in left if "_above" not in name]
    assert all("target" in name or "_saved_args" in name for name in left), left


@pytest.fixture
def _own_configs() -> Any:
    alf.reset_configs()
    yield
    alf.reset_configs()


@pytest.mark.usefixtures("_own_configs")
def test_what_is_configured_counts() -> None:
    alf.config("ActorDistributionNetwork", fc_layer_params=(24,))
    alf.config("CriticNetwork", observation_fc_layer_params=(20,))
    alf.config("SacAlgorithm", alpha_optimizer=Adam(lr=0.5))
    found: Any = _levels([SacLevel], [])[0].algorithm
    assert 24 in _hidden(found._actor_network)
    assert 256 not in _hidden(found._actor_network)
    assert 256 not in _hidden(found._critic_networks)
    rates = sorted(g["lr"] for o in found.optimizers() for g in o.param_groups)
    assert 0.5 in rates
    assert 3e-4 in rates


@pytest.mark.usefixtures("_own_configs")
def test_a_network_that_is_configured_counts() -> None:
    alf.config(
        "SacAlgorithm", critic_network_cls=partial(CriticNetwork, joint_fc_layer_params=(9,))
    )
    alf.config("NormalProjectionNetwork", state_dependent_std=True)
    found: Any = _levels([SacLevel], [])[0].algorithm
    assert 9 in _hidden(found._critic_networks)
    assert 256 not in _hidden(found._critic_networks)
    assert not found._actor_network._projection_net._scale_distribution


# ---- a search's discount ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("intervals", "mode", "options", "steps"),
    [
        ([15], "discounted", {}, 15),
        ([3, 5], "discounted", {}, 15),
        ([None], "discounted", {}, 1),
        ([15], "mean", {}, 1),
        ([15], "discounted", {"decision_steps": 4}, 4),
        ([], "discounted", {}, 1),
    ],
)
def test_a_search_discounts_by_how_long_decisions_take(
    intervals: list[Any], mode: Any, options: dict[str, int], steps: int
) -> None:
    below = [
        partial(RandomLevel, control_interval=k, name=f"r{i}") for i, k in enumerate(intervals)
    ]
    agent = HierarchyAgent(
        TensorSpec((3,)),
        option(2),
        levels=[partial(MuzeroLevel, algorithm_ctor=muzero(), gamma=0.9, **options), *below],
        joints=[option(3)] * len(intervals),
        reward_mode=mode,
        config=small_config(),
    )
    top: Any = agent.levels[0]
    assert top.algorithm._mcts.discount == pytest.approx(0.9**steps)


def test_the_default_factory_takes_further_settings_of_its_model() -> None:
    net = partial(ProbFCDynamics, hidden=(7,))
    factory = get_default_predictor_factory(
        n_modes=1, partial_model=partial(ProbabilisticEnsemble, partial_net=net, beta_nll=0.5)
    )
    place = TensorSpec((2,))
    model: Any = factory({"achieved_goal": place, "desired_goal": place}, ACTION).model
    assert model._beta_nll == 0.5
    assert any(7 in parameter.shape for parameter in model.net.parameters())
