"""What a command line gives is data: literals and names, and nothing of it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import alf
from alf._conf_values import attribute, check_names, conf_value
from alf._config_registry import MadeAnew
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.algorithms.training.priority_function import priority_function
from alf.data_structures import LossInfo
from alf.optimizers import Adam


@pytest.fixture(autouse=True)
def nothing_configured() -> Iterator[None]:
    alf.reset_configs()
    yield
    alf.reset_configs()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-1e-3", -1e-3),
        ("'text'", "text"),
        ("(1, [2], {'a': None})", (1, [2], {"a": None})),
        ("SacAlgorithm", SacAlgorithm),
        ("algorithms.sac_algorithm.SacAlgorithm", SacAlgorithm),
        ("alf.optimizers.Adam", Adam),
        ("[torch.relu_, torch.nn.functional.elu]", [torch.relu_, torch.nn.functional.elu]),
        ("{'a': torch.float32}", {"a": torch.float32}),
        ("torch.inf", torch.inf),
        ("torch.nn.init.zeros_", torch.nn.init.zeros_),
    ],
)
def test_a_text_stands_for_a_value(text: str, value: Any) -> None:
    assert conf_value(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch {}')",
        "open('{}', 'w')",
        "(lambda: open('{}', 'w'))()",
        "[c for c in ().__class__.__base__.__subclasses__()]",
        "alf.algorithms.sac_algorithm.__builtins__",
        "torch.os.system",
        "torch.serialization.os.system",
        "alf.utils.common.os.system",
        "torch.hub.load",
        "torch.load",
        "torch.jit.load",
        "torch.from_file",
        "torch.ops.load_library",
        "torch.package.PackageImporter",
        "torch.utils.cpp_extension.load",
        "alf.load_config",
        "alf.import_config",
        "alf.parse_config",
        "alf.bin.train.train",
        "alf.config_util.importlib",
        "alf",
        "f'{{1}}'",
        "{{**{{}}}}",
        "1 +",
        "(" * 500,
    ],
)
def test_code_is_refused_and_does_not_run(tmp_path: Path, text: str) -> None:
    marker = tmp_path / "it_ran"
    with pytest.raises(ValueError, match="allowed: a literal, the name of a configurable") as error:
        conf_value(text.format(marker))
    assert not marker.exists()
    assert len(str(error.value)) < 300


def test_a_configurable_may_be_defined_later() -> None:
    value = conf_value("[DefinedLater]")
    assert type(value) is MadeAnew
    with pytest.raises(ValueError, match="there is no configurable 'DefinedLater'"):
        check_names(value)
    made = alf.configurable("DefinedLater")(lambda size=1: size)
    check_names(value)
    assert value.make() == [made]


def test_what_was_saved_gives_the_same_values(tmp_path: Path) -> None:
    """A run that goes on reads alf_config.py, whose conf file defines the name after it."""
    conf = tmp_path / "later_conf.py"
    conf.write_text(
        "import alf\n"
        "@alf.configurable('TakesOne')\n"
        "def takes_one(part=None, activation=None):\n"
        "    return part, activation\n"
        "@alf.configurable('IsTaken')\n"
        "def is_taken():\n"
        "    return 7\n"
    )
    saved = str(tmp_path / "root" / "alf_config.py")
    for path in (str(conf), saved, saved):
        params = (
            [] if path == saved else ["TakesOne.part=IsTaken", "TakesOne.activation=torch.tanh"]
        )
        module = alf.parse_config(path, params, create_env=False)
        conf_module = module if path == str(conf) else module.config
        part, activation = conf_module.takes_one()
        assert part() == 7
        assert activation is torch.tanh
        alf.save_config(saved)
        alf.reset_configs()


@pytest.mark.parametrize("name", ["os.system", "subprocess.run", "builtins.exec", "numpy.load"])
def test_only_alf_and_torch_have_names(name: str) -> None:
    with pytest.raises(ValueError, match="neither in alf nor in torch"):
        attribute(name)


def test_a_priority_function_is_arithmetic() -> None:
    default = "lambda loss_info: loss_info.extra['value'].sqrt().sum(dim=0)"
    info = LossInfo(extra={"value": torch.tensor([[4.0], [9.0]])})
    assert priority_function(default)(info).tolist() == [5.0]
    assert priority_function("lambda x: 2 * x.extra['value'][0] ** 0.5")(info).tolist() == [4.0]


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "lambda loss_info: __import__('os').system('true')",
        "lambda loss_info: loss_info.__class__",
        "lambda loss_info: loss_info.extra['value'].numpy().tofile('x')",
        "lambda loss_info: (lambda: open)()",
        "lambda loss_info: [open for x in loss_info]",
        "lambda a, b=open: a",
        "lambda: 0",
        "print",
        "lambda",
    ],
)
def test_a_priority_function_runs_nothing_else(text: str) -> None:
    with pytest.raises(ValueError, match=r"priority_func is .*; allowed: a function, or a text"):
        priority_function(text)
