"""What an update and a plan of TD-MPC2 cost, beside their matrix products alone and its peers.

    OMP_NUM_THREADS=1 python benchmarks/tdmpc2.py

At the paper's settings: an update of 256 spans of 3 transitions, plans of 512 samples x 6
iterations x horizon 3 for 1, 2 and 16 environments. The floor is measured in the same run, call by
call in turns: the matrix products of the networks alone, of the same shapes, as bare batched
products into buffers that are there already; for an update with the two products that each
differentiated one needs for its gradients. A GPU is used where there is one; `--compile` and
`--bf16` turn those options on.

The peers' times (one core of a 2-core x86 machine, torch 2.13) are there for scale: other machines
take other times.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch

import alf
from alf.data_structures import StepType
from alf.tensor_specs import BoundedTensorSpec, TensorSpec
from alf_layered import TDMPC2Algorithm, TDMPC2Settings, model_of_size
from alf_layered.planners.mppi import MPPI
from alf_layered.tdmpc2.planning import search_plan
from alf_layered.tdmpc2.records import TDMPC2Info

OBSERVATION, ACTION, HORIZON, BATCH = 24, 6, 3, 256
SAMPLES, ITERATIONS, POLICY_PLANS = 512, 6, 24
PUBLISHED_MS = {
    "update": {"1M": "official 218, LayeredRL 249", "5M": "official 815, LayeredRL 1163"},
    "plan 1": {"1M": "official 325, LayeredRL 409", "5M": "official 873, LayeredRL 1276"},
    "plan 16": {"5M": "LayeredRL 20900"},
}


class Product(NamedTuple):
    """Batched matrix products `[n, rows, inputs] x [n, inputs, outputs]`."""

    n: int
    rows: int
    inputs: int
    outputs: int
    times: int = 1

    @property
    def flop(self) -> float:
        return 2.0 * self.n * self.rows * self.inputs * self.outputs * self.times


def mlp(n: int, rows: int, sizes: Sequence[int], times: int = 1) -> list[Product]:
    """The products of n networks with layers of these sizes."""
    return [Product(n, rows, i, o, times) for i, o in pairwise(sizes)]


def heads(rows: int, shared_rows: int, size: Any, times: int = 1) -> list[Product]:
    """Dynamics, reward and termination; `shared_rows` latent states enter the first layer."""
    h = size.mlp_dim
    return [
        Product(3, shared_rows, size.latent_dim, h, times),
        Product(3, rows, ACTION, h, times),
        Product(3, rows, h, h, times),
        Product(1, rows, h, size.latent_dim, times),
        Product(1, rows, h, size.num_bins, times),
        Product(1, rows, h, 1, times),
    ]


def plan_products(size: Any, environments: int) -> list[Product]:
    """All products of a search."""
    s, h, rows = size.latent_dim, size.mlp_dim, environments * SAMPLES
    candidates = environments * POLICY_PLANS
    policy = [s, h, h, 2 * ACTION]
    return [
        *mlp(1, candidates, policy, HORIZON),
        *mlp(1, candidates, [s + ACTION, h, h, s], HORIZON - 1),
        *heads(rows, environments, size, ITERATIONS),
        *heads(rows, rows, size, ITERATIONS * (HORIZON - 1)),
        *mlp(1, rows, policy, ITERATIONS),
        *mlp(2, rows, [s + ACTION, h, h, size.num_bins], ITERATIONS),
    ]


def update_products(size: Any) -> list[Product]:
    """All products of an update: forward alone, then what is differentiated, three times."""
    s, h, rows = size.latent_dim, size.mlp_dim, HORIZON * BATCH
    encoder = [OBSERVATION, *[size.encoder_dim] * max(size.encoder_layers - 1, 1), s]
    q, policy = [s + ACTION, h, h, size.num_bins], [s, h, h, 2 * ACTION]
    later = rows + BATCH
    forward = [
        *mlp(1, rows, encoder),
        *mlp(1, rows, policy),
        *mlp(2, rows, q),
    ]
    differentiated = [
        *mlp(1, BATCH, encoder),
        *heads(BATCH, BATCH, size, HORIZON),
        *mlp(size.n_q, rows, q),
        *mlp(1, later, policy),
    ]
    frozen = mlp(2, later, q)  # gradients of the inputs alone
    backward = [
        Product(p.n, p.rows, p.outputs, p.inputs, p.times) for p in [*differentiated, *frozen]
    ]
    of_weights = [Product(p.n, p.inputs, p.rows, p.outputs, p.times) for p in differentiated]
    return [*forward, *differentiated, *frozen, *backward, *of_weights]


def floor(products: Sequence[Product], device: torch.device) -> Callable[[], None]:
    """A call that makes the products and nothing else."""
    made = []
    for p in products:
        a, b = (torch.randn(p.n, *shape, device=device) for shape in (p[1:3], p[2:4]))
        made.append((a, b, torch.empty(p.n, p.rows, p.outputs, device=device), p.times))

    @torch.no_grad()
    def run() -> None:
        for a, b, out, times in made:
            for _ in range(times):
                torch.bmm(a, b, out=out)

    return run


def _compile_options() -> dict[str, str]:
    return {"mode": "reduce-overhead" if torch.cuda.is_available() else "default"}


def make(size: str, options: argparse.Namespace) -> TDMPC2Algorithm:
    """As it starts: what networks say costs the same."""
    action = BoundedTensorSpec((ACTION,), minimum=-1.0, maximum=1.0)
    settings = TDMPC2Settings(
        model=model_of_size(size),
        bf16=options.bf16,
        compile=_compile_options() if options.compile else None,
    )
    return TDMPC2Algorithm(TensorSpec((OBSERVATION,)), action, settings=settings)


def plan(algorithm: TDMPC2Algorithm, environments: int, device: torch.device) -> Callable[[], Any]:
    """A call that makes a plan for each environment."""
    observation = torch.randn(environments, OBSERVATION, device=device)
    mean = torch.zeros(environments, HORIZON, ACTION, device=device)

    @torch.no_grad()
    def run() -> None:
        with algorithm._autocast():
            search_plan(
                algorithm.world_model,
                algorithm.world_model.encode(observation),
                mean,
                None,
                options=MPPI(n_samples=SAMPLES, n_iterations=ITERATIONS),
                discount=0.99,
                n_policy_plans=POLICY_PLANS,
                value=algorithm._plan_value,
            )

    return run


def update(algorithm: TDMPC2Algorithm, device: torch.device) -> Callable[[], Any]:
    """A call that makes one update."""
    shape = HORIZON + 1, BATCH
    info = TDMPC2Info(
        observation=torch.randn(*shape, OBSERVATION, device=device),
        prev_action=2 * torch.rand(*shape, ACTION, device=device) - 1,
        reward=torch.randn(shape, device=device),
        discount=torch.ones(shape, device=device),
        step_type=torch.full(shape, int(StepType.MID), dtype=torch.int32, device=device),
    )

    def run() -> None:
        algorithm.update_with_gradient(algorithm.calc_loss(info))
        algorithm.after_update(None, info)

    return run


def in_turns(calls: Sequence[Callable[[], Any]], seconds: float, cuda: bool) -> list[float]:
    """Median milliseconds of each call, measured one after the other until time is over."""
    times: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[-1]) < 3:
        for call, taken in zip(calls, times, strict=True):
            if cuda:
                torch.cuda.synchronize()
            began = time.perf_counter()
            call()
            if cuda:
                torch.cuda.synchronize()
            taken.append(1000 * (time.perf_counter() - began))
    return [statistics.median(taken) for taken in times]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", default=["1M", "5M"])
    parser.add_argument("--environments", nargs="*", type=int, default=[1, 2, 16])
    parser.add_argument("--seconds", type=float, default=5.0, help="for each line")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args(arguments)
    cuda = torch.cuda.is_available()
    if cuda:
        alf.set_default_device("cuda")
    device = torch.device("cuda" if cuda else "cpu")
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads")
    print(f"{'size':5s} {'what':9s} {'ms':>9s} {'floor ms':>9s} {'ratio':>6s} {'GFLOP':>7s}  peers")
    for size in options.sizes:
        algorithm, settings = make(size, options), model_of_size(size)
        lines = [("update", update(algorithm, device), update_products(settings))]
        for count in options.environments:
            name = f"plan {count}"
            lines.append((name, plan(algorithm, count, device), plan_products(settings, count)))
        for name, call, products in lines:
            taken, least = in_turns([call, floor(products, device)], options.seconds, cuda)
            flop = sum(p.flop for p in products) / 1e9
            peers = PUBLISHED_MS.get(name, {}).get(size, "")
            print(
                f"{size:5s} {name:9s} {taken:9.1f} {least:9.1f} {taken / least:6.2f} {flop:7.1f}"
                f"  {peers}",
                flush=True,
            )


if __name__ == "__main__":
    main()
