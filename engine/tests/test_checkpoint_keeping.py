"""Which checkpoints stay: the newest two, the lasting ones and the best, over several starts."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from alf.trainers._checkpoint_keeping import CheckpointKeeper, best_step, metric_value
from alf.utils.checkpoint_utils import Checkpointer


class _Metric:
    def __init__(self, name, result):
        self.name = name
        self._result = result

    def has_result(self):
        return self._result is not None

    def result(self):
        return self._result


def _metrics(value):
    return [_Metric("AverageReturn", torch.tensor(value)), _Metric("Other", None)]


class _Run:
    """One start of a run in a folder."""

    def __init__(self, folder, metric=None):
        self._checkpointer = Checkpointer(str(folder), algorithm=nn.Linear(1, 1))
        self.keeper = CheckpointKeeper(self._checkpointer, str(folder), metric)

    def save(self, step, temporary=True):
        self.keeper.announce(step, temporary=temporary)
        self._checkpointer.save(step)
        self.keeper.saved()

    @property
    def steps(self):
        return self._checkpointer.steps()


def test_a_temporary_goes_when_two_newer_ones_are_there(tmp_path):
    run = _Run(tmp_path)
    seen = []
    for step, temporary in [(1, True), (2, True), (3, True), (4, False), (5, True), (6, True)]:
        run.save(step, temporary)
        seen.append(run.steps)
    assert seen == [[1], [1, 2], [2, 3], [3, 4], [4, 5], [4, 5, 6]]


def test_temporaries_of_earlier_starts_go_too(tmp_path):
    for start in range(4):
        run = _Run(tmp_path)
        for step in range(3):
            run.save(10 * start + step)
    run.save(99, temporary=False)
    assert run.steps == [32, 99]


def test_a_temporary_whose_save_was_killed_is_known(tmp_path):
    run = _Run(tmp_path)
    run.save(1)
    run.keeper.announce(2, temporary=True)
    run._checkpointer.save(2)  # killed here
    run = _Run(tmp_path)
    run.save(3)
    run.save(4)
    assert run.steps == [3, 4]


def test_a_lasting_one_stays_lasting(tmp_path):
    run = _Run(tmp_path)
    for step, temporary in [(1, False), (1, True), (2, True), (2, False), (3, True), (4, True)]:
        run.save(step, temporary)
    run.save(5)
    assert run.steps == [1, 2, 4, 5]


def test_checkpoints_of_an_older_version_stay(tmp_path):
    run = _Run(tmp_path)
    for step in range(3):
        run._checkpointer.save(step)
    for step in (10, 11, 12):
        run.save(step)
    assert run.steps == [0, 1, 2, 11, 12]


@pytest.mark.parametrize("content", ["", "[]", '{"temporary": 3, "best": null}', "{}"])
def test_a_damaged_note_removes_nothing(tmp_path, content, caplog):
    run = _Run(tmp_path)
    run.save(1)
    run.save(2)
    (tmp_path / "kept_checkpoints.json").write_text(content)
    run = _Run(tmp_path)
    assert "kept_checkpoints.json cannot be read" in caplog.text
    run.save(3)
    run.save(4)
    assert run.steps == [1, 2, 3, 4]


@pytest.mark.parametrize(("metric", "best"), [("AverageReturn", 2), ("-AverageReturn", 3)])
def test_the_best_stays_over_starts(tmp_path, metric, best):
    for step, value in [(1, 5.0), (2, 9.0), (3, 1.0), (4, 5.0), (5, float("nan")), (6, 6.0)]:
        run = _Run(tmp_path, metric)
        run.save(step)
        run.keeper.await_result(step)
        run.keeper.evaluated(step, _metrics(value))
    assert run.steps == [best, 5, 6]
    assert best_step(str(tmp_path)) == best


def test_a_candidate_waits_for_its_result(tmp_path):
    run = _Run(tmp_path, "AverageReturn")
    run.save(1)
    run.keeper.await_result(1)
    for step in (2, 3, 4):
        run.save(step)
    assert run.steps == [1, 3, 4]
    assert run.keeper.evaluated(1, _metrics(0.0))
    assert not run.keeper.evaluated(2, _metrics(9.0))  # is gone
    run.save(5)
    assert run.steps == [1, 4, 5]


def test_another_metric_begins_anew(tmp_path):
    run = _Run(tmp_path, "AverageReturn")
    run.save(1)
    run.keeper.await_result(1)
    run.keeper.evaluated(1, _metrics(100.0))
    run = _Run(tmp_path, "-AverageReturn")
    run.save(2)
    run.keeper.await_result(2)
    assert run.keeper.evaluated(2, _metrics(200.0))
    assert json.loads((tmp_path / "kept_checkpoints.json").read_text())["best"]["step"] == 2


def test_values_are_found_by_name():
    metrics = [
        _Metric("AverageEnvInfo", {"success": torch.tensor(0.5), "a": {"b": 2.0}}),
        _Metric("AverageReturn", torch.tensor([1.0, 2.0])),
    ]
    names = ("AverageEnvInfo/success", "AverageEnvInfo/a/b", "AverageReturn")
    assert [metric_value(metrics, name) for name in names] == [0.5, 2.0, 3.0]
    with pytest.raises(ValueError, match=r"is 'success'; the evaluation has: AverageEnvInfo/a/b"):
        metric_value(metrics, "success")


def test_without_a_best_one_it_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="no best checkpoint"):
        best_step(str(tmp_path))
