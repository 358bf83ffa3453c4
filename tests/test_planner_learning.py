"""A planning level learns from its own records: warm-up, labels, losses, a task that it solves."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

import alf
from alf.algorithms.config import TrainerConfig
from alf.data_structures import Experience
from alf.optimizers import Adam
from alf_layered import (
    Exploration,
    IdentityEncoder,
    PlannerLevel,
    PredictorFactory,
    ProbabilisticEnsemble,
    RewardNet,
    RewardPredictor,
    TrainingOptions,
    ValueNet,
)
from tests.planning_points import (
    ACTION,
    FIRST,
    GOAL,
    MID,
    OBSERVATION,
    SMALL_CEM,
    near,
    step_of,
    tensors_of,
    zero_state,
)


def _learner(**kwargs: Any) -> PlannerLevel:
    """A level that learns a point's dynamics and reward."""
    options: dict[str, Any] = {
        "predictor_factory": PredictorFactory(
            partial_model=partial(ProbabilisticEnsemble, n_models=2),
            partial_val_func=partial(ValueNet, hidden=(16,)),
            partial_rew_func=partial(RewardNet, hidden=(32,)),
            partial_encoder=IdentityEncoder,
            partial_predictor=partial(RewardPredictor, n_steps=2),
        ),
        "planner": SMALL_CEM,
        "horizon": 2,
        "gamma": 0.9,
        "training": TrainingOptions(warm_up=20, mini_batch_size=64, replay_buffer_length=200),
        "optimizer": Adam(lr=3e-3),
        "config": TrainerConfig(root_dir="", mini_batch_length=2),
    }
    level = PlannerLevel(OBSERVATION, ACTION, **(options | kwargs))
    level.set_replay_buffer(4, 200)
    return level


def _live(level: PlannerLevel, steps: int, *, train: bool = True) -> list[float]:
    """Lets the level act on four points for which it is paid near `GOAL`; returns the rewards."""
    torch.manual_seed(0)
    position = torch.rand(4, 2) * 2 - 1
    step, state, rewards = step_of(position), zero_state(level, 4), []
    for t in range(steps):
        decided = level.rollout_step(step, state)
        level.observe_for_replay(
            Experience(time_step=step, action=decided.output, rollout_info=decided.info)
        )
        state = decided.state
        if train:
            level.train_from_replay_buffer()
        reward = near(GOAL)(position, None, decided.output)
        rewards.append(float(reward.mean()))
        position = (position + decided.output).clamp(-2, 2)
        kind = FIRST if t % 10 == 9 else MID
        if kind == FIRST:
            position = torch.rand(4, 2) * 2 - 1
        step = step_of(position, kind, reward=reward, action=decided.output)
    return rewards


def test_warm_up_is_random_in_each_environment_and_then_plans_begin() -> None:
    seen: list[Any] = []
    level = _learner(callback=seen.append)
    _live(level, 5, train=False)  # 16 transitions: an episode's first record is none
    assert not seen
    stored = level._replay_buffer.gather_all()[0]
    assert not bool(stored.rollout_info.planned.any())
    assert len(stored.action.reshape(-1, 2).unique(dim=0)) == 20
    level = _learner(callback=seen.append)
    _live(level, 9, train=False)
    planned = level._replay_buffer.gather_all()[0].rollout_info.planned
    assert (
        planned.reshape(4, 9).sum(1).tolist() == [3] * 4
    )  # the clock says 20 after the sixth record
    assert seen


def test_no_planning_steps_are_always_honoured() -> None:
    seen: list[Any] = []
    level = _learner(exploration=Exploration(no_planning_steps=32), callback=seen.append)
    _live(level, 9, train=False)
    assert not seen
    level.predict_step(step_of(torch.zeros(2, 2)), level.get_initial_predict_state(2))
    assert seen


def test_learning_solves_a_simple_task() -> None:
    level = _learner()
    rewards = _live(level, 150)
    assert sum(rewards[-20:]) / 20 > -0.35
    assert sum(rewards[:5]) / 5 < -1.0


def test_training_lowers_the_losses_of_dynamics_and_reward() -> None:
    level = _learner(model_batch_size=32)
    level.train()
    _live(level, 60, train=False)
    batch, _ = level._replay_buffer.get_batch(64, 3)
    losses = []
    for _ in range(2):
        with torch.no_grad():
            losses.append(_loss(level, batch).extra)
        level.train_from_replay_buffer()
    assert float(losses[1].consistency) < float(losses[0].consistency) - 1
    assert float(losses[1].reward) < 0.5 * float(losses[0].reward)


def _loss(level: PlannerLevel, batch: Experience) -> Any:
    """The loss of sampled spans, as ALF's loop computes it."""
    flat = alf.nest.map_structure(lambda x: x.transpose(0, 1).flatten(0, 1), batch)
    info = level.train_step(flat.time_step, (), flat.rollout_info).info
    return level.calc_loss(
        alf.nest.map_structure(lambda x: x.unflatten(0, batch.step_type.shape[::-1]), info)
    )


def test_the_value_is_learned_from_planned_decisions_only() -> None:
    for value_from_planned in (True, False):
        level = _learner(value_from_planned=value_from_planned)
        _live(level, 30, train=False)
        batch, _ = level._replay_buffer.get_batch(64, 3)
        info = batch.rollout_info
        none = batch._replace(rollout_info=info._replace(planned=torch.zeros_like(info.planned)))
        assert (_loss(level, none).extra.value.item() == 0) == value_from_planned
        assert _loss(level, batch).extra.value.item() > 0


def test_the_actions_of_a_batch_are_the_decisions_that_led_on() -> None:
    level = _learner()
    _live(level, 30, train=False)
    batch, _ = level._replay_buffer.get_batch(16, 3)
    seen: list[Any] = []
    level._predictor.losses = lambda batch, model_batch: seen.append(batch) or _no_losses()
    _loss(level, batch)
    moves = seen[0].step_type[:, 1:] == MID
    torch.testing.assert_close(seen[0].action[:, :-1][moves], batch.action[:, :-1][moves])
    torch.testing.assert_close(seen[0].discount, 0.9 * batch.discount)
    torch.testing.assert_close(seen[0].observation, batch.observation.observation)


def _no_losses() -> Any:
    from alf_layered.predictors.predictor import PredictorLosses

    return PredictorLosses(*[torch.zeros(())] * 5)


def test_planning_changes_no_statistics() -> None:
    level = _learner()
    _live(level, 40)
    level.train()
    before = tensors_of(level)
    level.rollout_step(step_of(torch.full((3, 2), 5.0)), zero_state(level, 3))
    level.predict_step(step_of(torch.full((3, 2), 5.0)), level.get_initial_predict_state(3))
    assert all(torch.equal(v, before[k]) for k, v in tensors_of(level).items())


def test_the_predictor_is_told_the_environment_steps() -> None:
    level = _learner()
    _live(level, 25, train=False)
    # 3 episodes began in each of 4 environments
    assert int(level.predictor.model.n_total_env_steps) == 4 * (25 - 3)


@pytest.mark.parametrize(
    ("model_options", "predictor_options", "message"),
    [
        ({"weighted_loss": True}, {}, "weighted_loss=True.*no weights"),
        ({"create_optimizer": True}, {}, "predictor's model of level 'top'.*create_optimizer"),
        ({}, {"create_optimizer": True}, "the predictor of level 'top'.*create_optimizer=True"),
        ({}, {"model_lr": 1e-3}, "'model_lr': 0.001.*PlannerLevel"),
    ],
)
def test_settings_that_would_do_nothing_are_errors(
    model_options: dict[str, Any], predictor_options: dict[str, Any], message: str
) -> None:
    factory = PredictorFactory(
        partial_model=partial(ProbabilisticEnsemble, **model_options),
        partial_val_func=ValueNet,
        partial_rew_func=RewardNet,
        partial_encoder=IdentityEncoder,
        partial_predictor=partial(RewardPredictor, **predictor_options),
    )
    with pytest.raises(ValueError, match=message):
        _learner(predictor_factory=factory, name="top")


def test_spans_are_as_long_as_the_targets_need() -> None:
    assert _learner().training_options.mini_batch_length == 3
    longer = TrainingOptions(mini_batch_length=7)
    assert _learner(training=longer).training_options.mini_batch_length == 7
