"""What third parties override in ALF's algorithms takes effect, flat and as a level."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import alf
from alf.algorithms.algorithm import _flatten_module, _get_optimizer_params
from alf.algorithms.config import TrainerConfig
from alf.algorithms.sac_algorithm import _set_target_entropy
from alf.environments.suite_unittest import ActionType, PolicyUnittestEnv
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import AlgorithmLevel
from tests.derived_learners import (
    AdvantageWeighted,
    CloningDdpg,
    ConservativeSac,
    OptimisticSac,
    RewardsOffPolicy,
    RewardsOnRL,
)
from tests.small_learners import (
    CONTINUOUS,
    DISCRETE,
    ONE_UPDATE,
    REPLAY,
    actor_critic,
    ddpg,
    make_agent,
    mean_reward,
    sac,
    small_config,
)


def _as(cls: Any, ctor: partial, **options: Any) -> partial:
    """The constructor of a derived class with the networks of ``ctor``."""
    return partial(cls, *ctor.args, **{**ctor.keywords, **options})


def _flat(ctor: partial, action_type: ActionType, config: TrainerConfig) -> Any:
    env = PolicyUnittestEnv(16, 6, action_type=action_type)
    return ctor(
        observation_spec=env.observation_spec(),
        action_spec=env.action_spec(),
        env=env,
        config=config,
    )


def _replayed() -> TrainerConfig:
    config = small_config()
    config.mini_batch_size, config.initial_collect_steps = 64, 50
    config.num_updates_per_train_iter = 4
    return config


def _made(ctor: partial, place: str, action_type: ActionType = CONTINUOUS) -> tuple[Any, Any]:
    """The agent and its learner, a copy of which with the same seed has the same parameters."""
    torch.manual_seed(0)
    if place == "flat":
        agent = _flat(ctor, action_type, _replayed())
        return agent, agent
    agent = make_agent([partial(AlgorithmLevel, algorithm_ctor=ctor, training=REPLAY)], action_type)
    return agent, agent.levels[0].algorithm


def _steps_until_trained(agent: Any, learner: Any) -> int:
    for i in range(20):
        agent.train_iter()
        if bool(learner._training_started):
            return i
    raise AssertionError("never trained")


PLACES = ["flat", "level"]


@pytest.mark.parametrize("place", PLACES)
def test_an_optimistic_actor_explores_and_its_actions_are_what_is_learned_from(place: str) -> None:
    agent, learner = _made(_as(OptimisticSac, sac(), delta=50.0), place)
    calls: list[bool] = []
    original = learner._shifted
    learner._shifted = lambda *args: calls.append(True) or original(*args)  # type: ignore
    _steps_until_trained(agent, learner)
    before = len(calls)
    agent.train_iter()
    # once for each step of the unroll, never in training
    assert len(calls) - before == 8
    buffer = agent._replay_buffer if place == "flat" else agent.levels[0]._replay_buffer
    newest = (buffer._current_pos - 1) % buffer._max_length
    rows = torch.arange(buffer.num_environments)
    action = alf.nest.flatten(buffer._buffer.action)[0][rows, newest]
    # 50 deviations off the middle, the squashed action lies at its bound
    assert float(action.abs().min()) > 0.99
    stored = buffer._buffer.rollout_info.action[rows, newest]
    torch.testing.assert_close(stored, action)
    before = len(calls)
    mean_reward(agent, CONTINUOUS)
    assert len(calls) == before


@pytest.mark.parametrize("place", PLACES)
def test_a_variant_of_the_critics_learns_by_its_own_loss(place: str) -> None:
    learned = {}
    for name, ctor in {
        "plain": sac(),
        "derived": _as(ConservativeSac, sac(), weight=0.0),
        "conservative": _as(ConservativeSac, sac(), weight=5.0),
    }.items():
        agent, learner = _made(ctor, place)
        _steps_until_trained(agent, learner)
        torch.manual_seed(3)
        observation = TensorSpec((1,)).randn((200,))
        spec = learner.action_spec
        leaves = alf.nest.flatten(spec)
        assert len(leaves) == 1
        action = leaves[0].sample((200,))
        packed = alf.nest.pack_sequence_as(spec, [action])
        with torch.no_grad():
            learned[name] = learner._critic_networks((observation, packed), ())[0]
            drawn = learner._predict_action(
                observation, learner.get_initial_train_state(200).action
            )
            own = learner._critic_networks((observation, drawn[1]), ())[0]
        learned[name + " gap"] = (own - learned[name]).mean()
    # The first replica learns as ever, the second by the Huber loss.
    torch.testing.assert_close(learned["plain"][:, 0], learned["derived"][:, 0])
    assert not torch.allclose(learned["plain"][:, 1], learned["derived"][:, 1], atol=1e-5)
    assert learned["conservative gap"] < learned["plain gap"]


@pytest.mark.parametrize("place", PLACES)
def test_an_on_policy_variant_learns_by_its_own_loss(place: str) -> None:
    torch.manual_seed(1)
    ctor = _as(AdvantageWeighted, actor_critic())
    if place == "flat":
        config = TrainerConfig(root_dir="", unroll_length=8)
        agent: Any = _flat(ctor, DISCRETE, config)
        learner = agent
    else:
        level = partial(AlgorithmLevel, algorithm_ctor=ctor, training=ONE_UPDATE)
        agent = make_agent([level], DISCRETE)
        learner = agent.levels[0].algorithm
    seen = []
    original = learner._loss.forward
    learner._loss.forward = lambda info: seen.append(info) or original(info)  # type: ignore
    for _ in range(100):
        agent.train_iter()
    assert seen == []
    assert mean_reward(agent, DISCRETE) > 0.8


@pytest.mark.parametrize("place", PLACES)
def test_a_deterministic_actor_explores_learns_and_acts_as_it_was_derived_to(place: str) -> None:
    ctor = _as(CloningDdpg, ddpg(), explore=lambda x: torch.full_like(x, 0.25), weight=100.0)
    agent, learner = _made(ctor, place)
    losses: list[bool] = []
    original = learner.calc_loss
    learner.calc_loss = lambda info: losses.append(True) or original(info)  # type: ignore
    for _ in range(40):
        agent.train_iter()
    buffer = agent._replay_buffer if place == "flat" else agent.levels[0]._replay_buffer
    rows, stored = torch.arange(buffer.num_environments), buffer._buffer
    newest = (buffer._current_pos - 1) % buffer._max_length
    for action in (alf.nest.flatten(stored.action)[0], stored.rollout_info.action):
        assert action[rows, newest].eq(0.25).all()
    # What was done is cloned, though the reward is for 0 and for 1 by turns.
    observation = torch.tensor([[0.0], [1.0]])
    greedy = learner._actor_network(observation, ())[0]
    torch.testing.assert_close(greedy, torch.full((2, 1), 0.25), atol=0.1, rtol=0.0)
    assert learner.num_updates == len(losses) > 20
    # It acts by the target, which lags behind.
    with torch.no_grad():
        for x in learner._target_actor_network.parameters():
            x.add_(1.0)
    env = PolicyUnittestEnv(2, 6, action_type=CONTINUOUS)
    step = env.reset()
    acted = agent.predict_step(step, agent.get_initial_predict_state(2)).output
    torch.testing.assert_close(acted, learner._target_actor_network(step.observation, ())[0])
    assert not torch.allclose(acted, learner._actor_network(step.observation, ())[0], atol=0.1)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("cls", [RewardsOnRL, RewardsOffPolicy])
def test_an_algorithm_of_ones_own_learns_by_what_it_defines(cls: Any, place: str) -> None:
    ctor = partial(cls, optimizer=Adam(lr=1e-2))
    agent, learner = _made(ctor, place, DISCRETE)
    for _ in range(30):
        agent.train_iter()
    assert mean_reward(agent, DISCRETE) > 0.9
    assert learner.num_updates > 20
    assert learner.num_iterations > 0


@pytest.mark.parametrize("hook", ["update_with_gradient", "observe_for_replay", "unroll"])
def test_an_override_that_a_level_would_never_call_is_refused(hook: str) -> None:
    cls = type("Clipped", (RewardsOffPolicy,), {hook: lambda *args, **kwargs: None})
    with pytest.raises(ValueError, match=rf"Clipped\.{hook}\(\) would never be called"):
        _made(partial(cls, optimizer=Adam(lr=1e-2)), "level", DISCRETE)
    assert _made(partial(cls, optimizer=Adam(lr=1e-2)), "flat", DISCRETE)


# ---- what such algorithms read or import ----


def test_what_soft_actor_critic_offers_to_algorithms_derived_from_it() -> None:
    _, learner = _made(sac(), "flat")
    assert learner._act_type.name == "Continuous"
    assert len(learner._critic_losses) == 2
    assert learner._critic_losses[0] is not learner._critic_losses[1]
    assert isinstance(learner._log_alpha, nn.Parameter)
    assert not bool(learner._training_started)
    assert "_training_started" in learner.state_dict()
    state = learner.state_dict()
    del state["_training_started"]  # as in checkpoints of earlier versions
    learner.load_state_dict(state)
    assert bool(learner._training_started)
    assert learner._target_critic_networks is not learner._critic_networks


def test_target_entropies_are_numbers_or_functions_of_the_specs() -> None:
    specs = [BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)] * 2
    assert _set_target_entropy("x", -1.5, specs) == -1.5
    assert _set_target_entropy("x", lambda spec: spec.numel, specs) == 4.0
    one = _set_target_entropy("x", None, specs[:1])
    assert _set_target_entropy("x", None, specs) == pytest.approx(2 * one)
    with pytest.raises(TypeError, match=r"Sac\.target_entropy must be a number or a function"):
        _set_target_entropy("Sac", "high", specs)


def test_the_helpers_for_optimizers() -> None:
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    assert _flatten_module(nn.ModuleList([first, nn.ModuleList([second])])) == [first, second]
    weight = nn.Parameter(torch.zeros(1))
    assert _flatten_module(nn.ParameterList([weight]))[0] is weight
    assert _flatten_module(first) == [first]
    optimizer = Adam(lr=0.1)
    optimizer.add_param_group({"params": [first.weight]})
    optimizer.add_param_group({"params": [weight]})
    assert _get_optimizer_params(optimizer) == {first.weight, weight}
