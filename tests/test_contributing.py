"""CONTRIBUTING.md: its programs and commands run as written, in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.runs import REPOSITORY, environment

TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
COPIED = ("alf_layered", "alf_configs", "engine", "tests", "conftest.py", "pyproject.toml")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def _commands() -> list[str]:
    return [line for block in _blocks("bash") for line in block.splitlines()]


def _copy(folder: Path) -> None:
    """The repository, with the files that the text adds to it."""
    ignore = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
    for name in COPIED:
        place = REPOSITORY / name
        if place.is_dir():
            shutil.copytree(place, folder / name, ignore=ignore)
        else:
            shutil.copy(place, folder / name)
    for block in _blocks("python"):
        header, _, code = block.partition("\n")
        added = folder / header.removeprefix("# ")
        assert header.startswith("# "), header
        assert not added.exists(), f"{added} is there already"
        added.write_text(code, encoding="utf-8")


def test_its_programs_and_commands_run(tmp_path: Path) -> None:
    _copy(tmp_path)
    path = [str(tmp_path), str(tmp_path / "engine"), environment().get("PYTHONPATH", "")]
    surroundings = {**environment(), "PYTHONPATH": os.pathsep.join(path)}
    ran = 0
    for command in _commands():
        if command.startswith("make "):
            continue
        assert command.startswith(".venv/bin/python "), command
        words = [sys.executable, *command.split()[1:]]
        done = subprocess.run(
            words, cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        ran += 1
    assert ran == 6
    assert list((tmp_path / "runs" / "line" / "train" / "algorithm").glob("ckpt-*"))


def test_its_programs_are_formatted(tmp_path: Path) -> None:
    for number, block in enumerate(_blocks("python")):
        (tmp_path / f"block_{number}.py").write_text(block.partition("\n")[2], encoding="utf-8")
    settings = ["--config", str(REPOSITORY / "pyproject.toml"), str(tmp_path)]
    for command in (["format", "--check"], ["check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *settings],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_its_targets_are_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", TEXT, re.MULTILINE))
    assert named
    assert named <= targets
