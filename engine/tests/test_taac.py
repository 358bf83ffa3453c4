"""Temporally abstract actor-critic by hand: targets, trajectories, forced switches, and bounds."""

from __future__ import annotations

from typing import Any

import pytest
import small_learners as small
import torch

from alf.algorithms.taac.trajectories import LinearTrajectory, QuadraticTrajectory
from alf.algorithms.taac_algorithm import (
    TaacAlgorithm,
    TaacAlgorithmBase,
    TaacInfo,
    TaacLAlgorithm,
    TaacQAlgorithm,
    TAACTDLoss,
    Tau,
)
from alf.data_structures import StepType, TimeStep
from alf.environments.suite_unittest import ActionType, PolicyUnittestEnv
from alf.networks.actor_distribution_networks import ActorDistributionRNNNetwork
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf.utils import common

OBSERVATION = TensorSpec((1,))
ACTION = BoundedTensorSpec((1,), minimum=-1.0, maximum=1.0)
CONTINUOUS = ActionType.Continuous
FIRST, MID, LAST = (int(t) for t in (StepType.FIRST, StepType.MID, StepType.LAST))


def _taac(cls: Any = TaacAlgorithm, action_spec: Any = ACTION, **options: Any) -> TaacAlgorithmBase:
    return small.taac(cls, **options)(observation_spec=OBSERVATION, action_spec=action_spec)


def _step(num_envs: int, step_type: int = MID) -> TimeStep:
    return TimeStep(
        step_type=torch.full((num_envs,), step_type, dtype=torch.int32),
        reward=torch.zeros(num_envs),
        discount=torch.ones(num_envs),
        observation=torch.linspace(-1.0, 1.0, num_envs).unsqueeze(1),
    )


# ---- the target ----


def _losses(b: list[int], rollout_b: list[int], step_types: list[int]) -> list[float]:
    """Of values 0: the squared targets of T steps with rewards 1, 2, 3, ... and values 100 t."""
    T = len(b)

    def column(numbers: Any, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.tensor(list(numbers), dtype=dtype).unsqueeze(1)

    info = TaacInfo(
        reward=column(range(T)),
        step_type=column(step_types, torch.int32),
        discount=column([0.0 if t == LAST else 1.0 for t in step_types]),
        b=column(b, torch.int64),
        rollout_b=column(rollout_b, torch.int64),
    )
    target_value = column(100.0 * t for t in range(T))
    loss = TAACTDLoss(gamma=0.5, td_error_loss_fn=lambda target, value: target - value)
    return loss(info, torch.zeros(T, 1), target_value).loss.flatten().tolist()


def test_the_target_follows_the_rollout_until_somebody_switches() -> None:
    mid = [MID] * 4
    # 1 + (2 + (3 + 300 / 2) / 2) / 2
    assert _losses([0] * 4, [0] * 4, mid) == [40.25, 78.5, 153.0, 0.0]
    # the value of step 1 takes over, whoever switches there
    assert _losses([0, 1, 0, 0], [0] * 4, mid)[0] == 1 + 50.0
    assert _losses([0] * 4, [0, 1, 0, 0], mid)[0] == 1 + 50.0
    # where the sequence begins it does not matter
    assert _losses([1, 0, 0, 0], [1, 0, 0, 0], mid)[0] == 40.25


def test_the_target_ends_with_the_episode() -> None:
    losses = _losses([0] * 4, [0] * 4, [MID, MID, LAST, FIRST])
    assert losses[:2] == [1 + 0.5 * 2, 2.0]  # the discount of LAST is 0
    assert losses[2] == 200.0  # its own value


# ---- trajectories ----


def test_a_new_linear_trajectory_leads_to_the_action_drawn_and_goes_on() -> None:
    lines = LinearTrajectory(ACTION, inverse=True)
    new = lines.new(Tau(a=torch.tensor([[0.2]]), v=torch.tensor([[0.9]])), torch.tensor([[0.6]]))
    torch.testing.assert_close(new, Tau(a=torch.tensor([[0.6]]), v=torch.tensor([[0.2]])))
    torch.testing.assert_close(lines.next(new).a, torch.tensor([[1.0]]))
    torch.testing.assert_close(lines.next(lines.next(new)).a, torch.tensor([[1.0]]))


def test_a_new_quadratic_trajectory_is_the_one_that_its_second_difference_gives() -> None:
    """From v = 0 a step with the u that was found leads to the action that was drawn."""
    parabola = QuadraticTrajectory(ACTION, inverse=True)
    before = Tau(*(torch.tensor([[x]]) for x in (0.1, 0.7, -0.3)))
    new = parabola.new(before, torch.tensor([[0.3]]))
    again = parabola.next(before._replace(v=torch.zeros(1, 1), u=new.u))
    torch.testing.assert_close(again.a, torch.tensor([[0.3]]))
    torch.testing.assert_close(again.v, new.v)


# ---- acting ----


@pytest.mark.parametrize("cls", [TaacAlgorithm, TaacLAlgorithm, TaacQAlgorithm])
def test_what_is_remembered_is_what_was_done(cls: Any) -> None:
    """In the state, the info and the output, at random and after training has started."""
    torch.manual_seed(0)
    alg, step = _taac(cls), _step(64)
    state = alg.get_initial_rollout_state(64)
    for started in (False, True):
        alg._training_started.fill_(started)
        for _ in range(3):
            before = state
            with torch.no_grad():
                output, state, info = alg.rollout_step(step, before)
            assert output.equal(state.tau.a)
            assert output.equal(info.tau.a)
            assert info.prev_tau.a.equal(before.tau.a)
            went_on = info.b == 0
            on = alg._trajectory.next(before.tau)
            assert output[went_on].equal(on.a[went_on])
            assert 0 < int(info.b.sum()) < 64
            assert bool((output.abs() <= 1).all())


def test_a_trajectory_that_the_limit_ended_is_recorded_as_a_switch() -> None:
    torch.manual_seed(0)
    alg, step = _taac(max_repeat_steps=2), _step(256)
    alg._training_started.fill_(True)
    state = alg.get_initial_rollout_state(256)
    for _ in range(5):
        before = state
        with torch.no_grad():
            _, state, info = alg.rollout_step(step, before)
        assert bool((info.b[before.repeats >= 2] == 1).all())
        assert int(state.repeats.max()) <= 2


def test_an_episode_of_an_action_that_cannot_be_0_begins_within_the_bounds() -> None:
    spec = BoundedTensorSpec((1,), minimum=1.0, maximum=4.0)
    alg = _taac(action_spec=spec)
    alg._training_started.fill_(True)
    output = alg.rollout_step(_step(64), alg.get_initial_rollout_state(64)).output
    assert bool((output >= 1).all())
    assert bool((output <= 4).all())


def test_evaluation_is_never_at_random() -> None:
    alg, step = _taac(), _step(32)
    state = alg.get_initial_predict_state(32)
    with common.eval_context():
        outputs = [alg.predict_step(step, state).output for _ in range(2)]
    assert outputs[0].equal(outputs[1])


# ---- training ----


def test_training_starts_from_the_trajectory_of_the_rollout_whatever_the_state_is() -> None:
    alg, step = _taac(), _step(8)
    tau = Tau(a=torch.linspace(-1.0, 1.0, 8).unsqueeze(1))
    info = TaacInfo(
        prev_tau=tau, tau=tau, b=torch.zeros(8).long(), repeats=torch.zeros(8, dtype=torch.int64)
    )
    zeros = alg.get_initial_train_state(8)
    targets = []
    for state in (zeros, zeros._replace(tau=tau)):
        torch.manual_seed(0)
        targets.append(alg.train_step(step, state, info).info.critic.target_critic)
    assert targets[0].equal(targets[1])


class _Wide(PolicyUnittestEnv):
    """The bandit with its action, of [0, 1], as a number of [-1, 1]."""

    def action_spec(self) -> BoundedTensorSpec:
        return BoundedTensorSpec(super().action_spec().shape, minimum=-1.0, maximum=1.0)

    def _step(self, action: torch.Tensor) -> TimeStep:
        step = super()._step((action + 1) / 2)
        return step._replace(prev_action=action)


@pytest.mark.parametrize("cls", [TaacLAlgorithm, TaacQAlgorithm])
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.slow
def test_other_trajectories_learn_too(cls: Any, seed: int) -> None:
    """The bandit with actions within [-1, 1]; every action at random is paid 0.5.

    Episodes are long: an episode begins with the trajectory 0, so that where it ends soon, at a
    time that is not observed, critics learn that trajectories near 0 have more rewards to come.
    """
    torch.manual_seed(seed)
    alg = small.make(small.taac(cls), _Wide(16, 100, action_type=CONTINUOUS), small.spans())
    for _ in range(150):
        alg.train_iter()
    env = _Wide(32, 100, action_type=CONTINUOUS)
    step, total, state = env.reset(), 0.0, alg.get_initial_predict_state(32)
    for _ in range(5):
        result = alg.predict_step(step, state)
        state, step = result.state, env.step(result.output)
        total += float(step.reward.detach().mean()) / 5
    assert total > 0.95


# ---- what is refused ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action_spec": BoundedTensorSpec((), torch.int64, 0, 2)}, "one continuous action"),
        ({"action_spec": BoundedTensorSpec((1,), minimum=-float("inf"))}, "finite bounds"),
        ({"b1_advantage_clipping": (1.0, -1.0)}, "b1_advantage_clipping is"),
        ({"target_entropy": (0.1, 0.2, 0.3)}, "target_entropy is"),
        ({"actor_network_cls": ActorDistributionRNNNetwork}, "no state"),
        ({"initial_alpha": 0.0}, "initial_alpha of .* is 0.0"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _taac(**options)
