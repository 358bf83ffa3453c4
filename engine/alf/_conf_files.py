"""Conf files: finding, running, remembering and saving them."""

from __future__ import annotations

import ast
import os
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from absl import logging

from alf import _packaged_confs

_MODULE_PREFIX = "_alf_conf_"


class ConfigModule:
    """The globals of a conf file as attributes."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.__dict__.update(
            (name, value) for name, value in values.items() if not name.startswith("__")
        )


class _Loaded:
    """The conf files this process has run."""

    def __init__(self) -> None:
        self.root: Path | None = None
        self.running: list[Path] = []
        self.modules: dict[Path, ConfigModule | None] = {}
        self.texts: dict[Path, str] = {}
        self.save: Callable[[Path], None] | None = None


_loaded = _Loaded()


def load_root(conf_file: str) -> ConfigModule:
    """Runs the one main conf file of this process."""
    path = find_root(conf_file)
    _loaded.root = path
    try:
        return _run(path)
    except BaseException:
        _loaded.root = None
        raise


def find_root(conf_file: str) -> Path:
    """Where the one main conf file of this process is."""
    if _loaded.root is not None:
        raise ValueError(
            f"cannot load {conf_file!r}: {str(_loaded.root)!r} is loaded already. "
            "Call reset_configs() first, or import_config() inside the conf file"
        )
    return find(conf_file, [Path.cwd(), *search_path()])


def note_root(path: Path, save: Callable[[Path], None]) -> None:
    """Notes that ``path``, which is no Python file, is the main conf file of this process.

    Args:
        save: writes what was read to the path it is called with.
    """
    _loaded.root = path
    _loaded.save = save


def current_place() -> str:
    """file:line of the innermost conf file that is running; "" if there is none."""
    frame = sys._getframe() if _loaded.running else None
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_MODULE_PREFIX):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def import_once(conf_file: str) -> ConfigModule:
    """Runs a conf file unless it has run already."""
    here = _loaded.running[-1].parent if _loaded.running else Path.cwd()
    path = find(conf_file, [here, *search_path()])
    if path in _loaded.running:
        circle = " -> ".join(str(p) for p in [*_loaded.running, path])
        raise ValueError(f"conf files import each other in a circle: {circle}")
    known = _loaded.modules.get(path)
    return _run(path) if known is None else known


def forget_all() -> None:
    """Lets every conf file be loaded again."""
    global _loaded
    for path in _loaded.modules:
        sys.modules.pop(_module_name(path), None)
    _loaded = _Loaded()


def search_path() -> list[Path]:
    """The directories of the environment variable ``ALF_CONFIG_PATH``."""
    value = os.environ.get("ALF_CONFIG_PATH", "")
    return [Path(directory).expanduser() for directory in value.split(os.pathsep) if directory]


def find(conf_file: str, directories: list[Path]) -> Path:
    """The first file of this name in the directories, else in the packages of conf files.

    `x` also stands for `x_conf.py` and `x.py`. Raises FileNotFoundError, which tells where it
    looked and which names are near.
    """
    wanted = Path(conf_file).expanduser()
    names = _packaged_confs.names_of(wanted)
    packaged = [] if wanted.is_absolute() else _packaged_confs.directories()
    candidates = [d / n for d in directories for n in names]  # an absolute n replaces d
    for candidate in [*candidates, *_packaged_confs.candidates(wanted, packaged)]:
        if candidate.is_file():
            return candidate.resolve()
    folders = [(d / wanted).parent for d in directories]
    near = _packaged_confs.nearest(wanted, [*folders, *packaged])
    places = dict.fromkeys(str(d / wanted) for d in [*directories, *packaged])
    hint = f" Names near it: {', '.join(near)}." if near else ""
    raise FileNotFoundError(
        f"conf file {conf_file!r} does not exist.{hint} Looked for: {', '.join(places)}"
    )


def _module_name(path: Path) -> str:
    return f"{_MODULE_PREFIX}{path.stem}"


def _run(path: Path) -> ConfigModule:
    text = path.read_text(encoding="utf-8")
    module = types.ModuleType(_module_name(path))
    module.__file__ = str(path)
    # Registered, so that what a conf file defines can be pickled and resolves its annotations.
    sys.modules[module.__name__] = module
    with _while_running(path):
        exec(compile(text, str(path), "exec"), module.__dict__)
    result = ConfigModule(module.__dict__)
    _loaded.modules[path] = result
    _loaded.texts[path] = text
    return result


@contextmanager
def _while_running(path: Path) -> Iterator[None]:
    _loaded.running.append(path)
    try:
        yield
    finally:
        _loaded.running.pop()


def save(alf_config_file: str, presets: Mapping[str, Any], preset_texts: Mapping[str, str]) -> None:
    """Writes a conf file with the presets that imports copies of the conf files run here.

    Args:
        alf_config_file: where to write it; the copies go to ``config_files/`` beside it.
        presets: the values that were preset.
        preset_texts: Python text of presets, where it is known.
    """
    root = _loaded.root
    if root is None:
        raise ValueError("there is no conf file to save: load_config() was not called")
    target = Path(alf_config_file).expanduser().resolve()
    if _loaded.save is not None:
        _loaded.save(target)
        return
    copies = target.parent / "config_files"
    if root == target:
        # A resumed run: this file was written by a run before, and so were the copies.
        preset_texts = {**_preset_texts_in(_loaded.texts[root]), **preset_texts}
        root = _first_import(target, copies)
    for path, text in _loaded.texts.items():
        if path == target or copies in path.parents:
            continue
        if root.parent in path.parents:
            write_text(copies / path.relative_to(root.parent), text)
        else:
            logging.warning(
                "conf file %s lies outside %s and is not saved with the run", path, root.parent
            )
    base = copies if copies in root.parents else root.parent
    imported = (Path("config_files") / root.relative_to(base)).as_posix()
    texts = {name: preset_texts.get(name) or _literal(name, presets[name]) for name in presets}
    write_text(target, _text_of_saved_conf(imported, {n: t for n, t in texts.items() if t}))


def _literal(name: str, value: Any) -> str | None:
    text = repr(value)
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError):
        logging.warning("pre-config %s cannot be saved: %s is no Python literal", name, text)
        return None
    return text


def _first_import(target: Path, copies: Path) -> Path:
    # The main conf of the copies is the last to end among those that the saved file imports.
    inside = [path for path in _loaded.texts if copies in path.parents]
    return inside[-1] if inside else target


def _preset_texts_in(text: str) -> dict[str, str]:
    """The entries of the ``alf.pre_config({...})`` of a saved conf file as Python text."""
    calls = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "alf.pre_config"
    ]
    pairs = [
        pair
        for call in calls
        if call.args and isinstance(call.args[0], ast.Dict)
        for pair in zip(call.args[0].keys, call.args[0].values, strict=True)
    ]
    return {
        key.value: ast.unparse(value)
        for key, value in pairs
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }


def _text_of_saved_conf(imported: str, preset_texts: Mapping[str, str]) -> str:
    lines = ["import alf", ""]
    if preset_texts:
        lines.append("alf.pre_config({")
        lines.extend(f"    {name!r}: {text}," for name, text in preset_texts.items())
        lines.extend(["})", ""])
    lines.append(f"config = alf.import_config({imported!r})")
    return "\n".join(lines) + "\n"


def write_text(path: Path, text: str) -> None:
    """Writes a file that is there completely or not at all; makes its directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with naming(path):
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Inside, an `OSError` that names no file names this one, as where a disk is full."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
