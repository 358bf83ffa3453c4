"""Conf files of installed packages: found from any folder, by their names.

A distribution declares its package of conf files as an entry point of the group `alf.conf_files`,
such as `alf_layered = alf_configs` in its `setup.py`.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

GROUP = "alf.conf_files"
_SUFFIXES = ("", "_conf.py", ".py", ".gin")


def directories() -> list[Path]:
    """The folders of all packages of conf files, without importing them."""
    found: dict[Path, None] = {}
    for name in sorted({point.value for point in entry_points(group=GROUP)}):
        spec = importlib.util.find_spec(name)
        if spec is not None:
            found.update((Path(place), None) for place in spec.submodule_search_locations or ())
    return list(found)


def names_of(conf_file: Path) -> list[Path]:
    """The names that `conf_file` may stand for: `x` also stands for `x_conf.py` and `x.py`."""
    if conf_file.suffix in (".py", ".gin"):
        return [conf_file]
    return [conf_file.with_name(conf_file.name + suffix) for suffix in _SUFFIXES]


def candidates(conf_file: Path, folders: Iterable[Path]) -> Iterator[Path]:
    """Where in the packages' folders the file may be, with or without the folder's own name."""
    for folder in folders:
        inside = [conf_file]
        if len(conf_file.parts) > 1 and conf_file.parts[0] == folder.name:
            inside.append(Path(*conf_file.parts[1:]))
        yield from (folder / name for path in inside for name in names_of(path))


def nearest(conf_file: Path, folders: Iterable[Path]) -> list[str]:
    """Up to three names of conf files in the folders that are spelled like `conf_file`."""
    known = sorted(
        {
            _short(path.name)
            for folder in folders
            if folder.is_dir()
            for path in folder.iterdir()
            if path.name.endswith(("_conf.py", ".gin"))
        }
    )
    return difflib.get_close_matches(_short(conf_file.name), known, n=3)


def _short(name: str) -> str:
    return name.removesuffix(".py").removesuffix("_conf")
