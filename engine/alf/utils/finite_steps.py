"""Time steps as an environment gives them, looked at before anything learns from them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from alf.data_structures import StepType, TimeStep
from alf.nest import nest
from alf.summary import summary_ops as summary
from alf.utils.finite_checks import (
    FiniteChecks,
    NotFiniteError,
    bad_leaves,
    count_skipped,
    probe,
)
from alf.utils.finite_saving import dumped

_LONGEST_WAIT = 10_000


class FiniteSteps:
    """Looks at the time steps of one environment, one after the other.

    Args:
        where: what the steps are for, for errors: "training", "evaluation".
        alg: whose `TrainerConfig.root_dir` dumps go to.
    """

    def __init__(self, where: str, alg: Any = None) -> None:
        self._where = where
        self._alg = alg
        self._settings = FiniteChecks()
        self._skips = self._settings.bad_episode == "skip"
        config = getattr(alg, "_config", None)
        if self._skips and where == "training" and config is not None and config.async_unroll:
            raise ValueError(
                "FiniteChecks.bad_episode='skip' does not go with TrainerConfig.async_unroll=True: "
                "what counts as an episode is known in the other process alone"
            )
        self._before: TimeStep | None = None
        self._waits: Tensor | None = None
        self._in_a_row = 0
        self._waited = 0
        self.repeats: Tensor | tuple[()] = ()
        """[B], where the last step taken repeats the LAST step of a skipped episode, and so ends
        none anew; `()`: nowhere."""

    def taken(self, time_step: TimeStep, action_probe: float | Tensor = 0.0) -> TimeStep:
        """The time step, as it may be used.

        Args:
            time_step: of the environment, `[B, ...]`.
            action_probe: see `finite_checks.check_action`; looked at together with the time step.

        Raises:
            NotFiniteError: observation, reward or discount are not finite, and
                `FiniteChecks.bad_episode` is "raise"; or there is nothing to go on from.
        """
        fields = (time_step.observation, time_step.reward, time_step.discount)
        total = probe(*fields) + action_probe
        if math.isfinite(total) and self._waits is None:
            return self._passed(time_step)
        bad: dict[str, Tensor] = {}
        for name, value in zip(("observation", "reward", "discount"), fields, strict=True):
            bad |= bad_leaves(value, name)
        if not bad and self._waits is None:
            if not math.isfinite(action_probe):
                raise NotFiniteError(f"an action is not finite ({self._where}, {_at()})")
            return self._passed(time_step)
        if bad and not self._skips:
            raise NotFiniteError(self._described(bad, time_step) + self._dump(time_step))
        return self._mended(time_step, bad)

    def _passed(self, time_step: TimeStep) -> TimeStep:
        self.repeats = ()
        if self._skips or self._settings.dump:
            self._before = time_step
            if self._in_a_row and bool(time_step.is_last().any()):
                self._in_a_row = 0
        return time_step

    def _described(self, bad: dict[str, Tensor], time_step: TimeStep) -> str:
        path, leaf = next(iter(bad.items()))
        row = int((~leaf.isfinite()).reshape(len(leaf), -1).any(1).nonzero()[0])
        values = [f"{x:.4g}" for x in leaf[row].flatten().tolist()]
        shown = ", ".join(values[:6]) + (", ..." if len(values) > 6 else "")
        shown = shown if leaf.ndim == 1 else f"[{shown}]"
        return (
            f"environment {int(time_step.env_id[row])} gave the {path} {shown}; "
            f"observations, rewards and discounts must be finite ({self._where}, {_at()})"
        )

    def _dump(self, time_step: TimeStep) -> str:
        if not self._settings.dump:
            return ""
        nests = {"time_step": time_step, "before": self._before or ()}
        return dumped(self._alg, f"episode-{self._where}", what=self._where, **nests)

    def _mended(self, time_step: TimeStep, bad: dict[str, Tensor]) -> TimeStep:
        """Bad rows show the LAST step of their episode until the environment begins the next."""
        step_type = time_step.step_type
        is_bad = torch.zeros_like(step_type, dtype=torch.bool)
        for leaf in bad.values():
            is_bad = is_bad | (~leaf.isfinite()).reshape(len(leaf), -1).any(1)
        waited = torch.zeros_like(is_bad) if self._waits is None else self._waits
        waits = is_bad | (waited & (step_type != int(StepType.FIRST)))
        new = waits & ~waited
        if bool(new.any()):
            text = self._described(bad, time_step) + self._dump(time_step)
            if self._before is None:
                raise NotFiniteError(text + "; there is no earlier step to go on from")
            self._in_a_row += int(new.sum())
            if self._in_a_row > self._settings.max_skipped:
                raise NotFiniteError(
                    f"{text}; {self._in_a_row} such episodes in a row are more than "
                    f"FiniteChecks.max_skipped={self._settings.max_skipped}"
                )
            for _ in range(int(new.sum())):
                count_skipped("episodes", text)
        self._waited = self._waited + 1 if bool(waits.any()) else 0
        if self._waited > _LONGEST_WAIT:
            raise NotFiniteError(
                f"an environment began no new episode within {_LONGEST_WAIT} steps after one that "
                f"was skipped in {self._where}, {_at()}"
            )
        assert self._before is not None
        self._waits = waits if bool(waits.any()) else None
        # A row whose episode had ended by itself ends none again.
        was_last = self._before.is_last()
        self.repeats = waits & (waited | was_last)
        shown = _rows(waits, self._last(time_step), time_step)
        self._before = shown
        return shown

    def _last(self, time_step: TimeStep) -> TimeStep:
        before = self._before
        assert before is not None
        return time_step._replace(
            step_type=torch.full_like(time_step.step_type, int(StepType.LAST)),
            reward=torch.zeros_like(time_step.reward),
            discount=torch.ones_like(time_step.discount),
            observation=before.observation,
        )


def ending_once(time_step: TimeStep, repeats: Tensor | tuple[()]) -> TimeStep:
    """As metrics shall see it: where an episode has ended before, none ends anew.

    Args:
        time_step: `[B, ...]`.
        repeats: `FiniteSteps.repeats` after it was taken.
    """
    if not isinstance(repeats, Tensor):
        return time_step
    step_type = time_step.step_type  # a FIRST step counts for no metric
    step_type = step_type.masked_fill(repeats.to(step_type.device), int(StepType.FIRST))
    return time_step._replace(step_type=step_type)


def _rows(mask: Tensor, chosen: Any, otherwise: Any) -> Any:
    """Row b of `chosen` where `mask[b]`, else of `otherwise`."""

    def pick(a: Any, b: Any) -> Any:
        if a is b or not isinstance(a, Tensor):
            return b
        return torch.where(mask.reshape(-1, *[1] * (b.ndim - 1)), a, b)

    return nest.map_structure(pick, chosen, otherwise)


def _at() -> str:
    return f"iteration {summary.get_global_counter()}"
