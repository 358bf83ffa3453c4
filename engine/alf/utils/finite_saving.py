"""What is written where numbers are not finite: no checkpoint, but the batch, for a post-mortem."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from alf.nest import nest
from alf.summary import summary_ops as summary
from alf.utils.finite_checks import NotFiniteError, listed, skipped

_MOST_DUMPS = 5
# The time step that a run goes on from has been looked at when it came; its env_info is a report.
_REPORTS = ("metrics", "rng", "continuation.running_metrics", "continuation.interaction.time_step")


class SkippedCounts:
    """How much was skipped, as something a Checkpointer can save: a resumed run counts on."""

    def state_dict(self) -> dict[str, int]:
        return dict(skipped)

    def load_state_dict(self, state_dict: Mapping[str, int], strict: bool = True) -> None:
        skipped.update({kind: int(state_dict.get(kind, 0)) for kind in skipped})


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
            f"{listed(found, 3)}; the checkpoints written before stay"
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
