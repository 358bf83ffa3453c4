"""Pictures of what a planner thinks: plans over an environment, searches, rollouts of ensembles.

Needs matplotlib (`pip install alf-layered[plots]`) for all but `PlansOverEnvironment`.

Axis letters: R environments, K plans, H horizon, N members, S state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import alf
from alf_layered.models.rollout import Trajectories
from alf_layered.planning.records import PlanningStep
from alf_layered.predictors.predictor import PredictedRollout

_BEST = (200, 80, 20)
_OTHER = (120, 120, 200)


def predicted_paths(rollout: PredictedRollout, dims: Sequence[int] = (0, 1)) -> np.ndarray:
    """Predicted states `[R, K, H + 1, len(dims)]` of plans, mean over members and particles."""
    paths = rollout.trajectories.state[..., list(dims)].mean((2, 3))
    return paths.detach().cpu().numpy()


def best_plans(
    step: PlanningStep, *, env_id: int = 0, count: int = 5, dims: Sequence[int] = (0, 1)
) -> list[dict[str, Any]]:
    """The best plans of an environment for its `set_plans`, the very best last and in red.

    Args:
        step: an iteration of a search.
        env_id: which environment; if it does not plan here, there are no plans.
        count: number of plans.
        dims: which dimensions of the state are the position.
    """
    rows = (step.env_id == env_id).nonzero(as_tuple=True)[0]
    if rows.numel() == 0:
        return []
    row = int(rows[0])
    score = step.score[row].nan_to_num(nan=-torch.inf)
    order = score.topk(min(count, score.shape[0])).indices.flip(0).tolist()
    paths = predicted_paths(step.rollout, dims)[row, order]
    colours = [_OTHER] * (len(order) - 1) + [_BEST]
    return [{"trajectory": p, "color": c} for p, c in zip(paths, colours, strict=True)]


@dataclass
class PlansOverEnvironment:
    """A planning level's `callback` that has an environment draw the plans of its first instance.

    Attributes:
        count: number of plans.
        dims: which dimensions of the state are the position.
        environment: returns the environment, which has `set_plans`; ALF's own by default, the one
            that `python -m alf.bin.play` plays in.
    """

    count: int = 5
    dims: Sequence[int] = (0, 1)
    environment: Callable[[], Any] = field(default=alf.get_env)

    def __call__(self, step: PlanningStep) -> None:
        plans = best_plans(step, count=self.count, dims=self.dims)
        if plans:
            self.environment().set_plans(plans)


@dataclass
class SearchRecorder:
    """A planning level's `callback` that keeps the iterations of the searches."""

    steps: list[PlanningStep] = field(default_factory=list)

    def __call__(self, step: PlanningStep) -> None:
        self.steps.append(step)


def draw_search(
    steps: Sequence[PlanningStep],
    path: Path | str,
    *,
    row: int = 0,
    every: int = 1,
    dims: tuple[int, int] = (0, 1),
    decorate: Callable[[Any], None] | None = None,
) -> Path:
    """Writes a picture of the plans that a search tried, an iteration in each panel.

    Args:
        steps: its iterations.
        path: of the picture; its folder is made.
        row: which of the environments.
        every: iterations from one panel to the next.
        dims: two dimensions of the state.
        decorate: called with each panel's axes, to draw what plans avoid and seek.
    """
    if not steps:
        raise ValueError("steps is empty, a search has at least 1 iteration")
    shown = range(0, len(steps), every)
    columns = min(len(shown), 4)
    rows = -(-len(shown) // columns)
    figure, axes = _panels(rows, columns, size=(3.0, 3.0), sharex=True, sharey=True)
    for panel in axes.flat[len(shown) :]:
        panel.set_axis_off()
    for i, panel in zip(shown, axes.flat, strict=False):
        paths = predicted_paths(steps[i].rollout, dims)[row]
        score = steps[i].score[row].nan_to_num(nan=-torch.inf).cpu().numpy()
        if decorate is not None:
            decorate(panel)
        panel.plot(*paths.transpose(2, 1, 0), color="tab:blue", alpha=0.15, linewidth=0.7)
        panel.plot(*paths[score.argmax()].T, color="tab:red", linewidth=1.8)
        panel.set_title(f"iteration {i + 1}: best {score.max():.2f}", fontsize=9)
        panel.set_aspect("equal")
    return _write(figure, path)


def draw_rollout(
    trajectories: Trajectories, path: Path | str, *, dims: Sequence[int] = (0, 1), row: int = 0
) -> Path:
    """Writes a picture of an ensemble's rollout, one panel for each dimension of the state.

    Each member has a colour: its particles, their mean and one deviation around it (the aleatoric
    uncertainty). How far the members lie apart is the epistemic uncertainty, in grey.

    Args:
        trajectories: of a model's `rollout`.
        path: of the picture; its folder is made.
        dims: dimensions of the state.
        row: which of the batch.
    """
    figure, axes = _panels(1, len(dims), size=(5.0, 3.5))
    state = trajectories.state[row].cpu().numpy()
    mean = trajectories.state_mean[row].cpu().numpy()
    deviation = trajectories.state_var[row].sqrt().cpu().numpy()
    centre = mean.mean(0)
    apart = trajectories.state_epistemic_var[row].sqrt().cpu().numpy()
    steps = np.arange(state.shape[2])
    for panel, dim in zip(axes.flat, dims, strict=True):
        low, high = (centre[:, dim] + sign * apart[:, dim] for sign in (-1, 1))
        panel.fill_between(steps, low, high, color="grey", alpha=0.35, label="epistemic")
        for n in range(state.shape[0]):
            colour = f"C{n % 10}"
            low, high = (mean[n, :, dim] + sign * deviation[n, :, dim] for sign in (-1, 1))
            panel.fill_between(steps, low, high, color=colour, alpha=0.15)
            panel.plot(steps, state[n, :, :, dim].T, color=colour, alpha=0.3, linewidth=0.6)
            panel.plot(steps, mean[n, :, dim], color=colour, linewidth=1.6, label=f"member {n}")
        panel.set_xlabel("decisions")
        panel.set_ylabel(f"state {dim}")
    axes.flat[0].legend(fontsize=7)
    return _write(figure, path)


def _panels(rows: int, columns: int, *, size: tuple[float, float], **options: Any) -> Any:
    """A figure for a file alone, with its panels `[rows, columns]`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * size[0], rows * size[1]), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _write(figure: Any, path: Path | str) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path
