"""Tic-tac-toe, batched: against oneself, or against a player who moves at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from alf.config_util import configurable
from alf.data_structures import StepType, TimeStep
from alf.environments.alf_environment import AlfEnvironment
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

# Rows, columns and diagonals of the squares 0 ... 8.
_LINES = (
    (0, 1, 2),
    (3, 4, 5),
    (6, 7, 8),
    (0, 3, 6),
    (1, 4, 7),
    (2, 5, 8),
    (0, 4, 8),
    (2, 4, 6),
)


_OUTCOMES = ("player0_win", "player1_win", "draw")


@configurable
class TicTacToeEnvironment(AlfEnvironment):
    """Two players put their marks on nine squares in turn; three in a line win.

    An action is the number of a square. The reward comes with the last step: 1 if player 0 has won,
    -1 if player 1 has, 0 for a draw. Who takes a square that is not empty loses.

    The observation is the board [3, 3]: 1 where player 0 has a mark, -1 where player 1 has, else 0.
    ``env_info`` says at the last step who has won: ``player0_win``, ``player1_win``, ``draw``.

    Args:
        batch_size: B.
        opponent: None: the actions are the moves of both players. "random": they are those of one,
            who is drawn for each game, and the other moves at random; the reward is 1 where the
            former has won.
        full_observation: the observation is a dictionary: ``board`` [2, 3, 3], the marks of player
            0 and of player 1; ``to_play``, who is to move; ``steps``, moves made;
            ``valid_action_mask`` [9], what is empty. For a search that knows the rules.
    """

    def __init__(
        self,
        batch_size: int = 1,
        opponent: str | None = None,
        full_observation: bool = False,
    ) -> None:
        if opponent not in (None, "random"):
            raise ValueError(f"opponent is {opponent!r}; allowed: None, 'random'")
        super().__init__()
        self._batch_size = batch_size
        self._opponent = opponent
        self._full = full_observation
        # 1 for player 0, -1 for player 1
        self._board = torch.zeros(batch_size, 9)
        self._moves = torch.zeros(batch_size, dtype=torch.int32)
        self._me = torch.zeros(batch_size, dtype=torch.int32)
        self._rows = torch.arange(batch_size)
        self._lines = torch.tensor(_LINES)
        self._generator = torch.Generator(device=self._board.device)
        self._generator.seed()

    @property
    def batched(self) -> bool:
        return True

    @property
    def batch_size(self) -> int:
        return self._batch_size

    @property
    def is_tensor_based(self) -> bool:
        return True

    def env_info_spec(self) -> Any:
        return {name: TensorSpec(()) for name in _OUTCOMES}

    def observation_spec(self) -> Any:
        if not self._full:
            return BoundedTensorSpec((3, 3), minimum=-1, maximum=1)
        return {
            "board": TensorSpec((2, 3, 3)),
            "to_play": BoundedTensorSpec((), torch.int8, 0, 1),
            "steps": BoundedTensorSpec((), torch.int32, 0, 9),
            "valid_action_mask": TensorSpec((9,), torch.bool),
        }

    def action_spec(self) -> Any:
        return BoundedTensorSpec((), torch.int64, 0, 8)

    def seed(self, seed: Sequence[int]) -> None:
        """Seed the opponent, by the first number."""
        self._generator.manual_seed(int(seed[0]))

    def render(self, mode: str = "rgb_array") -> Any:
        """The board of the first environment as text for "human", else as a small picture."""
        marks = self._board[0].reshape(3, 3)
        if mode == "human":
            for row in marks.tolist():
                print(" ".join({1.0: "X", -1.0: "O"}.get(mark, ".") for mark in row))
            return None
        picture = torch.stack([(marks > 0), (marks == 0), (marks < 0)], dim=-1) * 255
        picture = picture.repeat_interleave(64, dim=0).repeat_interleave(64, dim=1)
        return picture.to(torch.uint8).cpu().numpy()

    def _reset(self) -> TimeStep:
        everywhere = torch.ones(self._batch_size, dtype=torch.bool)
        action = torch.zeros(self._batch_size, dtype=torch.int64)
        self._begin(everywhere)
        zeros = torch.zeros(self._batch_size)
        return self._time_step(everywhere, zeros, zeros, ~everywhere, action)

    def _step(self, action: Tensor) -> TimeStep:
        begins = self._current_time_step.is_last()
        self._begin(begins)
        outcome, is_over = self._move(action, ~begins)
        if self._opponent is not None:
            other, ends = self._move(self._random_square(), ~begins & ~is_over)
            outcome, is_over = outcome + other, is_over | ends
        mine = 1.0 if self._opponent is None else 1 - 2 * self._me
        action = torch.where(begins, 0, action)
        return self._time_step(begins, outcome * mine, outcome, is_over, action)

    def _begin(self, where: Tensor) -> None:
        self._board.masked_fill_(where.unsqueeze(1), 0.0)
        self._moves.masked_fill_(where, 0)
        if self._opponent is None:
            return
        drawn = torch.randint(2, (self._batch_size,), generator=self._generator)
        self._me = torch.where(where, drawn.to(torch.int32), self._me)
        self._move(self._random_square(), where & (self._me == 1))

    def _random_square(self) -> Tensor:
        """One of the empty squares [B]; any if none is empty."""
        chances = (self._board == 0).float() + 1e-9
        return torch.multinomial(chances, 1, generator=self._generator).squeeze(1)

    def _move(self, square: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        """Let the players who are to move take squares [B]; gives outcomes and whether it is over.

        Nothing happens but ``where`` [B] is true.
        """
        mark = 1.0 - 2.0 * (self._moves % 2)
        taken = self._board[self._rows, square] != 0
        new = torch.where(where & ~taken, mark, self._board[self._rows, square])
        self._board[self._rows, square] = new
        self._moves += where.to(torch.int32)
        sums = self._board[:, self._lines].sum(dim=2)
        wins = (sums == 3 * mark.unsqueeze(1)).any(dim=1)
        outcome = torch.where(taken, -mark, torch.where(wins, mark, 0.0))
        is_over = taken | wins | (self._moves == 9)
        return torch.where(where, outcome, 0.0), is_over & where

    def _observation(self) -> Any:
        if not self._full:
            return self._board.reshape(-1, 3, 3).clone()
        board = torch.stack([self._board > 0, self._board < 0], dim=1)
        return {
            "board": board.float().reshape(-1, 2, 3, 3),
            "to_play": (self._moves % 2).to(torch.int8),
            "steps": self._moves.clone(),
            "valid_action_mask": self._board == 0,
        }

    def _time_step(
        self, begins: Tensor, reward: Tensor, outcome: Tensor, is_over: Tensor, action: Tensor
    ) -> TimeStep:
        """`outcome` [B] is 1 where player 0 has won and -1 where player 1 has."""
        step_type = torch.full((self._batch_size,), StepType.MID, dtype=torch.int32)
        step_type = step_type.masked_fill(begins, StepType.FIRST)
        won = (outcome > 0, outcome < 0, is_over & (outcome == 0))
        return TimeStep(
            step_type=step_type.masked_fill(is_over, StepType.LAST),
            reward=reward,
            discount=1.0 - is_over.float(),
            observation=self._observation(),
            prev_action=action,
            env_id=self._rows.to(torch.int32),
            env_info={name: x.float() for name, x in zip(_OUTCOMES, won, strict=True)},
        )


@configurable
def load(name: str = "", batch_size: int = 1, opponent: str | None = None) -> AlfEnvironment:
    """Tic-tac-toe.

    Args:
        name: "TicTacToe", or "".
        batch_size: number of games.
        opponent: see `TicTacToeEnvironment`.
    """
    if name not in ("", "TicTacToe"):
        raise ValueError(f"there is no {name!r}; allowed: 'TicTacToe'")
    return TicTacToeEnvironment(batch_size, opponent)


load.batched = True  # type: ignore[attr-defined]
