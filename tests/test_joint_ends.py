"""What each kind of level learns from where its input changes, with both kinds of `joint_end`.

Points go 1 along the second axis at each step, whatever they do, so all that is right is known.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

import alf
from alf.algorithms.config import TrainerConfig
from alf.data_structures import AlgStep, TimeStep
from alf.tensor_specs import BoundedTensorSpec
from alf_layered import (
    AlgorithmLevel,
    DADSLevel,
    DIAYNLevel,
    Exploration,
    Goal,
    HierarchyAgent,
    IdentityEncoder,
    Level,
    LevelObservation,
    PlannerLevel,
    PredictorFactory,
    ProbabilisticEnsemble,
    RandomLevel,
    RewardNet,
    SkillOptions,
    SPlaTESLevel,
    TDMPC2Level,
    TrainingOptions,
    ValueNet,
    option,
    select,
)
from alf_layered.hierarchy.transitions import is_transition, reached
from alf_layered.networks.flat_observation import flatten_observation
from alf_layered.networks.prob_dynamics import ProbFCDynamics
from alf_layered.tdmpc2.tdmpc2_algorithm import TDMPC2Algorithm
from tests.planning_points import ACTION, SMALL_CEM
from tests.skill_points import FIRST, LAST, MID, OBSERVATION, SKILL, Points, sac, skill_agent
from tests.test_tdmpc2_level import SETTINGS

BOTH = pytest.mark.parametrize("joint_end", ["bootstrap", "continue"])
POINT = BoundedTensorSpec((2,), minimum=-2000.0, maximum=2000.0)
TRAINING = TrainingOptions(mini_batch_size=8, warm_up=0, replay_buffer_length=64)


def _agent(levels: list[Any], joints: list[Any], joint_end: Any, maps: Any) -> HierarchyAgent:
    torch.manual_seed(0)
    return HierarchyAgent(
        OBSERVATION,
        ACTION,
        levels=levels,
        joints=joints,
        observation_maps=maps,
        joint_end=joint_end,
        config=TrainerConfig(root_dir="", mini_batch_length=2),
    )


def _spans(level: Level, length: int = 2, count: int = 400) -> tuple[Any, Any, Any]:
    """Time steps `[B, T]`, rollout infos, and where they lie."""
    torch.manual_seed(1)
    found, where = level._replay_buffer.get_batch(count, length)  # type: ignore[union-attr]
    return found.time_step, found.rollout_info, where


def _time_first(nest: Any) -> Any:
    return alf.nest.map_structure(lambda x: x.transpose(0, 1), nest)


# ---- goals --------------------------------------------------------------------------------------


class _TwoAhead(Level):
    """Wants the place that a point reaches after two steps."""

    def rollout_step(self, inputs: TimeStep, state: Any) -> AlgStep:
        ahead = inputs.observation.observation + torch.tensor([0.0, 2.0])
        return AlgStep(output=ahead, state=state)


GOAL_LEVELS = {
    "AlgorithmLevel": partial(AlgorithmLevel, algorithm_ctor=sac, nested_observation=False),
    "TDMPC2Level": partial(TDMPC2Level, settings=SETTINGS),
}


def _reaching(ctor: Any, hindsight: float, joint_end: Any) -> Any:
    goal = Goal(radius=0.3, hindsight=hindsight)
    low = partial(ctor, goal=goal, training=TRAINING, name="low")
    maps = [select("place"), select("place")]
    agent = _agent([_TwoAhead, low], [POINT], joint_end, maps)
    Points(agent, [8, 5, 4]).live(40)
    return agent.levels[1]


def _prepared(level: Any, spans: tuple[Any, Any, Any]) -> Any:
    steps, info, where = spans
    return level._judged(steps, info, where._replace(replay_buffer=level._replay_buffer))[0]


@BOTH
@pytest.mark.parametrize("ctor", GOAL_LEVELS.values(), ids=GOAL_LEVELS)
def test_who_arrives_at_the_second_step_is_paid_there(ctor: Any, joint_end: Any) -> None:
    for hindsight in (0.0, 1e-9):  # a hindsight that looks and swaps nothing
        level = _reaching(ctor, hindsight, joint_end)
        steps = _prepared(level, spans := _spans(level))
        follows = is_transition(steps.step_type)[:, 0]
        t = spans[0].observation.observation[:, 1, 1]
        arrives = follows & (t % 2 == 0)
        assert bool(arrives.any())
        assert bool((steps.reward[arrives, 1] == 0).all())
        assert bool((steps.discount[arrives, 1] == 0).all())
        on_the_way = follows & (t % 2 == 1)
        assert bool((steps.reward[on_the_way, 1] == -1).all())
        assert bool((steps.discount[on_the_way, 1] == 1).all())


@BOTH
@pytest.mark.parametrize("ctor", GOAL_LEVELS.values(), ids=GOAL_LEVELS)
def test_only_goals_that_were_swapped_are_judged_anew(ctor: Any, joint_end: Any) -> None:
    level = _reaching(ctor, 0.5, joint_end)
    stored, info, where = _spans(level, 4, 1000)
    steps = _prepared(level, (stored, info, where))
    goal, own = (x.observation.input[..., 1] for x in (steps, stored))
    place = stored.observation.observation[..., 1]
    left = level._replay_buffer.steps_to_episode_end(where.positions, where.env_ids)
    in_episode = torch.arange(4) <= left[:, None]
    swapped = (goal[:, :1] != own[:, :1]) & in_episode
    kept = (goal == own).all(1)
    assert bool(swapped.any())
    assert bool(kept.any())
    # The first record of a span pays for nothing that is learned from it.
    assert torch.equal(steps.reward[kept, 1:], stored.reward[kept, 1:])
    assert torch.equal(steps.discount[kept, 1:], stored.discount[kept, 1:])
    judged = swapped & (stored.step_type != FIRST)
    arrived = (place - goal).abs() <= 0.3
    assert torch.equal(steps.reward[judged], torch.where(arrived, 0.0, -1.0)[judged])
    assert torch.equal(steps.discount[judged], torch.where(arrived, 0.0, 1.0)[judged])
    # One goal for the whole episode, also as what a record was reached with.
    held = reached(steps).input[..., 1]
    assert torch.equal(held[judged], goal[judged])
    assert torch.equal(goal[swapped], goal[:, :1].expand_as(goal)[swapped])


# ---- what a record shows ------------------------------------------------------------------------


@BOTH
def test_a_record_holds_the_input_that_led_to_it_and_the_one_it_goes_on_with(
    joint_end: Any,
) -> None:
    """Skills last 3 decisions, so a new one begins at t = 3, 6, ... of each episode."""
    top = partial(RandomLevel, name="top")
    low = partial(AlgorithmLevel, algorithm_ctor=sac, training=TRAINING, control_interval=3)
    agent = _agent([top, low], [SKILL], joint_end, None)
    Points(agent, [7, 5, 3]).live(40)
    steps, _, _ = _spans(agent.levels[1])
    follows = is_transition(steps.step_type)[:, 0]
    held, goes_on = reached(steps).input[:, 1], steps.observation.input
    assert torch.equal(held[follows], goes_on[follows, 0])
    kind, t = steps.step_type[:, 1], steps.observation.observation["place"][:, 1, 1]
    changes = follows & (t % 3 == 0) & (kind == MID)
    assert bool(changes.any()) == (joint_end == "continue")
    assert bool((goes_on[changes, 1] != goes_on[changes, 0]).any(-1).all())
    stays = follows & ~changes
    assert torch.equal(goes_on[stays, 1], goes_on[stays, 0])
    first = kind == FIRST
    assert torch.equal(reached(steps).input[first, 1], goes_on[first, 1])


def test_only_continuing_joints_make_records_larger() -> None:
    sizes = {}
    for joint_end in ("bootstrap", "continue"):
        low = partial(AlgorithmLevel, algorithm_ctor=sac, training=TRAINING, control_interval=3)
        agent = _agent([RandomLevel, low], [SKILL], joint_end, None)
        Points(agent, [7]).live(2)
        leaves = alf.nest.flatten(agent.levels[1]._replay_buffer._buffer)  # type: ignore[union-attr]
        sizes[joint_end] = sum(x[0, 0].numel() * x.element_size() for x in leaves)
    assert sizes["continue"] - sizes["bootstrap"] == 2 * 4  # two numbers of single precision


# ---- skills -------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("interval", [2, 3])
def test_diayn_is_told_the_skill_that_led_to_each_state(joint_end: Any, interval: int) -> None:
    agent = skill_agent(DIAYNLevel, joint=option(4), interval=interval, joint_end=joint_end)
    level: Any = agent.levels[-1]
    Points(agent, [7, 5]).live(60)
    steps, info, where = _spans(level)
    _, told = level.preprocess_experience(steps, info, where)
    follows = is_transition(steps.step_type)[:, 0]
    assert torch.equal(told.skill[follows, 1], steps.observation.input[follows, 0])
    assert bool(told.valid[follows, 1].all())
    assert torch.equal(told.valid, steps.step_type != FIRST)


def _watched(level: Any) -> list[Any]:
    """The rows whose reward a skill level is asked for."""
    seen: list[Any] = []
    original = level.intrinsic_reward

    def watch(rows: Any) -> torch.Tensor:
        seen.append(rows)
        return original(rows)

    level.intrinsic_reward = watch
    return seen


def _factory() -> PredictorFactory:
    return PredictorFactory(
        partial_model=partial(
            ProbabilisticEnsemble, partial_net=partial(ProbFCDynamics, hidden=(8,))
        ),
        partial_val_func=partial(ValueNet, hidden=(8,)),
        partial_rew_func=partial(RewardNet, hidden=(8,)),
        partial_encoder=IdentityEncoder,
    )


def _three_levels(ctor: Any, joint_end: Any) -> HierarchyAgent:
    """A planner with an input of its own, which changes with every second of its skills."""
    planner = partial(
        PlannerLevel,
        predictor_factory=_factory(),
        planner=SMALL_CEM,
        horizon=2,
        exploration=Exploration(only_noise=True),
        training=TRAINING,
        control_interval=2,
        name="planner",
    )
    options = SkillOptions(n_skill_samples=4, normalize=False)
    skills = partial(
        ctor,
        algorithm_ctor=sac,
        options=options,
        training=TRAINING,
        control_interval=2,
        name="skills",
    )
    return _agent(
        [RandomLevel, planner, skills],
        [SKILL, SKILL],
        joint_end,
        [None, select("place"), select("speed")],
    )


@BOTH
@pytest.mark.parametrize("ctor", [DADSLevel, SPlaTESLevel, DIAYNLevel])
def test_the_planner_s_own_input_changes_by_no_skill(ctor: Any, joint_end: Any) -> None:
    agent = _three_levels(ctor, joint_end)
    Points(agent, [9, 6]).live(60)
    level: Any = agent.levels[-1]
    rows = _watched(level)
    steps, info, where = _spans(level)
    level.preprocess_experience(steps, info, where)
    spec = level.above.observation_spec
    is_input = flatten_observation(
        LevelObservation(observation=torch.zeros(2), input=torch.ones(2)), spec
    ).bool()
    (asked,) = rows
    assert len(asked.before) > 50
    assert torch.equal(asked.before[:, is_input], asked.after[:, is_input])
    # The skill is the one that the decision was made for, and the point went on by 1.
    moved = (asked.after - asked.before)[:, ~is_input]
    assert torch.equal(moved, torch.tensor([0.0, 1.0]).expand_as(moved))
    # An episode's end counts where a skill's own end falls on it, and a joint where it is one.
    follows = is_transition(steps.step_type)
    ended = steps.env_info["returned"][:, 1:] & follows
    assert bool(ended.any())
    if ctor is SPlaTESLevel:  # pays at the end of a skill alone
        assert len(asked.before) == int(ended.sum())


@BOTH
def test_a_predictor_learns_no_change_of_the_input_that_it_plans_for(joint_end: Any) -> None:
    agent = _three_levels(DADSLevel, joint_end)
    Points(agent, [9, 6]).live(60)
    planner: Any = agent.levels[1]
    steps, info, _ = _spans(planner)
    batches: list[Any] = []
    model = planner.predictor.model
    original = model.loss
    model.loss = lambda batch: batches.append(batch) or original(batch)
    trained = planner.train_step(steps, (), info).info
    planner.calc_loss(_time_first(trained))
    (batch,) = batches
    assert torch.equal(batch.validity_mask, is_transition(steps.step_type).flatten())
    is_input = flatten_observation(
        LevelObservation(observation=torch.zeros(2), input=torch.ones(2)), planner.observation_spec
    ).bool()
    change = (batch.next_state - batch.state)[batch.validity_mask]
    assert float(change[:, is_input].abs().max()) == 0
    assert float(change[:, ~is_input].max()) == 2  # two steps a skill
    assert bool(batch.validity_mask.any())


@BOTH
def test_spans_for_the_model_alone_show_the_same(joint_end: Any) -> None:
    agent = _three_levels(DADSLevel, joint_end)
    Points(agent, [9, 6]).live(60)
    planner: Any = agent.levels[1]
    planner._model_batch_size = 300
    batch = planner._model_batch()
    follows = is_transition(batch.step_type)[:, 0]
    led_to = batch.observation if batch.reached is None else batch.reached
    change = (led_to[:, 1] - batch.observation[:, 0])[follows]
    assert float(change.abs().sum(1).max()) == 2
    assert (batch.reached is None) == (joint_end == "bootstrap")


# ---- TD-MPC2 ------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "ctor",
    [
        partial(TDMPC2Level, settings=SETTINGS, training=TRAINING),
        partial(
            AlgorithmLevel,
            algorithm_ctor=partial(TDMPC2Algorithm, settings=SETTINGS),
            training=TrainingOptions(mini_batch_size=8, mini_batch_length=4, warm_up=0),
        ),
    ],
    ids=["TDMPC2Level", "AlgorithmLevel"],
)
def test_a_latent_model_is_not_asked_to_predict_the_next_input(ctor: Any, joint_end: Any) -> None:
    low = partial(ctor, control_interval=3, name="low")
    agent = _agent([RandomLevel, low], [SKILL], joint_end, [None, select("place")])
    Points(agent, [7, 5, 4]).live(40)
    level: Any = agent.levels[1]
    steps, info, where = _spans(level, 4)
    seen, told = level.preprocess_experience(steps, info, where)
    trained = _time_first(level.train_step(seen, (), told).info)
    spans = level.algorithm.spans(trained)
    assert torch.equal(spans.is_transition.T, is_transition(steps.step_type))
    changes = (steps.observation.input[:, 1:] != steps.observation.input[:, :-1]).any(-1)
    changes &= is_transition(steps.step_type)
    assert bool(changes.any()) == (joint_end == "continue")
    if joint_end == "bootstrap":
        assert spans.changes_input is None
    else:
        assert torch.equal(
            spans.changes_input.T[spans.is_transition.T], changes[spans.is_transition.T]
        )
        spec = level.observation_spec
        after = LevelObservation(
            steps.observation.observation[:, 1:], steps.observation.input[:, :-1]
        )
        wanted, found = (
            x if isinstance(x, torch.Tensor) else flatten_observation(x, spec)
            for x in (flatten_observation(after, spec), _time_first(spans.reached))
        )
        inside = spans.is_transition.T
        assert torch.equal(found[:, 1:][inside], wanted[inside])
    assert bool(level.calc_loss(trained).loss.isfinite())


def test_where_the_input_changes_the_latent_prediction_starts_anew() -> None:
    """The latent state along a span is the encoded record, with the new input, at a joint."""
    low = partial(TDMPC2Level, settings=SETTINGS, training=TRAINING, control_interval=2)
    agent = _agent([RandomLevel, low], [SKILL], "continue", [None, select("place")])
    Points(agent, [7, 5]).live(40)
    level: Any = agent.levels[1]
    steps, info, where = _spans(level, 4)
    seen, told = level.preprocess_experience(steps, info, where)
    algorithm = level.algorithm
    spans = algorithm.spans(_time_first(level.train_step(seen, (), told).info))
    learned = algorithm._model_losses(
        algorithm.world_model, algorithm._target_q, spans, settings=SETTINGS
    )
    observed = algorithm.world_model.encode(_time_first(seen.observation)).detach()
    at_joint = spans.changes_input & spans.is_transition
    assert bool(at_joint.any())
    torch.testing.assert_close(learned.latent[1:][at_joint], observed[1:][at_joint])
    predicted = spans.is_transition & ~at_joint
    assert not torch.allclose(learned.latent[1:][predicted], observed[1:][predicted], atol=1e-3)


@BOTH
def test_a_goal_of_its_own_encoder_changes_with_the_record(joint_end: Any) -> None:
    level = _reaching(partial(TDMPC2Level, settings=SETTINGS), 0.0, joint_end)
    steps, info, where = _spans(level, 4)
    seen, told = level.preprocess_experience(steps, info, where)
    trained = level.train_step(seen, (), told).info
    assert trained.reached == ()  # the latent state holds no goal
    spans = level.algorithm.spans(_time_first(trained))
    assert torch.equal(spans.goal.transpose(0, 1), steps.observation.input)
    assert LAST in steps.step_type


def test_a_level_that_no_input_reaches_stores_none() -> None:
    low = partial(AlgorithmLevel, algorithm_ctor=sac, training=TRAINING)
    agent = _agent([low], [], "continue", None)
    Points(agent, [7]).live(3)
    assert set(_spans(agent.levels[0])[0].env_info) == {"time_discount", "steps", "returned"}
