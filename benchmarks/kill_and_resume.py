"""Kills a training run at random moments and starts it again until it ends.

    python benchmarks/kill_and_resume.py --kills 20 --root_dir runs/kills

After each kill the newest checkpoint must load, and its counters must not lie behind those of the
one before; at the end the run must have made all its environment steps.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

REPOSITORY = Path(__file__).parents[1]


def newest(root: Path) -> dict[str, Any] | None:
    """The counters of the newest whole checkpoint, None where there is none yet."""
    folder = root / "train" / "algorithm"
    steps = sorted(int(p.name[5:]) for p in folder.glob("ckpt-*") if p.name[5:].isdigit())
    if not steps:
        return None
    model = torch.load(folder / f"ckpt-{steps[-1]}", weights_only=True)
    counts = {k: int(v) for k, v in model["algorithm"].items() if k.endswith("clock.transitions")}
    torch.load(folder / f"ckpt-{steps[-1]}-optimizer", weights_only=True)
    torch.load(folder / f"ckpt-{steps[-1]}-replay_buffer", weights_only=True)
    return {"global_step": int(model["global_step"]), **counts}


def kill_and_resume(
    command: list[str], root: Path, *, kills: int, longest: float, seed: int = 0
) -> list[dict[str, Any]]:
    """Starts `command` `kills` times and kills it after up to `longest` seconds, then lets it end.

    Returns:
        The counters of the newest checkpoint after each kill and at the end.

    Raises:
        RuntimeError: where a run ends by itself with an error, or counters go back.
    """
    rng = random.Random(seed)
    seen: list[dict[str, Any]] = []
    env = {**os.environ, "ALF_CHECKPOINT_MINUTES": "0.02"}
    for kill in range(kills + 1):
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=env,
            stderr=subprocess.STDOUT,
            stdout=subprocess.PIPE,
            text=True,
        )
        waited = time.time() + (rng.uniform(0, longest) if kill < kills else 3600)
        while process.poll() is None and time.time() < waited:
            time.sleep(0.01)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        output, _ = process.communicate()
        if process.returncode not in (0, -signal.SIGKILL):
            raise RuntimeError(f"after {kill} kills the run ended with an error:\n{output}")
        counters = newest(root)
        print(f"kill {kill}: exit {process.returncode}, {counters}", flush=True)
        if counters is None:
            continue
        if seen and any(counters[key] < value for key, value in seen[-1].items()):
            raise RuntimeError(f"counters went back from {seen[-1]} to {counters}")
        seen.append(counters)
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--longest", type=float, default=15.0, help="seconds a run may live")
    parser.add_argument("--root_dir", type=Path, default=Path("runs/kills"))
    parser.add_argument("--conf", default="alf_configs/sac_over_sac_maze2d_conf.py")
    parser.add_argument("--num_env_steps", type=int, default=20_000)
    options = parser.parse_args()
    command = [sys.executable, "-m", "alf.bin.train", "--root_dir", str(options.root_dir)]
    command += ["--conf", options.conf]
    command += ["--conf_param", f"TrainerConfig.num_env_steps={options.num_env_steps}"]
    kill_and_resume(command, options.root_dir, kills=options.kills, longest=options.longest)


if __name__ == "__main__":
    main()
