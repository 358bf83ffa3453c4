"""TD-MPC2 that learns skills: plans end with the skill, and what follows has a value."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import pytest
import torch

from alf_layered import (
    MPPI,
    DADSLevel,
    LevelObservation,
    PlanningSettings,
    SkillOptions,
    SPlaTESLevel,
    TDMPC2Settings,
    WorldModelSettings,
)
from alf_layered.skills.records import SkillInput
from alf_layered.skills.skill_level import SkillLevel
from alf_layered.tdmpc2 import planning, skill_tdmpc2
from alf_layered.tdmpc2.planning import plan_value, policy_plans
from alf_layered.tdmpc2.skill_tdmpc2 import SkillTDMPC2Algorithm, by_end, skill_plan_value
from tests.skill_points import Points, skill_agent

SETTINGS = TDMPC2Settings(
    model=WorldModelSettings(
        encoder_layers=1,
        encoder_dim=16,
        mlp_dim=16,
        latent_dim=16,
        n_q=2,
        num_bins=21,
        terminates=False,
    ),
    planning=PlanningSettings(mppi=MPPI(n_samples=16, n_iterations=2), n_policy_plans=2),
    horizon=3,
)
GAMMA = 0.9


def _level(
    ctor: Any = SPlaTESLevel,
    after: Any = "average",
    settings: TDMPC2Settings = SETTINGS,
    **kwargs: Any,
) -> Any:
    agent = skill_agent(
        ctor,
        interval=5,
        algorithm_ctor=partial(SkillTDMPC2Algorithm, settings=settings),
        options=SkillOptions(n_skill_samples=5, after_skill=after),
        **kwargs,
    )
    return agent, agent.levels[-1]


def _algorithm(settings: TDMPC2Settings = SETTINGS) -> SkillTDMPC2Algorithm:
    algorithm = _level(settings=settings)[1].algorithm
    for parameter in algorithm.parameters():  # heads start at 0: nothing would be worth anything
        torch.nn.init.normal_(parameter, std=0.3)
    return algorithm


def _valued(algorithm: SkillTDMPC2Algorithm, left: list[int], after: Any) -> Any:
    torch.manual_seed(3)
    model, rows = algorithm.world_model, len(left)
    z = torch.rand(1, 16).expand(rows, -1)
    goal = torch.rand(1, 4, 16).expand(rows, -1, -1)
    plans = (torch.rand(1, 6, 3, 2) * 2 - 1).expand(rows, -1, -1, -1)
    noise = torch.randn(1, 6, 2).expand(rows, -1, -1)
    kept = [x.clone() for x in (z, goal, plans)]
    with torch.no_grad():
        found = skill_plan_value(
            model,
            z,
            plans,
            goal,
            left=torch.tensor(left),
            after=after,
            discount=GAMMA,
            noise=noise,
            members=torch.tensor([0, 1]),
        )
    assert all(torch.equal(a, b) for a, b in zip(kept, (z, goal, plans), strict=True))
    return found, (model, z, plans, goal, noise)


def _rewards(model: Any, z: Any, plans: Any, goal: Any) -> tuple[list[Any], list[Any]]:
    """Rewards and latent states of plans, one after the other."""
    rewards, states, z = [], [], z[:, None].expand(-1, plans.shape[1], -1)
    with torch.no_grad():
        for t in range(plans.shape[2]):
            rewards.append(model.reward(z, plans[:, :, t], goal[:, t, None].expand_as(z)))
            z = model.next(z, plans[:, :, t])
            states.append(z)
    return rewards, states


def test_a_plan_s_rewards_end_with_the_skill() -> None:
    found, (model, z, plans, goal, _) = _valued(_algorithm(), [1, 2, 3], None)
    r, _ = _rewards(model, z, plans, goal)
    wanted = [r[0][0], r[0][0] + GAMMA * r[1][0], r[0][0] + GAMMA * r[1][0] + GAMMA**2 * r[2][0]]
    torch.testing.assert_close(found, torch.stack(wanted))


def test_after_the_skill_comes_what_its_last_state_is_worth() -> None:
    def after(z: torch.Tensor) -> torch.Tensor:
        return 10 * z[..., 0]

    found, (model, z, plans, goal, _) = _valued(_algorithm(), [1, 2], after)
    r, states = _rewards(model, z, plans, goal)
    first = r[0][0] + GAMMA * 10 * states[0][0, :, 0]
    second = r[0][0] + GAMMA * r[1][0] + GAMMA**2 * 10 * states[1][0, :, 0]
    torch.testing.assert_close(found, torch.stack([first, second]))


def test_inside_a_skill_that_stays_as_it_is_plans_are_valued_as_with_a_goal() -> None:
    found, (model, z, plans, goal, noise) = _valued(_algorithm(), [4, 9], None)
    same = goal[:, :1].expand(-1, 4, -1)
    members = torch.tensor([0, 1])
    with torch.no_grad():
        wanted = plan_value(
            model, z, plans, same[:, 0], discount=GAMMA, noise=noise, members=members
        )
        again = skill_plan_value(
            model,
            z,
            plans,
            same,
            left=torch.tensor([4, 9]),
            after=None,
            discount=GAMMA,
            noise=noise,
            members=members,
        )
    torch.testing.assert_close(again, wanted)
    assert not torch.allclose(found, wanted)  # with time, what is conditioned by it changes


class _Counting:
    """A function, and the rows that it was called for."""

    def __init__(self, function: Any) -> None:
        self.function, self.rows = function, 0

    def __call__(self, z: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        self.rows += len(z)
        return self.function(z, *args, **kwargs)


def test_plans_valued_by_their_ends_are_worth_the_same_and_nothing_is_done_for_naught() -> None:
    algorithm = _algorithm()
    model, left = algorithm.world_model, [2, 9, 1, 3, 2, 4]
    together, (_, z, plans, goal, noise) = _valued(algorithm, left, algorithm.value_after)
    after = _Counting(algorithm.value_after)
    counted = {name: _Counting(getattr(model, name)) for name in ("step", "Q")}
    for name, function in counted.items():
        setattr(model, name, function)
    with torch.no_grad():
        found = by_end(
            skill_plan_value,
            model,
            z,
            plans,
            goal,
            left=torch.tensor(left),
            after=after,
            discount=GAMMA,
            noise=noise,
            members=torch.tensor([0, 1]),
        )
    torch.testing.assert_close(found, together)
    assert counted["step"].rows == 2 + 3 + 1 + 3 + 2 + 3
    assert (after.rows, counted["Q"].rows) == (4, 2)


def test_policy_plans_follow_the_goal_of_each_decision() -> None:
    algorithm = _algorithm()
    model = algorithm.world_model
    torch.manual_seed(4)
    z, goal, noise = torch.rand(2, 16), torch.rand(2, 3, 16), torch.randn(2, 5, 3, 2)
    with torch.no_grad():
        plans = policy_plans(model, z, goal, noise)
        state = z[1]
        for t in range(3):
            wanted = model.pi(state, noise[1, 4, t], goal[1, t]).action
            torch.testing.assert_close(plans[1, 4, t], wanted, rtol=1e-4, atol=1e-5)
            state = model.next(state, wanted)


INPUT = SkillInput(
    torch.tensor([[0.3, 0.0], [-0.7, 0.0]]), torch.zeros(2, 2), torch.tensor([0.0, 0.6])
)


def _planned(algorithm: SkillTDMPC2Algorithm) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and actions of plans for two environments, at the first and at the fourth decision."""
    torch.manual_seed(5)
    observation = LevelObservation(torch.zeros(2, 3), INPUT)
    with torch.no_grad():
        return algorithm._plan(observation, torch.zeros(2, 3, 2), explores=True)


class _Clock(torch.nn.Module):
    """A goal encoder that shows the time and the skill's first number first, and zeros."""

    def forward(self, goal: Any, augment: bool = False) -> torch.Tensor:
        shown = torch.stack([goal.time, goal.skill[..., 0]], dim=-1)
        return torch.cat([shown, shown.new_zeros(*shown.shape[:-1], 14)], dim=-1)


def test_the_clock_runs_on_in_a_plan_and_starts_again_with_the_same_skill(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    algorithm = _algorithm()  # skills of 5 decisions
    algorithm.world_model.goal_encoder = _Clock()
    seen: dict[str, torch.Tensor] = {}

    def policy(model: Any, z: Any, goal: torch.Tensor, noise: Any) -> torch.Tensor:
        seen["policy"] = goal
        return policy_plans(model, z, goal, noise)

    def value(*args: Any, left: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        seen["left"], seen["value"] = left, args[4]
        return by_end(*args, left=left, **kwargs)

    monkeypatch.setattr(planning, "policy_plans", policy)
    monkeypatch.setattr(skill_tdmpc2, "by_end", value)
    _planned(algorithm)
    times = torch.tensor([[0.0, 0.2, 0.4, 0.6], [0.6, 0.8, 0.0, 0.2]])
    torch.testing.assert_close(seen["value"][..., 0], times)
    torch.testing.assert_close(seen["policy"][..., 0], times[:, :-1])
    torch.testing.assert_close(seen["policy"][..., 1], INPUT.skill[:, :1].expand(-1, 3))
    assert seen["left"].tolist() == [5, 2]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_what_is_compiled_values_the_plans() -> None:
    graphs: list[Any] = []

    def backend(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    found = []
    for options in (None, {"backend": backend}):
        found.append(_planned(_algorithm(dataclasses.replace(SETTINGS, compile=options))))
        assert bool(graphs) == (options is not None)
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("after", ["average", "nothing", "same"])
@pytest.mark.parametrize("ctor", [SPlaTESLevel, DADSLevel])
def test_skills_are_learned_and_planned(ctor: Any, after: Any) -> None:
    agent, level = _level(ctor, after)
    assert isinstance(level, SkillLevel)
    start = [x.clone() for x in level.algorithm.parameters()]
    Points(agent, [12, 7]).live(30, train=True)
    changed = [
        not torch.equal(a, b) for a, b in zip(start, level.algorithm.parameters(), strict=True)
    ]
    assert any(changed)
    assert (level.algorithm._after is not None) == (ctor is SPlaTESLevel and after == "average")


def test_the_policy_can_decide_without_a_plan() -> None:
    settings = TDMPC2Settings(
        model=SETTINGS.model, planning=PlanningSettings(acts_by="policy"), horizon=2
    )
    agent = skill_agent(algorithm_ctor=partial(SkillTDMPC2Algorithm, settings=settings))
    Points(agent, [12, 7]).live(30, train=True)


def test_the_value_after_a_skill_learns_where_one_begins() -> None:
    agent, level = _level()
    Points(agent, [12, 7]).live(30)
    algorithm = level.algorithm
    experience, batch = level._replay_buffer.get_batch(64, 4)
    steps, _ = level.preprocess_experience(experience.time_step, experience.rollout_info, batch)
    time = steps.observation.input.time
    ends = steps.is_last() & (steps.discount > 0) & (time == 0)
    assert bool(ends.any())
    # Episodes of 12 and 7: the time limit cuts a skill at its second decision, which goes on.
    cut = time[:, 1:][steps.is_last()[:, 1:] & (time[:, 1:] > 0)]
    torch.testing.assert_close(cut, torch.full_like(cut, 0.4))
    before = [x.clone() for x in algorithm._after.parameters()]
    for _ in range(3):
        level._update_clock.debt += 1
        level.train_from_replay_buffer()
    assert any(
        not torch.equal(a, b) for a, b in zip(before, algorithm._after.parameters(), strict=True)
    )
