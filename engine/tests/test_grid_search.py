"""A search over parameters: its runs and their names, and a search that is continued."""

from __future__ import annotations

import json

import pytest
from test_train_program import _CONF, _run

from alf.bin._search import as_flag, keep_search, read_search, runs_of

_FLAKY = """
import os

alf.config("TrainerConfig", evaluate=False)
if alf.define_config("flaky", False) and not os.path.exists(__file__ + ".repaired"):
    raise ValueError("this is broken")
"""


def _search(tmp_path, **fields):
    path = tmp_path / "wanted.json"
    path.write_text(json.dumps(fields))
    return read_search(str(path))


def test_runs_are_all_combinations_with_repeats_last(tmp_path):
    parameters = {"Adam.lr": [1e-3, 1e-4], "create_environment.num_parallel_environments": "(2,)"}
    runs = runs_of(_search(tmp_path, parameters=parameters, repeats=2))
    assert [run.name for run in runs] == [
        "0000r0+lr=0.001+num_par_env=2",
        "0001r0+lr=0.0001+num_par_env=2",
        "0000r1+lr=0.001+num_par_env=2",
        "0001r1+lr=0.0001+num_par_env=2",
    ]
    assert runs[3].parameters == {
        "Adam.lr": 1e-4,
        "create_environment.num_parallel_environments": 2,
    }


def test_names_tell_parameters_apart_and_fit_a_file_system(tmp_path):
    parameters = {"a/Adam.lr": ["x/y z"], "AdamW.lr": ["np." + "long" * 20]}
    (run,) = runs_of(_search(tmp_path, parameters=parameters))
    assert run.name == "0000r0+a.Adam.lr=x_y_z+AdamW.lr=np.longlonglonglongl"


def test_values_may_be_a_python_expression(tmp_path):
    search = _search(tmp_path, parameters={"a": "np.linspace(0, 1, 3)", "b": "range(2)"})
    assert search.parameters == {"a": [0.0, 0.5, 1.0], "b": [0, 1]}
    assert [type(x) for x in search.parameters["a"]] == [float] * 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "parameters is None"),
        ({"parameters": {"a": []}}, r"a is \[\]; it has to be a list"),
        ({"parameters": {"a": 3}}, "a is 3; it has to be a list"),
        ({"parameters": {"a": "nothing"}}, r"a: 'nothing' cannot be evaluated \(NameError"),
        ({"parameters": {"a": "[print]"}}, r"built-in function print> is no literal"),
        ({"parameters": {"a": [1]}, "repeats": 0}, "repeats is 0"),
        ({"parameters": {"a": [1]}, "use_gpu": True}, "gpus names none"),
        ({"parameters": {"a": [1]}, "workers": 2}, r"unknown fields \['workers'\]"),
    ],
)
def test_wrong_fields_are_named(tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        _search(tmp_path, **fields)


def test_values_become_flags_of_a_training():
    assert as_flag("Adam.lr", "x", is_gin=False) == ["--conf_param", "Adam.lr='x'"]
    assert as_flag("Adam.lr", "x", is_gin=True) == ["--gin_param", "Adam.lr = 'x'"]
    assert as_flag("a.b", "@Adam()", is_gin=True) == ["--gin_param", "a.b = @Adam()"]


def test_a_search_reports_failures_and_continues(tmp_path):
    conf = tmp_path / "flaky_conf.py"
    conf.write_text(_CONF + _FLAKY)
    search = tmp_path / "search.json"
    search.write_text(json.dumps({"parameters": {"flaky": [False, True]}, "max_worker_num": 2}))
    root = tmp_path / "root"
    arguments = ("--root_dir", root, "--search_config", search, "--nostore_snapshot")
    iterations = ("--conf_param", "TrainerConfig.num_iterations=5")
    status, out, err = _run("grid_search", *arguments, "--conf", conf, *iterations)
    assert status == 1, err
    assert "1 of 2 runs are finished" in out, err
    assert "0001r0+fla=True: failed with exit status 1: error: " in err
    assert "this is broken" in err
    checkpoint = root / "0000r0+fla=False" / "train/algorithm/ckpt-5"
    written = checkpoint.stat().st_mtime_ns

    (root / "config_files" / "flaky_conf.py.repaired").write_text("")
    status, out, err = _run("grid_search", *arguments)
    assert status == 0, err
    assert "2 of 2 runs are finished" in out
    assert (root / "0001r0+fla=True" / "train/algorithm/ckpt-5").is_file()
    assert checkpoint.stat().st_mtime_ns == written


def test_a_directory_holds_one_search(tmp_path):
    first = _search(tmp_path, parameters={"a": [1, 2]})
    keep_search(first, str(tmp_path))
    keep_search(first, str(tmp_path))
    with pytest.raises(ValueError, match=r"other parameters: \{'a': \[1, 2\]\}, now"):
        keep_search(_search(tmp_path, parameters={"a": [1]}), str(tmp_path))
