"""Rolls an ensemble out to where it has no data: its members, their noise, and how they disagree.

    python examples/ensemble_rollout.py --out rollout.png --discrete

Five members learn, from transitions on one side only, a point that is pushed and shaken. Drawn are
their particles over 10 decisions that lead away from the data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import ProbabilisticEnsemble
from alf_layered.hierarchy.joints import option
from alf_layered.models.batch import ModelBatch
from alf_layered.plots.plans import draw_rollout

DIRECTIONS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])


def transitions(count: int, *, discrete: bool) -> ModelBatch:
    """Random pushes of points left of 0; the wind depends on where they are."""
    state = torch.rand(count, 2) * torch.tensor([2.0, 2.0]) - torch.tensor([2.0, 1.0])
    action = torch.randint(4, (count,)) if discrete else 2 * torch.rand(count, 2) - 1
    push = DIRECTIONS[action] if discrete else action
    wind = 0.1 * torch.sin(3 * state).flip(-1)
    return ModelBatch(
        state=state,
        context=torch.zeros(count, 0),
        action=action,
        next_state=state + 0.2 * push + wind + 0.03 * torch.randn(count, 2),
        terminated=torch.zeros(count, dtype=torch.bool),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("ensemble_rollout.png"))
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--discrete", action="store_true", help="four actions instead of a push")
    options = parser.parse_args()

    torch.manual_seed(0)
    model = ProbabilisticEnsemble(
        TensorSpec((2,)),
        TensorSpec((0,)),
        option(4) if options.discrete else BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0),
        n_models=5,
        n_particles_per_model=4,
        create_optimizer=True,
        partition_batch=True,
    )
    batches = (transitions(640, discrete=options.discrete) for _ in range(options.updates))
    print("mean loss:     ", model.learn(batches).item())
    right = torch.zeros(1, 10, dtype=torch.int64) if options.discrete else torch.ones(1, 10, 2)
    found = model.rollout(torch.tensor([[-1.5, 0.0]]), torch.zeros(1, 0), right)
    apart = found.state_epistemic_var[0].mean(-1).sqrt()
    print("members apart: ", [round(float(x), 3) for x in apart])
    print("picture:       ", draw_rollout(found, options.out))


if __name__ == "__main__":
    main()
