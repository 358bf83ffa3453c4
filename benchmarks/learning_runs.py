"""Repeats the learning runs that the documentation reports: trains every seed, draws the curves.

    python benchmarks/learning_runs.py --root_dir runs/curves --jobs 2 umaze pendulum

Prints a table of what each seed reached and how long it took. Finished runs are not repeated, and
stopped ones go on, so that the command may be started again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from alf_layered.plots.learning_curves import draw_learning_curves, read_curve

REPOSITORY = Path(__file__).parents[1]
SUCCESS = "Metrics_vs_EnvironmentSteps/AverageEnvInfo/success"
RETURN = "Metrics_vs_EnvironmentSteps/AverageReturn"


@dataclass(frozen=True)
class Experiment:
    """What stands on one picture.

    Attributes:
        runs: label and configuration of each curve.
        tag: what is drawn, from the evaluations.
        y_label: its name.
        threshold: what the runs should reach.
        picture: where the documentation keeps the picture.
    """

    runs: dict[str, str]
    tag: str
    y_label: str
    threshold: float
    picture: str


EXPERIMENTS = {
    "umaze": Experiment(
        {"SAC over SAC": "sac_over_sac_maze2d_conf.py", "flat SAC": "sac_maze2d_conf.py"},
        SUCCESS,
        "success rate",
        0.9,
        "docs/curves/umaze.png",
    ),
    "pendulum": Experiment(
        {"one level, SAC": "sac_pendulum_conf.py"},
        RETURN,
        "return",
        -160,
        "docs/curves/pendulum.png",
    ),
    "planner_pendulum": Experiment(
        {"planner, learned model": "planner_inverted_pendulum_conf.py"},
        RETURN,
        "return",
        900,
        "docs/curves/planner_inverted_pendulum.png",
    ),
    "planner_maze": Experiment(
        {"planner over SAC": "planner_over_sac_maze2d_conf.py"},
        SUCCESS,
        "success rate",
        0.9,
        "docs/curves/planner_medium_maze.png",
    ),
    "tdmpc2_pendulum": Experiment(
        {"TD-MPC2": "tdmpc2_pendulum_conf.py"},
        RETURN,
        "return",
        -200,
        "docs/curves/tdmpc2_pendulum.png",
    ),
    "tdmpc2_inverted_pendulum": Experiment(
        {"TD-MPC2": "tdmpc2_inverted_pendulum_conf.py"},
        RETURN,
        "return",
        900,
        "docs/curves/tdmpc2_inverted_pendulum.png",
    ),
    "tdmpc2_goal_maze": Experiment(
        {"TD-MPC2 with hindsight": "tdmpc2_goal_maze2d_conf.py"},
        SUCCESS,
        "success rate",
        0.9,
        "docs/curves/tdmpc2_goal_maze.png",
    ),
}


def train(conf: str, seed: int, root: Path) -> float:
    """Runs one seed to its end; returns the seconds it took. Its output goes to `root.log`."""
    command = [sys.executable, "-m", "alf.bin.train", "--root_dir", str(root)]
    command += ["--conf", f"alf_configs/{conf}"]
    command += ["--conf_param", f"TrainerConfig.random_seed={seed}"]
    root.parent.mkdir(parents=True, exist_ok=True)
    began = time.time()
    with root.with_suffix(".log").open("a") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log, check=True)
    return time.time() - began


def report(
    experiment: Experiment, roots: dict[str, list[Path]], seconds: dict[Path, float]
) -> None:
    """Draws the curves and prints what each seed reached at the end."""
    draw_learning_curves(
        roots,
        experiment.tag,
        REPOSITORY / experiment.picture,
        threshold=experiment.threshold,
        y_label=experiment.y_label,
    )
    print(f"{experiment.y_label}, wanted {experiment.threshold}: {experiment.picture}")
    for label, seeds in roots.items():
        curves = [read_curve(root, experiment.tag) for root in seeds]
        last = [float(curve.values[-1]) for curve in curves]
        first = [_first_step(curve, experiment.threshold) for curve in curves]
        print(
            f"  {label:16s} last {[round(v, 2) for v in last]}  mean {sum(last) / len(last):.2f}  "
            f"wanted value first at step {first}  "
            f"seconds {[round(seconds[root]) for root in seeds]}"
        )


def _first_step(curve, threshold: float) -> int | None:
    reached = [step for step, value in zip(*curve, strict=True) if value >= threshold]
    return int(reached[0]) if reached else None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiments", nargs="*", default=list(EXPERIMENTS))
    parser.add_argument("--root_dir", type=Path, default=Path("runs/curves"))
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    unknown = set(options.experiments) - set(EXPERIMENTS)
    if unknown:
        parser.error(f"no experiment {sorted(unknown)}, there are {sorted(EXPERIMENTS)}")
    base = options.root_dir.resolve()
    seconds: dict[Path, float] = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        jobs = {}
        for name in options.experiments:
            for conf in EXPERIMENTS[name].runs.values():
                for seed in range(options.seeds):
                    root = base / conf.removesuffix("_conf.py") / f"seed_{seed}"
                    jobs[root] = pool.submit(train, conf, seed, root)
        for root, job in jobs.items():
            seconds[root] = job.result()
    for name in options.experiments:
        experiment = EXPERIMENTS[name]
        roots = {
            label: [
                base / conf.removesuffix("_conf.py") / f"seed_{seed}"
                for seed in range(options.seeds)
            ]
            for label, conf in experiment.runs.items()
        }
        report(experiment, roots, seconds)


if __name__ == "__main__":
    main()
