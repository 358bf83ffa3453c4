"""Damaged checkpoint files are noticed; whatever they contain, no code of it runs."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import random
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from alf._conf_files import write_text
from alf.trainers._run_files import _pack
from alf.utils import _checkpoint_archive as archive
from alf.utils import _checkpoint_files as files
from alf.utils.checkpoint_utils import Checkpointer, extract_sub_state_dict_from_checkpoint


class _Trained(nn.Module):
    """Values in all three files."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((300,), value))
        self._replay_buffer = nn.Module()
        self._replay_buffer.register_buffer("records", torch.full((300,), value))
        self.moments = torch.full((300,), value)

    def state_dict(self, *args, **kwargs):
        return {**super().state_dict(*args, **kwargs), "_optimizers.0": {"m": self.moments}}

    def load_state_dict(self, state_dict, strict=True):
        state = dict(state_dict)
        self.moments = state.pop("_optimizers.0")["m"].clone()
        return super().load_state_dict(state, strict=strict)

    def values(self) -> list[float]:
        tensors = [self.weight.detach(), self._replay_buffer.records, self.moments]
        return sorted(set(torch.cat(tensors).tolist()))


@pytest.fixture
def folder(tmp_path):
    for step in (1, 2):
        Checkpointer(str(tmp_path), algorithm=_Trained(float(step))).save(step)
    return tmp_path


def _load(folder, caplog) -> tuple[int, list[float]]:
    algorithm = _Trained()
    caplog.clear()
    with caplog.at_level(logging.WARNING, "absl"):
        step = Checkpointer(str(folder), algorithm=algorithm).load()
    return step, algorithm.values()


def _flipped(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]


def _zeroed(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes(len(content[at : at + 512])) + content[at + 512 :]


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


@pytest.mark.parametrize("damage", [_flipped, _zeroed, _cut])
@pytest.mark.parametrize("part", files.PARTS)
def test_damage_falls_back_with_one_warning_or_changes_nothing(folder, part, damage, caplog):
    rng = random.Random(f"{damage.__name__} {part}")
    path = files.part_path(str(folder), 2, part)
    content = Path(path).read_bytes()
    num_noticed = 0
    for _ in range(12):
        Path(path).write_bytes(damage(content, rng))
        step, values = _load(folder, caplog)
        assert values == [float(step)]
        if step == 1:
            num_noticed += 1
            assert len(caplog.messages) == 1
            assert path in caplog.text
            assert len(caplog.messages[0]) < 400
    assert num_noticed >= (12 if damage is _cut else 5)


@pytest.mark.parametrize("part", files.PARTS)
def test_a_missing_file_falls_back_and_is_named(folder, part, caplog):
    path = files.part_path(str(folder), 2, part)
    os.unlink(path)
    assert _load(folder, caplog) == (1, [1.0])
    assert caplog.messages == [f"skipped checkpoint 2: {path} is missing"]


def test_model_files_all_gone_are_an_error_and_no_fresh_start(folder):
    for step in (1, 2):
        os.unlink(files.part_path(str(folder), step, files.MODEL))
    assert Checkpointer(str(folder), algorithm=_Trained()).newest_step() == 2
    with pytest.raises(ValueError, match=r"no checkpoint .* can be read.*ckpt-2 is missing"):
        Checkpointer(str(folder), algorithm=_Trained()).load()


def test_what_is_newer_and_unreadable_is_set_aside(folder, caplog):
    (folder / "ckpt-2").write_bytes(b"")
    checkpointer = Checkpointer(str(folder), algorithm=_Trained())
    checkpointer.set_newer_aside(checkpointer.load())
    assert checkpointer.steps() == [1]
    assert {p.name for p in folder.glob("damaged-*")} == {
        "damaged-ckpt-2",
        "damaged-ckpt-2-optimizer",
        "damaged-ckpt-2-replay_buffer",
    }


class _Code:
    def __init__(self, path) -> None:
        self._path = str(path)

    def __reduce__(self):
        return os.mkdir, (self._path,)


def _rewrite(path, **contents: bytes) -> None:
    """Writes the archive anew, with right checksums, and other records `<root>/<name>.pkl`."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in records.items():
            new = contents.get(name.partition("/")[2].partition(".")[0], content)
            archive.writestr(zipfile.ZipInfo(name), new)


@pytest.mark.parametrize("part", files.PARTS)
def test_code_in_a_checkpoint_does_not_run(folder, part, caplog):
    ran = folder / "ran"
    path = files.part_path(str(folder), 2, part)
    _rewrite(path, data=pickle.dumps({"algorithm": _Code(ran)}, protocol=2))
    assert _load(folder, caplog) == (1, [1.0])
    assert not ran.exists()
    assert "it holds code or objects (posix.mkdir)" in caplog.text
    assert len(caplog.messages) == 1
    with pytest.raises(ValueError, match="code or objects"):
        extract_sub_state_dict_from_checkpoint("", path)


def test_compressed_records_are_refused(folder):
    path = str(folder / "ckpt-2")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("ckpt-2/bomb", bytes(10**8))
    assert os.path.getsize(path) < 10**6
    with pytest.raises(ValueError, match="compressed"):
        archive.read(path)


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "ckpt-2/../x", "other/x"])
def test_records_that_lead_elsewhere_are_refused(folder, name):
    path = str(folder / "ckpt-2")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, b"x")
    with pytest.raises(ValueError, match="names that torch"):
        archive.read(path)


@pytest.mark.parametrize("mmap", [False, True])
def test_a_tensor_larger_than_its_record_is_refused(folder, mmap):
    path = str(folder / "ckpt-2")
    with zipfile.ZipFile(path) as file:
        content = file.read("archive/data.pkl")
    count = (300).to_bytes(2, "little")
    assert b"M" + count in content
    _rewrite(path, data=content.replace(b"M" + count, b"\x8a\x06\x00\x00\x00\x00\x00\x01", 1))
    with pytest.raises(ValueError, match="cannot be read"):
        archive.read(path, mmap=mmap)


class _FullDisk:
    def __init__(self, file) -> None:
        self._file = file
        self._left = 1000

    def write(self, data) -> int:
        self._left -= len(data)
        if self._left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(data)

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


def _open_full(path, mode):
    return _FullDisk(Path(path).open(mode))


def test_a_full_disk_is_named_with_the_file_and_leaves_what_is_there(folder, monkeypatch, caplog):
    before = sorted(os.listdir(folder))
    with monkeypatch.context() as patch:
        patch.setattr(archive, "open", _open_full, raising=False)
        with pytest.raises(OSError, match=r"ckpt-3-optimizer.new cannot be .*the disk is full"):
            Checkpointer(str(folder), algorithm=_Trained(3.0)).save(3)
    assert sorted(os.listdir(folder)) == before
    assert _load(folder, caplog) == (2, [2.0])


def _write_conf(path):
    write_text(path, "text")


def _write_snapshot(path):
    _pack(__file__, "file", str(path))


def _write_structure(path):
    checkpointer = Checkpointer(str(path.parent), algorithm=_Trained(3.0))
    checkpointer._write_structure({"optimizer": {"entry": {}}})


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a file that is always full")
@pytest.mark.parametrize(
    ("write", "name", "written"),
    [
        (_write_conf, "conf.py", f".conf.py.{os.getpid()}.tmp"),
        (_write_snapshot, "alf.tar.gz", "alf.tar.gz.new"),
        (_write_structure, "ckpt-structure-optimizer.json", "ckpt-structure-optimizer.json"),
    ],
    ids=["configuration", "snapshot", "structure"],  # the process id is not in a name
)
def test_each_file_of_a_run_that_finds_the_disk_full_is_named(tmp_path, write, name, written):
    (tmp_path / written).symlink_to("/dev/full")
    with pytest.raises(OSError, match=r".") as caught:
        write(tmp_path / name)
    assert caught.value.errno == errno.ENOSPC
    assert str(tmp_path / name) in str(caught.value)
