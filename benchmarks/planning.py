"""What a plan costs with a learned model, beside the matrix products alone and LayeredRL.

    OMP_NUM_THREADS=1 python benchmarks/planning.py

A plan: 256 samples x 6 iterations x horizon 15 over members of [128, 128]. The floor is measured in
the same run, call by call in turns: the same number of floating-point operations of the networks
as bare batched products into buffers that are there already, for all rows at once or in blocks that
stay in the cache, whichever is faster. `known` is a plan whose reward is a function without
products; `learned` adds a reward network of [128, 128] on every member's states, and the value of
the last ones. Neither asks for terminations; `default` does, as a `PlannerLevel` does unless told
otherwise, with the floor of `learned`.

LayeredRL's times (one core of a 2-core x86 machine, iCEM with 1 member, CEM with 5) are there for
scale: other machines take other times.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch

from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered.encoders import IdentityEncoder
from alf_layered.models.probabilistic_ensemble import ProbabilisticEnsemble
from alf_layered.networks.reward_net import RewardNet
from alf_layered.networks.value_net import ValueNet
from alf_layered.planners.cem import CEM
from alf_layered.planners.icem import ICEM
from alf_layered.planners.mppi import MPPI
from alf_layered.planners.search import SearchOptions, first_plan, search
from alf_layered.planning.objective import PlanObjective
from alf_layered.predictors.predictor import Predictor

STATE, ACTION, HIDDEN = 4, 1, 128
SAMPLES, ITERATIONS, HORIZON = 256, 6, 15
PUBLISHED_MS = {1: {1: 102, 2: 184, 16: 1172}, 5: {1: 377, 2: 729, 16: 4944}}
PLANNERS: dict[str, SearchOptions] = {
    "CEM": CEM(n_samples=SAMPLES, n_iterations=ITERATIONS, clip=True),
    "CEM truncated": CEM(n_samples=SAMPLES, n_iterations=ITERATIONS),
    # Without the decay iCEM scores as many plans as the others.
    "iCEM": ICEM(n_samples=SAMPLES, n_iterations=ITERATIONS, decay=1.0),
    "MPPI": MPPI(n_samples=SAMPLES, n_iterations=ITERATIONS),
}


class Case(NamedTuple):
    """One line of the table."""

    members: int
    environments: int
    reward_is_learned: bool
    terminations: bool

    @property
    def kind(self) -> str:
        """Its name in the table."""
        return "default" if self.terminations else "learned" if self.reward_is_learned else "known"


def make_predictor(case: Case) -> Predictor:
    """With networks as they start: what they say costs the same."""
    state, context = TensorSpec((STATE,)), TensorSpec((0,))
    action = BoundedTensorSpec((ACTION,), minimum=-1.0, maximum=1.0)
    reward = RewardNet(state, context, action, hidden=(HIDDEN, HIDDEN))
    return Predictor(
        ProbabilisticEnsemble(state, context, action, n_models=case.members),
        ValueNet(state, context, hidden=(HIDDEN, HIDDEN)) if case.reward_is_learned else None,
        reward if case.reward_is_learned else _distance,
        IdentityEncoder((STATE,)),
    ).eval()


def _distance(state: torch.Tensor, context: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    return -state[..., 0].square()


def plan(case: Case, planner: SearchOptions) -> Callable[[], object]:
    """A call that makes one plan for each environment."""
    predictor = make_predictor(case)
    objective = PlanObjective(use_term_prob=case.terminations)
    state, context = torch.randn(case.environments, STATE), torch.zeros(case.environments, 0)
    start = first_plan(torch.zeros(case.environments, HORIZON, ACTION), 0.5, options=planner)
    bound = torch.ones(ACTION)

    def run() -> object:
        roller = objective.roller(predictor)
        return search(
            lambda plans: objective.score(
                objective.rollout(predictor, state, context, plans, roller=roller)
            ),
            start,
            options=planner,
            low=-bound,
            high=bound,
        )

    return run


def floor(case: Case, block: int | None) -> Callable[[], object]:
    """The products of one plan alone, block by block of rows."""
    rows, n = case.environments * SAMPLES, case.members
    block = rows if block is None else min(block, rows)
    dynamics = _products(n, block, (STATE + ACTION, HIDDEN, HIDDEN, STATE))
    reward = _products(1, n * block, (STATE + ACTION, HIDDEN, HIDDEN, 1))

    @torch.no_grad()
    def run() -> None:
        for _ in range(ITERATIONS * (rows // block) * HORIZON):
            for x, weight, out in dynamics:
                torch.bmm(x, weight, out=out)
            if case.reward_is_learned:
                for x, weight, out in reward:
                    torch.bmm(x, weight, out=out)

    return run


def _products(n: int, rows: int, sizes: Sequence[int]) -> list[tuple[torch.Tensor, ...]]:
    """Inputs, matrices and outputs; narrow matrices lie column by column, which is faster."""
    matrices = [torch.randn(n, o, i).transpose(1, 2) / i for i, o in pairwise(sizes)]
    return [
        (torch.randn(n, rows, m.shape[1]), m, torch.empty(n, rows, m.shape[2])) for m in matrices
    ]


def milliseconds(calls: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """The median time of each call; they take turns, so that a busy machine hits all alike."""
    times: list[list[float]] = [[] for _ in calls]
    for i in range(repeats + 1):
        for call, taken in zip(calls, times, strict=True):
            began = time.perf_counter()
            call()
            if i > 0:  # the first call is for warming up
                taken.append(1000 * (time.perf_counter() - began))
    return [statistics.median(t) for t in times]


def report(case: Case, bare: float, plans: Sequence[float]) -> None:
    """Prints one line of the table."""
    ours = "".join(f"{time:>15.1f}{time / bare:>6.2f}" for time in plans)
    theirs = PUBLISHED_MS.get(case.members, {}).get(case.environments, "")
    print(
        f"{case.members:>8}{case.environments:>6}{case.kind:>9}{bare:>9.1f}{ours}{theirs:>11}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--members", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--environments", type=int, nargs="+", default=[1, 2, 16])
    parser.add_argument("--planners", nargs="+", choices=list(PLANNERS), default=list(PLANNERS))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    print(f"milliseconds per plan of {SAMPLES} x {ITERATIONS} x {HORIZON}; x: times the floor")
    planners = "".join(f"{name:>15}{'x':>6}" for name in args.planners)
    print(f"{'members':>8}{'envs':>6}{'kind':>9}{'floor':>9}{planners}{'LayeredRL':>11}")
    for learned, terminations in ((False, False), (True, False), (True, True)):
        for members in args.members:
            for environments in args.environments:
                case = Case(members, environments, learned, terminations)
                repeats = max(3, args.repeats // (4 if members * environments > 8 else 1))
                floors = [floor(case, block) for block in (None, 512, 256)]
                plans = [plan(case, PLANNERS[name]) for name in args.planners]
                times = milliseconds([*floors, *plans], repeats)
                report(case, min(times[: len(floors)]), times[len(floors) :])


if __name__ == "__main__":
    main()
