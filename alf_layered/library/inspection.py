"""What each level of a hierarchy holds at this moment, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

import alf
from alf_layered.hierarchy.agent import HierarchyAgent

Nest = Any


@dataclass(frozen=True)
class LevelView:
    """One level in one environment.

    Attributes:
        name: of the level.
        input: what it got from above; `()` for the top level.
        decision: what it decided last.
        steps: environment steps since then.
        decisions: made for the present input.
        reward: of the environment since the decision, discounted by the level.
    """

    name: str
    input: Nest
    decision: Nest
    steps: int
    decisions: int
    reward: Nest


class Inspection(tuple[LevelView, ...]):
    """One `LevelView` for each level, most abstract first; `str()` is a table."""

    def __str__(self) -> str:
        head = ("level", "input", "decision", "steps held", "decisions", "reward so far")
        rows = [
            (
                view.name,
                _shown(view.input),
                _shown(view.decision),
                str(view.steps),
                str(view.decisions),
                _shown(view.reward),
            )
            for view in self
        ]
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
        lines = ("  ".join(x.ljust(w) for x, w in zip(row, widths, strict=True)) for row in rows)
        first = "  ".join(x.ljust(w) for x, w in zip(head, widths, strict=True))
        return "\n".join(line.rstrip() for line in (first, *lines))


def look_at(agent: HierarchyAgent, state: Nest, env_id: int) -> Inspection:
    """The levels in environment `env_id` of a rollout state `[M, ...]`."""
    views = []
    above: Nest = ()
    for level, held in zip(agent.levels, state, strict=True):
        decision = alf.nest.map_structure(lambda x: x[env_id].cpu(), held.decision)
        views.append(
            LevelView(
                name=level.name,
                input=above,
                decision=decision,
                steps=int(held.clock.steps[env_id]),
                decisions=int(held.decisions[env_id]),
                reward=held.clock.reward[env_id].cpu(),
            )
        )
        above = decision
    return Inspection(views)


def _shown(nest: Nest) -> str:
    """Numbers with three digits; `-` for nothing."""
    leaves = alf.nest.flatten(nest)
    return " ".join(_numbers(x) for x in leaves) if leaves else "-"


def _numbers(tensor: torch.Tensor) -> str:
    values = [f"{x:.3g}" for x in tensor.reshape(-1).tolist()]
    shown = values if len(values) <= 6 else [*values[:6], "..."]
    return shown[0] if tensor.ndim == 0 else f"[{', '.join(shown)}]"
