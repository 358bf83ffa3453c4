"""What trained policies make of a push that they did not train with.

    python benchmarks/pushed.py "SPlaTES=runs/curves/splates_maze2d/seed_*" \\
        "DADS=runs/curves/dads_maze2d/seed_*"

Plays the newest checkpoint of each run in its maze, with a push of each length added to all
actions, of a direction of its own in each episode (see `ActionPush`), and prints the success rates
of the runs: one line for each label, one column for each push, the mean and all seeds.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path


def success_rate(root: Path, push: float, episodes: int) -> float:
    """Of `episodes` with a push of this length, by the deterministic policy."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "alf.bin.play", "--root_dir", str(root), "--norender"]
        command += ["--num_episodes", str(episodes), "--parallel_play", str(min(episodes, 50))]
        command += ["--result_file", str(result), "--random_seed", "1"]
        command += ["--conf_param", f"maze2d_alf.load.action_push={push}"]
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{shlex.join(command)} ended with an error:\n{done.stderr}")
        played = json.loads(result.read_text())["episodes"]
    return sum(episode["success"] for episode in played) / len(played)


def runs_of(argument: str) -> tuple[str, list[Path]]:
    """Label and root directories of `label=pattern`.

    Raises:
        ValueError: there is no label, or nothing of that name.
    """
    label, equals, pattern = argument.partition("=")
    if not equals:
        raise ValueError(f"{argument!r} is not of the form label=pattern")
    roots = sorted(Path(found) for found in glob.glob(pattern) if Path(found).is_dir())
    if not roots:
        raise ValueError(f"there is no folder {pattern}")
    return label, roots


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="+", help="label=pattern of the root directories of runs")
    parser.add_argument("--pushes", type=float, nargs="+", default=[0.0, 0.2, 0.4, 0.6])
    parser.add_argument("--episodes", type=int, default=100)
    options = parser.parse_args(arguments)
    runs = [runs_of(argument) for argument in options.runs]
    print(f"{'push':<24}" + "".join(f"{push:>26}" for push in options.pushes), flush=True)
    for label, roots in runs:
        print(f"{label:<24}", end="", flush=True)
        for push in options.pushes:
            rates = [success_rate(root, push, options.episodes) for root in roots]
            mean = sum(rates) / len(rates)
            print(f"{f'{mean:.2f} {[round(r, 2) for r in rates]}':>26}", end="", flush=True)
        print(flush=True)


if __name__ == "__main__":
    main()
