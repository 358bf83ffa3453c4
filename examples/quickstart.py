"""Two levels of SAC in a maze, without a configuration file: subgoals are chosen and reached.

python examples/quickstart.py --steps 50000
"""

from __future__ import annotations

import argparse

import gymnasium

from alf_layered import Collector, Goal, Hierarchy, SacLevel, StopAt, TrainingOptions, subgoal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--warm-up", type=int, default=1000, help="transitions before updates")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    env, test_env = (gymnasium.make_vec("Maze2D-UMaze-v0", num_envs=8) for _ in range(2))
    training = TrainingOptions(warm_up=options.warm_up, updates_per_transition=0.1)
    upper = TrainingOptions(warm_up=options.warm_up // 10)
    h = Hierarchy(
        [
            SacLevel.options(training=upper, random_warm_up=True),
            SacLevel.options(control_interval=15, goal=Goal(radius=0.5), training=training),
        ],
        env=env,
        joints=[subgoal("achieved_goal", minimum=1.0, maximum=4.0)],
        env_obs_maps=[None, lambda o: o["observation"]],
        seed=options.seed,
    )
    collector = Collector(h, env, test_env, callbacks=[StopAt(1.0)])
    collector.reset(seed=options.seed)
    stats = collector.collect(
        options.steps, learn=True, test_interval=max(options.steps // 10, 1), n_test_episodes=16
    )
    for test in stats.tests:
        print(f"{test.n_total_env_steps} steps: success {test.success:.2f}")
    print(h.inspect())


if __name__ == "__main__":
    main()
