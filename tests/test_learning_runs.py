"""The command that repeats the documentation's runs: what it counts as reached, and how it ends."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from alf_layered.plots.learning_curves import Curve

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def runs() -> ModuleType:
    path = ROOT / "benchmarks" / "learning_runs.py"
    spec = importlib.util.spec_from_file_location("learning_runs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["learning_runs"] = module  # where a dataclass looks for its annotations
    spec.loader.exec_module(module)
    return module


def _curve(*values: float) -> Curve:
    return Curve(10 * np.arange(len(values)), np.array(values))


def test_a_threshold_is_reached_at_any_evaluation(runs: ModuleType) -> None:
    experiment = runs.Experiment({}, "tag", "return", 5.0)
    assert experiment.first_step(_curve(1.0, 5.0, 2.0)) == 10
    assert experiment.first_step(_curve(1.0, 4.0)) is None


def test_what_an_untrained_policy_reaches_does_not_count(runs: ModuleType) -> None:
    experiment = runs.Experiment({}, "tag", "return", 5.0)
    assert experiment.first_step(_curve(9.0, 5.0)) == 10
    assert experiment.first_step(_curve(9.0, 4.0)) is None


def test_learners_from_data_get_those_of_one_run_that_is_made_first(
    runs: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(runs, "train", lambda *args: made.append(args) or 1.0)
    monkeypatch.setattr(runs, "read_curve", lambda root, tag: _curve(0.0, 1.0))
    root = tmp_path / "noise_data_maze2d" / "seed_0"
    runs.main(["iql", "iql_over_iql", "--seeds", "1", "--jobs", "1", "--root_dir", str(tmp_path)])
    assert made == [
        ("noise_data_maze2d_conf.py", 0, root),
        ("iql_maze2d_conf.py", 0, tmp_path / "iql_maze2d" / "seed_0", root),
        ("iql_over_iql_maze2d_conf.py", 0, tmp_path / "iql_over_iql_maze2d" / "seed_0", root),
    ]


def test_a_loss_is_reached_from_above(runs: ModuleType) -> None:
    experiment = runs.Experiment({}, "tag", "loss", 0.5, less_is_better=True)
    assert experiment.first_step(_curve(0.7, 0.6, 0.4)) == 20
    assert experiment.first_step(_curve(0.7, 0.6)) is None


@pytest.mark.parametrize(("name", "status"), [("dqn_cart_pole", 1), ("umaze", 0)])
def test_a_learner_that_misses_its_threshold_fails_the_command_after_all_is_told(
    runs: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    tmp_path: Path,
    name: str,
    status: int,
) -> None:
    """A picture may show what does not learn its task: there, it is no failure."""

    def curve(root: Path, tag: str) -> Any:
        return _curve(-1000.0, -1000.0 if root.name == "seed_1" else 1000.0)

    monkeypatch.setattr(runs, "train", lambda *args: 1.0)
    monkeypatch.setattr(runs, "read_curve", curve)
    monkeypatch.setattr(runs, "draw_learning_curves", lambda *args, **kwargs: None)
    root = ["--root_dir", str(tmp_path)]
    assert runs.main([name, "ppo_cart_pole", "--seeds", "1", *root]) == 0
    assert runs.main([name, *root]) == status
    told = capsys.readouterr().out.splitlines()
    assert ("seed_1 has not reached" in told[-1]) == bool(status)
    assert "by 2 of 3 seeds" in told[-2 if status else -1]


def test_every_learner_has_its_configuration(runs: ModuleType) -> None:
    for experiment in runs.LEARNERS.values():
        for conf in filter(None, [*experiment.runs.values(), experiment.data]):
            assert (ROOT / (conf if "/" in conf else f"alf_configs/{conf}")).exists(), conf
