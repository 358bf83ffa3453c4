"""Each learner as a level: top, middle or bottom, discrete or continuous; learning in rounds."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from alf.algorithms.ppg.ppg_aux_algorithm import PPGAuxAlgorithm
from alf.data_structures import Experience, StepType, TimeStep
from alf.optimizers import Adam
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import (
    AlgorithmLevel,
    Goal,
    HierarchyAgent,
    LevelObservation,
    OnPolicyOptions,
    RandomLevel,
    SacLevel,
    TrainingOptions,
    option,
    skill,
)
from tests.small_learners import (
    CONTINUOUS,
    DISCRETE,
    GAMMA,
    LEARNERS,
    ONE_UPDATE,
    REPLAY,
    actor_critic,
    dqn,
    make_agent,
    mean_reward,
    ppg,
    ppo,
    sac,
    small_config,
    taac,
)

FIRST, MID, LAST = (int(t) for t in (StepType.FIRST, StepType.MID, StepType.LAST))
OBSERVATION = TensorSpec((1,))
POINT = BoundedTensorSpec((2,), minimum=0.0, maximum=4.0)


@pytest.mark.parametrize("place", [0, 1])
def test_the_learner_of_a_level_knows_the_layout_of_the_rows_of_that_level(
    place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = (8, 24)
    levels = [
        partial(
            AlgorithmLevel,
            algorithm_ctor=sac(),
            training=TrainingOptions(mini_batch_size=size, updates_per_transition=0.1, warm_up=20),
            name=f"level{size}",
        )
        for size in sizes
    ]
    agent = make_agent(levels, CONTINUOUS, [skill(2)])
    learner = agent.levels[place].algorithm
    known: list[Any] = []
    train_step = learner.train_step

    def watched(inputs: TimeStep, *more: Any) -> Any:
        known.append(learner.sequences_of(inputs.step_type.shape[0]))
        return train_step(inputs, *more)

    monkeypatch.setattr(learner, "train_step", watched)
    while not known:
        agent.train_iter()
    assert set(known) == {(2, sizes[place])}
    assert learner.row_layout is None


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_learns_as_the_bottom_level_under_random_options(name: str) -> None:
    ctor, action_type, training, iterations = LEARNERS[name]
    torch.manual_seed(1)
    bottom = partial(
        AlgorithmLevel, algorithm_ctor=ctor(), training=training, control_interval=2, name="low"
    )
    agent = make_agent([partial(RandomLevel, name="top"), bottom], action_type, [option(3)])
    for _ in range(iterations):
        agent.train_iter()
    assert mean_reward(agent, action_type) > 0.8


def _learns_something(agent: HierarchyAgent, index: int) -> bool:
    """Whether some iterations change the parameters of the level."""
    level = agent.levels[index]
    before = [p.detach().clone() for p in level.parameters()]
    for _ in range(6):
        agent.train_iter()
    return any(not x.equal(y) for x, y in zip(before, level.parameters(), strict=True))


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("place", ["top", "middle"])
def test_a_learner_trains_above_another_level(name: str, place: str) -> None:
    ctor, action_type, training, _ = LEARNERS[name]
    joint = option(2) if action_type is DISCRETE else skill(1)
    learner = partial(AlgorithmLevel, algorithm_ctor=ctor(), training=training, name=place)
    low = partial(RandomLevel, control_interval=2, name="low")
    if place == "top":
        agent = make_agent([learner, low], action_type, [joint])
    else:
        top, middle = partial(RandomLevel, name="top"), partial(learner, control_interval=2)
        agent = make_agent([top, middle, low], action_type, [option(3), joint])
    assert _learns_something(agent, len(agent.levels) - 2)


def test_the_short_name_is_a_level_that_learns_by_soft_actor_critic() -> None:
    level = partial(SacLevel, training=REPLAY, optimizer=Adam(lr=1e-2))
    agent = make_agent([level], CONTINUOUS)
    assert type(agent.levels[0].algorithm).__name__ == "SacAlgorithm"
    assert _learns_something(agent, 0)


# ---- rounds ----


def _step(t: int, step_type: int, envs: list[int]) -> TimeStep:
    """Observation 100 env + t, reward t."""
    ids = torch.tensor(envs, dtype=torch.int32)
    return TimeStep(
        step_type=torch.full((len(envs),), step_type, dtype=torch.int32),
        reward=torch.full((len(envs),), float(t)),
        discount=torch.ones(len(envs)),
        observation=LevelObservation(observation=(100.0 * ids + t).unsqueeze(1)),
        prev_action=torch.zeros(len(envs), dtype=torch.int64),
        env_id=ids,
    )


def _level(training: Any, ctor: Any = None, **options: Any) -> AlgorithmLevel:
    level = AlgorithmLevel(
        OBSERVATION,
        option(2),
        algorithm_ctor=ctor or ppo(),
        training=training,
        config=small_config(),
        **options,
    )
    level.set_replay_buffer(3, training.replay_buffer_length)
    return level


def _observe(level: AlgorithmLevel, step: TimeStep) -> None:
    state = level.get_initial_rollout_state(len(step.step_type))
    with torch.no_grad():
        result = level.rollout_step(step, state)
    level.observe_for_replay(
        Experience(time_step=step, action=result.output, rollout_info=result.info)
    )


def test_records_of_environments_out_of_step_become_one_row() -> None:
    level = _level(OnPolicyOptions(transitions=5))
    for t, envs in enumerate([[0, 2], [0, 2], [0], [0, 2]]):
        _observe(level, _step(t, FIRST if t == 0 else MID, envs))
    row, _ = level._replay_buffer.gather_all()
    seen = row.time_step.observation.observation[0, :, 0]
    assert seen.tolist() == [0, 1, 2, 3, 200, 201, 203]
    # what follows the newest record of an environment is another's
    assert row.step_type[0].tolist() == [FIRST, MID, MID, LAST, FIRST, MID, LAST]


def test_a_round_begins_when_there_are_enough_transitions_and_forgets_them() -> None:
    level = _level(OnPolicyOptions(transitions=4, epochs=2, mini_batch_size=8))
    _observe(level, _step(0, FIRST, [0, 1]))
    _observe(level, _step(1, MID, [0, 1]))
    assert level.train_from_replay_buffer() == 0
    _observe(level, _step(2, MID, [0, 1]))
    assert level.train_from_replay_buffer() == 2 * 6
    buffer: Any = level._replay_buffer
    assert buffer._current_size.tolist() == [1, 1, 0]
    # the newest decision is learned from when its outcome is known
    _observe(level, _step(3, MID, [0]))
    row, _ = buffer.gather_all()
    assert row.time_step.observation.observation[0, :, 0].tolist() == [2, 3, 102]


def test_advantages_do_not_reach_into_another_environment() -> None:
    level = _level(OnPolicyOptions(transitions=4))
    for t in range(3):
        _observe(level, _step(t, FIRST if t == 0 else MID, [0, 1]))
    row, batch_info = level._replay_buffer.gather_all()
    _, info = level.preprocess_experience(row.time_step, row.rollout_info, batch_info)
    value = row.rollout_info.value[0]
    last = 2 + GAMMA * value[2] - value[1]  # of environment 0 before its newest step
    torch.testing.assert_close(info.advantages[0, 1], last)
    first = 1 + GAMMA * value[1] - value[0] + 0.95 * GAMMA * last
    torch.testing.assert_close(info.advantages[0, 0], first)
    assert info.advantages[0, 2] == 0


def test_actor_critic_is_trained_on_what_it_did() -> None:
    level = _level(ONE_UPDATE, actor_critic())
    _observe(level, _step(0, FIRST, [0, 1, 2]))
    step = _step(0, MID, [0] * 100)
    state = level.get_initial_train_state(100)
    info = level.rollout_step(step, state).info
    did = torch.arange(100) % 2
    seen, info = level.preprocess_experience(step, info._replace(action=did), ())
    trained = level.train_step(seen, state, info).info
    assert trained.action.equal(did)


def test_the_auxiliary_phase_of_ppg_learns_from_the_decisions_after_every_other_round() -> None:
    level = _level(OnPolicyOptions(transitions=4, epochs=1, mini_batch_size=0), ppg(interval=2))
    aux: Any = next(m for m in level.modules() if isinstance(m, PPGAuxAlgorithm))
    head = aux._network._aux_head.weight
    before = head.detach().clone()
    changed, rounds = [], 0
    for t in range(4):  # of three transitions, but the first
        step = _step(t, FIRST if t == 0 else MID, [0, 1, 2])
        # a step at which the level is not to decide
        level.rollout_step(step, level.get_initial_rollout_state(3))
        _observe(level, step)
        if t == 3:
            row, _ = aux._replay_buffer.gather_all()
            seen = row.time_step.observation[0, :, 0]
            assert seen.tolist() == [*range(4), *range(100, 104), *range(200, 204)]
            assert row.step_type[0, 3::4].tolist() == [LAST] * 3
        rounds += level.train_from_replay_buffer() > 0
        level.after_train_iter(None, None)
        changed.append(not head.equal(before))
    assert rounds == 2
    assert changed == [False] * 3 + [True]
    assert aux._replay_buffer._current_size.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("training", "ctor", "options", "message"),
    [
        (OnPolicyOptions(), ppg(), {}, "mini_batch_size=0, got 64"),
        (TrainingOptions(), ppg(), {}, "need OnPolicyOptions"),
        (TrainingOptions(), ppo(), {}, "need OnPolicyOptions"),
        (OnPolicyOptions(), dqn(), {}, "all others TrainingOptions"),
        (OnPolicyOptions(epochs=2), actor_critic(), {}, "epochs=1 and mini_batch_size=0"),
    ],
)
def test_learners_and_ways_of_training_that_do_not_fit_are_errors(
    training: Any, ctor: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        _level(training, ctor, **options)


def test_hindsight_is_not_for_rounds() -> None:
    with pytest.raises(ValueError, match=r"use Goal\(hindsight=0\)"):
        AlgorithmLevel(
            TensorSpec((2,)),
            option(2),
            POINT,
            algorithm_ctor=ppo(),
            training=OnPolicyOptions(),
            goal=Goal(radius=1.0),
        )


@pytest.mark.parametrize("name", ["transitions", "epochs", "mini_batch_size"])
def test_numbers_of_a_round_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is -1"):
        OnPolicyOptions(**{name: -1})


# ---- what is done and what is remembered ----


@pytest.mark.parametrize("name", ["DQN", "DDPG", "QRSAC", "OAC"])
def test_what_a_random_warm_up_does_is_what_is_learned_from(name: str) -> None:
    ctor, action_type, training, _ = LEARNERS[name]
    spec = option(50) if action_type is DISCRETE else POINT
    level = AlgorithmLevel(
        OBSERVATION, spec, algorithm_ctor=ctor(), training=training, random_warm_up=True
    )
    step = _step(0, MID, list(range(64)))
    step = step._replace(prev_action=spec.zeros((64,)))
    result = level.rollout_step(step, level.get_initial_rollout_state(64))
    assert len(set(result.output.flatten().tolist())) > 20
    assert result.info.action.equal(result.output)


def test_a_learner_whose_next_decision_follows_from_its_last_one_is_random_by_itself() -> None:
    training = LEARNERS["TAAC"][2]
    with pytest.raises(ValueError, match="leave random_warm_up=False"):
        AlgorithmLevel(
            OBSERVATION, POINT, algorithm_ctor=taac(), training=training, random_warm_up=True
        )
    level = AlgorithmLevel(OBSERVATION, POINT, algorithm_ctor=taac(), training=training)
    assert level.gamma == GAMMA
    step = _step(0, MID, list(range(64)))._replace(prev_action=POINT.zeros((64,)))
    state = level.get_initial_rollout_state(64)
    for _ in range(2):
        result = level.rollout_step(step, state)
        state = result.state
        assert len(set(result.output.flatten().tolist())) > 20
        assert result.info.tau.a.equal(result.output)
        assert state.tau.a.equal(result.output)


def test_a_learner_of_numbers_decides_among_given_points() -> None:
    points = [[1.0, 1.0], [1.0, 3.0], [3.0, 2.0]]
    level = AlgorithmLevel(
        OBSERVATION, POINT, algorithm_ctor=dqn(), choices=points, random_warm_up=True
    )
    assert level.algorithm.action_spec == option(3)
    step = _step(0, MID, list(range(50)))._replace(prev_action=torch.zeros(50, 2))
    result = level.rollout_step(step, level.get_initial_rollout_state(50))
    assert result.output.equal(torch.tensor(points)[result.info.action])
    greedy = level.predict_step(step, level.get_initial_predict_state(50)).output
    assert all(row in points for row in greedy.tolist())
    with pytest.raises(ValueError, match="outside its bounds"):
        AlgorithmLevel(OBSERVATION, POINT, algorithm_ctor=dqn(), choices=[[9.0, 1.0]])
