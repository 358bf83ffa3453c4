"""How random the choice among visited children is: temperatures by moves and by progress."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from alf.config_util import configurable
from alf.utils import schedulers

PUBLIC_MODULE = "alf.algorithms.mcts_algorithm"  # under which these names are configured


@configurable
class VisitSoftmaxTemperatureByMoves:
    """A temperature that depends on the steps of the episode.

    Args:
        move_temperature_pairs: (moves, temperature), moves ascending: the temperature holds while
            no more moves than these have been made; that of the last pair also later.
    """

    def __init__(
        self,
        move_temperature_pairs: Sequence[tuple[int, float]] = [(29, 1.0), (10000, 0.0001)],
    ) -> None:
        _check_ascending("move_temperature_pairs", move_temperature_pairs)
        self._pairs = list(move_temperature_pairs)

    def __call__(self, steps: Tensor) -> Tensor:
        """Temperatures [B] after ``steps`` [B]."""
        temperature = torch.full(steps.shape, self._pairs[-1][1], device=steps.device)
        for moves, value in reversed(self._pairs):
            temperature = torch.where(steps <= moves, value, temperature)
        return temperature


@configurable
class VisitSoftmaxTemperatureByProgress:
    """A temperature that depends on how far the training is.

    Args:
        progress_temperature_pairs: (progress, temperature), progress ascending, at most 1: the
            temperature holds until then; that of the last pair also later.
    """

    def __init__(
        self,
        progress_temperature_pairs: Sequence[tuple[float, float]] = [
            (0.5, 1.0),
            (0.75, 0.5),
            (1, 0.25),
        ],
    ) -> None:
        _check_ascending("progress_temperature_pairs", progress_temperature_pairs)
        self._pairs = list(progress_temperature_pairs)

    def __call__(self, steps: Tensor) -> Tensor:
        """Temperatures [B], all the same."""
        progress = schedulers.get_progress("percent")
        value = next((t for until, t in self._pairs if progress < until), self._pairs[-1][1])
        return torch.full(steps.shape, float(value), device=steps.device)


def _check_ascending(name: str, pairs: Sequence[tuple[float, float]]) -> None:
    until = [pair[0] for pair in pairs]
    if not until or sorted(until) != until or min(pair[1] for pair in pairs) <= 0:
        raise ValueError(
            f"{name} has to be a list of (until, temperature), ascending, with positive "
            f"temperatures; got {list(pairs)}"
        )
