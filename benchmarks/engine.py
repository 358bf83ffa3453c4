"""Soft actor-critic on Pendulum-v1 on one core: engine, Stable-Baselines3, TorchRL, plain torch.

    pip install -e ".[benchmark]"
    python benchmarks/engine.py

All run in one process with one thread, in turns, and medians of processor time are printed: the
machine's moods hit all alike. For 1 and for 8 environments there are three tables: rolling out into
the replay buffer, updates from it, and both, with one update for each environment step. Batch 256,
nets [256, 256].

A batch of ALF is 256 sequences of two time steps. Critics learn from 256 transitions as elsewhere;
actor and temperature by default from both states of each, 512, and with `reproduce_locomotion` from
the second, 256, as many as the others do. Plain torch is there for both. Each line says how many
times longer it takes than the engine at equal work.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterable

import torch
from pendulum_sac.contender import Contender
from pendulum_sac.engine import EngineSac
from pendulum_sac.plain import PlainSac

ENGINE, ENGINE_512 = "engine", "engine, 512"
WARM_UP = 500


def contenders(n_envs: int, *, peers: bool) -> dict[str, Contender]:
    made: dict[str, Contender] = {
        ENGINE: EngineSac(n_envs, both_states=False),
        "plain torch": PlainSac(n_envs, both_states=False),
    }
    if peers:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pendulum_sac.stable_baselines import StableBaselinesSac
            from pendulum_sac.torchrl_sac import TorchRLSac

            made["Stable-Baselines3"] = StableBaselinesSac(n_envs)
            made["TorchRL"] = TorchRLSac(n_envs)
    made[ENGINE_512] = EngineSac(n_envs, both_states=True)
    made["plain torch, 512"] = PlainSac(n_envs, both_states=True)
    return made


def in_turns(runs: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median seconds of each."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.process_time()
            run()
            taken[name].append(time.process_time() - began)
    return {name: statistics.median(times) for name, times in taken.items()}


def report(title: str, seconds: dict[str, float], count: int, unit: str) -> None:
    """How many per second, and how many times longer the others take than the engine."""
    print(f"\n{title}")
    for name, value in seconds.items():
        own = seconds[ENGINE_512 if name.endswith("512") else ENGINE]
        print(
            f"  {name:<20}{1000 * value / count:>9.3f} ms{count / value:>10.0f} {unit}/s"
            f"{value / own:>8.2f} x"
        )


def compare(n_envs: int, *, peers: bool, rounds: int) -> None:
    made = contenders(n_envs, peers=peers)
    for contender in made.values():
        contender.roll_out(WARM_UP)
        contender.update(5)

    def each(method: str, count: int) -> dict[str, Callable[[], None]]:
        return {name: lambda c=c: getattr(c, method)(count) for name, c in made.items()}

    times = "environment" if n_envs == 1 else "environments"
    steps = 100
    seconds = in_turns(each("roll_out", steps), 3 * rounds)
    report(f"{n_envs} {times}, rollout", seconds, steps * n_envs, "steps")
    seconds = in_turns(each("update", 10), 2 * rounds)
    report(f"{n_envs} {times}, update", seconds, 10, "updates")
    steps = 25
    seconds = in_turns(each("train", steps), max(rounds // n_envs, 3))
    report(f"{n_envs} {times}, rollout and update", seconds, steps * n_envs, "steps")


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environments", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--nopeers", dest="peers", action="store_false")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for n_envs in args.environments:
        compare(n_envs, peers=args.peers, rounds=args.rounds)


if __name__ == "__main__":
    main()
