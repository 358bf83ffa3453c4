"""The loaders' instances: no stream is shared between seeds, and what is no seed is refused."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from alf.environments.utils import create_environment
from alf_layered.environments import gymnasium_loader, maze2d_alf
from alf_layered.environments.seeds import independent_seeds

MAZE = partial(maze2d_alf.load, "Maze2D-UMaze-v0")
LOADERS = {
    "Maze2D": MAZE,
    "gymnasium": partial(gymnasium_loader.load, "Pendulum-v1"),
    "gymnasium, async": partial(gymnasium_loader.load, "Pendulum-v1", vectorization="async"),
}


def _beginnings(env: Any) -> list[tuple[float, ...]]:
    observation = env.reset().observation
    if isinstance(observation, dict):
        observation = observation["observation"]
    return [tuple(row.tolist()) for row in observation]


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("seeds", [(0, 1, 2), ([0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11])])
def test_instances_of_different_seeds_begin_differently(name: str, seeds: Any) -> None:
    env = LOADERS[name](batch_size=4)
    begun = []
    for seed in (*seeds, seeds[0]):
        env.seed(seed)
        begun.append(_beginnings(env))
    env.close()
    assert len({row for run in begun for row in run}) == 12
    assert begun[3] == begun[0]


@pytest.mark.parametrize("name", ["Maze2D", "gymnasium"])
def test_runs_of_neighboring_seeds_share_no_instance(name: str) -> None:
    rows = set()
    for seed in (0, 1, 2):
        load = LOADERS[name].func
        env = create_environment(
            LOADERS[name].args[0], load, num_parallel_environments=8, seed=seed
        )
        rows |= set(_beginnings(env))
    assert len(rows) == 24


def test_without_a_seed_mazes_of_neighboring_runs_share_nothing() -> None:
    """Environment 1 of the run with torch's seed 0, and environment 0 of that with seed 1."""
    rows = set()
    state = torch.get_rng_state()
    for seed in (0, 1):
        torch.manual_seed(seed)
        for env_id in (0, 1):
            rows |= set(_beginnings(MAZE(batch_size=4, env_id=env_id)))
    torch.set_rng_state(state)
    assert len(rows) == 16


def test_the_plugin_and_the_engine_derive_the_same_seeds() -> None:
    from alf.utils import seeds

    assert independent_seeds(5, 9) == seeds.independent_seeds(5, 9)


@pytest.mark.parametrize("name", ["Maze2D", "gymnasium"])
@pytest.mark.parametrize("seed", [np.int64(3), np.array([1, 2]), (4, 5), 2**40])
def test_integers_of_any_kind_are_seeds(name: str, seed: Any) -> None:
    env = LOADERS[name](batch_size=2)
    begun = []
    for _ in range(2):
        env.seed(seed)
        begun.append(_beginnings(env))
    assert begun[0] == begun[1]


@pytest.mark.parametrize("name", ["Maze2D", "gymnasium"])
@pytest.mark.parametrize(
    ("seed", "kind"),
    [("x", TypeError), (1.5, TypeError), ([0, "y"], TypeError), (-1, ValueError),
     (2**70, ValueError)],
)  # fmt: skip
def test_what_is_no_seed_is_named(name: str, seed: Any, kind: Any) -> None:
    env = LOADERS[name](batch_size=2)
    with pytest.raises(kind, match=r"a seed of .* is .*an integer from 0 to 2\*\*63 - 1") as error:
        env.seed(seed)
    assert len(str(error.value)) < 300


def test_there_is_a_seed_for_each_instance() -> None:
    with pytest.raises(ValueError, match="3 seeds for 2 instances"):
        LOADERS["gymnasium"](batch_size=2).seed([1, 2, 3])
