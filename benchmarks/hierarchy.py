"""What a hierarchy costs: an environment step with one, two and three levels against flat SAC.

    python benchmarks/hierarchy.py

All use the same SAC in the same maze, in one process with one thread, in turns; printed are medians
of processor time and their ratio to flat SAC. A level decides every 10 decisions of the one below.
For 1 and for 16 environments there are two tables: rollout alone, and training, in which flat SAC
and every level make one update (four for 16 environments) for each 1 (16) of their own transitions.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

import alf
from alf.algorithms.config import TrainerConfig
from alf.algorithms.rl_algorithm import RLAlgorithm
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.environments.utils import create_environment
from alf.nest.utils import NestConcat
from alf.networks import ActorDistributionNetwork, CriticNetwork
from alf.optimizers import Adam
from alf.utils.math_ops import clipped_exp
from alf_layered import AlgorithmLevel, Goal, HierarchyAgent, TrainingOptions, select, subgoal
from alf_layered.environments import maze2d_alf

HIDDEN = (256, 256)
INTERVAL = 10
RECORDS = 20_000
WARM_UP = 400
NEVER = 10**9
UPDATES_PER_STEP = {1: 1, 16: 4}


def sac(**options: Any) -> partial:
    """SAC with optimizers of its own."""
    optimizers = {f"{part}_optimizer": Adam(lr=3e-4) for part in ("actor", "critic", "alpha")}
    return partial(SacAlgorithm, **optimizers, **options)


def flat(env: Any, config: TrainerConfig) -> RLAlgorithm:
    actor = partial(
        ActorDistributionNetwork, fc_layer_params=HIDDEN, preprocessing_combiner=NestConcat()
    )
    critic = partial(
        CriticNetwork,
        joint_fc_layer_params=HIDDEN,
        observation_preprocessing_combiner=NestConcat(),
    )
    specs = {"observation_spec": env.observation_spec(), "action_spec": env.action_spec()}
    ctor = sac(actor_network_cls=actor, critic_network_cls=critic)
    return ctor(**specs, env=env, config=config)


def hierarchy(n_levels: int, env: Any, config: TrainerConfig, updates: float) -> RLAlgorithm:
    training = TrainingOptions(
        updates_per_transition=updates, warm_up=1, replay_buffer_length=RECORDS
    )
    lower = {"control_interval": INTERVAL, "goal": Goal(radius=0.3)}
    levels = [
        partial(
            AlgorithmLevel,
            name=f"l{i}",
            algorithm_ctor=sac(
                actor_network_cls=partial(ActorDistributionNetwork, fc_layer_params=HIDDEN),
                critic_network_cls=partial(CriticNetwork, joint_fc_layer_params=HIDDEN),
            ),
            training=training,
            **(lower if i > 0 else {}),
        )
        for i in range(n_levels)
    ]
    below_top = [select("observation")] * (n_levels - 1)
    return HierarchyAgent(
        env.observation_spec(),
        env.action_spec(),
        levels=levels,
        joints=[subgoal("achieved_goal")] * (n_levels - 1),
        observation_maps=[select("observation", "desired_goal"), *below_top],
        env=env,
        config=config,
    )


class Runs:
    """Agents in environments of their own, stepped in turns."""

    def __init__(self, n_envs: int, *, trains: bool) -> None:
        updates = UPDATES_PER_STEP[n_envs] if trains else 0
        self.agents = {"flat": flat(*self._surroundings(n_envs, updates))}
        for n_levels in (1, 2, 3):
            name = "1 level" if n_levels == 1 else f"{n_levels} levels"
            surroundings = self._surroundings(n_envs, updates)
            self.agents[name] = hierarchy(n_levels, *surroundings, updates / n_envs)

    @staticmethod
    def _surroundings(n_envs: int, updates: int) -> tuple[Any, TrainerConfig]:
        env = create_environment(
            "Maze2D-UMaze-v0", env_load_fn=maze2d_alf.load, num_parallel_environments=n_envs, seed=0
        )
        config = TrainerConfig(
            root_dir="unused",
            unroll_length=1,
            mini_batch_length=2,
            mini_batch_size=256,
            num_updates_per_train_iter=max(updates, 1),
            whole_replay_buffer_training=False,
            clear_replay_buffer=False,
            initial_collect_steps=2 * n_envs if updates else NEVER,
            replay_buffer_length=RECORDS,
        )
        return env, config

    def seconds(self, steps: int, rounds: int) -> dict[str, float]:
        """Median seconds of one iteration of each agent."""
        taken: dict[str, list[float]] = {name: [] for name in self.agents}
        for _ in range(rounds):
            for name, agent in self.agents.items():
                began = time.process_time()
                for _ in range(steps):
                    agent.train_iter()
                taken[name].append((time.process_time() - began) / steps)
        return {name: statistics.median(times) for name, times in taken.items()}


def report(title: str, seconds: dict[str, float], n_envs: int) -> None:
    print(f"\n{title}")
    for name, value in seconds.items():
        ratio = value / seconds["flat"]
        print(f"  {name:<10}{1000 * value:>9.3f} ms{n_envs / value:>10.0f} steps/s{ratio:>8.2f} x")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environments", type=int, nargs="+", choices=[1, 16], default=[1, 16])
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    alf.config(
        "NormalProjectionNetwork",
        state_dependent_std=True,
        scale_distribution=True,
        std_transform=clipped_exp,
    )
    for n_envs in args.environments:
        times = "environment" if n_envs == 1 else "environments"
        runs = Runs(n_envs, trains=False)
        runs.seconds(WARM_UP, 1)
        report(f"{n_envs} {times}, rollout", runs.seconds(100, 2 * args.rounds), n_envs)
        runs = Runs(n_envs, trains=True)
        runs.seconds(INTERVAL**2, 1)
        report(f"{n_envs} {times}, training", runs.seconds(INTERVAL**2 // 4, args.rounds), n_envs)


if __name__ == "__main__":
    main()
