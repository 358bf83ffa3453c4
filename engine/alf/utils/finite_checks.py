"""What happens where a number is not finite: NaN or infinite numbers stop a run, or are counted.

One NaN in a parameter, an observation or a reward reaches all parameters within a few updates, and
then every checkpoint. So what enters (observations, rewards), what a step goes along (loss and
gradient) and what is saved is looked at, each with one number that is not finite if any part is.

`alf.config("FiniteChecks", ...)` chooses what follows; without it the first finding is an error.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import torch
from absl import logging
from torch import Tensor, nn

from alf.config_util import configurable
from alf.nest import nest
from alf.summary import summary_ops as summary

__all__ = [
    "FiniteChecks",
    "NotFiniteError",
    "UpdateWatch",
    "causes",
    "check_later",
    "check_savable",
    "explained",
    "raise_pending",
    "skipped",
]

_WATCH = "_update_watch"
_MOST_DUMPS = 5
_BECAUSE = "; not finite: "

skipped = {"updates": 0, "episodes": 0}
"""How many of each this process has skipped."""


class NotFiniteError(ValueError):
    """A number is NaN or infinite where that would ruin what was learned."""


@configurable
@dataclasses.dataclass(frozen=True)
class FiniteChecks:
    """What a training does where numbers are not finite.

    Args:
        bad_update: where the loss or the norm of its gradient is not finite: "raise" ends the run,
            "skip" leaves the update out and counts it. On an accelerator "raise" looks once in an
            iteration, and the error can name no cause; "skip" and `dump` look at each update.
        bad_episode: where an environment gives an observation, reward or discount that is not
            finite: "raise" ends the run. "skip" ends the episode there as a time limit does, with
            the last finite observation, and counts it; the instance shows that LAST step until the
            environment begins its next episode, and those steps are not learned from.
        max_skipped: the run ends where so many updates (or episodes, none ending by itself) would
            be skipped one after the other.
        dump: write what was found, and the batch or time step in which it was, to
            `<root_dir>/not_finite`, for `torch.load`; at most 5 of each.
    """

    bad_update: Literal["raise", "skip"] = "raise"
    bad_episode: Literal["raise", "skip"] = "raise"
    max_skipped: int = 100
    dump: bool = False


# ---- Looking --------------------------------------------------------------------------------


def probe(*nests: Any) -> float | Tensor:
    """A number that is not finite if one in `nests` is not; on an accelerator a tensor, not read.

    A sum can also overflow, so whoever finds it not finite looks at the elements.
    """
    total: Any = 0.0
    seen = None
    for nested in nests:
        for leaf in (nested,) if isinstance(nested, Tensor) else nest.flatten(nested):
            # A position is often both the observation and what was achieved.
            if leaf is seen or not isinstance(leaf, Tensor) or not leaf.dtype.is_floating_point:
                continue
            seen = leaf
            part = leaf.detach().sum()
            # Floats of Python: to add tensors takes as long as to sum them.
            total = total + (part.item() if part.device.type == "cpu" else part)
    return total


def bad_leaves(nested: Any, name: str) -> dict[str, Tensor]:
    """The leaves that hold numbers that are not finite, by path."""
    found: dict[str, Tensor] = {}

    def look(path: str, leaf: Any) -> None:
        floats = isinstance(leaf, Tensor) and leaf.is_floating_point()
        if floats and not bool(leaf.isfinite().all()):
            found[f"{name}.{path}" if path else name] = leaf

    nest.py_map_structure_with_path(look, nested)
    return found


def causes(module: Any, *, axis: int = 0, env_ids: Tensor | None = None, **nests: Any) -> list[str]:
    """What is not finite in parameters and buffers of `module`, and in `nests`, for an error.

    Replay buffers are passed over, and buffers that hold infinity, as limits do.

    Args:
        module: what acts or learns.
        axis: that of the environments in `nests`.
        env_ids: [B], the environment of each row; None: its number is that of the row.
    """
    found = []
    for kind, tensors in (
        ("parameter", module.named_parameters() if isinstance(module, nn.Module) else ()),
        ("buffer", module.named_buffers() if isinstance(module, nn.Module) else ()),
    ):
        names = [name for name, x in tensors if _is_bad_state(name, x)]
        if names:
            found.append(f"{kind} {names[0]}" + (f" and {len(names) - 1} more" * (len(names) > 1)))
    for name, nested in nests.items():
        for path, leaf in bad_leaves(nested, name).items():
            rows = _bad_rows(leaf, axis)
            if rows and env_ids is not None:
                rows = sorted({int(env_ids[row]) for row in rows})
            found.append(path + (f" (environment {_some(rows)})" if rows else ""))
    return found


def _is_bad_state(name: str, x: Tensor) -> bool:
    if not x.is_floating_point() or "_replay_buffer." in name:
        return False
    x = x.detach()
    if isinstance(x, nn.Parameter) or x.requires_grad:
        return not bool(x.isfinite().all())
    return bool(x.isnan().any())


def _bad_rows(leaf: Tensor, axis: int = 0) -> list[int]:
    """Along an axis; none where there is no such axis."""
    if leaf.ndim <= axis:
        return []
    bad = (~leaf.isfinite()).movedim(axis, 0).reshape(leaf.shape[axis], -1)
    return bad.any(1).nonzero().flatten().tolist()


def _some(items: list[Any], most: int = 4) -> str:
    text = ", ".join(map(str, items[:most]))
    return text if len(items) <= most else f"{text} and {len(items) - most} more"


@contextlib.contextmanager
def explained(
    module: nn.Module,
    doing: str,
    *,
    axis: int = 0,
    env_ids: Tensor | None = None,
    **nests: Any,
) -> Iterator[None]:
    """Inside, an error that NaN may have caused names where the NaN is.

    Args:
        module: what acts or learns, of which parameters are looked at.
        doing: what it does, for the error.
        axis, env_ids, nests: what it does that with, see `causes`.

    Raises:
        NotFiniteError: from the error inside, if anything is not finite.
    """
    try:
        yield
    except Exception as error:
        is_explained = isinstance(error, NotFiniteError) and _BECAUSE in str(error)
        found = [] if is_explained else causes(module, axis=axis, env_ids=env_ids, **nests)
        if not found:
            raise
        if isinstance(error, NotFiniteError):
            raise NotFiniteError(f"{error}{_BECAUSE}{_some(found, 3)}") from error
        raise NotFiniteError(_text(module, doing, "failed", found)) from error


def _text(module: Any, doing: str, what: str, found: list[str]) -> str:
    name = getattr(module, "name", type(module).__name__)
    because = f"{_BECAUSE}{_some(found, 3)}" if found else ""
    return f"{name!r}, {doing} at iteration {summary.get_global_counter()}: {what}{because}"


def check_action(module: nn.Module, action: Any, observation: Any) -> float | Tensor:
    """Refuse an action that is not finite, before an environment gets it.

    Returns:
        Its `probe`: on an accelerator to be looked at later.
    """
    total = probe(action)
    if isinstance(total, Tensor) or math.isfinite(total):
        return total
    bad = bad_leaves(action, "action")
    if bad:
        where = [f"{path} of instance {_bad_rows(x)[0]}" for path, x in bad.items()]
        raise NotFiniteError(
            _text(module, "rollout", f"{where[0]} is not finite", causes(module, obs=observation))
        )
    return 0.0


# ---- Updates --------------------------------------------------------------------------------


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
                _pending.append((alg, "update", what, number.isfinite()))
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
        text = _text(alg, "update", what, found)
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


_pending: list[tuple[Any, str, str, Tensor]] = []
"""On accelerators: who did what, and whether a number was finite, not looked at yet."""


def check_later(module: Any, doing: str, what: str, numbers: Tensor) -> None:
    """Refuse numbers that are not finite: at once on the host, else with `raise_pending`.

    Args:
        module: who made them.
        doing: what that does, for the error.
        what: what they are.
        numbers: any shape.
    """
    if numbers.device.type != "cpu":
        _pending.append((module, doing, what, numbers.isfinite().all()))
    elif not bool(numbers.isfinite().all()):
        rows = _some(_bad_rows(numbers)) if numbers.ndim else ""
        text = f"{what} of instance {rows} is not finite" if rows else f"{what} is not finite"
        raise NotFiniteError(_text(module, doing, text, causes(module)))


def raise_pending() -> None:
    """Look at what was found on accelerators since the last call: one read for all of it.

    Raises:
        NotFiniteError: a number was not finite.
    """
    if not _pending:
        return
    entries = list(_pending)
    _pending.clear()
    for (module, doing, what, _), fine in zip(
        entries, torch.stack([flag for *_, flag in entries]).tolist(), strict=True
    ):
        if not fine:
            raise NotFiniteError(
                _text(module, doing, f"{what} was not finite", [])
                + "; FiniteChecks.dump=True looks at each update and keeps its batch"
            )


def bad_parts(loss_info: Any) -> dict[str, Any]:
    """The parts of a `LossInfo` that may say why the total is not finite."""
    return {
        name: getattr(loss_info, name)
        for name in ("loss", "scalar_loss", "extra")
        if getattr(loss_info, name, ()) != ()
    }


def count_skipped(kind: str, text: str) -> None:
    """Count a skipped update or episode, and say so: each at first, then ever more rarely."""
    skipped[kind] += 1
    count = skipped[kind]
    if count & (count - 1) == 0:
        logging.warning("skipped (%d %s so far): %s", count, kind, text)
    if summary.should_record_summaries():
        summary.scalar(f"finite/skipped_{kind}", count)


# ---- Keeping for a post-mortem --------------------------------------------------------------


def dumped(alg: Any, name: str, *, what: str, **nests: Any) -> str:
    """Write `nests` to a file; returns words about it for an error."""
    root_dir = getattr(getattr(alg, "_config", None), "root_dir", "")
    if not root_dir:
        return ""
    folder = os.path.join(os.path.expanduser(root_dir), "not_finite")
    os.makedirs(folder, exist_ok=True)
    if sum(entry.startswith(name) for entry in os.listdir(folder)) >= _MOST_DUMPS:
        return ""
    path = os.path.join(folder, f"{name}-{summary.get_global_counter()}.pt")
    tensors: dict[str, Tensor] = {}

    def keep(where: str, leaf: Any) -> None:
        if isinstance(leaf, Tensor):
            tensors[where] = leaf.detach().cpu()

    for nest_name, nested in nests.items():
        nest.py_map_structure_with_path(
            lambda where, leaf, n=nest_name: keep(f"{n}.{where}" if where else n, leaf), nested
        )
    torch.save({"what": what, "iteration": summary.get_global_counter(), **tensors}, path)
    return f"; the batch is in {path}"


# ---- Saving ---------------------------------------------------------------------------------

_REPORTS = ("metrics", "rng", "continuation.running_metrics")


def check_savable(parts: Mapping[str, Mapping[str, Any]], modules: Mapping[str, Any]) -> None:
    """Refuse a checkpoint with numbers that are not finite.

    Parameters and state of optimizers have to be finite. Other tensors may hold infinity, as limits
    do, but no NaN. Metrics, which are reports, and `env_info` in records, which is told as
    it is, may hold anything.

    Args:
        parts: for each file its entries, each a state dict.
        modules: the entries themselves.

    Raises:
        NotFiniteError: a number is not finite; names where.
    """
    found: list[str] = []
    parameters = {
        f"{entry}.{name}"
        for entry, module in modules.items()
        if isinstance(module, nn.Module)
        for name, _ in module.named_parameters()
    }
    for part, entries in parts.items():
        for entry, state in entries.items():
            if isinstance(state, Mapping):
                _look(state, entry, part == "optimizer", parameters, found)
    if found:
        raise NotFiniteError(
            f"checkpoint {summary.get_global_counter()} is not written, as it is not finite in "
            f"{_some(found, 3)}; the checkpoints written before stay"
        )


def _look(
    value: Any, path: str, in_optimizer: bool, parameters: set[str], found: list[str]
) -> None:
    if path in _REPORTS:
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            _look(item, f"{path}.{key}", in_optimizer, parameters, found)
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            _look(item, f"{path}.{i}", in_optimizer, parameters, found)
    elif isinstance(value, Tensor) and value.is_floating_point() and "env_info" not in path:
        if math.isfinite(value.sum()) or bool(value.isfinite().all()):
            return
        if in_optimizer or path in parameters or bool(value.isnan().any()):
            found.append(path)
