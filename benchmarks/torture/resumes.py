"""Each configuration of `alf_configs` is stopped and goes on: bit for bit as if it had not been.

In smoke form and in environments that can be saved (`benchmarks.torture.smoke`): a run of
`FIRST + SECOND` iterations, and one of `FIRST` that is started again, end with the same parameters,
moments, records, counters, metrics and random numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.torture.smoke import CONFIGURATIONS, fresh, trainer_of
from benchmarks.torture.table import Row

FIRST, SECOND = 17, 13
SHORT = ("sac_over_sac_maze2d", "muzero_cartpole", "splates_maze2d")
_FROM_DATA = {"_CONFIG._USER.data_dir": "before", "_CONFIG._USER.offline_iterations": 4}
# A configuration that begins with what another run has left: that run, its iterations, settings.
_NEEDS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "splates_reuse_maze2d": ("splates_pretrain_maze2d", 8, {"_CONFIG._USER.skills": "before"}),
    "iql_maze2d": ("noise_data_maze2d", 20, _FROM_DATA),
    "iql_over_iql_maze2d": ("noise_data_maze2d", 20, _FROM_DATA),
}


def train(
    name: str, root_dir: Path, end: int, more: dict[str, Any], *, stop: int = 0, save: int = 0
) -> None:
    """Trains from where `root_dir` is.

    Args:
        end: iterations of the whole run; schedules go by it.
        stop: iteration at which it stops, as with SIGTERM; 0: at its end.
        save: iteration at which it writes a checkpoint and goes on, as with SIGUSR2.
    """
    trainer: Any = trainer_of(name, root_dir, end, more)
    agreed = trainer._together.agreed

    def at_iteration(env_steps: int, stop_signal: Any) -> Any:
        iteration = trainer._progress.iter_num + 1
        result = agreed(env_steps, 15 if iteration == stop else stop_signal)
        if iteration == save:  # what the trainer counts after this, as it does when it stops
            trainer._progress.update(iteration, result[0])
            trainer._save_checkpoint()
            trainer._progress.update(iteration - 1, result[0])
        return result

    trainer._together.agreed = at_iteration
    try:
        trainer.train()
        assert trainer.current_iterations() == (stop or end)
    finally:
        fresh()


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Paths at which two checkpoints differ; ids and times are passed over."""
    if path.endswith("/set_id"):
        return []
    if type(one) is not type(other):
        return [f"{path}: {type(one).__name__}, {type(other).__name__}"]
    if isinstance(one, dict):
        found = [f"{path}/{key}" for key in sorted(set(one) ^ set(other), key=str)]
        for key in one.keys() & other.keys():
            found += differences(one[key], other[key], f"{path}/{key}")
        return found
    if isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return [f"{path}: {len(one)}, {len(other)} entries"]
        return [
            d
            for i, (a, b) in enumerate(zip(one, other, strict=True))
            for d in differences(a, b, f"{path}/{i}")
        ]
    if isinstance(one, torch.Tensor):
        same = one.shape == other.shape and torch.equal(
            one.nan_to_num() if one.is_floating_point() else one,
            other.nan_to_num() if other.is_floating_point() else other,
        )
        return [] if same else [path]
    return [] if one == other or one != one else [path]


def _newest(root_dir: Path) -> dict[str, Any]:
    folder = root_dir / "train" / "algorithm"
    newest = max(int(p.name[5:]) for p in folder.glob("ckpt-*") if p.name[5:].isdigit())
    suffixes = ("", "-optimizer", "-replay_buffer")
    return {s: torch.load(folder / f"ckpt-{newest}{s}", weights_only=True) for s in suffixes}


def more_settings(name: str, folder: Path) -> dict[str, Any]:
    """What a configuration needs to know of `folder`, where an earlier run's folder is."""
    _, _, settings = _NEEDS.get(name, ("", 0, {}))
    return {key: str(folder / v) if v == "before" else v for key, v in settings.items()}


def resume_differences(name: str, folder: Path) -> list[str]:
    """In what a resumed run of a configuration differs from one that was not stopped; [] is right.

    Args:
        name: the configuration's file without `_conf.py`.
        folder: empty.
    """
    more = more_settings(name, folder)
    if more:
        before, iterations, _ = _NEEDS[name]
        train(before, folder / "before", iterations, {})
    end = FIRST + SECOND
    train(name, folder / "whole", end, more, save=FIRST)
    train(name, folder / "stopped", end, more, stop=FIRST)
    train(name, folder / "stopped", end, more)
    return differences(_newest(folder / "whole"), _newest(folder / "stopped"))


def rows(folder: Path, *, short: bool, seed: int = 0) -> list[Row]:
    """One row for all configurations; see `benchmarks.torture.table`."""
    names = SHORT if short else CONFIGURATIONS
    wrong = {}
    for name in names:
        found = resume_differences(name, folder / name)
        if found:
            wrong[name] = f"{name}: {len(found)} entries, {found[0]}"
    right = len(names) - len(wrong)
    kind = "stopped and resumed, equal to the last bit"
    return [Row(kind, len(names), right, right, len(wrong), "; ".join(wrong.values())[:300])]
