"""Each update of an algorithm is looked at before it is made: its loss and its gradient."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from alf.utils.finite_checks import (
    FiniteChecks,
    NotFiniteError,
    causes,
    count_skipped,
    explained,
    look_later,
    message,
)
from alf.utils.finite_saving import dumped

_WATCH = "_update_watch"


def watch_of(alg: Any) -> UpdateWatch:
    """The watch over the updates of an algorithm, made at its first one."""
    watch = alg.__dict__.get(_WATCH)
    if watch is None:
        watch = alg.__dict__[_WATCH] = UpdateWatch()
    return watch


class UpdateWatch:
    """Looks at each update of one algorithm, and says whether it may be made."""

    def __init__(self) -> None:
        self._settings = FiniteChecks()
        self._waits = not (self._settings.dump or self._settings.bad_update == "skip")
        self._in_a_row = 0
        self._batch: dict[str, Any] = {}
        self._env_ids: Tensor | None = None

    @property
    def has_skipped(self) -> bool:
        """Whether the last update was left out."""
        return self._in_a_row > 0

    @contextlib.contextmanager
    def on(self, alg: Any, experience: Any, batch_info: Any = ()) -> Iterator[None]:
        """Inside, an update is made from `experience` `[T, B, ...]`: an error names it, a dump
        holds it.
        """
        self._batch = {"experience": experience}
        self._env_ids = getattr(batch_info, "env_ids", None)
        if not isinstance(self._env_ids, Tensor):
            self._env_ids = None
        try:
            with explained(alg, "update", axis=1, env_ids=self._env_ids, **self._batch):
                yield
        finally:
            self._batch, self._env_ids = {}, None

    def may_step(
        self, alg: Any, loss: Tensor, gradients: Iterable[Tensor] | None, loss_info: Any
    ) -> bool:
        """Whether loss and gradients are finite; else the update is left out, or an error raised.

        Args:
            loss: what was differentiated, a scalar.
            gradients: of the parameters; None: only the loss counts.
            loss_info: the `LossInfo` of which it is the total.

        Raises:
            NotFiniteError: they are not, and `FiniteChecks.bad_update` is "raise".
        """
        numbers = [loss.detach()]
        gradients = list(gradients or ())
        if gradients:
            norms = torch._foreach_norm(gradients)  # type: ignore[reportPrivateImportUsage]
            numbers.append(torch.stack([n.to(loss.device, loss.dtype) for n in norms]).sum())
        if loss.device.type != "cpu" and self._waits:
            for what, number in zip(
                ("the loss", "the norm of the gradient"), numbers, strict=False
            ):
                look_later(alg, "update", what, number.isfinite())
            return True
        values = [float(x) for x in numbers]
        if all(map(math.isfinite, values)) or _only_overflows(values[0], gradients):
            self._in_a_row = 0
            return True
        self._found(alg, values, loss_info)
        return False

    def _found(self, alg: Any, values: list[float], loss_info: Any) -> None:
        """Raise, or count a skipped update."""
        nests = {**self._batch, **bad_parts(loss_info)}
        found = causes(alg, axis=1, env_ids=self._env_ids, **nests)
        if not math.isfinite(values[0]):
            what = f"the loss is {values[0]}"
        else:
            what = f"the norm of the gradient is {values[1]}, the loss {values[0]:.4g}"
        text = message(alg, "update", what, found)
        settings = self._settings
        if settings.dump:
            text += dumped(alg, f"update-{alg.name}", what=text, loss_info=loss_info, **self._batch)
        self._in_a_row += 1
        if settings.bad_update == "raise" or self._in_a_row > settings.max_skipped:
            raise NotFiniteError(text)
        count_skipped("updates", text)


def _only_overflows(loss: float, gradients: list[Tensor]) -> bool:
    """Whether no gradient is infinite, though their norm is: its square is beyond a float."""
    return math.isfinite(loss) and all(bool(g.isfinite().all()) for g in gradients)


def bad_parts(loss_info: Any) -> dict[str, Any]:
    """The parts of a `LossInfo` that may say why the total is not finite."""
    return {
        name: getattr(loss_info, name)
        for name in ("loss", "scalar_loss", "extra")
        if getattr(loss_info, name, ()) != ()
    }
