"""Files of a run: its configuration, and a snapshot of the code it was made with."""

from __future__ import annotations

import os
import pathlib
import shutil
import tarfile
from typing import Any

from absl import flags

from alf._conf_files import naming
from alf.config_util import get_inoperative_configs, get_operative_configs, save_config
from alf.summary import summary_ops as summary
from alf.utils._paths import abs_path

ALF_CONFIG_FILE = "alf_config.py"
ALF_GIN_FILE = "alf_config.gin"
_SNAPSHOT_ROOTS = "ALF_SNAPSHOT_REPO_ROOTS"
_SNAPSHOT_SUFFIXES = {".py", ".json", ".xml", ".cpp", ".png", ".txt", ".so", ".gin", ".typed"}


def _flag(name: str, default: Any = None) -> Any:
    """Value of a command line flag; `default` where it is not defined or not parsed."""
    values = flags.FLAGS
    return getattr(values, name) if values.is_parsed() and name in values else default


def get_conf_file(root_dir: str | None = None) -> str | None:
    """The conf file of this run: `--conf`, else `--gin_file`, else that of the root directory.

    The latter is `alf_config.py`, else `alf_config.gin` or the only gin file there. None if there
    is none.

    Args:
        root_dir: None: that of the flag `--root_dir`.
    """
    conf = _flag("conf") or _flag("gin_file")
    if conf:
        return conf
    root_dir = root_dir or _flag("root_dir")
    return None if root_dir is None else _saved_conf_file(abs_path(root_dir))


def _saved_conf_file(root_dir: str) -> str | None:
    for name in (ALF_CONFIG_FILE, ALF_GIN_FILE):
        path = os.path.join(root_dir, name)
        if os.path.isfile(path):
            return path
    gin_files = [str(path) for path in pathlib.Path(root_dir).glob("*.gin")]
    if len(gin_files) > 1:
        raise ValueError(
            f"there are several gin files in {root_dir}: {', '.join(sorted(gin_files))}; name one "
            "with --gin_file"
        )
    return gin_files[0] if gin_files else None


def conf_params_for(conf_file: str) -> list[str]:
    """The flags `--conf_param`, or `--gin_param` for a gin file.

    Raises ValueError if the other ones are given.
    """
    wanted, other = "conf_param", "gin_param"
    if conf_file.endswith(".gin"):
        wanted, other = other, wanted
    if _flag(other):
        raise ValueError(
            f"--{other}={_flag(other)} does not go with {conf_file}; allowed for it: --{wanted}"
        )
    return list(_flag(wanted) or [])


def read_conf_file(root_dir: str) -> str:
    """The text of the configuration saved in the root directory of a run.

    Raises FileNotFoundError if there is none.
    """
    path = _saved_conf_file(abs_path(root_dir))
    if path is None:
        raise FileNotFoundError(f"there is no {ALF_CONFIG_FILE} in {root_dir!r}")
    with open(path, encoding="utf-8") as file:
        return file.read()


def write_config(root_dir: str) -> None:
    """Save the configuration of this run, so that `--root_dir` alone can continue it."""
    root_dir = abs_path(root_dir)
    os.makedirs(root_dir, exist_ok=True)
    save_config(os.path.join(root_dir, ALF_CONFIG_FILE))


# ---------------------------------------------------------------------------------------------
# Gin


def get_gin_file() -> list[str]:
    """The gin file of this run, `--gin_file` or that of `--root_dir`, as list; else empty."""
    conf_file = get_conf_file()
    return [conf_file] if conf_file and conf_file.endswith(".gin") else []


def get_gin_confg_strs() -> tuple[str, str]:
    """The used and the configured but unused values, as lines of gin."""

    def lines(configs: list[tuple[str, Any]]) -> str:
        return "\n".join(f"{name} = {value!r}" for name, value in configs)

    return lines(get_operative_configs()), lines(get_inoperative_configs())


def copy_gin_configs(root_dir: str, gin_files: list[str]) -> None:
    """Copy gin files into the root directory of a run."""
    os.makedirs(abs_path(root_dir), exist_ok=True)
    for path in gin_files:
        shutil.copyfile(path, os.path.join(abs_path(root_dir), os.path.basename(path)))


def write_gin_configs(root_dir: str, gin_file: str) -> None:
    """Save the gin configuration of this run as `<root_dir>/<gin_file>`, includes written out."""
    if not gin_file.endswith(".gin"):
        raise ValueError(f"gin_file is {gin_file!r}; its name has to end with .gin")
    save_config(os.path.join(abs_path(root_dir), gin_file))


def summarize_gin_config() -> None:
    """Write the used and the unused configuration values as texts."""
    operative, inoperative = get_gin_confg_strs()
    with summary.record_if(lambda: True):
        summary.text("gin/operative_config", f"```\n{operative}\n```")
        summary.text("gin/inoperative_config", f"```\n{inoperative}\n```")


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

    with naming(archive), tarfile.open(archive + ".new", "w:gz") as tar:
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
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(target, filter="data")
        except tarfile.TarError as error:
            raise ValueError(f"{archive} cannot be unpacked: {error}") from error
    return target


def get_alf_snapshot_env_vars(root_dir: str) -> dict[str, str]:
    """The environment of a process that shall use the unpacked snapshot of `root_dir`."""
    target = os.path.join(abs_path(root_dir), "snapshot")
    python_path = os.pathsep.join(filter(None, [target, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": python_path}
