"""NaN in six places of six kinds of learners: it has to stop the run, by name, before it is saved.

Each case trains in smoke form, writes a checkpoint, and then has one number set to NaN: a
parameter of the upper level, an observation, a reward, the upper level's loss, its gradient, or the
scores of its plans (of learners that plan). Noticed: the run ends with an error that names
what was set. Survived: the newest checkpoint is finite, and the run goes on from it to its end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from alf.nest import nest
from alf.utils.checkpoint_utils import Checkpointer
from benchmarks.torture.smoke import fresh, trainer_of
from benchmarks.torture.table import Row

LEARNERS = {
    "flat SAC": "sac_maze2d",
    "SAC over SAC": "sac_over_sac_maze2d",
    "DQN over SAC": "dqn_over_sac_maze2d",
    "PPO over SAC": "ppo_over_sac_maze2d",
    "planner over SAC": "planner_over_sac_maze2d",
    "SPlaTES": "splates_maze2d",
}
PLANNERS = ("planner over SAC", "SPlaTES")
AT = 20
"""The iteration in which the NaN appears; each level has been trained before."""
LAST = 40
"""The iteration in which the run ends if nothing stops it."""

Injector = Callable[[Any, Any], None]
"""Called with the root algorithm and the environment after `AT` iterations."""


def _top(algorithm: Any) -> Any:
    return algorithm.levels[0]


def _parameter(algorithm: Any, env: Any) -> None:
    # not a target network's, which no update changes
    parameter = next(p for p in _top(algorithm).parameters() if p.requires_grad and p.ndim > 1)
    with torch.no_grad():
        parameter.view(-1)[0] = math.nan


def last_parameter(algorithm: Any, env: Any) -> None:
    """Of the upper level: of MuZero that of its policy, with which it samples."""
    parameter = [p for p in _top(algorithm).parameters() if p.requires_grad and p.ndim > 1][-1]
    with torch.no_grad():
        parameter.view(-1)[0] = math.nan


def nan_env_info(algorithm: Any, env: Any) -> None:
    """What may be NaN: it is told, and nothing learns from it."""
    _time_step(algorithm, env, "env_info")


def _time_step(algorithm: Any, env: Any, field: str) -> None:
    step = env.step

    def broken(action: Any) -> Any:
        time_step = step(action)
        # a copy: what the environment keeps stays as it is
        value = nest.map_structure(lambda x: x.float().clone(), getattr(time_step, field))
        nest.flatten(value)[0].view(-1)[0] = math.nan
        return time_step._replace(**{field: value})

    env.step = broken


def _loss(algorithm: Any, env: Any) -> None:
    level = _top(algorithm)
    calc_loss = level.calc_loss

    def broken(info: Any) -> Any:
        loss_info = calc_loss(info)
        return loss_info._replace(loss=loss_info.loss * math.nan)

    level.calc_loss = broken


def _gradient(algorithm: Any, env: Any) -> None:
    for parameter in _top(algorithm).parameters():
        if parameter.requires_grad:
            parameter.register_hook(lambda gradient: gradient * math.nan)


def _plan_scores(algorithm: Any, env: Any) -> None:
    level = _top(algorithm)
    own = level._objective

    class Broken(type(own)):
        def score(self, *args: Any) -> Any:
            return super().score(*args) * math.nan

    level._objective = Broken(**{f.name: getattr(own, f.name) for f in dataclasses.fields(own)})


PLACES: dict[str, tuple[Injector, tuple[str, ...]]] = {
    "parameter": (_parameter, ("parameter level_0_", "parameter _")),
    "observation": (functools.partial(_time_step, field="observation"), ("gave the observation",)),
    "reward": (functools.partial(_time_step, field="reward"), ("gave the reward nan",)),
    "loss": (_loss, ("the loss is nan",)),
    "gradient": (_gradient, ("the norm of the gradient is nan",)),
    "plan scores": (_plan_scores, ("none has a finite score",)),
}
"""For each place what sets the NaN, and words one of which the error must have."""


def cases(short: bool = False) -> list[tuple[str, str]]:
    """Learner and place of each case; `short`: each of both once."""
    found = [
        (learner, place)
        for place in PLACES
        for learner in LEARNERS
        if place != "plan scores" or learner in PLANNERS
    ]
    if not short:
        return found
    chosen = ["SAC over SAC"] * 5 + ["planner over SAC"]
    return list(zip(chosen, PLACES, strict=True))


@contextlib.contextmanager
def _injected(trainer: Any, injector: Injector, at: int) -> Iterator[None]:
    algorithm, count = trainer._algorithm, 0
    train_iter = algorithm.train_iter

    def counted() -> int:
        nonlocal count
        if count == at:
            trainer._save_checkpoint()
            injector(algorithm, trainer._env)
        count += 1
        return train_iter()

    algorithm.train_iter = counted
    yield


def inject(learner: str, place: str, root_dir: Path) -> str:
    """Trains with a NaN in one place; returns the error, "" if none stopped the run."""
    injector, _ = PLACES[place]
    trainer = trainer_of(LEARNERS[learner], root_dir, LAST)
    try:
        with _injected(trainer, injector, AT):
            trainer.train()
    except ValueError as error:
        return f"{error} {error.__cause__ or ''}"
    finally:
        fresh()
    return ""


def newest_is_finite(root_dir: Path) -> bool:
    """Whether the newest checkpoint loads, and holds no NaN."""
    folder = root_dir / "train" / "algorithm"
    newest = Checkpointer(str(folder)).newest_step()
    for suffix in ("", "-optimizer", "-replay_buffer"):
        content = torch.load(folder / f"ckpt-{newest}{suffix}", weights_only=True)
        for leaf in nest.flatten({k: v for k, v in content.items() if isinstance(v, dict)}):
            is_float = isinstance(leaf, torch.Tensor) and leaf.is_floating_point()
            if is_float and bool(leaf.isnan().any()):
                return False
    return True


def goes_on(learner: str, root_dir: Path) -> bool:
    """Whether the run, started again, comes to its end."""
    trainer = trainer_of(LEARNERS[learner], root_dir, LAST)
    try:
        trainer.train()
        return trainer.current_iterations() == LAST
    finally:
        fresh()


def rows(folder: Path, *, short: bool, seed: int = 0) -> list[Row]:
    """One row for each place; see `benchmarks.torture.table`."""
    found: dict[str, list[int]] = {place: [0, 0, 0, 0] for place in PLACES}
    notes: dict[str, str] = {}
    for learner, place in cases(short):
        root_dir = folder / f"{LEARNERS[learner]}-{place.replace(' ', '_')}"
        error = inject(learner, place, root_dir)
        noticed = any(words in error for words in PLACES[place][1])
        survived = newest_is_finite(root_dir) and goes_on(learner, root_dir)
        counts = found[place]
        for i, true in enumerate((True, noticed, survived, not (noticed and survived))):
            counts[i] += true
        if not (noticed and survived):
            notes[place] = f"{learner}: {error[:200] or 'no error'}"
    return [
        Row(f"NaN in: {place}", *counts, notes.get(place, ""))
        for place, counts in found.items()
        if counts[0]
    ]
