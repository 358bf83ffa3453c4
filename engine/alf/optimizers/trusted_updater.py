"""Steps that are shortened until what they change stays within limits."""
# torch's foreach kernels have no public name.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from alf.nest import nest

__all__ = ["TrustedUpdater"]

_MAX_TRIALS = 100


class TrustedUpdater:
    """Shortens the step made since it was constructed, or since the last `adjust_step`.

    Args:
        parameters: the parameters before the step.
    """

    def __init__(self, parameters: Iterable[torch.Tensor]) -> None:
        self._parameters = list(parameters)
        self._before = [p.detach().clone() for p in self._parameters]

    @torch.no_grad()
    def adjust_step(self, change_f: Callable[[], Any], max_change: Any) -> tuple[Any, int]:
        """Shorten the step until no change is larger than allowed.

        Each trial scales the step by 0.9 times the smallest ratio of allowed to measured change, as
        if the change were proportional to the step.

        Args:
            change_f: measures what the present parameters change: nest of numbers or tensors [], of
                which the absolute values count.
            max_change: nest of positive numbers like what `change_f` returns.

        Returns the changes before shortening, and how many times the step was shortened.

        Raises:
            ValueError: if a change stays too large however short the step is. The parameters are
                then those from before the step.
        """
        first = change = change_f()
        trials = 0
        ratio = _smallest_ratio(change, max_change)
        while ratio < 1 and trials < _MAX_TRIALS:
            torch._foreach_lerp_(self._parameters, self._before, 1 - 0.9 * ratio)
            trials += 1
            ratio = _smallest_ratio(change_f(), max_change)
        if ratio < 1:
            torch._foreach_copy_(self._parameters, self._before)
            raise ValueError(
                f"TrustedUpdater: after shortening the step {trials} times the change is still "
                f"{change_f()}, allowed is {max_change}"
            )
        torch._foreach_copy_(self._before, self._parameters)
        return first, trials


def _smallest_ratio(change: Any, max_change: Any) -> float:
    nest.assert_same_structure(change, max_change)
    pairs = zip(nest.flatten(change), nest.flatten(max_change), strict=True)
    return min((float(m) / max(abs(float(c)), 1e-30) for c, m in pairs), default=1.0)
