"""Repeats the learning runs that the documentation reports: trains every seed, draws the curves.

    python benchmarks/learning_runs.py --root_dir runs/curves --jobs 2 umaze pendulum
    python benchmarks/learning_runs.py --root_dir runs/learn learners

Prints a table of what each seed reached and how long it took; "learners" are those whose figures
stand in tables, each with the threshold that every seed has to reach at one of its evaluations. The
one before anything is learned does not count: of CartPole-v1's untrained policies some balance.
If a seed of theirs does not, the command says which at its end, and fails.
Finished runs are not repeated, and stopped ones go on, so that the command may be started again.
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

from alf_layered.plots.learning_curves import Curve, draw_learning_curves, read_curve

REPOSITORY = Path(__file__).parents[1]
SUCCESS = "Metrics_vs_EnvironmentSteps/success"
RETURN = "Metrics_vs_EnvironmentSteps/AverageReturn"


@dataclass(frozen=True)
class Experiment:
    """What stands on one picture.

    Attributes:
        runs: label and configuration of each curve, a file of `alf_configs` or, with folders in its
            name, of the repository.
        tag: what is drawn, from the evaluations.
        y_label: its name.
        threshold: what the runs should reach.
        picture: where the documentation keeps the picture; "" for none.
        less_is_better: whether it is reached from above, as a loss is.
        data: configuration whose run (seed 0) leaves the offline data of these; "" for none.
    """

    runs: dict[str, str]
    tag: str
    y_label: str
    threshold: float
    picture: str = ""
    less_is_better: bool = False
    data: str = ""

    def first_step(self, curve: Curve) -> int | None:
        """The first step at which what was learned reached the threshold; None if it never did."""
        sign = -1 if self.less_is_better else 1
        reached = curve.steps[(sign * curve.values >= sign * self.threshold) & (curve.steps > 0)]
        return int(reached[0]) if len(reached) else None


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
    "skills": Experiment(
        {
            "SPlaTES": "splates_maze2d_conf.py",
            "SPlaTES by TD-MPC2": "splates_tdmpc2_maze2d_conf.py",
            "DADS": "dads_maze2d_conf.py",
            "flat SAC": "sac_medium_maze2d_conf.py",
        },
        SUCCESS,
        "success rate",
        0.9,
        "docs/curves/skills_learning_medium_maze.png",
    ),
}


def _flat(conf: str, threshold: float, y_label: str = "return") -> Experiment:
    """An example of the engine."""
    return Experiment({conf: f"engine/alf/examples/{conf}_conf.py"}, RETURN, y_label, threshold)


def _plugin(conf: str, threshold: float) -> Experiment:
    """A learner without a hierarchy, of `alf_configs`."""
    return Experiment({conf: f"{conf}_conf.py"}, RETURN, "return", threshold)


def _constrained(conf: str) -> dict[str, Experiment]:
    """An example on the bandit with a constraint: utility and breach of episodes of 5 steps."""
    runs = {conf: f"engine/alf/examples/{conf}_conf.py"}
    return {
        f"{conf}.{what}": Experiment(runs, f"{RETURN}.{number}", what, threshold)
        for number, (what, threshold) in enumerate({"utility": 2.3, "breach": -0.4}.items())
    }


def _cloned(conf: str) -> Experiment:
    """An example of the engine that learns from what another one has left."""
    data = "engine/alf/examples/mbrl_pendulum_conf.py"
    return Experiment(
        {conf: f"engine/alf/examples/{conf}_conf.py"},
        "Metrics/AverageReturn",  # against iterations: there are no environment steps
        "return",
        -250,
        data=data,
    )


def _over(conf: str, data: str = "") -> Experiment:
    """A hierarchy, or a learner from data, in the sparse U-maze."""
    return Experiment({conf: f"{conf}_maze2d_conf.py"}, SUCCESS, "success rate", 0.9, data=data)


LEARNERS = {
    "ac_cart_pole": _flat("ac_cart_pole", 195),
    "ac_entropy_target_cart_pole": _flat("ac_entropy_target_cart_pole", 195),
    "trac_cart_pole": _flat("trac_cart_pole", 195),
    "merlin_cart_pole": _flat("merlin_cart_pole", 195),
    "ppo_cart_pole": _flat("ppo_cart_pole", 475),
    "ppg_cart_pole": _flat("ppg_cart_pole", 475),
    "dqn_cart_pole": _flat("dqn_cart_pole", 400),
    "ddpg_pendulum": _flat("ddpg_pendulum", -250),
    "qrsac_pendulum": _flat("qrsac_pendulum", -250),
    "dsac_pendulum": _flat("dsac_pendulum", -250),
    "doac_pendulum": _flat("doac_pendulum", -250),
    "oac_pendulum": _flat("oac_pendulum", -250),
    "taac_pendulum": _flat("taac_pendulum", -250),
    "taac_l_pendulum": _flat("taac_l_pendulum", -250),
    "taac_q_pendulum": _flat("taac_q_pendulum", -250),
    "sac_pendulum": _flat("sac_pendulum", -250),
    "sarsa_pendulum": _flat("sarsa_pendulum", -250),
    "mdq_pendulum": _flat("mdq_pendulum", -250),
    "mbrl_pendulum": _flat("mbrl_pendulum", -250),
    "bc_pendulum": _cloned("bc_pendulum"),
    "causal_bc_pendulum": _cloned("causal_bc_pendulum"),
    "sac_encoder_pendulum": _flat("sac_encoder_pendulum", -250),
    "sac_action_repeat_mountain_car": _flat("sac_action_repeat_mountain_car", 85),
    "sac_icm_mountain_car": _flat("sac_icm_mountain_car", 85),
    "sac_rnd_mountain_car": _flat("sac_rnd_mountain_car", 85),
    # The discriminator's cross entropy, half of whose steps are not to be guessed: chance is 0.69.
    "sac_diayn_pendulum": Experiment(
        {"sac_diayn_pendulum": "engine/alf/examples/sac_diayn_pendulum_conf.py"},
        "loss/irm",
        "loss of the discriminator",
        0.45,
        less_is_better=True,
    ),
    "sac_predictive_pendulum": _flat("sac_predictive_pendulum", -250),
    "latent_mbrl_twisted_point": Experiment(
        {"latent_mbrl": "engine/alf/examples/latent_mbrl_twisted_point_conf.py"},
        SUCCESS,
        "success rate",
        0.9,
    ),
    **_constrained("seditor_constrained_bandit"),
    **_constrained("sac_lagrangian_constrained_bandit"),
    "muzero_tic_tac_toe": _flat("muzero_tic_tac_toe", 0.8, "mean outcome"),
    "muzero_cartpole": _plugin("muzero_cartpole", 195),
    "muzero_pendulum": _plugin("muzero_pendulum", -300),
    "muzero_over_sac": _over("muzero_over_sac"),
    "dqn_over_sac": _over("dqn_over_sac"),
    "sac_over_ddpg": _over("sac_over_ddpg"),
    "ppo_over_sac": _over("ppo_over_sac"),
    "taac_over_sac": _over("taac_over_sac"),
    "iql": _over("iql", data="noise_data_maze2d_conf.py"),
    "iql_over_iql": _over("iql_over_iql", data="noise_data_maze2d_conf.py"),
    "random_over_sac": Experiment(
        {"random_over_sac": "random_over_sac_maze2d_conf.py"}, SUCCESS, "success rate", 0.0
    ),
}
"""What `make learn` runs. The last one is what the four above it have to beat."""


def train(conf: str, seed: int, root: Path, data: Path | None = None) -> float:
    """Runs one seed to its end; returns the seconds it took. Its output goes to `root.log`.

    Args:
        data: the run whose replay buffer it learns from.
    """
    command = [sys.executable, "-m", "alf.bin.train", "--root_dir", str(root)]
    command += ["--conf", conf if "/" in conf else f"alf_configs/{conf}"]
    command += ["--conf_param", f"TrainerConfig.random_seed={seed}"]
    if data is not None:
        command += ["--conf_param", f"TrainerConfig.offline_buffer_dir={str(data)!r}"]
    root.parent.mkdir(parents=True, exist_ok=True)
    began = time.time()
    with root.with_suffix(".log").open("a") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log, check=True)
    return time.time() - began


def report(
    experiment: Experiment, roots: dict[str, list[Path]], seconds: dict[Path, float]
) -> list[Path]:
    """Draws the curves and prints what each seed reached at the end.

    Returns:
        The seeds that have not reached the threshold at any time.
    """
    if experiment.picture:
        draw_learning_curves(
            roots,
            experiment.tag,
            REPOSITORY / experiment.picture,
            threshold=experiment.threshold,
            y_label=experiment.y_label,
        )
    print(f"{experiment.y_label}, wanted {experiment.threshold}: {experiment.picture}")
    missed = []
    for label, seeds in roots.items():
        curves = [read_curve(root, experiment.tag) for root in seeds]
        last = [float(curve.values[-1]) for curve in curves]
        first = [experiment.first_step(curve) for curve in curves]
        missed += [root for root, step in zip(seeds, first, strict=True) if step is None]
        print(
            f"  {label:16s} last {[round(v, 2) for v in last]}  mean {sum(last) / len(last):.2f}  "
            f"wanted value first at step {first}, "
            f"by {sum(step is not None for step in first)} of {len(first)} seeds  "
            f"seconds {[round(seconds[root]) for root in seeds]}"
        )
    return missed


def _folder(conf: str) -> str:
    """The runs of a configuration; an example's name can be that of a file of `alf_configs`."""
    return conf.removesuffix("_conf.py").replace("engine/alf/examples/", "example_")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 if a seed of the learners missed its threshold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiments", nargs="*", default=list(EXPERIMENTS))
    parser.add_argument("--root_dir", type=Path, default=Path("runs/curves"))
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    known = {**EXPERIMENTS, **LEARNERS}
    names = []
    for name in options.experiments:
        names += list(LEARNERS) if name == "learners" else [name]
    unknown = set(names) - set(known)
    if unknown:
        parser.error(f"no experiment {sorted(unknown)}, there are {sorted(known)} and 'learners'")
    base = options.root_dir.resolve()
    seconds: dict[Path, float] = {}
    data = {name: base / _folder(known[name].data) / "seed_0" for name in names if known[name].data}
    for conf, root in {known[name].data: root for name, root in data.items()}.items():
        train(conf, 0, root)
    with ThreadPoolExecutor(options.jobs) as pool:
        jobs = {}
        for name in names:
            for conf in known[name].runs.values():
                for seed in range(options.seeds):
                    root = base / _folder(conf) / f"seed_{seed}"
                    jobs[root] = pool.submit(train, conf, seed, root, data.get(name))
        for root, job in jobs.items():
            seconds[root] = job.result()
    missed: list[Path] = []
    for name in names:
        experiment = known[name]
        roots = {
            label: [base / _folder(conf) / f"seed_{seed}" for seed in range(options.seeds)]
            for label, conf in experiment.runs.items()
        }
        missing = report(experiment, roots, seconds)
        if name in LEARNERS:  # a picture may also show what does not learn the task
            missed += missing
    for root in missed:
        print(f"{root} has not reached what is wanted")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
