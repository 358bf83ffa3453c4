"""`newest_checkpoint` finds what a run has saved last."""

from __future__ import annotations

from pathlib import Path

import pytest

from alf_layered import newest_checkpoint


def test_the_largest_number_counts_and_parts_of_checkpoints_do_not(tmp_path: Path) -> None:
    folder = tmp_path / "train" / "algorithm"
    folder.mkdir(parents=True)
    for name in ("ckpt-9", "ckpt-10", "ckpt-11-optimizer", "ckpt-structure.json"):
        (folder / name).touch()
    assert newest_checkpoint(str(tmp_path)) == str(folder / "ckpt-10")


def test_a_checkpoint_stays_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ckpt-9"
    path.touch()
    (tmp_path / "ckpt-10").touch()
    assert newest_checkpoint(str(path)) == str(path)


def test_a_folder_without_checkpoints_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"runs/nothing.*root_dir"):
        newest_checkpoint("runs/nothing")
    with pytest.raises(ValueError, match="ckpt-N"):
        newest_checkpoint(str(tmp_path))
