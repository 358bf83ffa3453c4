"""SAC chooses where to go in a maze, a controller of one line goes there: `PolicyLevel`.

python examples/controller_below_sac.py --steps 20000
"""

from __future__ import annotations

import argparse

import gymnasium
import torch

from alf_layered import Collector, Hierarchy, PolicyLevel, SacLevel, TrainingOptions, subgoal


def walk(position: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    """Straight ahead, at full speed until it is near."""
    return (2.0 * (goal - position)).clamp(-1.0, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    env, test_env = (gymnasium.make_vec("Maze2D-UMaze-v0", num_envs=8) for _ in range(2))
    training = TrainingOptions(warm_up=min(100, options.steps // 40))
    h = Hierarchy(
        [
            SacLevel.options(training=training, random_warm_up=True),
            PolicyLevel.options(policy=walk, control_interval=15),
        ],
        env=env,
        joints=[subgoal("achieved_goal", minimum=1.0, maximum=4.0)],
        env_obs_maps=[None, lambda o: o["observation"]],
        seed=options.seed,
    )
    stats = Collector(h, env, test_env).collect(
        options.steps, learn=True, test_interval=max(options.steps // 4, 1), n_test_episodes=8
    )
    for test in stats.tests:
        print(f"{test.n_total_env_steps} steps: success {test.success:.2f}")


if __name__ == "__main__":
    main()
