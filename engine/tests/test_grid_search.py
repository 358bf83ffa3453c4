"""A search over parameters: its runs and their names, and a search that is continued."""

from __future__ import annotations

import json

import pytest
from test_train_program import _CONF, _run

from alf._conf_values import check_names, conf_value
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


def test_a_text_holds_a_list_of_literals_and_names(tmp_path):
    parameters = {"a": "(1e-3, 'x', None)", "b": "[SacAlgorithm, alf.optimizers.Adam]"}
    search = _search(tmp_path, parameters=parameters)
    assert search.parameters["a"] == [1e-3, "x", None]
    (flag, value) = as_flag("b", search.parameters["b"][1], is_gin=False)
    assert (flag, value) == ("--conf_param", "b=alf.optimizers.Adam")
    assert as_flag("a", search.parameters["a"][1], is_gin=False)[1] == "a='x'"
    assert runs_of(search)[-1].name == "0005r0+a=None+b=alf.optimizers.Adam"


@pytest.mark.parametrize(
    "text",
    [
        "[__import__('os').system('touch {marker}')]",
        "__import__('os').system('touch {marker}')",
        "[print]",
        "[alf.utils.common.os.system]",
        "[torch.hub.load]",
        "[x for x in [1]]",
        "range(2)",
    ],
)
def test_nothing_in_a_search_file_is_evaluated(tmp_path, text):
    marker = tmp_path / "it_ran"

    def prepare():
        search = _search(tmp_path, parameters={"a": text.format(marker=marker)})
        for run in runs_of(search):  # a name that is not known yet is looked up at the first run
            check_names(conf_value(as_flag("a", run.parameters["a"], is_gin=False)[1][2:]))

    with pytest.raises(ValueError, match=r"allowed: a list|allowed: a literal"):
        prepare()
    assert not marker.exists()


def test_a_search_file_adds_no_statement_to_a_gin_file(tmp_path):
    reference = "@Adam()\nimport antigravity"
    assert as_flag("a.b", reference, is_gin=True) == ["--gin_param", f"a.b = {reference!r}"]
    with pytest.raises(ValueError, match="is no name of a parameter"):
        _search(tmp_path, parameters={"import antigravity\na.b": [1]})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "parameters is None"),
        ({"parameters": {"a": []}}, r"a is \[\]; allowed: a list"),
        ({"parameters": {"a": 3}}, "a is 3; allowed: a list"),
        ({"parameters": {"a": "nothing"}}, r"a is 'nothing'; allowed: a list"),
        ({"parameters": {"a": "[1 +]"}}, r"a is '\[1 \+\]'; allowed: a list"),
        ({"parameters": {"a": [1]}, "repeats": 0}, "repeats is 0; allowed: a whole number"),
        ({"parameters": {"a": [1]}, "max_worker_num": 1.5}, "max_worker_num is 1.5; allowed"),
        ({"parameters": {"a": [1]}, "use_gpu": "no"}, "use_gpu is 'no'; allowed: True or False"),
        ({"parameters": {"a": [1]}, "gpus": [-1]}, r"gpus is \[-1\]; allowed"),
        ({"parameters": {"a": [1]}, "use_gpu": True}, "gpus names none"),
        ({"parameters": {"a": [1]}, "workers": 2}, r"unknown fields \['workers'\]"),
    ],
)
def test_wrong_fields_are_named(tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        _search(tmp_path, **fields)


@pytest.mark.parametrize("text", ["[1]", "3", "not json", '"x"'])
def test_a_file_that_is_no_search_is_named(tmp_path, text):
    path = tmp_path / "wanted.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"wanted\.json"):
        read_search(str(path))


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
