"""Files that somebody else has made: none may run code, and each is refused with one line."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from alf._conf_values import conf_value
from alf.bin._search import read_search
from alf.trainers._run_files import unzip_alf_snapshot
from alf.utils._checkpoint_archive import read
from benchmarks.torture.table import Row

_LONGEST_LINE = 400


class _Call:
    """A pickle of it calls a function when it is loaded."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


def rows(folder: Path, *, short: bool, seed: int = 0) -> list[Row]:
    del short, seed  # all of them in a second
    cases = {name[1:]: case for name, case in globals().items() if name.startswith("_case")}
    noticed = lost = 0
    notes = []
    for name, case in cases.items():
        place = folder / name
        place.mkdir()
        ran = place / "ran"
        try:
            case(place, ran)
            message = ""
        except (ValueError, OSError) as error:
            message = str(error)
        except Exception as error:
            message = ""
            notes.append(f"{name}: {type(error).__name__}: {error}")
        is_refused = 0 < len(message) <= _LONGEST_LINE and "\n" not in message
        outside = (folder / "outside").exists()
        noticed += is_refused
        if ran.exists() or outside or not is_refused:
            lost += 1
            notes.append(f"{name}: {'code ran' if ran.exists() else message[:100] or 'no error'}")
    count = len(cases)
    return [Row("hostile files", count, noticed, count - lost, lost, "; ".join(notes))]


def _saved(path: Path) -> Path:
    torch.save({"algorithm": {"weight": torch.arange(300.0)}}, path)
    return path


def _rewritten(path: Path, data: bytes | None = None, **records: bytes) -> None:
    """Writes a saved file anew, with right checksums, another pickle and more records."""
    with zipfile.ZipFile(_saved(path)) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(contents)).partition("/")[0]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            new = content if data is None or not name.endswith("data.pkl") else data
            archive.writestr(zipfile.ZipInfo(name), new)
        for name, content in records.items():
            archive.writestr(zipfile.ZipInfo(f"{root}/{name}"), content)


def _case_code_in_a_model(place: Path, ran: Path) -> None:
    _rewritten(place / "ckpt-1", pickle.dumps({"algorithm": _Call(os.mkdir, str(ran))}, 2))
    read(str(place / "ckpt-1"))


def _case_code_in_a_replay_buffer(place: Path, ran: Path) -> None:
    path = place / "ckpt-1-replay_buffer"
    _rewritten(path, pickle.dumps({"algorithm": {"x": _Call(os.system, f"touch {ran}")}}, 2))
    read(str(path), mmap=True)


def _case_code_by_eval(place: Path, ran: Path) -> None:
    text = f"__import__('os').mkdir({str(ran)!r})"
    _rewritten(place / "ckpt-1-optimizer", pickle.dumps({"x": _Call(eval, text)}, 4))
    read(str(place / "ckpt-1-optimizer"))


def _case_code_by_another_load(place: Path, ran: Path) -> None:
    inner = place / "inner"
    inner.write_bytes(pickle.dumps(_Call(os.mkdir, str(ran))))
    _rewritten(place / "ckpt-1", pickle.dumps({"x": _Call(torch.load, str(inner))}, 2))
    read(str(place / "ckpt-1"))


def _case_a_bare_pickle(place: Path, ran: Path) -> None:
    (place / "ckpt-1").write_bytes(pickle.dumps(_Call(os.mkdir, str(ran))))
    read(str(place / "ckpt-1"))


def _case_a_zip_bomb(place: Path, ran: Path) -> None:
    with zipfile.ZipFile(_saved(place / "ckpt-1"), "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ckpt-1/data/1", bytes(2**28))
    read(str(place / "ckpt-1"))


def _case_names_that_lead_out(place: Path, ran: Path) -> None:
    with zipfile.ZipFile(_saved(place / "ckpt-1"), "a") as archive:
        archive.writestr("ckpt-1/../../outside", b"x")
    read(str(place / "ckpt-1"))


def _case_a_tensor_of_terabytes(place: Path, ran: Path) -> None:
    with zipfile.ZipFile(_saved(place / "ckpt-1")) as archive:
        name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        content = archive.read(name)
    huge = content.replace(b"M" + (300).to_bytes(2, "little"), b"\x8a\x06" + b"\0" * 5 + b"\x01")
    assert huge != content
    _rewritten(place / "ckpt-1", huge)
    read(str(place / "ckpt-1"), mmap=True)


def _case_a_huge_header(place: Path, ran: Path) -> None:
    path = place / "ckpt-1"
    _rewritten(path)
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\x01\x02")  # the first entry of the central directory
    content[at + 20 : at + 28] = (b"\xff" * 3 + b"\x7f") * 2  # sizes of 2 GB
    path.write_bytes(content)
    read(str(path))


def _case_a_snapshot_that_leads_out(place: Path, ran: Path) -> None:
    with tarfile.open(place / "alf.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("../../outside")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    unzip_alf_snapshot(str(place))


def _case_code_in_a_search(place: Path, ran: Path) -> None:
    code = f"[__import__('os').mkdir({str(ran)!r})]"
    (place / "search.json").write_text(json.dumps({"parameters": {"Adam.lr": code}}))
    read_search(str(place / "search.json"))


def _case_code_in_a_parameter(place: Path, ran: Path) -> None:
    conf_value(f"__import__('os').mkdir({str(ran)!r})")
