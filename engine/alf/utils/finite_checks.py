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
from collections.abc import Iterator
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
    "causes",
    "check_later",
    "explained",
    "raise_pending",
    "skipped",
]

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
            rows = bad_rows(leaf, axis)
            if rows and env_ids is not None:
                rows = sorted({int(env_ids[row]) for row in rows})
            found.append(path + (f" (environment {listed(rows)})" if rows else ""))
    return found


def _is_bad_state(name: str, x: Tensor) -> bool:
    if not x.is_floating_point() or "_replay_buffer." in name:
        return False
    x = x.detach()
    if isinstance(x, nn.Parameter) or x.requires_grad:
        return not bool(x.isfinite().all())
    return bool(x.isnan().any())


def bad_rows(leaf: Tensor, axis: int = 0) -> list[int]:
    """Along an axis; none where there is no such axis."""
    if leaf.ndim <= axis:
        return []
    bad = (~leaf.isfinite()).movedim(axis, 0).reshape(leaf.shape[axis], -1)
    return bad.any(1).nonzero().flatten().tolist()


def listed(items: list[Any], most: int = 4) -> str:
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
            raise NotFiniteError(f"{error}{_BECAUSE}{listed(found, 3)}") from error
        raise NotFiniteError(message(module, doing, "failed", found)) from error


def message(module: Any, doing: str, what: str, found: list[str]) -> str:
    name = getattr(module, "name", type(module).__name__)
    because = f"{_BECAUSE}{listed(found, 3)}" if found else ""
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
        where = [f"{path} of instance {bad_rows(x)[0]}" for path, x in bad.items()]
        raise NotFiniteError(
            message(module, "rollout", f"{where[0]} is not finite", causes(module, obs=observation))
        )
    return 0.0


_pending: list[tuple[Any, str, str, Tensor]] = []
"""On accelerators: who did what, and whether a number was finite, not looked at yet."""


def look_later(module: Any, doing: str, what: str, fine: Tensor) -> None:
    """Note a scalar that says whether a number was finite, for `raise_pending`."""
    _pending.append((module, doing, what, fine))


def check_later(module: Any, doing: str, what: str, numbers: Tensor) -> None:
    """Refuse numbers that are not finite: at once on the host, else with `raise_pending`.

    Args:
        module: who made them.
        doing: what that does, for the error.
        what: what they are.
        numbers: any shape.
    """
    if numbers.device.type != "cpu":
        look_later(module, doing, what, numbers.isfinite().all())
    elif not bool(numbers.isfinite().all()):
        rows = listed(bad_rows(numbers)) if numbers.ndim else ""
        text = f"{what} of instance {rows} is not finite" if rows else f"{what} is not finite"
        raise NotFiniteError(message(module, doing, text, causes(module)))


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
                message(module, doing, f"{what} was not finite", [])
                + "; FiniteChecks.dump=True looks at each update and keeps its batch"
            )


def count_skipped(kind: str, text: str) -> None:
    """Count a skipped update or episode, and say so: each at first, then ever more rarely."""
    skipped[kind] += 1
    count = skipped[kind]
    if count & (count - 1) == 0:
        logging.warning("skipped (%d %s so far): %s", count, kind, text)
    if summary.should_record_summaries():
        summary.scalar(f"finite/skipped_{kind}", count)
