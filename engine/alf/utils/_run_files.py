"""Files of a run: its configuration, and a snapshot of the code it was made with."""

from __future__ import annotations

import os
import pathlib
import tarfile
from typing import Any

from absl import flags

ALF_CONFIG_FILE = "alf_config.py"
_SNAPSHOT_ROOTS = "ALF_SNAPSHOT_REPO_ROOTS"
_SNAPSHOT_SUFFIXES = {".py", ".json", ".xml", ".cpp", ".png", ".txt", ".so", ".gin", ".typed"}


def abs_path(path: str) -> str:
    """`path` absolute, with `~` and environment variables expanded."""
    return os.path.abspath(os.path.expanduser(os.path.expandvars(path)))


def _flag(name: str, default: Any = None) -> Any:
    """Value of a command line flag; `default` where it is not defined or not parsed."""
    values = flags.FLAGS
    return getattr(values, name) if values.is_parsed() and name in values else default


def get_conf_file(root_dir: str | None = None) -> str | None:
    """The conf file of this run: `--conf`, else `alf_config.py` in the root directory, else None.

    Args:
        root_dir: None: that of the flag `--root_dir`.
    """
    conf = _flag("conf")
    if conf:
        return conf
    if _flag("gin_file"):
        raise _no_gin("--gin_file")
    root_dir = root_dir or _flag("root_dir")
    if root_dir is None:
        return None
    path = os.path.join(abs_path(root_dir), ALF_CONFIG_FILE)
    return path if os.path.isfile(path) else None


def parse_conf_file(conf_file: str) -> Any:
    """Parse a conf file, with the parameters of the flag `--conf_param`."""
    from alf.config_helpers import parse_config

    if conf_file.endswith(".gin"):
        raise _no_gin(conf_file)
    return parse_config(conf_file, _flag("conf_param", []))


def read_conf_file(root_dir: str) -> str:
    """The text of the configuration saved in the root directory of a run.

    Raises FileNotFoundError if there is none.
    """
    path = os.path.join(abs_path(root_dir), ALF_CONFIG_FILE)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no {ALF_CONFIG_FILE} in {root_dir!r}")
    with open(path, encoding="utf-8") as file:
        return file.read()


def write_config(root_dir: str) -> None:
    """Save the configuration of this run, so that `--root_dir` alone can continue it."""
    from alf.config_util import save_config

    root_dir = abs_path(root_dir)
    os.makedirs(root_dir, exist_ok=True)
    save_config(os.path.join(root_dir, ALF_CONFIG_FILE))


# ---------------------------------------------------------------------------------------------
# Gin


def _no_gin(what: str) -> ValueError:
    return ValueError(
        f"{what}: gin configuration is not supported; write the settings as a Python conf file "
        "with alf.config(...) and give it with --conf"
    )


def get_gin_file() -> list[str]:
    """Refused: gin is not supported."""
    raise _no_gin("get_gin_file()")


def get_gin_confg_strs() -> tuple[str, str]:
    """Refused: gin is not supported."""
    raise _no_gin("get_gin_confg_strs()")


def copy_gin_configs(root_dir: str, gin_files: list[str]) -> None:
    """Refused: gin is not supported."""
    raise _no_gin("copy_gin_configs()")


def write_gin_configs(root_dir: str, gin_file: str) -> None:
    """Refused: gin is not supported."""
    raise _no_gin("write_gin_configs()")


def summarize_gin_config() -> None:
    """Refused: gin is not supported."""
    raise _no_gin("summarize_gin_config()")


# ---------------------------------------------------------------------------------------------
# Snapshots of the code


def alf_root() -> str:
    """The directory which contains the package `alf`."""
    return str(pathlib.Path(__file__).resolve().parents[2])


def is_repo_root(dir: str, module_name: str) -> bool:
    """Whether `dir` contains the Python package `module_name`."""
    return os.path.isfile(os.path.join(dir, module_name, "__init__.py"))


def snapshot_repo_roots() -> dict[str, str]:
    """Packages that belong into a snapshot, with the directory each one lies in.

    `alf`, and those of the environment variable ALF_SNAPSHOT_REPO_ROOTS="name=dir:name2=dir2".
    """
    roots = {"alf": alf_root()}
    for entry in filter(None, os.environ.get(_SNAPSHOT_ROOTS, "").split(":")):
        name, equals, directory = entry.partition("=")
        directory = abs_path(directory)
        if not equals or not is_repo_root(directory, name):
            raise ValueError(
                f"{_SNAPSHOT_ROOTS} has the entry {entry!r}; allowed: name=directory, where the "
                "directory contains the package"
            )
        roots[name] = directory
    return roots


def generate_alf_snapshot(alf_root: str, conf_file: str, dest_path: str) -> None:
    """Pack each package of `snapshot_repo_roots()` into `<dest_path>/<name>.tar.gz`.

    Args:
        alf_root: the directory which contains the package `alf`.
        conf_file: also packed, as `<dest_path>/conf.tar.gz`, if it lies outside the packages.
    """
    dest_path = abs_path(dest_path)
    os.makedirs(dest_path, exist_ok=True)
    roots = {**snapshot_repo_roots(), "alf": alf_root}
    for name, root in roots.items():
        package = os.path.join(root, name)
        if os.path.commonpath([package, dest_path]) == package:
            raise ValueError(
                f"the snapshot would be written to {dest_path}, inside the package it is made of "
                f"({package}); choose a root_dir outside"
            )
        _pack(package, name, os.path.join(dest_path, f"{name}.tar.gz"))
    packages = [os.path.join(root, name) + os.sep for name, root in roots.items()]
    if conf_file and not abs_path(conf_file).startswith(tuple(packages)):
        _pack(abs_path(conf_file), os.path.basename(conf_file), f"{dest_path}/conf.tar.gz")


def _pack(path: str, name: str, archive: str) -> None:
    def only_code(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if member.isdir():
            return None if os.path.basename(member.name) == "__pycache__" else member
        return member if os.path.splitext(member.name)[1] in _SNAPSHOT_SUFFIXES else None

    with tarfile.open(archive + ".new", "w:gz") as tar:
        tar.add(path, arcname=name, filter=only_code)
    os.replace(archive + ".new", archive)


def unzip_alf_snapshot(root_dir: str) -> str:
    """Unpack the snapshots in `root_dir` into `<root_dir>/snapshot`; returns that directory."""
    root_dir = abs_path(root_dir)
    archives = sorted(pathlib.Path(root_dir).glob("*.tar.gz"))
    if not archives:
        raise FileNotFoundError(f"there is no snapshot (*.tar.gz) in {root_dir!r}")
    target = os.path.join(root_dir, "snapshot")
    for archive in archives:
        with tarfile.open(archive) as tar:
            tar.extractall(target, filter="data")
    return target


def get_alf_snapshot_env_vars(root_dir: str) -> dict[str, str]:
    """The environment of a process that shall use the unpacked snapshot of `root_dir`."""
    target = os.path.join(abs_path(root_dir), "snapshot")
    python_path = os.pathsep.join(filter(None, [target, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": python_path}
