"""Skill levels: starts, rewards at sampling, what follows a skill, freezing, discrete skills."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from alf_layered import (
    DADSLevel,
    DIAYNLevel,
    HierarchyAgent,
    LevelObservation,
    RandomLevel,
    SkillOptions,
    SPlaTESLevel,
    option,
    skill,
)
from alf_layered.hierarchy.transitions import is_transition
from alf_layered.skills.discriminator import Discriminator
from alf_layered.skills.skill_level import SkillLevel
from tests.planning_points import ACTION
from tests.skill_points import LAST, OBSERVATION, SKILL, Points, sac, skill_agent


def _skills(agent: HierarchyAgent) -> SkillLevel:
    level = agent.levels[-1]
    assert isinstance(level, SkillLevel)
    return level


def _spans(level: SkillLevel, count: int = 300) -> tuple[Any, Any, Any]:
    """Raw spans of two records: `[B, 2, ...]` time steps, rollout infos, batch info."""
    experience, info = level._replay_buffer.get_batch(count, 2)
    return experience.time_step, experience.rollout_info, info


# ---- starts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("joint_end", ["bootstrap", "continue"])
def test_the_start_is_renewed_at_each_skill_whatever_the_length_of_episodes(joint_end: Any) -> None:
    points = Points(skill_agent(joint_end=joint_end), [7, 5, 3])
    for step, state in points.live(40):
        place = step.observation["place"]
        t = place[:, 1]
        held = state[1].algorithm
        inside = step.step_type != LAST
        # skills of 3 decisions begin at t = 0, 3, 6, ... of each episode
        begun = torch.stack([place[:, 0], t - t % 3], dim=1)
        assert torch.equal(held.start.observation[inside], begun[inside])
        assert torch.equal(held.step[inside], (t % 3).long()[inside] + 1)


def test_no_stored_transition_crosses_an_episode() -> None:
    agent = skill_agent()
    Points(agent, [7, 5, 3]).live(40)
    steps, info, _ = _spans(_skills(agent), 500)
    place = steps.observation.above.observation
    moves = ~steps.is_first()[:, 1]
    change = (place[:, 1] - place[:, 0])[moves]
    assert torch.equal(change, torch.tensor([0.0, 1.0]).expand_as(change))
    start = info.start.observation[:, 0][moves]
    assert torch.equal(start[:, 0], place[:, 1, 0][moves])  # of the same point and episode
    age = place[:, 0, 1][moves] - start[:, 1]
    assert torch.equal(age, info.step[:, 0][moves].float())
    assert float(age.max()) == 2


def test_the_planner_s_observation_map_shows_the_start_and_the_skill_s_own_its_decisions() -> None:
    level = _skills(skill_agent())
    assert level.algorithm.observation_spec.shape == (3 + 2 + 2 + 1,)  # speed, skill, way, time
    assert level.above.predictor.latent_state_dim == 2


# ---- rewards ------------------------------------------------------------------------------------


def _potential(place: torch.Tensor, start: torch.Tensor, level: SPlaTESLevel) -> torch.Tensor:
    """Of places after the skill (1, 0), with a denominator of (1, 0) and nine times (0, 0)."""
    gauss = torch.distributions.Normal(0.0, 1.0)
    ends = start[:, None] + torch.tensor([[3.0, 0.0]] + 9 * [[0.0, 0.0]])
    density = gauss.log_prob(place[:, None] - ends).sum(-1)
    return density[:, 0] - (density.logsumexp(-1) - torch.log(torch.tensor(10.0)))


class _Still:
    """A prior of nothing but (0, 0)."""

    def sample(self, rows: Any, **_: Any) -> torch.Tensor:
        return torch.zeros(*rows, 2)


def _pushing(steps: Any) -> Any:
    """The same spans, had all skills been (1, 0)."""
    skills = torch.tensor([1.0, 0.0]).expand_as(steps.observation.input)
    return steps._replace(observation=steps.observation._replace(input=skills))


@pytest.mark.parametrize("by_difference", [False, True])
def test_rewards_are_those_of_the_formula_and_only_where_they_belong(by_difference: bool) -> None:
    agent = skill_agent(partial(SPlaTESLevel, potential_diff_reward=by_difference), prior=_Still())
    Points(agent, [7, 5, 3]).live(40)
    level = _skills(agent)
    assert isinstance(level, SPlaTESLevel)
    steps, info, batch = _spans(level)
    steps = _pushing(steps)
    seen, _ = level.preprocess_experience(steps, info, batch)
    place = steps.observation.above.observation
    start = info.start.observation[:, 0]
    before, after = (_potential(place[:, i], start, level) for i in (0, 1))
    last = info.step[:, 0] == 2
    wanted = after - before if by_difference else torch.where(last, after, 0.0)
    wanted = torch.where(steps.is_first()[:, 1], 0.0, wanted)
    torch.testing.assert_close(seen.reward[:, 1], wanted, atol=1e-4, rtol=1e-4)
    assert float(seen.reward[:, 0].abs().max()) == 0
    if not by_difference:  # an episode of 5 cuts its second skill short: no reward
        cut = steps.is_last()[:, 1] & ~last
        assert bool(cut.any())
        assert float(seen.reward[cut, 1].abs().max()) == 0


def test_dads_pays_each_step_for_where_it_would_lead() -> None:
    agent = skill_agent(DADSLevel, prior=_Still())
    Points(agent, [7, 5]).live(40)
    level = _skills(agent)
    steps, info, batch = _spans(level)
    seen, _ = level.preprocess_experience(_pushing(steps), info, batch)
    moves = ~steps.is_first()[:, 1]
    # a step of (0, 1) continued to 3 decisions is (0, 3): 3 from the skill's end, sqrt(18)
    # from that of standing still
    own, still = -(9.0 + 9.0) / 2, -9.0 / 2
    density = torch.tensor([own, *9 * [still]])
    wanted = own - (density.logsumexp(0) - torch.log(torch.tensor(10.0)))
    torch.testing.assert_close(seen.reward[moves, 1], wanted.expand(int(moves.sum())))
    assert float(seen.reward[~moves].abs().max()) == 0


# ---- what follows a skill -----------------------------------------------------------------------


def test_after_its_end_a_skill_s_value_is_none_or_another_skill_s_or_its_own() -> None:
    found = {}
    for after in ("nothing", "average", "same"):
        options = SkillOptions(n_skill_samples=4, after_skill=after)  # type: ignore[arg-type]
        agent = skill_agent(options=options)
        Points(agent, [7, 5]).live(40)
        level = _skills(agent)
        torch.manual_seed(1)
        steps, info, batch = _spans(level)
        found[after] = steps, info, level.preprocess_experience(steps, info, batch)[0]
    for after, (steps, info, seen) in found.items():
        last = steps.is_last()[:, 1]
        ended = last & (info.step[:, 0] == 2)
        cut = last & (info.step[:, 0] < 2)
        assert bool(ended.any())
        assert bool(cut.any())
        before = 0.0 if after == "nothing" else steps.discount[ended, 1]
        assert bool((seen.discount[ended, 1] == before).all())
        # Where time ran out inside a skill, the skill would have gone on.
        assert torch.equal(seen.discount[cut, 1], steps.discount[cut, 1])
        z, way, time = (seen.observation[:, 1, i] for i in (slice(3, 5), slice(5, 7), 7))
        assert torch.equal(z[cut], steps.observation.input[cut, 1])
        if after == "average":
            assert not torch.equal(z[ended], steps.observation.input[ended, 1])
            assert float(z[ended].abs().max()) <= 1
            assert float(z[ended].std()) > 0.3
            assert float(way[ended].abs().max()) == 0
            assert float(time[ended].max()) == 0
        else:
            assert torch.equal(z[ended], steps.observation.input[ended, 1])
            # "same" begins anew: no decision is made at time 1, whose value nothing would learn.
            assert float(way[ended, 1].max()) == (0 if after == "same" else 3)
            assert float(time[ended].max()) == (0 if after == "same" else 1)


@pytest.mark.parametrize("joint_end", ["bootstrap", "continue"])
@pytest.mark.parametrize("after", ["nothing", "average", "same"])
def test_a_skill_that_ends_before_its_time_is_over_as_well(after: Any, joint_end: Any) -> None:
    agent = skill_agent(
        partial(DADSLevel, termination_probability=0.4),
        interval=1000,
        joint_end=joint_end,
        options=SkillOptions(n_skill_samples=4, after_skill=after),
    )
    points, level = Points(agent, [7, 5]), _skills(agent)
    points.live(60)
    steps, info, batch = _spans(level)
    seen, _ = level.preprocess_experience(steps, info, batch)
    place, follows = steps.observation.above.observation, ~steps.is_first()[:, 1]
    limit = points.lengths[(place[:, 1, 0] / 100).long()]
    inside = follows & (place[:, 1, 1] < limit)  # not the end of the environment's episode
    before, then = steps.observation.input[:, 0], steps.observation.input[:, 1]
    if joint_end == "bootstrap":
        ended = inside & steps.is_last()[:, 1]
    else:  # the record after a skill shows the next one
        ended = inside & (before != then).any(-1)
    assert bool(ended.any())
    assert bool((inside & ~ended).any())
    z = seen.observation[:, 1, 3:5]
    is_drawn_anew = ended if after == "average" and joint_end == "bootstrap" else ended & False
    assert bool((z[is_drawn_anew] != then[is_drawn_anew]).any(-1).all())
    assert torch.equal(z[inside & ~is_drawn_anew], then[inside & ~is_drawn_anew])
    goes_on = inside if after != "nothing" else inside & ~ended
    assert bool((seen.discount[goes_on, 1] == 1).all())
    assert bool((seen.discount[inside & ~goes_on, 1] == 0).all())
    # The environment's own end cuts a skill short, which would have gone on, but for chance.
    cut = follows & ~inside & ~steps.env_info["returned"][:, 1]
    assert bool(cut.any())
    assert torch.equal(z[cut], then[cut])
    assert torch.equal(seen.discount[cut, 1], steps.discount[cut, 1])


@pytest.mark.parametrize("joint_end", ["bootstrap", "continue"])
@pytest.mark.parametrize("after", ["nothing", "average", "same"])
def test_no_value_counts_at_a_time_at_which_nothing_is_decided(after: Any, joint_end: Any) -> None:
    """Skills of 3 decisions decide at 0, 1/3 and 2/3 of their time, never at its end."""
    options = SkillOptions(n_skill_samples=4, after_skill=after)
    agent = skill_agent(options=options, joint_end=joint_end)
    Points(agent, [7, 5, 3]).live(40)
    level = _skills(agent)
    steps, info, batch = _spans(level, 500)
    seen, _ = level.preprocess_experience(steps, info, batch)
    time, counts = seen.observation[:, 1, 7], seen.discount[:, 1] > 0
    counts &= is_transition(steps.step_type)[:, 0]
    assert set((3 * time[counts]).round().int().tolist()) == (
        {1, 2} if after == "nothing" else {0, 1, 2}
    )


def test_where_a_skill_ended_is_stored_with_its_last_record() -> None:
    for probability, ends in ((0.0, {2}), (0.5, {0, 1, 2})):
        agent = skill_agent(partial(DADSLevel, termination_probability=probability))
        Points(agent, [7, 5]).live(40)
        steps, info, _ = _spans(_skills(agent))
        returned = steps.env_info["returned"]
        assert not bool(returned[steps.is_first()].any())
        assert set(info.step[:, 0][returned[:, 1]].tolist()) == ends


# ---- learning -----------------------------------------------------------------------------------


def test_the_warm_up_stores_the_actions_that_were_made() -> None:
    agent = skill_agent(random_warm_up=True)
    points, level = Points(agent, [7, 5, 3]), _skills(agent)
    points.live(4)
    assert level._update_clock.warming_up
    steps, info, _ = _spans(level)
    follows = ~steps.is_first()[:, 1]
    made, stored = steps.prev_action[follows, 1], info.algorithm.action[follows, 0]
    assert float(made.std()) > 0.3
    assert torch.equal(stored, made)


def _parameters(level: SkillLevel) -> list[torch.Tensor]:
    return [x.clone() for x in (*level.parameters(), *level.buffers())]


def test_a_level_learns_until_it_is_frozen_and_then_stays_the_same_to_the_last_bit() -> None:
    agent = skill_agent(freeze_after=60)
    points, level = Points(agent, [7, 5]), _skills(agent)
    start = [x.clone() for x in level.algorithm.parameters()]
    points.live(30, train=True)
    assert any(
        not torch.equal(a, b) for a, b in zip(start, level.algorithm.parameters(), strict=True)
    )
    points.live(20, train=True)
    assert level.frozen
    kept = {k: v.clone() for k, v in level.algorithm.state_dict().items() if hasattr(v, "clone")}
    points.live(20, train=True)
    for key, value in level.algorithm.state_dict().items():
        if key in kept:
            assert torch.equal(value, kept[key]), key


def test_a_frozen_level_explores_no_more() -> None:
    for after, explores in ((0, False), (1000, True)):
        agent = skill_agent(freeze_after=after, random_warm_up=False)
        points, level = Points(agent, [50, 50]), _skills(agent)
        step, state = points.live(2)[-1]
        inputs = step._replace(
            observation=LevelObservation(
                step.observation["speed"],
                state[0].decision,
                LevelObservation(step.observation["place"]),
            )
        )
        drawn = torch.stack(
            [level.rollout_step(inputs, state[1].algorithm).output for _ in range(5)]
        )
        assert bool((drawn.std(0) > 0).any()) == explores


@pytest.mark.parametrize("ctor", [SPlaTESLevel, DADSLevel, DIAYNLevel])
def test_a_hierarchy_with_discrete_skills_trains(ctor: Any) -> None:
    agent = skill_agent(ctor, joint=option(4))
    points, level = Points(agent, [7, 5]), _skills(agent)
    start = [x.clone() for x in level.algorithm.parameters()]
    seen = points.live(30, train=True)
    assert {int(z) for _, state in seen for z in state[0].decision} <= {0, 1, 2, 3}
    assert any(
        not torch.equal(a, b) for a, b in zip(start, level.algorithm.parameters(), strict=True)
    )


def _told_by_place(prior: bool, discrete: bool) -> float:
    """The error of a discriminator that has seen skill 0 at -1 and skill 1 at 1."""
    torch.manual_seed(0)
    net = Discriminator(1, option(2) if discrete else skill(1), hidden=(16,), std=0.5)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    index = torch.arange(64) % 2
    state = 2.0 * index[:, None] - 1
    z = index if discrete else state
    net.observe(state, torch.ones(64, dtype=torch.bool))
    for _ in range(0 if prior else 150):
        optimizer.zero_grad()
        loss = -net.log_prob(state, z).mean()
        loss.backward()
        optimizer.step()
    return float(-net.log_prob(state, z).mean().detach())


def test_a_discriminator_learns_which_skill_leads_where() -> None:
    assert _told_by_place(True, True) == pytest.approx(0.69, abs=0.3)  # log 2: it cannot tell
    assert _told_by_place(False, True) < 0.05
    # The least for a Gaussian of deviation 0.5: log(0.5 sqrt(2 pi)) = 0.226
    assert _told_by_place(False, False) == pytest.approx(0.226, abs=0.02)


def test_diayn_pays_what_the_discriminator_tells_and_trains_it() -> None:
    agent = skill_agent(DIAYNLevel, joint=option(4))
    points, level = Points(agent, [7, 5]), _skills(agent)
    assert isinstance(level, DIAYNLevel)
    discriminator = level.discriminator
    assert isinstance(discriminator, Discriminator)
    points.live(30)
    steps, info, batch = _spans(level)
    with torch.no_grad():
        seen, _ = level.preprocess_experience(steps, info, batch)
        place = steps.observation.above.observation[:, 1]
        told = discriminator.log_prob(place, steps.observation.input[:, 0])
    moves = ~steps.is_first()[:, 1]
    wanted = told + torch.log(torch.tensor(4.0))
    torch.testing.assert_close(seen.reward[moves, 1], wanted[moves])
    before = [x.clone() for x in discriminator.parameters()]
    points.live(20, train=True)
    after = discriminator.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_dads_skill_may_end_before_its_time() -> None:
    agent = skill_agent(partial(DADSLevel, termination_probability=0.5), interval=1000)
    points = Points(agent, [50, 50])
    skills = torch.stack([state[0].decision for _, state in points.live(40)])
    changes = int((skills[1:] != skills[:-1]).any(-1).sum())
    assert 20 < changes < 60


# ---- errors -------------------------------------------------------------------------------------


def test_a_skill_level_needs_a_planner_above_it() -> None:
    with pytest.raises(ValueError, match="not a PlannerLevel"):
        HierarchyAgent(
            OBSERVATION,
            ACTION,
            levels=[RandomLevel, partial(SPlaTESLevel, algorithm_ctor=sac)],
            joints=[SKILL],
        )
    with pytest.raises(ValueError, match="the top one"):
        HierarchyAgent(OBSERVATION, ACTION, levels=[SPlaTESLevel])


def test_the_usual_deviation_is_that_of_the_level_and_none_stays_none() -> None:
    for ctor, usual in ((DADSLevel, 1.0), (SPlaTESLevel, 0.1)):
        for fixed, wanted in (("usual", usual), (0.3, 0.3), (None, None)):
            options = SkillOptions(n_skill_samples=9, fixed_std=fixed)  # type: ignore[arg-type]
            assert _skills(skill_agent(ctor, options=options))._options.fixed_std == wanted
    assert SkillOptions().fixed_std == "usual"


def test_settings_that_cannot_be_are_errors() -> None:
    with pytest.raises(ValueError, match="n_skill_samples"):
        SkillOptions(n_skill_samples=0)
    with pytest.raises(ValueError, match="after_skill"):
        SkillOptions(after_skill="more")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fixed_std is 'own'"):
        SkillOptions(fixed_std="own")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="center"):
        SkillOptions(center=True, normalize=False)
    with pytest.raises(ValueError, match="termination_probability"):
        skill_agent(DADSLevel, joint=skill(2), termination_probability=1.0)
