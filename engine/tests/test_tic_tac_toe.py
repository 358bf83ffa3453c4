"""Tic-tac-toe: the rules, who gets which reward, and the player who moves at random."""

from __future__ import annotations

import pytest
import torch

from alf.data_structures import StepType
from alf.environments import suite_tic_tac_toe
from alf.environments.suite_tic_tac_toe import TicTacToeEnvironment


def play(moves: list[list[int]], **options) -> tuple[TicTacToeEnvironment, list]:
    """One game for each list of moves, side by side."""
    env = TicTacToeEnvironment(len(moves), **{"full_observation": True, **options})
    steps = [env.reset()]
    for squares in zip(*moves, strict=True):
        steps.append(env.step(torch.tensor(squares)))
    return env, steps


def test_three_in_a_line_win_for_either_player() -> None:
    _, steps = play([[0, 3, 1, 4, 2, 0], [0, 4, 1, 2, 8, 6]])
    assert steps[5].step_type.tolist() == [StepType.LAST, StepType.MID]
    assert steps[5].reward.tolist() == [1.0, 0.0]
    assert steps[6].step_type.tolist() == [StepType.FIRST, StepType.LAST]
    assert steps[6].reward.tolist() == [0.0, -1.0]
    assert steps[6].discount.tolist() == [1.0, 0.0]
    assert steps[6].prev_action.tolist() == [0, 6]
    assert steps[6].observation["board"][0].sum() == 0


def test_a_full_board_without_a_line_is_a_draw() -> None:
    _, steps = play([[0, 1, 2, 4, 3, 5, 7, 6, 8]])
    assert steps[9].is_last().all()
    assert steps[9].reward.tolist() == [0.0]
    assert steps[9].observation["steps"].tolist() == [9]


def test_who_takes_a_square_that_is_not_empty_loses() -> None:
    _, steps = play([[4, 4]])
    assert steps[2].is_last().all()
    assert steps[2].reward.tolist() == [1.0]


def test_the_observation_says_who_moves_and_where_he_can() -> None:
    _, steps = play([[4, 0]])
    one, two = steps[1].observation, steps[2].observation
    assert one["to_play"].tolist() == [1]
    assert two["to_play"].tolist() == [0]
    assert two["valid_action_mask"][0].tolist() == [False, *[True] * 3, False, *[True] * 4]
    assert two["board"][0, 0, 1, 1] == 1
    assert two["board"][0, 1, 0, 0] == 1
    assert two["board"].sum() == 2


def test_the_random_player_moves_for_the_other_side() -> None:
    env = TicTacToeEnvironment(200, opponent="random", full_observation=True)
    env.seed([0])
    step = env.reset()
    mine = step.observation["to_play"]
    assert set(mine.tolist()) == {0, 1}
    assert torch.equal(step.observation["steps"], mine.int())
    returns, games = torch.zeros(200), torch.zeros(200)
    for _ in range(40):
        allowed = step.observation["valid_action_mask"].float()
        going = ~step.is_last()
        assert torch.equal(step.observation["steps"][going] % 2, step.observation["to_play"][going])
        step = env.step(allowed.argmax(dim=1))  # the first empty square
        returns += step.reward
        games += step.is_last()
        assert (step.reward[~step.is_last()] == 0).all()
    assert (games > 3).all()
    # To begin in the corner and to go on beside it beats chance.
    assert 0.05 < float(returns.sum() / games.sum()) < 0.6


def test_the_board_is_what_is_observed_and_wins_are_counted() -> None:
    env = suite_tic_tac_toe.load(name="TicTacToe", batch_size=3)
    assert env.observation_spec().shape == (3, 3)
    games = [[0, 3, 1, 4, 2], [0, 4, 1, 2, 8, 6], [0, 1, 2, 4, 3, 5, 7, 6, 8]]
    step, won = env.reset(), torch.zeros(3, 3)
    for t in range(9):
        step = env.step(torch.tensor([game[min(t, len(game) - 1)] for game in games]))
        if t == 1:
            assert step.observation[0].tolist() == [[1, 0, 0], [-1, 0, 0], [0, 0, 0]]
        outcomes = torch.stack(list(step.env_info.values()), 1)
        assert torch.equal(outcomes.sum(1), step.is_last().float())
        for game, moves in enumerate(games):
            if t == len(moves) - 1:
                won[game] = outcomes[game]
    # player 0 wins, player 1 wins, and a draw
    assert won.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert set(step.env_info) == set(env.env_info_spec())


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="'Chess'"):
        suite_tic_tac_toe.load("Chess")
    with pytest.raises(ValueError, match="opponent"):
        TicTacToeEnvironment(1, opponent="best")
