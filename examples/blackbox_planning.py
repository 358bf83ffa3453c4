"""Plans with dynamics and reward written by hand: around an obstacle, to a disc.

    python examples/blackbox_planning.py --out plans.png

Two environments, a point each that moves by its action. Drawn is what iCEM tries, some iterations
of one search.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from alf.data_structures import TimeStep
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import (
    ICEM,
    IdentityEncoder,
    KnownModel,
    LevelObservation,
    PlannerLevel,
    StaticPredictor,
)
from alf_layered.plots.plans import SearchRecorder, draw_search

TARGET = torch.tensor([0.0, 2.0])


def reward(state: torch.Tensor, context: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    """1 in the disc around the target, -1 in the unit disc, and the nearer the better."""
    position = state + action
    to_target = (position - TARGET).norm(dim=-1)
    inside = (to_target < 0.3).float() - (position.norm(dim=-1) < 1).float()
    return inside - 0.1 * to_target


def make_level(callback: Any, *, iterations: int) -> PlannerLevel:
    """A level that plans with the known dynamics and learns nothing."""
    return PlannerLevel(
        TensorSpec((2,)),
        BoundedTensorSpec((2,), minimum=-0.5, maximum=0.5),
        predictor_factory=lambda observation_spec, action_spec: StaticPredictor(
            KnownModel(lambda state, context, action: state + action),
            val_func=None,
            rew_func=reward,
            encoder=IdentityEncoder((2,)),
        ),
        planner=ICEM(n_samples=200, n_iterations=iterations, elite_ratio=0.1),
        horizon=10,
        exploration=None,
        training=None,
        callback=callback,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("blackbox_planning.png"))
    parser.add_argument("--iterations", type=int, default=30)
    options = parser.parse_args()

    torch.manual_seed(0)
    recorder = SearchRecorder()
    level = make_level(recorder, iterations=options.iterations)
    position = torch.tensor([[0.2, -1.8], [-1.5, -0.5]])
    step = TimeStep(
        step_type=torch.zeros(2, dtype=torch.int32),
        reward=torch.zeros(2),
        discount=torch.ones(2),
        observation=LevelObservation(position),
        prev_action=torch.zeros(2, 2),
        env_id=torch.arange(2, dtype=torch.int32),
    )
    decision = level.predict_step(step, level.get_initial_predict_state(2))
    every = max(1, options.iterations // 8)
    picture = draw_search(recorder.steps, options.out, every=every, decorate=_draw_world)
    print("first actions:", decision.output.tolist())
    print("best scores:  ", recorder.steps[-1].score.max(dim=1).values.tolist())
    print("picture:      ", picture)


def _draw_world(panel: Any) -> None:
    from matplotlib.patches import Circle

    panel.add_patch(Circle((0, 0), 1.0, color="lightgrey"))
    panel.add_patch(Circle(TARGET.tolist(), 0.3, color="lightgreen"))


if __name__ == "__main__":
    main()
