"""A wrong value of any setting is refused where it is bound: by owner, value, what is allowed."""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

import alf
from alf._allowed import AT_LEAST_1, SHARE, UNIT, Range, check_fields, checked, of_annotation
from alf._config_registry import MISSING, Parameter
from alf._configurable import registry
from alf._ranges import names_with_a_range
from alf.algorithms.config import TrainerConfig
from alf.algorithms.sac_algorithm import SacAlgorithm
from alf.environments.utils import create_environment
from alf.experience_replayers import replay_buffer
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

NAN = math.nan


@pytest.fixture(autouse=True)
def nothing_configured() -> Iterator[None]:
    alf.reset_configs()
    yield
    alf.reset_configs()


@cache
def settings() -> list[Parameter]:
    """All settings of the engine."""
    for module in pkgutil.walk_packages(alf.__path__, "alf."):
        if ".bin" not in module.name and ".examples" not in module.name:
            importlib.import_module(module.name)
    return [p for p in registry.parameters() if p.name.startswith("alf.")]


@pytest.mark.parametrize(
    ("annotation", "range", "good", "bad"),
    [
        ("int", AT_LEAST_1, [1, np.int64(3), 2**70], [0, 1.0, True, "1", None, NAN, np.float32(1)]),
        ("float", UNIT, [0, 1, 0.5, np.float32(0.5)], [-0.1, 1.1, NAN, math.inf, "0.5", False]),
        ("float", None, [-1e300, math.inf], [NAN, "x", None]),
        ("float", SHARE, [1e-9, 1], [0, 0.0]),
        ("bool", None, [True, np.bool_(False), 0, 1], ["False", 2, 1.0, None]),
        ("int | None", AT_LEAST_1, [None, 1], [0, "None"]),
        ("str | None", None, [None, "x", Path("x")], [5, b"x"]),
        ("Literal['a', 'b'] | None", None, ["a", None], ["c", 0]),
        ("Callable[..., Any] | None", None, [None, print, int], [5, "print"]),
        ("Callable | list[Callable]", None, [print, [print]], [5, None, "x"]),
        ("Sequence[int] | None", AT_LEAST_1, [(), (1, 2), [3], None], [(0,), (1.5,), 3, "33"]),
        ("tuple[float, float]", UNIT, [(0, 1)], [(0, 2), 1.0]),
        ("float | list[float]", UNIT, [0.5, [0.1, 0.9], np.ones(2)], [2.0, [2.0], "x"]),
        ("Goal | None", None, [None, {}, object()], [0.3, "goal", True]),
        ("torch.optim.Optimizer", None, [object()], [0.1]),
        ("float | Scheduler", UNIT, [0.5, lambda: 0.1], [NAN, "x", 7, None]),
    ],
)
def test_an_annotation_says_what_is_allowed(
    annotation: str, range: Range | None, good: list[Any], bad: list[Any]
) -> None:
    allowed = of_annotation(annotation, range)
    assert allowed is not None
    assert [v for v in good if not allowed.test(v)] == []
    assert [v for v in bad if allowed.test(v)] == []


@pytest.mark.parametrize("annotation", ["Any", "Nest", "Tensor", "torch.dtype", "Size | None"])
def test_what_an_unknown_annotation_means_is_not_guessed(annotation: str) -> None:
    assert of_annotation(annotation) is None


@pytest.mark.parametrize(
    ("range", "text"),
    [
        (UNIT, "in [0, 1]"),
        (SHARE, "in (0, 1]"),
        (AT_LEAST_1, "of at least 1"),
        (Range(0, low_is_open=True), "above 0"),
        (Range(0, 2**32 - 1), "in [0, 4294967295]"),
        (Range(), "that is finite"),
    ],
)
def test_a_range_says_what_it_is(range: Range, text: str) -> None:
    assert str(range) == text


def test_a_function_names_itself_and_the_object() -> None:
    @checked(size=AT_LEAST_1)
    def make(size: int, *rest: Any, mode: Literal["a", "b"] = "a", name: str = "make") -> None:
        del size, rest, mode, name

    make(1, "what", 2, mode="b")
    with pytest.raises(ValueError, match=r"^make\.size is 0; allowed: a whole number of at least"):
        make(0)
    with pytest.raises(ValueError, match=r"^make\.mode of 'top' is 'c'; allowed: 'a', 'b'$"):
        make(1, mode="c", name="top")  # type: ignore


def test_a_long_value_is_shortened() -> None:
    @checked()
    def make(names: Sequence[int]) -> None:
        del names

    with pytest.raises(ValueError) as error:
        make("x" * 5000)  # type: ignore
    assert len(str(error.value)) < 150


def test_all_defaults_are_allowed() -> None:
    wrong = [
        p.name
        for p in settings()
        if p.allowed and p.default is not MISSING and not p.allowed.test(p.default)
    ]
    assert wrong == []


def test_each_range_belongs_to_a_setting() -> None:
    names = {".".join(p.name.split(".")[-2:]) for p in settings()}
    names |= {name.rpartition(".")[2] for name in names}
    assert [n for n in names_with_a_range() if n not in names] == []


def test_every_number_flag_and_constructor_of_the_engine_is_checked() -> None:
    """No setting that is a number takes NaN, no flag a text, no constructor a number."""
    kinds = {"number": NAN, "True or False": "False", "function or class": 5}
    seen = dict.fromkeys(kinds, 0)
    for parameter in settings():
        if parameter.allowed is None:
            continue
        for kind, value in kinds.items():
            if kind in parameter.allowed.text and (
                kind != "function or class" or _alone(parameter)
            ):
                seen[kind] += 1
                with pytest.raises(ValueError, match=re.escape(f"is {value!r}; allowed: ")):
                    parameter.check(value, "")
    assert seen["number"] > 400
    assert seen["True or False"] > 150
    assert seen["function or class"] > 100


def test_every_number_of_the_trainer_has_a_range() -> None:
    unranged = [
        p.name
        for p in settings()
        if p.name.startswith("alf.algorithms.config.TrainerConfig.")
        and p.allowed
        and re.search(r"number(?! (in|of at least|above|that is finite))", p.allowed.text)
    ]
    assert unranged in ([], ["alf.algorithms.config.TrainerConfig.random_seed"])


def test_every_real_number_of_the_engine_has_a_range() -> None:
    """So none takes infinity, but ends of a clipping, which it switches off."""
    assert {p.name.removeprefix("alf.") for p in settings() if _takes_infinity(p)} == {
        "environments.gym_wrappers.ContinuousActionClip.max_v",
        "environments.gym_wrappers.ContinuousActionClip.min_v",
        "utils.math_ops.clipped_exp.clip_value_max",
        "utils.math_ops.clipped_exp.clip_value_min",
    }


def _takes_infinity(parameter: Parameter) -> bool:
    allowed = parameter.allowed
    return bool(allowed and "a number" in allowed.text and allowed.test(math.inf))


def _alone(parameter: Parameter) -> bool:
    assert parameter.allowed
    return "number" not in parameter.allowed.text


@pytest.mark.parametrize(
    ("setting", "value", "allowed"),
    [
        ("TrainerConfig.num_iterations", 2.5, "a whole number of at least 0"),
        ("TrainerConfig.num_checkpoints", 1.5, "a whole number of at least 0"),
        ("TrainerConfig.mini_batch_size", 8.0, "a whole number of at least 1 or None"),
        ("TrainerConfig.evaluate", "False", "True or False"),
        ("TrainerConfig.algorithm_ctor", 5, "a function or class or None"),
        ("TrainerConfig.ml_type", "xl", "'rl', 'sl'"),
        ("TrainerConfig.priority_replay_alpha", NAN, "a number of at least 0 or a Scheduler"),
        ("SacAlgorithm.target_update_tau", 7, "a number in [0, 1]"),
        ("create_environment.batch_size_per_env", 0, "a whole number of at least 1 or None"),
        ("TDLoss.gamma", 1.5, "a number in [0, 1] or a list, each item a number in [0, 1]"),
        ("ActorNetwork.fc_layer_params", 256, "a list, each item a whole number of at least 1"),
    ],
)
def test_a_wrong_value_is_refused_where_it_is_configured(
    setting: str, value: Any, allowed: str
) -> None:
    with pytest.raises(ValueError) as error:
        alf.config({setting: value})
    assert str(error.value).startswith(f"{setting} is {value!r}; allowed: {allowed}")
    with pytest.raises(ValueError) as error:
        alf.pre_config({setting: value})
    assert str(error.value).startswith(f"{setting} is {value!r}; allowed: {allowed}")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: TrainerConfig(root_dir="", num_iterations=2.5),  # type: ignore
        lambda: TrainerConfig("", evaluate="False"),  # type: ignore
        lambda: create_environment(batch_size_per_env=0),
        lambda: SacAlgorithm(TensorSpec((1,)), BoundedTensorSpec((1,)), target_update_tau=7),
    ],
)
def test_a_wrong_value_is_refused_where_it_is_given(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"^\w+\.\w+ is \S+; allowed: "):
        wrong()


def test_what_alf_documents_is_taken() -> None:
    config = TrainerConfig(
        root_dir="",
        unroll_length=2.5,
        mini_batch_size=None,
        num_summaries=None,
        summary_interval=0,
        num_checkpoints=0,
        priority_replay_alpha=lambda: 0.5,  # type: ignore
        random_seed=np.int64(5),  # type: ignore
        debug_summaries=1,  # type: ignore
        data_transformer_ctor=[],
    )
    assert config.unroll_length == 2.5


def test_a_cell_that_runs_twice_is_told_how_to_begin_anew() -> None:
    alf.config("TrainerConfig", num_iterations=3)
    assert TrainerConfig(root_dir="").num_iterations == 3
    with pytest.raises(
        ValueError,
        match=r"num_iterations was used already with the value 3.*5.*alf\.reset_configs\(\)",
    ):
        alf.config("TrainerConfig", num_iterations=5)
    alf.reset_configs()
    alf.config("TrainerConfig", num_iterations=5)
    assert TrainerConfig(root_dir="").num_iterations == 5


def test_a_dataclass_names_its_field() -> None:
    @dataclasses.dataclass(frozen=True)
    class Options:
        size: int = 1
        rate: float | None = None

        def __post_init__(self) -> None:
            check_fields(self, size=AT_LEAST_1, rate=UNIT)

    Options(2, 0.5)
    for wrong, text in (
        ({"size": 0}, r"Options\.size is 0"),
        ({"rate": NAN}, r"Options\.rate is nan"),
    ):
        with pytest.raises(ValueError, match=text):
            Options(**wrong)  # type: ignore


@pytest.mark.parametrize("prioritized", [False, True])
@pytest.mark.parametrize(("records", "warns"), [(32, True), (128, False)])
def test_a_first_batch_that_is_larger_than_all_there_is_is_said(
    monkeypatch: pytest.MonkeyPatch, records: int, warns: bool, prioritized: bool
) -> None:
    said = []
    monkeypatch.setattr(
        replay_buffer.logging, "warning", lambda text, *args: said.append(text % args)
    )
    buffer = replay_buffer.ReplayBuffer(
        TensorSpec(()), num_environments=4, max_length=64, prioritized_sampling=prioritized
    )
    for _ in range(records // 4):
        buffer.add_batch(torch.zeros(4), torch.arange(4))
    for _ in range(2):
        buffer.get_batch(128, 1)
    assert len(said) == warns
    assert all("a batch of 128 spans is drawn from 32 different ones" in text for text in said)


@pytest.mark.parametrize(("default", "wrong"), [(False, "False"), (3, "3"), (0.5, True)])
def test_a_setting_of_a_conf_file_keeps_the_kind_of_its_default(default: Any, wrong: Any) -> None:
    alf.pre_config({"_CONFIG._USER.chosen": wrong})
    with pytest.raises(ValueError, match=rf"_USER\.chosen is {wrong!r}; allowed: "):
        alf.define_config("chosen", default)
