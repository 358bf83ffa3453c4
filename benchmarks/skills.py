"""What skills cost: a step of SPlaTES under a planner, acting and learning apart.

    python benchmarks/skills.py

The hierarchies of `splates_maze2d_conf.py` (SAC), `splates_tdmpc2_maze2d_conf.py` and DADS, in
the medium maze with 2 and with 16 environments, in one process. Printed are milliseconds of
processor time per environment step: of rollouts and their storing, after the warm-up, and of the
updates that they pay for, with rewards recomputed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import alf
from alf.algorithms.config import TrainerConfig
from alf.environments.utils import create_environment
from alf.utils import common

CONFIGS = ("splates_maze2d_conf.py", "splates_tdmpc2_maze2d_conf.py", "dads_maze2d_conf.py")
FOLDER = Path(__file__).parents[1] / "alf_configs"


def agent_of(name: str, n_envs: int) -> Any:
    """The configured agent, with short warm-ups, in environments of its own."""
    alf.reset_configs()
    warm_ups = {"_CONFIG._USER.planner_warm_up": 4, "_CONFIG._USER.skills_warm_up": 40}
    alf.pre_config({**warm_ups, "create_environment.num_parallel_environments": n_envs})
    common.parse_conf_file(str(FOLDER / name))
    env = create_environment(seed=0)
    config = TrainerConfig(root_dir=tempfile.mkdtemp())
    ctor = config.algorithm_ctor
    assert ctor is not None
    agent = ctor(
        observation_spec=env.observation_spec(),
        action_spec=env.action_spec(),
        reward_spec=env.reward_spec(),
        env=env,
        config=config,
    )
    agent.set_path("")
    return agent


def milliseconds(agent: Any, n_envs: int, steps: int) -> tuple[float, float]:
    """Per environment step: acting and storing, and learning."""
    learning = 0.0
    train = agent.train_from_replay_buffer

    def timed(*args: Any, **kwargs: Any) -> int:
        nonlocal learning
        began = time.process_time()
        found = train(*args, **kwargs)
        learning += time.process_time() - began
        return found

    agent.train_from_replay_buffer = timed
    for _ in range(max(200 // n_envs, 20)):  # past the warm-ups
        agent.train_iter()
    learning, began, made = 0.0, time.process_time(), 0
    while made < steps:
        agent.train_iter()
        made += n_envs * agent._config.unroll_length
    total = time.process_time() - began
    return 1000 * (total - learning) / made, 1000 * learning / made


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1600, help="environment steps to measure")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(f"{'':<36}{'acting':>10}{'learning':>10}{'together':>10}   ms per environment step")
    for name in CONFIGS:
        for n_envs in (2, 16):
            act, learn = milliseconds(agent_of(name, n_envs), n_envs, options.steps)
            title = f"{name.removesuffix('_conf.py')}, {n_envs} environments"
            print(f"{title:<36}{act:>10.2f}{learn:>10.2f}{act + learn:>10.2f}", flush=True)


if __name__ == "__main__":
    main()
