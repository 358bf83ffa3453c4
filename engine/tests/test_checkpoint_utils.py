"""Checkpoints survive truncation, kills at any moment and unknown contents."""

from __future__ import annotations

import logging
import os
import random
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from alf.utils import _checkpoint_files as files
from alf.utils.checkpoint_utils import (
    Checkpointer,
    LoadedIfItFits,
    enable_checkpoint,
    extract_sub_state_dict_from_checkpoint,
    is_checkpoint_enabled,
)
from alf.utils.rng_state import RngState, preserved_rng_state


class _Buffer(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("content", torch.zeros(5))


class _Algorithm(nn.Module):
    """State of an algorithm with one child: values, one optimizer, two replay buffers."""

    def __init__(self, value: float = 0.0):
        super().__init__()
        self._net = nn.Linear(2, 3)
        self._child = nn.Linear(1, 1)
        self._child._replay_buffer = _Buffer()
        self._replay_buffer = _Buffer()
        self.optimizer = torch.optim.Adam(self._net.parameters())
        self.fill(value)

    def fill(self, value: float) -> None:
        with torch.no_grad():
            for tensor in [*self.parameters(), *self.buffers()]:
                tensor.fill_(value)
        self._net(torch.full((1, 2), value)).sum().backward()
        self.optimizer.step()

    def state_dict(self, *args, **kwargs):
        state = super().state_dict(*args, **kwargs)
        state["_optimizers.0"] = self.optimizer.state_dict()
        return state

    def load_state_dict(self, state_dict, strict=True):
        state_dict = dict(state_dict)
        optimizer = state_dict.pop("_optimizers.0", None)
        result = super().load_state_dict(state_dict, strict=strict)
        if optimizer is None:
            result.missing_keys.append("_optimizers.0")
        else:
            self.optimizer.load_state_dict(optimizer)
        return result


def _values(algorithm: _Algorithm) -> list[float]:
    state = algorithm.state_dict()
    return [state[k].flatten()[0].item() for k in ("_child.bias", "_replay_buffer.content")]


def _truncate(path: str) -> None:
    with open(path, "rb+") as file:
        file.truncate(os.path.getsize(path) // 2)


def _save(directory, value: float, step: int) -> None:
    Checkpointer(str(directory), algorithm=_Algorithm(float(value))).save(step)


def _load(directory, step: int | str = "latest", **kwargs) -> tuple[int, list[float]]:
    algorithm = _Algorithm()
    return Checkpointer(str(directory), algorithm=algorithm).load(step, **kwargs), _values(
        algorithm
    )


def test_each_key_goes_to_its_file(tmp_path):
    _save(tmp_path, 1.0, 7)
    content = {
        part: torch.load(files.part_path(str(tmp_path), 7, part), weights_only=True)
        for part in files.PARTS
    }
    assert sorted(content["replay_buffer"]["algorithm"]) == [
        "_child._replay_buffer.content",
        "_replay_buffer.content",
    ]
    assert list(content["optimizer"]["algorithm"]) == ["_optimizers.0"]
    assert sorted(content["model"]["algorithm"]) == [
        "_child.bias",
        "_child.weight",
        "_net.bias",
        "_net.weight",
    ]
    assert content["model"]["global_step"] == 7
    assert {"ckpt-structure.json", "ckpt-structure-optimizer.json"} < set(os.listdir(tmp_path))


def test_everything_comes_back(tmp_path):
    saved = _Algorithm(2.0)
    Checkpointer(str(tmp_path), algorithm=saved).save(3)
    loaded = _Algorithm()
    assert Checkpointer(str(tmp_path), algorithm=loaded).load() == 3
    torch.testing.assert_close(loaded.state_dict(), saved.state_dict(), rtol=0, atol=0)


def test_latest_is_the_largest_number(tmp_path):
    for step in (9, 100, 20):
        _save(tmp_path, step, step)
    assert _load(tmp_path) == (100, [100.0, 100.0])


@pytest.mark.parametrize("part", files.PARTS)
def test_truncated_newest_set_is_skipped(tmp_path, part, caplog):
    _save(tmp_path, 1.0, 1)
    _save(tmp_path, 2.0, 2)
    _truncate(files.part_path(str(tmp_path), 2, part))
    with caplog.at_level(logging.WARNING, "absl"):
        assert _load(tmp_path) == (1, [1.0, 1.0])
    assert "skipped checkpoint 2" in caplog.text


@pytest.mark.parametrize("part", [files.OPTIMIZER, files.REPLAY_BUFFER])
def test_set_without_a_side_file_is_skipped(tmp_path, part):
    _save(tmp_path, 1.0, 1)
    _save(tmp_path, 2.0, 2)
    os.unlink(files.part_path(str(tmp_path), 2, part))
    assert _load(tmp_path)[0] == 1


def test_nothing_readable_is_an_error_and_not_a_fresh_start(tmp_path):
    _save(tmp_path, 1.0, 1)
    (tmp_path / "ckpt-1").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no checkpoint in .* can be read.*ckpt-1"):
        _load(tmp_path)


def test_no_checkpoint_loads_nothing(tmp_path):
    assert not Checkpointer(str(tmp_path / "none"), algorithm=_Algorithm()).has_checkpoint()
    assert _load(tmp_path / "none") == (-1, [0.0, 0.0])


def test_unknown_step_loads_nothing_and_names_those_that_are_there(tmp_path, caplog):
    _save(tmp_path, 1.0, 4)
    with caplog.at_level(logging.WARNING, "absl"):
        assert _load(tmp_path, 5) == (-1, [0.0, 0.0])
    assert "no checkpoint 5" in caplog.text
    assert "there are: 4" in caplog.text


class _Killed(BaseException):
    pass


def _save_killed_after(monkeypatch, directory, value, step, num_calls) -> bool:
    """Save, dying at the given system call that changes the directory; says whether it died."""
    count = 0

    def counted(original):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count > num_calls:
                raise _Killed
            return original(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", counted(os.replace))
        patch.setattr(files.os, "unlink", counted(os.unlink))
        patch.setattr(files.os, "fsync", counted(os.fsync))
        try:
            _save(directory, value, step)
        except _Killed:
            return True
    return False


@pytest.mark.parametrize("second_step", [1, 2])
def test_killed_at_any_system_call_leaves_a_whole_set(tmp_path, monkeypatch, second_step):
    outcomes = []
    for num_calls in range(100):
        directory = tmp_path / str(num_calls)
        _save(directory, 1.0, 1)
        died = _save_killed_after(monkeypatch, directory, 2.0, second_step, num_calls)
        step, values = _load(directory)
        assert (step, values) in [(1, [1.0, 1.0]), (second_step, [2.0, 2.0])]
        outcomes.append(values[0])
        _save(directory, 3.0, 3)
        assert _load(directory) == (3, [3.0, 3.0])
        assert not [name for name in os.listdir(directory) if name.endswith((".new", ".tmp"))]
        if not died:
            break
    assert outcomes[0] == 1.0
    assert outcomes == sorted(outcomes)
    assert outcomes[-1] == 2.0


def test_failed_save_leaves_the_old_sets(tmp_path):
    _save(tmp_path, 1.0, 1)
    before = sorted(os.listdir(tmp_path))
    algorithm = _Algorithm(2.0)
    algorithm.optimizer.param_groups[0]["lr"] = object()
    with pytest.raises(
        TypeError, match=r"algorithm\._optimizers\.0\.param_groups\.0\.lr is a object"
    ):
        Checkpointer(str(tmp_path), algorithm=algorithm).save(2)
    assert sorted(os.listdir(tmp_path)) == before


def test_only_the_newest_two_replay_buffers_stay(tmp_path):
    for step in (1, 2, 3, 4):
        _save(tmp_path, step, step)
    there = [
        [os.path.exists(files.part_path(str(tmp_path), n, part)) for n in (1, 2, 3, 4)]
        for part in (files.MODEL, files.OPTIMIZER, files.REPLAY_BUFFER)
    ]
    assert there == [[True] * 4, [True] * 4, [False, False, True, True]]
    assert _load(tmp_path, 1, including_replay_buffer=False) == (1, [1.0, 0.0])


def test_older_step_is_loaded_without_its_removed_replay_buffer(tmp_path, caplog):
    for step in (1, 2, 3, 4):
        _save(tmp_path, step, step)
    with caplog.at_level(logging.WARNING, "absl"):
        assert _load(tmp_path, 2) == (2, [2.0, 0.0])
    assert "replay buffers of checkpoint 2" in caplog.text
    assert _load(tmp_path, 3) == (3, [3.0, 3.0])


def test_parts_can_be_left_out(tmp_path):
    _save(tmp_path, 5.0, 1)
    algorithm = _Algorithm()
    moments = algorithm.optimizer.state_dict()["state"][0]["exp_avg"].clone()
    Checkpointer(str(tmp_path), algorithm=algorithm).load(
        including_optimizer=False, including_replay_buffer=False
    )
    assert _values(algorithm) == [5.0, 0.0]
    assert torch.equal(algorithm.optimizer.state_dict()["state"][0]["exp_avg"], moments)


def test_ignored_prefixes_keep_their_values_for_one_load_only(tmp_path):
    _save(tmp_path, 5.0, 1)
    assert _load(tmp_path, ignored_parameter_prefixes=["_child."]) == (1, [0.0, 5.0])
    assert _load(tmp_path) == (1, [5.0, 5.0])


def test_strict_load_names_what_does_not_fit(tmp_path):
    _save(tmp_path, 1.0, 1)
    other = _Algorithm()
    other._extra = nn.Linear(1, 1, bias=False)
    del other._child.bias
    with pytest.raises(RuntimeError, match=r"missing.*_extra\.weight; unknown.*_child\.bias"):
        Checkpointer(str(tmp_path), algorithm=other).load()
    assert Checkpointer(str(tmp_path), algorithm=other).load(strict=False) == 1


@pytest.mark.parametrize("name", ["algorithm", "alg", "metrics", "anything"])
@pytest.mark.parametrize(("saved", "loaded"), [(False, True), (True, False)])
def test_strict_load_holds_for_every_entry(tmp_path, name, saved, loaded):
    Checkpointer(str(tmp_path), **{name: nn.Linear(1, 1, bias=saved)}).save(1)
    checkpointer = Checkpointer(str(tmp_path), **{name: nn.Linear(1, 1, bias=loaded)})
    with pytest.raises(RuntimeError, match=rf"does not fit the {name}: .*bias"):
        checkpointer.load()
    assert checkpointer.load(strict=False) == 1


def test_strict_load_refuses_a_missing_entry(tmp_path):
    Checkpointer(str(tmp_path), algorithm=_Algorithm()).save(1)
    checkpointer = Checkpointer(str(tmp_path), algorithm=_Algorithm(), late=nn.Linear(1, 1))
    with pytest.raises(RuntimeError, match="no entry 'late'"):
        checkpointer.load()
    assert checkpointer.load(strict=False) == 1


def test_what_need_not_fit_only_warns(tmp_path, caplog):
    Checkpointer(str(tmp_path), algorithm=_Algorithm(), metrics=nn.Linear(1, 1)).save(1)
    metrics = LoadedIfItFits(nn.Linear(2, 2), "metrics")
    with caplog.at_level(logging.WARNING, "absl"):
        Checkpointer(
            str(tmp_path),
            algorithm=_Algorithm(),
            metrics=metrics,
            late=LoadedIfItFits(nn.Linear(1, 1), "late"),
        ).load()
    assert "the metrics of the checkpoint do not fit" in caplog.text
    assert "no 'late'" in caplog.text


def test_numpy_numbers_become_plain(tmp_path):
    class Progress:
        def __init__(self, value):
            self.value = value

        def state_dict(self):
            return {"count": self.value}

        def load_state_dict(self, state_dict, strict=True):
            self.value = state_dict["count"]

    progress = Progress(np.int64(3))
    Checkpointer(str(tmp_path), progress=progress).save(np.int64(1))
    Checkpointer(str(tmp_path), progress=progress).load()
    assert type(progress.value) is int


def test_a_view_does_not_drag_its_storage_along(tmp_path):
    module = nn.Module()
    module.register_buffer("view", torch.zeros(1_000_000)[:2])
    Checkpointer(str(tmp_path), algorithm=module).save(1)
    assert os.path.getsize(tmp_path / "ckpt-1") < 10_000


def _draw() -> list[float]:
    normal = np.random.normal()  # noqa: NPY002
    return [random.random(), random.gauss(0, 1), normal, torch.rand(()).item()]


def test_rng_state_continues_the_same_sequence(tmp_path):
    _draw()  # leaves one cached normal value in python's and in numpy's generator
    checkpointer = Checkpointer(str(tmp_path), rng=RngState())
    checkpointer.save(1)
    drawn = _draw()
    _draw()
    checkpointer.load()
    assert _draw() == drawn


def test_preserved_rng_state_hides_draws():
    torch.manual_seed(1)
    first = torch.rand(3)
    torch.manual_seed(1)
    with preserved_rng_state():
        _draw()
    assert torch.equal(torch.rand(3), first)


def test_sub_state_of_a_checkpoint(tmp_path):
    _save(tmp_path, 4.0, 1)
    path = str(tmp_path / "ckpt-1")
    # Below the algorithm, as in files of ALF, and from the trainer's name of it.
    for prefix in ("alg._child", "algorithm._child", "_child"):
        state = extract_sub_state_dict_from_checkpoint(prefix, path)
        assert sorted(state) == ["bias", "weight"]
    assert len(extract_sub_state_dict_from_checkpoint("", path)) == 4
    with pytest.raises(ValueError, match=r"nothing under 'alg._nett'.*_child, _net"):
        extract_sub_state_dict_from_checkpoint("alg._nett", path)
    Checkpointer(str(tmp_path / "named"), alg=_Algorithm(4.0)).save(1)
    named = str(tmp_path / "named" / "ckpt-1")
    for prefix in ("alg._child", "algorithm._child", "_child"):
        assert sorted(extract_sub_state_dict_from_checkpoint(prefix, named)) == ["bias", "weight"]
    with pytest.raises(ValueError, match="nothing under 'policy'"):
        extract_sub_state_dict_from_checkpoint("policy", path)
    with pytest.raises(FileNotFoundError, match="ckpt-9"):
        extract_sub_state_dict_from_checkpoint("alg", str(tmp_path / "ckpt-9"))


def test_checkpoint_flag():
    module = nn.Linear(1, 1)
    assert is_checkpoint_enabled(module)
    enable_checkpoint(module, False)
    assert not is_checkpoint_enabled(module)
    enable_checkpoint(module)
    assert is_checkpoint_enabled(module)


def test_read_only_directory_can_be_read(tmp_path):
    _save(tmp_path / "a", 1.0, 1)
    shutil.move(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b").chmod(0o500)
    assert _load(tmp_path / "b")[0] == 1
    (tmp_path / "b").chmod(0o700)
