"""What may be done at steps, ends of episodes and tests of a `Collector`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alf_layered.library.collector import Collector, Test


class Callback:
    """Does nothing; a subclass overrides what it needs. True from a method ends the collecting."""

    def on_step(self, collector: Collector, step: dict[str, Any]) -> bool | None:
        """After each vector step.

        Args:
            collector: which called it.
            step: what `env.step` returned: `obs`, `reward`, `terminated`, `truncated`, `info`.
        """

    def on_episode(self, collector: Collector, returns: Any, lengths: Any) -> bool | None:
        """After a step in which n episodes ended, of which `returns` and `lengths` are, `[n]`."""

    def on_test(self, collector: Collector, test: Test) -> bool | None:
        """After each test."""


class StopAt(Callback):
    """Ends the collecting once a figure of a test is at least `value`.

    Args:
        value: that is enough.
        figure: "mean_return" or "success" of `Test`.
    """

    def __init__(self, value: float, figure: str = "success") -> None:
        self._value, self._figure = value, _checked(figure)

    def on_test(self, collector: Collector, test: Test) -> bool:
        return getattr(test, self._figure) >= self._value


class KeepBest(Callback):
    """Saves the hierarchy whenever a figure of a test is larger than ever.

    Args:
        path: the folder.
        figure: "mean_return" or "success" of `Test`.
    """

    def __init__(self, path: str | Path, figure: str = "mean_return") -> None:
        self._path, self._figure = Path(path), _checked(figure)
        self.best = float("-inf")

    def on_test(self, collector: Collector, test: Test) -> None:
        value = getattr(test, self._figure)
        if value > self.best:
            self.best = value
            collector.hierarchy.save(self._path)


def _checked(figure: str) -> str:
    if figure not in ("mean_return", "success"):
        raise ValueError(f"figure is {figure!r}; allowed: 'mean_return' or 'success'")
    return figure
