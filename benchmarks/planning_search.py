"""The searches by themselves: iCEM against CEM at equal samples, and what a search costs.

    python benchmarks/planning_search.py

Task: a point with inertia is pushed to a target and should stay there, 2 actions in [-1, 1]. One
search per start, and closed loop with warm starts. Printed is the excess of the summed squared
distances over their optimum (projected gradient descent), the mean over environments; both planners
score the same number of plans.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial

import torch
from torch import Tensor

from alf_layered.planners.cem import CEM
from alf_layered.planners.icem import ICEM
from alf_layered.planners.mppi import MPPI
from alf_layered.planners.plan import Plan, shift
from alf_layered.planners.search import Score, SearchOptions, first_plan, search

STEP = 0.1
BOUND = torch.ones(2)


def push(position: Tensor, velocity: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """The point `STEP` later, all `[..., 2]`."""
    velocity = velocity + STEP * action
    return position + STEP * velocity, velocity


def scorer(position: Tensor, velocity: Tensor, target: Tensor) -> Score:
    """Negative loss of plans from where the points are now, all `[B, 2]`."""

    def score(plans: Tensor) -> Tensor:
        velocities = velocity[:, None, None] + STEP * plans.cumsum(dim=2)
        positions = position[:, None, None] + STEP * velocities.cumsum(dim=2)
        return -(positions - target[:, None, None]).square().sum(dim=(2, 3))

    return score


def equal_cem(options: ICEM) -> CEM:
    """CEM that scores as many plans in as many iterations and differs in iCEM's parts alone."""
    n_samples = round(sum(options.populations()) / options.n_iterations)
    return CEM(
        n_iterations=options.n_iterations,
        n_samples=n_samples,
        elite_ratio=options.n_elites / n_samples,
        momentum=options.momentum,
        clip=True,
    )


def targets(batch_size: int, seed: int) -> Tensor:
    """`[B, 2]`, two away in all directions."""
    angle = torch.rand(batch_size, generator=torch.Generator().manual_seed(seed)) * 2 * torch.pi
    return 2 * torch.stack([angle.cos(), angle.sin()], dim=-1)


def start(options: SearchOptions, batch_size: int, horizon: int) -> Plan:
    return first_plan(torch.zeros(batch_size, horizon, 2), 0.5, options=options)


def optimum(*, batch_size: int, steps: int, seed: int) -> Tensor:
    """Least possible loss `[B]` of an episode (accelerated projected gradient descent)."""
    still = torch.zeros(batch_size, 2)
    score = scorer(still, still, targets(batch_size, seed))
    # The loss is quadratic in the plan; its curvature is at most the trace's.
    response = STEP**2 * torch.arange(1.0, steps + 1)
    rate = 1 / (2 * sum(response[: steps - t].square().sum() for t in range(steps)))
    actions = ahead = torch.zeros(batch_size, steps, 2)
    for i in range(3000):
        ahead = ahead.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(ahead[:, None]).sum(), ahead)
        after = (ahead + rate * gradient).clamp(-1, 1).detach()
        ahead, actions = after + i / (i + 3) * (after - actions), after
    return -score(actions[:, None])[:, 0]


def open_loop(options: SearchOptions, *, batch_size: int, horizon: int, seed: int) -> Tensor:
    """Loss `[B]` of the plan that one search finds."""
    still = torch.zeros(batch_size, 2)
    score = scorer(still, still, targets(batch_size, seed))
    found = search(
        score,
        start(options, batch_size, horizon),
        options=options,
        low=-BOUND,
        high=BOUND,
        generator=torch.Generator().manual_seed(seed),
    )
    return -score(found.plan[:, None])[:, 0]


def closed_loop(
    options: SearchOptions, *, batch_size: int, horizon: int, steps: int, seed: int
) -> Tensor:
    """Loss `[B]` of an episode in which every step is planned from the shifted plan before."""
    generator = torch.Generator().manual_seed(seed)
    position = velocity = torch.zeros(batch_size, 2)
    target = targets(batch_size, seed)
    plan = start(options, batch_size, horizon)
    one = torch.ones(batch_size, dtype=torch.int64)
    loss = torch.zeros(batch_size)
    for _ in range(steps):
        score = scorer(position, velocity, target)
        found = search(score, plan, options=options, low=-BOUND, high=BOUND, generator=generator)
        plan = shift(found.warm_start, one)
        position, velocity = push(position, velocity, found.plan[:, 0])
        loss += (position - target).square().sum(dim=-1)
    return loss


def overhead(options: SearchOptions, *, batch_size: int, horizon: int, repeats: int) -> float:
    """Milliseconds of one search whose scores cost nothing."""
    ready = {k: torch.randn(batch_size, k) for k in options.populations()}
    plan = start(options, batch_size, horizon)
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        search(lambda p: ready[p.shape[1]], plan, options=options, low=-BOUND, high=BOUND)
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environments", type=int, default=64)
    parser.add_argument("--horizon", type=int, default=30)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=31)
    args = parser.parse_args()
    sizes = {"batch_size": args.environments, "horizon": args.horizon, "seed": args.seed}

    best = {
        loop: optimum(batch_size=args.environments, steps=steps, seed=args.seed).mean().item()
        for loop, steps in (("open", args.horizon), ("closed", args.steps))
    }
    print(f"{'loop':<8}{'plans':>8}{'CEM':>10}{'iCEM':>10}{'ratio':>8}   excess over {best}")
    for n_samples in (32, 64, 128, 256):
        icem = ICEM(n_samples=n_samples, n_iterations=4, elite_ratio=8 / n_samples, beta=2.0)
        cem = equal_cem(icem)
        for loop in best:
            run = open_loop if loop == "open" else partial(closed_loop, steps=args.steps)
            cem_loss, icem_loss = (run(o, **sizes).mean().item() - best[loop] for o in (cem, icem))
            print(
                f"{loop:<8}{sum(icem.populations()):>8}{cem_loss:>10.3f}{icem_loss:>10.3f}"
                f"{cem_loss / icem_loss:>8.1f}"
            )

    print("\nmilliseconds per search of 256 plans x 6 iterations x horizon 15, scores for nothing")
    planners = (CEM(clip=True), CEM(), ICEM(), ICEM(decay=1.0), MPPI(n_samples=256))
    for batch_size in (1, 2, 16):
        for options in planners:
            cost = overhead(options, batch_size=batch_size, horizon=15, repeats=args.repeats)
            print(f"{batch_size:>3} environments {cost:>8.2f}   {options}")


if __name__ == "__main__":
    main()
