"""Plans of TD-MPC2: their value by hand, a known optimum, and independence of environments."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from alf.data_structures import StepType, TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import MPPI, PlanningSettings, TDMPC2Algorithm, TDMPC2Settings, model_of_size
from alf_layered.tdmpc2 import planning
from alf_layered.tdmpc2.planning import plan_value, policy_plans, search_plan
from alf_layered.tdmpc2.world_model import LatentStep, PolicyOutput, WorldModel

FIRST, MID, LAST = (int(k) for k in (StepType.FIRST, StepType.MID, StepType.LAST))


class PointModel:
    """A point that moves by its action and is paid for being near 1; ends with chance `p`."""

    def __init__(self, p: float | None = None) -> None:
        self._p = p
        self.two_hot = SimpleNamespace(decode=lambda x: x)

    width = 1

    def goal_term(self, goal: torch.Tensor | None) -> None:
        return None

    def step(self, z: torch.Tensor, action: torch.Tensor, goal_term: Any = None) -> LatentStep:
        z = z + action
        logit = None
        if self._p is not None:
            logit = torch.logit(torch.full(z.shape[:-1], self._p))
        return LatentStep(z, -(z - 1).square().sum(-1), logit)

    def next(self, z: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        return z + action

    def pi(self, z: torch.Tensor, noise: torch.Tensor, goal: Any = None) -> PolicyOutput:
        action = 0.1 * noise
        return PolicyOutput(action, torch.zeros_like(noise), noise.sum(-1))

    def Q(self, z: Any, action: Any, goal: Any = None, *, members: Any) -> torch.Tensor:
        value = 10 * z.sum(-1)
        return torch.stack([value + 1, value + 3, value + 100])[members]

    def two_members(self, generator: Any = None) -> torch.Tensor:
        return torch.tensor([0, 1])


def test_a_plans_value_by_hand() -> None:
    plans = torch.tensor([[[0.5], [0.25]], [[0.0], [1.0]]])[None]
    value = plan_value(
        PointModel(p=0.2),  # type: ignore[arg-type]
        torch.zeros(1, 1),
        plans,
        None,
        discount=0.9,
        noise=torch.zeros(1, 2, 1),
        members=torch.tensor([0, 1]),
    )
    d = 0.9 * 0.8
    expected = [-0.25 - d * 0.0625 + d * d * (7.5 + 2), -1 + d * 0 + d * d * (10 + 2)]
    assert value[0].tolist() == pytest.approx(expected, rel=1e-5)


def test_a_certain_end_leaves_the_first_reward_alone() -> None:
    arguments: dict[str, Any] = {
        "discount": 0.9,
        "noise": torch.zeros(1, 1, 1),
        "members": torch.tensor([0, 1]),
    }
    plans = torch.tensor([0.5, 0.3, 0.1]).reshape(1, 1, 3, 1)
    ends = plan_value(PointModel(p=1 - 1e-7), torch.zeros(1, 1), plans, None, **arguments)  # type: ignore[arg-type]
    assert float(ends) == pytest.approx(-0.25, abs=1e-4)


def test_the_search_finds_the_known_optimum() -> None:
    # Rewards -(z - 1)^2 and 10 Q at the end: the last step is as far up as bounds allow.
    torch.manual_seed(0)
    starts = torch.tensor([[0.0], [1.5], [-0.5]])
    found = search_plan(
        PointModel(),  # type: ignore[arg-type]
        starts,
        torch.zeros(3, 1, 1),
        None,
        options=MPPI(n_samples=256, n_iterations=12, return_mode="mean", min_std=0.01),
        discount=0.1,
        n_policy_plans=8,
    )
    # d/dz of -(z - 1)^2 + 0.1 * 10 z is 0 at z = 1.5, or at the bound of the action
    expected = (1.5 - starts).clamp(-1, 1)
    torch.testing.assert_close(found.plan[:, 0], expected, atol=0.03, rtol=0)


def _real_model(goal: bool = False) -> WorldModel:
    torch.manual_seed(0)
    goal_spec = TensorSpec((2,)) if goal else ()
    model = WorldModel(TensorSpec((3,)), 2, goal_spec, settings=model_of_size("small"))
    for weight in (model._reward.weight, model.q.weights[-1]):
        torch.nn.init.normal_(weight, std=0.5)
    return model


def test_the_value_of_plans_is_repeatable_and_changes_nothing() -> None:
    model = _real_model(goal=True)
    z, goal = model.encode(torch.randn(2, 3)), model.encode_goal(torch.randn(2, 2))
    plans, noise = torch.rand(2, 5, 3, 2), torch.randn(2, 5, 2)
    inputs = [z.clone(), plans.clone(), noise.clone()]
    members = torch.tensor([1, 0])
    values = [
        plan_value(model, z, plans, goal, discount=0.9, noise=noise, members=members)
        for _ in range(2)
    ]
    assert torch.equal(values[0], values[1])
    for kept, now in zip(inputs, (z, plans, noise), strict=True):
        assert torch.equal(kept, now)


def test_the_value_of_plans_equals_the_sum_of_the_models_verbs() -> None:
    model = _real_model(goal=True)
    z, goal = model.encode(torch.randn(2, 3)), model.encode_goal(torch.randn(2, 2))
    assert goal is not None
    plans, noise = torch.rand(2, 5, 3, 2), torch.randn(2, 5, 2)
    found = plan_value(
        model, z, plans, goal, discount=0.9, noise=noise, members=torch.tensor([1, 0])
    )
    for b in range(2):
        for k in range(5):
            state, total, alive = z[b], 0.0, 1.0
            for action in plans[b, k]:
                total = total + alive * model.reward(state, action, goal[b])
                alive = alive * 0.9 * (1 - model.termination(state, action, goal[b]))
                state = model.next(state, action)
            action = model.pi(state, noise[b, k], goal[b]).action
            q = model.two_hot.decode(model.Q(state, action, goal[b])).mean()
            torch.testing.assert_close(found[b, k], total + alive * q, rtol=1e-3, atol=1e-3)


def test_plans_of_the_policy_follow_it() -> None:
    model = _real_model()
    z, noise = model.encode(torch.randn(2, 3)), torch.randn(2, 4, 3, 2)
    plans = policy_plans(model, z, None, noise)
    assert plans.shape == (2, 4, 3, 2)
    state = z[1]
    for t in range(3):
        action = model.pi(state, noise[1, 2, t]).action
        torch.testing.assert_close(plans[1, 2, t], action, rtol=1e-4, atol=1e-5)
        state = model.next(state, action)


class FixedNoise:
    """The same numbers for an environment, whoever else plans."""

    def __init__(self) -> None:
        self._calls = 0

    def __call__(self, shape: tuple[int, ...], /, **_: Any) -> torch.Tensor:
        self._calls += 1
        rows = []
        for b in range(shape[0]):
            generator = torch.Generator().manual_seed(1000 * self._calls + b)
            rows.append(torch.randn(shape[1:], generator=generator))
        return torch.stack(rows)


@pytest.mark.parametrize("goal", [False, True])
def test_1_2_and_16_environments_make_the_same_plans(
    goal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _real_model(goal)
    z = model.encode(torch.randn(16, 3)).detach()
    goals = model.encode_goal(torch.randn(16, 2)) if goal else None
    means = 0.3 * torch.randn(16, 3, 2)

    def plan(count: int) -> torch.Tensor:
        return search_plan(
            model,
            z[:count],
            means[:count],
            None if goals is None else goals[:count],
            options=MPPI(n_samples=64, n_iterations=4),
            discount=0.95,
            n_policy_plans=8,
            noise=FixedNoise(),
            generator=torch.Generator().manual_seed(0),
        ).plan

    everyone = plan(16)
    with monkeypatch.context() as patch:
        patch.setattr(planning, "_CACHED", 3 * 64 * model.width)
        torch.testing.assert_close(plan(16), everyone, rtol=1e-3, atol=1e-3)
    assert float((everyone[0] - everyone[1]).abs().max()) > 0.05
    for count in (1, 2):
        torch.testing.assert_close(plan(count), everyone[:count], rtol=1e-3, atol=1e-3)


def _algorithm(planning: PlanningSettings, **options: Any) -> TDMPC2Algorithm:
    torch.manual_seed(0)
    return TDMPC2Algorithm(
        TensorSpec((3,)),
        BoundedTensorSpec((2,), minimum=-3.0, maximum=3.0),
        settings=TDMPC2Settings(model=model_of_size("small"), planning=planning, **options),
    )


def _step(kinds: list[int]) -> TimeStep:
    batch = len(kinds)
    return TimeStep(
        step_type=torch.tensor(kinds, dtype=torch.int32),
        reward=torch.zeros(batch),
        discount=torch.ones(batch),
        observation=torch.randn(batch, 3),
        prev_action=torch.zeros(batch, 2),
        env_id=torch.arange(batch, dtype=torch.int32),
        env_info=(),
    )


SMALL = MPPI(n_samples=32, n_iterations=2)


def test_a_plan_is_executed_for_its_interval_and_dropped_at_a_new_episode() -> None:
    algorithm = _algorithm(PlanningSettings(mppi=SMALL, plan_interval=2))
    state = algorithm.get_initial_rollout_state(3)
    planned = []
    for kinds in ([FIRST] * 3, [MID, FIRST, LAST], [MID, MID, FIRST]):
        before = state
        step = algorithm.predict_step(_step(kinds), state)
        state = step.state
        planned.append(((before.actions - state.actions).abs().amax((1, 2)) > 0).tolist())
        assert step.output.shape == (3, 2)
        assert step.output.abs().max() <= 3
    assert planned == [[True] * 3, [False, True, False], [True, False, True]]
    torch.testing.assert_close(step.output[1], 3 * state.actions[1, 1])
    assert state.left.tolist() == [1, 0, 1]


def test_searches_start_from_the_shifted_mean_and_afresh_at_a_new_episode() -> None:
    algorithm = _algorithm(PlanningSettings(mppi=SMALL, plan_interval=2))
    starts: list[torch.Tensor] = []
    plan = algorithm._plan

    def spy(observation: Any, start: torch.Tensor, *rest: Any, **options: Any) -> Any:
        starts.append(start)
        return plan(observation, start, *rest, **options)

    algorithm._plan = spy  # type: ignore[method-assign]
    mean = torch.arange(1.0, 13).reshape(2, 3, 2)
    state = algorithm.get_initial_rollout_state(2)._replace(mean=mean)
    algorithm.rollout_step(_step([MID, FIRST]), state)
    expected = torch.zeros(2, 3, 2)
    expected[0, 0] = mean[0, 2]
    assert torch.equal(starts[0], expected)


def test_the_policy_can_act_alone_for_each_environment_by_itself() -> None:
    algorithm = _algorithm(PlanningSettings(acts_by="policy"))
    torch.nn.init.normal_(algorithm.world_model._pi.weights[-1])
    step = _step([FIRST, MID, MID])
    state = algorithm.get_initial_predict_state(3)
    action = algorithm.predict_step(step, state).output
    assert action.shape == (3, 2)
    assert len({tuple(row) for row in action.tolist()}) == 3
    assert torch.equal(action, algorithm.predict_step(step, state).output)
    assert not torch.equal(action, algorithm.rollout_step(step, state).output)


def test_evaluation_acts_by_the_mean_and_rollouts_explore() -> None:
    algorithm = _algorithm(PlanningSettings(mppi=SMALL))
    step, state = _step([FIRST, FIRST]), algorithm.get_initial_rollout_state(2)
    torch.manual_seed(1)
    evaluated = algorithm.predict_step(step, state)
    torch.testing.assert_close(evaluated.state.actions, evaluated.state.mean.clamp(-1, 1))
    rolled = algorithm.rollout_step(step, state)
    assert not torch.allclose(rolled.state.actions, rolled.state.mean, atol=1e-3)
    assert rolled.output.abs().max() <= 3
