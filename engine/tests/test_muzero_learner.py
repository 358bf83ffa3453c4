"""MuZero's representation beside another RL algorithm: it learns by itself, and survives saving."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import small_learners as small
import torch

from alf.algorithms.agent import Agent
from alf.algorithms.mcts_models import (
    SimpleMCTSModel,
    create_simple_dynamics_net,
    create_simple_encoding_net,
    create_simple_prediction_net,
)
from alf.algorithms.muzero_representation_learner import (
    MuzeroInfo,
    MuzeroRepresentationImpl,
    MuzeroRepresentationLearner,
    MuzeroRepresentationTrainingOptions,
)
from alf.environments.suite_unittest import ActionType
from alf.nest import nest
from alf.optimizers import Adam
from alf.utils.checkpoint_utils import enable_checkpoint

OPTIONS = MuzeroRepresentationTrainingOptions(
    mini_batch_size=32,
    num_updates_per_train_iter=4,
    replay_buffer_length=64,
    initial_collect_steps=64,
)
MODEL = partial(
    SimpleMCTSModel,
    num_unroll_steps=2,
    train_policy=False,
    encoding_net_ctor=partial(create_simple_encoding_net, layers=(16,), latent_size=8),
    dynamics_net_ctor=partial(create_simple_dynamics_net, layers=(16,)),
    prediction_net_ctor=partial(create_simple_prediction_net, layers=(16,)),
)


def impl(**options: Any) -> partial:
    return partial(
        MuzeroRepresentationImpl,
        **{
            "model_ctor": MODEL,
            "num_unroll_steps": 2,
            "td_steps": 2,
            "discount": 0.5,
            "train_policy": False,
            "optimizer": Adam(lr=3e-3),
            **options,
        },
    )


def make_agent(
    options: MuzeroRepresentationTrainingOptions | None = OPTIONS,
    exploration: float = 0.1,
    **settings: Any,
) -> Any:
    learner = partial(MuzeroRepresentationLearner, training_options=options, impl_cls=impl())
    dqn = small.dqn(rollout_epsilon_greedy=exploration)
    agent = partial(Agent, rl_algorithm_cls=dqn, representation_learner_cls=learner)
    config = small.replayed(**settings)
    return small.make(agent, small.bandit(ActionType.Discrete), config)


def trained(iterations: int, **settings: Any) -> Any:
    torch.manual_seed(0)
    agent = make_agent(**settings)
    for _ in range(iterations):
        agent.train_iter()
    return agent


def learner_of(agent: Any) -> Any:
    return agent._representation_learner


def batch_of(learner: Any, all_records: bool = False) -> tuple[Any, MuzeroInfo]:
    """Roots [B, ...] and what is to be said of them, from the learner's own replay buffer."""
    buffer = learner._replay_buffer
    experience, info = buffer.get_batch(128, 1)
    if all_records:  # also those that are hardly ever drawn, as their priority is least
        positions = torch.arange(int(buffer._current_size.min())).repeat(buffer.num_environments)
        env_ids = torch.arange(buffer.num_environments).repeat_interleave(
            int(buffer._current_size.min())
        )
        info = info._replace(env_ids=env_ids, positions=positions)
        experience = buffer._read(env_ids.unsqueeze(1), positions.unsqueeze(1))
    batch = learner.preprocess_experience(experience.time_step, experience.rollout_info, info)
    return nest.map_structure(lambda x: x[:, 0], batch)


@torch.no_grad()
def mean_loss(learner: Any, batch: Any) -> float:
    return float(learner.train_step(batch[0], (), batch[1]).info.loss.loss.mean())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_model_learns_beside_an_rl_algorithm(seed: int) -> None:
    """What pays depends on observation and action alone, and the model comes to know it.

    Half of the actions are random. Otherwise the RL algorithm, which learns within 20 iterations,
    leaves 4 % of its records for all actions that do not pay: about these the model then knows
    little, however long it learns.
    """
    torch.manual_seed(seed)
    options = OPTIONS._replace(num_updates_per_train_iter=10)
    agent = make_agent(options=options, exploration=0.5)
    learner = learner_of(agent)._impl
    untrained = {name: x.clone() for name, x in learner.model.state_dict().items()}
    for _ in range(60):
        agent.train_iter()
    with torch.no_grad():
        shown = torch.tensor([[0.0], [0.0], [1.0], [1.0]])
        state = learner.model.initial_inference(shown).state
        reward = learner.model.recurrent_inference(state, torch.tensor([0, 1, 0, 1])).reward
    torch.testing.assert_close(reward, torch.tensor([1.0, 0.0, 0.0, 1.0]), atol=0.25, rtol=0)
    assert small.mean_reward(agent, ActionType.Discrete) > 0.85
    batch = batch_of(learner)
    after = mean_loss(learner, batch)
    learner.model.load_state_dict(untrained)
    assert after < 0.5 * mean_loss(learner, batch)


def test_what_is_not_learnt_has_no_priority() -> None:
    """The loss of LAST steps is masked out; nobody knows their value, which stays surprising."""
    learner = learner_of(trained(3))._impl
    root, info = batch_of(learner, all_records=True)
    loss = learner.train_step(root, (), info).info
    priority = learner.calc_loss(nest.map_structure(lambda x: x.unsqueeze(0), loss)).priority
    is_last = root.is_last()
    assert is_last.any()
    assert (priority[is_last] == 0).all()
    assert (priority[~is_last] > 0).all()


def test_the_representation_is_the_observation_of_the_rl_algorithm_and_only_its_own() -> None:
    """Updates of the RL algorithm do not reach the model; without options nothing does."""
    agent = make_agent(options=None)
    model = learner_of(agent)._impl.model
    before = [p.detach().clone() for p in model.parameters()]
    for _ in range(6):
        agent.train_iter()
    assert agent._rl_algorithm.observation_spec == model.repr_spec
    assert all(torch.equal(x, y) for x, y in zip(before, model.parameters(), strict=True))
    assert not any(p is q for p in agent._rl_algorithm.parameters() for q in model.parameters())


def test_records_of_unrolls_follow_each_other_in_its_buffer() -> None:
    """Two unrolls of four steps: the action of a record is the ``prev_action`` of the next."""
    agent = trained(2)
    own, root = learner_of(agent)._impl._replay_buffer, agent._replay_buffer
    ids, positions = torch.arange(16).unsqueeze(1), torch.arange(8)
    for field in ("step_type", "reward", "prev_action", "observation"):
        mine, other = (
            buffer.get_field(f"time_step.{field}", ids, positions) for buffer in (own, root)
        )
        assert torch.equal(mine, other), field
    action = root.get_field("action", ids, positions[:-1])
    following = own.get_field("time_step.prev_action", ids, positions[1:])
    goes_on = own.get_field("time_step.step_type", ids, positions[1:]) != 0
    assert torch.equal(action[goes_on], following[goes_on])


def test_it_trains_in_every_so_many_iterations() -> None:
    agent = make_agent(options=OPTIONS._replace(interval=3))
    learner = learner_of(agent)
    updates = []
    learner._impl.after_update = lambda *args: updates.append(int(learner._num_iterations))
    for _ in range(7):
        agent.train_iter()
    assert updates == [3] * 4 + [6] * 4


def test_it_goes_on_where_it_was_saved() -> None:
    """Model, optimizer, counter and the replay buffer of its own, if buffers are saved."""
    one, other = trained(5), trained(1)
    for agent in (one, other):
        enable_checkpoint(learner_of(agent)._impl._replay_buffer)
    other.load_state_dict(one.state_dict())
    mine, theirs = learner_of(one).state_dict(), learner_of(other).state_dict()
    assert mine.keys() == theirs.keys()
    assert int(theirs["_num_iterations"]) == 5
    optimizers = [key for key in mine if "_optimizers" in key]
    assert len(optimizers) == 1
    for x, y in zip(
        *(nest.flatten(d[optimizers[0]]["state"]) for d in (mine, theirs)), strict=True
    ):
        assert torch.equal(x, y)
    buffer = learner_of(other)._impl._replay_buffer
    assert int(buffer.total_size) == int(learner_of(one)._impl._replay_buffer.total_size)
    for key in mine.keys() - set(optimizers):
        # Loading marks the newest records as the last ones of their episodes.
        assert torch.equal(mine[key], theirs[key]) or key.endswith("step_type"), key


def test_an_iteration_without_an_unroll_still_trains() -> None:
    agent = trained(3)
    learner = learner_of(agent)
    size = int(learner._impl._replay_buffer.total_size)
    before = [p.detach().clone() for p in learner._impl.model.parameters()]
    learner.after_train_iter(None, None)
    after = learner._impl.model.parameters()
    assert int(learner._impl._replay_buffer.total_size) == size
    assert any(not torch.equal(x, y) for x, y in zip(before, after, strict=True))


def test_unrolls_without_time_steps_are_refused() -> None:
    agent = make_agent(use_root_inputs_for_after_train_iter=False)
    with pytest.raises(ValueError, match="use_root_inputs_for_after_train_iter=True"):
        agent.train_iter()


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"interval is 0.*at least 1"):
        make_agent(options=OPTIONS._replace(interval=0))


def test_a_policy_cannot_be_learnt_without_searches() -> None:
    model = partial(MODEL, train_policy=True)
    learner = partial(
        MuzeroRepresentationLearner,
        training_options=OPTIONS,
        impl_cls=impl(model_ctor=model, train_policy=True),
    )
    agent = partial(Agent, rl_algorithm_cls=small.dqn(), representation_learner_cls=learner)
    agent = small.make(agent, small.bandit(ActionType.Discrete), small.replayed())
    with pytest.raises(ValueError, match="use train_policy=False"):
        agent.train_iter()
