"""A run is started by the name of a conf file, from any folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from alf import _conf_files, _distribution, _packaged_confs

_ENTRY_POINTS = """\
[alf.conf_files]
one = one_confs
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution whose package `one_confs` has conf files; the folder of these."""
    site = tmp_path / "site"
    info = site / "one-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: one\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(_ENTRY_POINTS)
    package = site / "one_confs"
    package.mkdir()
    for name in ("__init__.py", "ball_balance_conf.py", "hill.py"):
        (package / name).touch()
    monkeypatch.syspath_prepend(str(site))
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    return package


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ball_balance", "ball_balance_conf.py"),
        ("ball_balance_conf", "ball_balance_conf.py"),
        ("ball_balance_conf.py", "ball_balance_conf.py"),
        ("one_confs/ball_balance_conf.py", "ball_balance_conf.py"),
        ("one_confs/ball_balance", "ball_balance_conf.py"),
        ("hill", "hill.py"),
    ],
)
def test_a_conf_of_an_installed_package_is_found(installed: Path, name: str, file: str) -> None:
    assert _conf_files.find(name, [Path.cwd()]) == installed / file


def test_a_file_of_the_working_folder_comes_first(installed: Path) -> None:
    mine = Path.cwd() / "ball_balance_conf.py"
    mine.touch()
    assert _conf_files.find("ball_balance", [Path.cwd()]) == mine


def test_an_unknown_name_is_answered_with_the_nearest_ones(installed: Path) -> None:
    with pytest.raises(FileNotFoundError, match="'ball_balanse' does not exist") as error:
        _conf_files.find("ball_balanse", [Path.cwd()])
    assert "Names near it: ball_balance." in str(error.value)
    assert str(installed) in str(error.value)


def test_an_absolute_name_is_looked_for_there_alone(installed: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        _conf_files.find(str(tmp_path / "hill"), [Path.cwd()])
    assert str(installed) not in str(error.value)


@pytest.mark.parametrize("program", ["train", "play", "grid_search", "verify_checkpoint"])
def test_help_shows_every_flag(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"alf.bin.{program}", "--help"], capture_output=True, text=True
    )
    listed = set(done.stdout.split())
    assert {"--root_dir:", "--conf:", "--conf_param:", "--gin_file:", "--gin_param:"} <= listed
    if program == "grid_search":
        assert {"--search_config:", "--[no]store_snapshot:"} <= listed


def test_another_distribution_of_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _distribution.warn_of_other()
    info = tmp_path / "alf-0.7.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: alf\nVersion: 0.7.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.warns(UserWarning, match=r"'alf' 0\.7\.0 is installed beside 'alf-engine'"):
        _distribution.warn_of_other()


def test_conf_packages_that_are_gone_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "gone-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gone\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[alf.conf_files]\ngone = package_that_is_gone\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not any("gone" in str(folder) for folder in _packaged_confs.directories())
