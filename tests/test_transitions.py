"""What is a transition: by hand, in replay buffers that wrap around, and for all who learn."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

import alf
from alf.algorithms.config import TrainerConfig
from alf.data_structures import StepType, make_experience
from alf_layered import DIAYNLevel, SkillOptions
from alf_layered.hierarchy.transitions import is_outcome, is_transition
from alf_layered.tdmpc2.tdmpc2_algorithm import TDMPC2Algorithm
from tests.planning_points import ACTION
from tests.scripted import reset_where_first, scripted_agent, time_step
from tests.skill_points import OBSERVATION, Points, skill_agent
from tests.small_predictors import random_spans, small_predictor
from tests.test_tdmpc2_level import SETTINGS

FIRST, MID, LAST = (int(k) for k in (StepType.FIRST, StepType.MID, StepType.LAST))


def test_what_follows_last_and_what_is_first_is_no_outcome() -> None:
    kinds = torch.tensor([[FIRST, MID, MID, LAST, FIRST, LAST, FIRST, MID, FIRST]])
    wanted = [[True, True, True, False, True, False, True, False]]
    assert is_transition(kinds).tolist() == wanted
    assert is_transition(kinds.T, time_axis=0).T.tolist() == wanted
    assert torch.equal(is_outcome(kinds), kinds != FIRST)
    assert is_transition(kinds[:, :1]).shape == (1, 0)


def _lived(joint_end: Any, length: int) -> Any:
    """The bottom level of two, after 60 steps of 3 environments of which some are reset from
    outside; observations are numbered by time, so no two records of an episode look alike."""
    agent = scripted_agent(
        [None, 3],
        store=True,
        joint_end=joint_end,
        config=TrainerConfig(root_dir="", mini_batch_length=2),
    )
    low = agent.levels[1]
    for level in agent.levels:
        level.set_replay_buffer(3, length)
    rng = random.Random(0)
    initial = state = agent.get_initial_rollout_state(3)
    kinds = [LAST] * 3
    for t in range(60):
        # One of ten steps begins anew without an end, one of five ends.
        kinds = [
            FIRST if kind == LAST or rng.random() < 0.1 else (LAST if rng.random() < 0.2 else MID)
            for kind in kinds
        ]
        step = time_step(kinds, [1.0] * 3, [1.0] * 3, [[float(t), 0.0, 0.0]] * 3)
        state = reset_where_first(step, state, initial)
        decided = agent.rollout_step(step, state)
        agent.observe_for_replay(make_experience(step, decided, state))
        state = decided.state
    return low


@pytest.mark.parametrize("joint_end", ["bootstrap", "continue"])
@pytest.mark.parametrize("length", [200, 17], ids=["whole", "wrapped"])
def test_a_transition_is_what_the_decision_led_to(joint_end: Any, length: int) -> None:
    low = _lived(joint_end, length)
    buffer: Any = low._replay_buffer
    found, where = buffer.get_batch(2000, 3)
    step = found.time_step
    number, kinds = step.observation.observation[..., 0], step.step_type
    steps = step.env_info["steps"]
    # The decision before the second record lasted `steps`, and is what that one remembers.
    led = (steps[:, 1:] > 0) & (number[:, 1:] - number[:, :-1] == steps[:, 1:])
    led &= (step.prev_action[:, 1:] == found.action[:, :-1]).all(-1)
    assert torch.equal(is_transition(kinds), led)
    assert bool(((kinds[:, 1:] == FIRST) & (kinds[:, :-1] != FIRST)).any())
    # What learners of ALF take for one: all but what follows LAST.
    assert torch.equal(is_transition(kinds), kinds[:, :-1] != LAST)
    assert int(where.positions.max()) > length or length == 200


@pytest.mark.parametrize("joint_end", ["bootstrap", "continue"])
def test_records_of_an_episode_that_was_cut_are_its_own(joint_end: Any) -> None:
    """Hindsight looks for the end of an episode; it does not reach beyond a reset from outside."""
    buffer: Any = _lived(joint_end, 200)._replay_buffer
    found, where = buffer.get_batch(1000, 1)
    left = buffer.steps_to_episode_end(where.positions, where.env_ids)
    ends = buffer.get_field("time_step.step_type", where.env_ids, where.positions + left)
    newest = where.positions + left == buffer._current_pos[where.env_ids] - 1
    assert bool(((ends == LAST) | newest).all())
    assert bool((found.time_step.step_type[:, 0] == FIRST).any())


# ---- all who learn ------------------------------------------------------------------------------


def _predictor_s(kinds: torch.Tensor) -> torch.Tensor:
    """The rows from which a dynamics model learns."""
    batches: list[Any] = []
    predictor = small_predictor()
    original = predictor.model.loss
    predictor.model.loss = lambda batch: batches.append(batch) or original(batch)  # type: ignore[method-assign]
    predictor.losses(random_spans(*kinds.shape)._replace(step_type=kinds))
    return batches[0].validity_mask.reshape(len(kinds), -1)


def _td_mpc2_s(kinds: torch.Tensor) -> torch.Tensor:
    algorithm = TDMPC2Algorithm(OBSERVATION, ACTION, settings=SETTINGS)
    rows, length = kinds.shape
    zeros = alf.nest.map_structure(lambda s: torch.zeros(length, rows, *s.shape), OBSERVATION)
    step = time_step([0], [0.0], [0.0], [[0.0]])
    step = step._replace(
        step_type=kinds.T,
        observation=zeros,
        prev_action=torch.zeros(length, rows, 2),
        reward=torch.zeros(length, rows),
        discount=torch.zeros(length, rows),
    )
    return algorithm.spans(algorithm.train_step(step, (), ()).info).is_transition.T


def _skill_level_s(kinds: torch.Tensor) -> torch.Tensor:
    """Where skills have a reward: all that is earned is 2."""
    agent = skill_agent(
        DIAYNLevel, options=SkillOptions(clip_low=2.0, clip_high=2.0, normalize=False)
    )
    Points(agent, [30]).live(20)
    level: Any = agent.levels[-1]
    found, where = level._replay_buffer.get_batch(*kinds.shape)
    steps = found.time_step._replace(step_type=kinds)
    seen, _ = level.preprocess_experience(steps, found.rollout_info, where)
    return seen.reward[:, 1:] == 2


@pytest.mark.parametrize("learns_from", [_predictor_s, _td_mpc2_s, _skill_level_s])
def test_all_who_learn_ask_the_one_definition(learns_from: Any) -> None:
    torch.manual_seed(0)
    kinds = torch.randint(0, 3, (40, 4), dtype=torch.int32)
    assert torch.equal(learns_from(kinds), is_transition(kinds))
