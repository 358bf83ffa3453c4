"""Configurations give each level networks, losses and optimizers of its own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import alf
from tests.runs import REPOSITORY
from tests.test_alf_names import API

NAMES = sorted(
    path.name.removesuffix("_conf.py") for path in REPOSITORY.glob("alf_configs/*_conf.py")
)
GLOBAL = (
    "ActorDistributionNetwork",
    "ActorNetwork",
    "CriticNetwork",
    "QNetwork",
    "ValueNetwork",
    "NormalProjectionNetwork",
    "OneStepTDLoss",
    "TAACTDLoss",
    "ProbFCDynamics",
    "ProbabilisticEnsemble",
)
"""What all levels would share if it were configured by name."""


@pytest.fixture(autouse=True)
def _no_configuration() -> Iterator[None]:
    alf.reset_configs()
    yield
    alf.reset_configs()


def _parse(name: str, folder: Path) -> None:
    """Runs a conf file without making its environment."""
    checkpoint = folder / "train" / "algorithm" / "ckpt-1"
    for suffix in ("", "-optimizer", "-replay_buffer"):
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        torch.save({}, checkpoint.with_name(checkpoint.name + suffix))
    needs = {"splates_reuse_maze2d": f"_CONFIG._USER.skills={str(folder)!r}"}
    conf_file = str(REPOSITORY / "alf_configs" / f"{name}_conf.py")
    alf.parse_config(conf_file, [needs[name]] if name in needs else [], create_env=False)


def _constructors() -> list[Any]:
    levels = alf.get_config_value("HierarchyAgent.levels")
    return list(levels or [alf.get_config_value("TrainerConfig.algorithm_ctor")])


def _partials(constructor: Any) -> Iterator[partial]:
    """A constructor's partial and those in its arguments."""
    if isinstance(constructor, partial):
        yield constructor
        for value in (*constructor.args, *constructor.keywords.values()):
            yield from _partials(value)


def _upstream_arguments(name: str) -> set[str]:
    """The arguments of upstream's class of this name, of its bases where it passes them on."""
    found: set[str] = set()
    for content in API.values():
        entry = content.get("classes", {}).get(name)
        if entry and entry.get("init"):
            words = {parameter.partition("=")[0] for parameter in entry["init"]}
            found |= words
            if "**kwargs" in words:
                found |= {w for base in entry["bases"] for w in _upstream_arguments(_last(base))}
    return found


def _last(dotted: str) -> str:
    return dotted.rpartition(".")[2]


def _optimizers(constructor: Any) -> Iterator[torch.optim.Optimizer]:
    """All optimizers in the arguments of a constructor and of the constructors in them."""
    if isinstance(constructor, torch.optim.Optimizer):
        yield constructor
    elif isinstance(constructor, partial):
        for value in (*constructor.args, *constructor.keywords.values()):
            yield from _optimizers(value)


@pytest.mark.parametrize("name", NAMES)
def test_levels_share_no_optimizer_and_no_setting_of_networks_or_losses(
    name: str, tmp_path: Path
) -> None:
    _parse(name, tmp_path)
    shared = {
        setting for setting, _ in alf.get_inoperative_configs() if setting.split(".")[-2] in GLOBAL
    }
    assert not shared
    found = [x for constructor in _constructors() for x in _optimizers(constructor)]
    assert len(found) == len({id(x) for x in found})


@pytest.mark.parametrize("name", NAMES)
def test_a_second_parse_makes_the_levels_anew(name: str, tmp_path: Path) -> None:
    """Nothing is configured by importing the building blocks, and nothing is kept in them."""
    made = []
    for _ in range(2):
        alf.reset_configs()
        _parse(name, tmp_path)
        made.append([x for c in _constructors() for x in _optimizers(c)])
        settings = dict(alf.get_inoperative_configs())
        assert settings["alf.environments.utils.create_environment.env_name"]
    assert len(made[0]) == len(made[1])
    assert not {id(x) for x in made[0]} & {id(x) for x in made[1]}


@pytest.mark.parametrize("name", NAMES)
def test_all_arguments_that_a_run_gives_are_upstream_alfs(name: str, tmp_path: Path) -> None:
    """The building blocks pass keywords on, which `test_alf_names` does not see."""
    _parse(name, tmp_path)
    unknown = [
        f"{made.func.__name__}({word})"
        for constructor in _constructors()
        for made in _partials(constructor)
        if made.func.__module__.startswith("alf.")
        for word in set(made.keywords) - _upstream_arguments(made.func.__name__)
    ]
    unknown += [
        setting
        for setting, _ in alf.get_inoperative_configs()
        if setting.startswith("alf.")
        and _last(setting) not in _upstream_arguments(setting.split(".")[-2])
        and setting.split(".")[-2] != "create_environment"
    ]
    assert unknown == []
