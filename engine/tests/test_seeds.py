"""Runs with different seeds share no environment stream; what is no seed is refused by name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import alf
from alf.algorithms.config import TrainerConfig
from alf.environments import suite_gym
from alf.environments.alf_wrappers import RandomFirstEpisodeLength
from alf.environments.parallel_environment import ParallelAlfEnvironment
from alf.environments.utils import create_environment
from alf.trainers import evaluator
from alf.trainers.evaluator import Evaluator
from alf.utils import common
from alf.utils.seeds import SEED_LIMIT, as_seed, independent_seeds, wrapper_generator


def _beginnings(seed: int, **options: Any) -> set[tuple[float, ...]]:
    """The first observations of all environments of a run."""
    settings = {"num_parallel_environments": 4, **options}
    with create_environment("Pendulum-v1", seed=seed, **settings) as env:
        first = env.reset().observation
    return {tuple(row.tolist()) for row in first}


WAYS: dict[str, dict[str, Any]] = {
    "in this process": {},
    "processes": {"parallel_environment_ctor": ParallelAlfEnvironment},
    "several in a process": {"batch_size_per_env": 2},
    "nonparallel": {"nonparallel": True},
}


@pytest.mark.parametrize("way", WAYS)
def test_runs_with_neighboring_seeds_share_no_beginning(way: str) -> None:
    runs = [_beginnings(seed, **WAYS[way]) for seed in (0, 1, 2)]
    count = 1 if way == "nonparallel" else 4
    assert [len(run) for run in runs] == [count] * 3
    assert len(set.union(*runs)) == 3 * count
    assert _beginnings(1, **WAYS[way]) == runs[1]


def test_alfs_rule_is_an_option() -> None:
    first, second = (_beginnings(seed, consecutive_seeds=True) for seed in (0, 1))
    assert len(first & second) == 3
    env = suite_gym.load("Pendulum-v1")
    env.seed(2)
    assert tuple(env.reset().observation.tolist()) in first


def test_seeds_differ_within_and_between_runs() -> None:
    runs = [independent_seeds(seed, 1000) for seed in range(20)]
    runs += [independent_seeds([seed, 1], 1) for seed in range(20)]  # those of evaluations
    everything = [seed for run in runs for seed in run]
    assert all(len(set(run)) == len(run) for run in runs)
    # by chance, 20,020 numbers below 2**31 have 0.1 pairs
    assert len(set(everything)) >= len(everything) - 2
    assert all(0 <= seed < 2**31 for seed in everything)
    # more environments keep the streams of the first ones
    assert independent_seeds(3, 4) == independent_seeds(3, 16)[:4]


def test_spare_environments_have_seeds_of_their_own() -> None:
    seeds = independent_seeds(5, 8)
    assert not set(independent_seeds(seeds, 4)) & set(seeds)


def test_an_evaluation_shares_no_stream_with_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    used: dict[int, set[int]] = {}
    for run in range(3):

        def create(run: int = run, *, seed: int, **options: Any) -> Any:
            used[run] = set(independent_seeds(seed, 8))
            return SimpleNamespace(batch_size=8, seed=seed)

        monkeypatch.setattr(evaluator, "create_environment", create)
        monkeypatch.setattr(evaluator, "SyncEvaluator", lambda env, config: None)
        Evaluator(TrainerConfig(root_dir="", random_seed=run, async_eval=False), "")
        used[10 + run] = set(independent_seeds(run, 8))
    assert len(set.union(*used.values())) == 8 * 6


def test_a_wrapper_does_not_draw_the_numbers_of_the_environment_inside_it() -> None:
    env = RandomFirstEpisodeLength(suite_gym.load("Pendulum-v1"), random_length_range=1000)
    env.seed(3)
    inside = np.random.default_rng(3)
    assert env._rng.random() != inside.random()
    assert wrapper_generator(3, env).random() == wrapper_generator(3, env).random()


# ---- what is a seed ----


@pytest.mark.parametrize("seed", [0, 7, 2**32, SEED_LIMIT - 1])
@pytest.mark.parametrize("kind", [int, np.int64, np.uint64])
def test_integers_of_any_kind_are_seeds(seed: int, kind: Any) -> None:
    value = kind(seed)
    assert type(as_seed(value, owner="x")) is int
    config = TrainerConfig(root_dir="", random_seed=value)
    assert type(config.random_seed) is int
    assert config.random_seed == seed
    before = torch.are_deterministic_algorithms_enabled()
    try:
        assert common.set_random_seed(value) == seed
        drawn = torch.rand(())
        common.set_random_seed(seed)
        assert torch.rand(()) == drawn
    finally:
        torch.use_deterministic_algorithms(before)
    _beginnings(value, num_parallel_environments=1)


@pytest.mark.parametrize("seed", ["x", 1.5, True, -1, 2**70])
@pytest.mark.parametrize(
    ("owner", "use"),
    [
        ("TrainerConfig.random_seed", lambda seed: TrainerConfig(root_dir="", random_seed=seed)),
        ("the random seed", common.set_random_seed),
        ("create_environment.seed", _beginnings),
    ],
)
def test_what_is_no_seed_is_named(seed: Any, owner: str, use: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        use(seed)
    text = str(error.value)
    assert f"{owner} is {seed!r}" in text
    assert "an integer from 0 to 2**63 - 1" in text or "allowed: a whole number" in text
    assert len(text) < 300


@pytest.mark.parametrize("seed", ["x", 2**70])
def test_get_env_names_the_setting(seed: Any) -> None:
    alf.reset_configs()
    try:
        with pytest.raises((TypeError, ValueError), match=r"TrainerConfig.random_seed is"):
            _get_env(seed)
    finally:
        alf.reset_configs()


def _get_env(seed: Any) -> Any:
    alf.config("TrainerConfig", random_seed=seed)
    return alf.get_env()
