"""Configuration by name: values, errors, conf files, and saving a run's configuration."""

from __future__ import annotations

import collections
import inspect
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import alf
from alf import config_helpers
from alf.config_util import config1, get_config_value, repr_wrapper


@alf.configurable
def mixed(a: int, b: int = 1, *rest: int, c: int = 2, **more: int) -> tuple:
    return a, b, rest, c, more


@alf.configurable("Renamed.call", whitelist=["x"])
def renamed(x: int = 1, y: int = 2) -> tuple[int, int]:
    return x, y


@alf.configurable
class Base:
    def __init__(self, size: int = 1, color: str = "red") -> None:
        self.size, self.color = size, color


@alf.configurable(blacklist=["name"])
class Child(Base):
    def __init__(self, depth: int = 3, name: str = "child") -> None:
        super().__init__(size=10)
        self.depth, self.name = depth, name


@alf.configurable
class Inheriting(Base):
    """Has no constructor of its own."""


@alf.configurable
class Point(collections.namedtuple("Point", ["x", "y"], defaults=(0, 0))):
    __slots__ = ()


@pytest.fixture(autouse=True)
def _fresh_configs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("ALF_CONFIG_PATH", raising=False)
    alf.reset_configs()
    yield
    alf.reset_configs()


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_values_fill_in_what_the_caller_leaves_out() -> None:
    alf.config("mixed", b=5, c=6)
    assert mixed(1) == (1, 5, (), 6, {})
    assert mixed(1, 2, 3) == (1, 2, (3,), 6, {})
    assert mixed(1, c=0, d=4) == (1, 5, (), 0, {"d": 4})


def test_required_parameters_can_be_configured() -> None:
    alf.config("mixed", a=7)
    assert mixed() == (7, 1, (), 2, {})
    alf.reset_configs()
    with pytest.raises(TypeError):
        mixed()


def test_a_mapping_configures_several_at_once() -> None:
    alf.config({"mixed.b": 3, "Base.color": "blue"})
    assert mixed(0)[1] == 3
    assert Base().color == "blue"


def test_a_class_stays_itself_and_can_be_inspected_and_pickled() -> None:
    assert isinstance(Base(), Base)
    assert list(inspect.signature(Base).parameters) == ["size", "color"]
    assert list(inspect.signature(mixed).parameters) == ["a", "b", "rest", "c", "more"]
    assert mixed.__name__ == "mixed"
    assert pickle.loads(pickle.dumps(Point(1))) == Point(1, 0)


def test_a_base_class_uses_its_own_configuration_under_a_child() -> None:
    alf.config("Base", size=5, color="green")
    alf.config("Child", depth=4)
    child = Child()
    assert (child.size, child.color, child.depth) == (10, "green", 4)


def test_an_inherited_constructor_has_the_names_of_both_classes() -> None:
    alf.config("Base", size=5, color="green")
    alf.config("Inheriting", size=6)
    made = Inheriting()
    assert (made.size, made.color) == (6, "green")


def test_named_tuples_are_configured_through_new() -> None:
    alf.config("Point", y=4)
    assert Point(1) == (1, 4)


def test_white_and_black_lists_and_names() -> None:
    alf.config("Renamed.call", x=5)
    assert renamed() == (5, 2)
    with pytest.raises(ValueError, match=r"Cannot find config name 'call.y'"):
        alf.config("call", y=1)
    with pytest.raises(ValueError, match="Cannot find config name"):
        alf.config("Child", name="x")
    with pytest.raises(ValueError, match="both"):
        alf.configurable(whitelist=["a"], blacklist=["b"])(lambda a, b: a)
    with pytest.raises(ValueError, match=r"no parameters \['z'\]"):
        alf.configurable(whitelist=["z"])(lambda a: a)


def test_an_unknown_name_is_answered_with_the_nearest_ones() -> None:
    with pytest.raises(ValueError, match=r"Cannot find config name 'Bose\.color'.*Base\.color"):
        alf.config("Bose", color="blue")


def test_an_ambiguous_name_lists_three() -> None:
    for owner in ("One", "Two", "Three", "Four"):
        alf.configurable(f"{owner}.make")(lambda ambiguous_size=1: ambiguous_size)
    with pytest.raises(ValueError, match="is ambiguous") as info:
        alf.config("make", ambiguous_size=3)
    assert str(info.value).count(".make.ambiguous_size") == 3


def test_one_name_may_not_be_the_end_of_another() -> None:
    def first(suffix_width: int = 1) -> int:
        return suffix_width

    def second(suffix_width: int = 1) -> int:
        return suffix_width

    first.__module__, second.__module__ = "layers_of_mine", "package.layers_of_mine"
    alf.configurable("Wide")(first)
    with pytest.raises(ValueError, match="cannot be told from"):
        alf.configurable("Wide")(second)


def test_a_used_value_cannot_change() -> None:
    assert mixed(0)[1] == 1
    config1("mixed.b", 1)
    with pytest.raises(ValueError, match=r"was used already.*first use.*reset_configs\(\)"):
        config1("mixed.b", 2)
    config1("mixed.b", 2, raise_if_used=False)
    assert mixed(0)[1] == 2
    mixed(3, c=4)
    alf.reset_configs()
    mixed(3, 4, c=4)
    alf.config("mixed", a=1, b=2, c=3)  # nothing was taken from the registry


def test_immutable_values_win_over_later_ones() -> None:
    alf.pre_config({"mixed.b": 8})
    alf.config("mixed", b=9)
    assert mixed(0)[1] == 8
    assert dict(alf.get_handled_pre_configs()) == {"mixed.b": 8}


def test_a_pre_config_waits_for_its_definition() -> None:
    alf.pre_config({"LateComer.speed": 3})
    with pytest.raises(ValueError, match=r"pre-config 'LateComer.speed' was not handled"):
        alf.validate_pre_configs()

    @alf.configurable("LateComer")
    def late(speed: int = 1) -> int:
        return speed

    alf.validate_pre_configs()
    assert late() == 3


def test_defined_configs_take_their_pre_config() -> None:
    alf.pre_config({"_CONFIG._USER.width": 32})
    assert alf.define_config("width", 16) == 32
    assert alf.define_config("height", 4) == 4
    assert get_config_value("_CONFIG._USER.height") == 4
    with pytest.raises(ValueError, match="already defined with the default 4"):
        alf.define_config("height", 5)


def test_what_was_used_and_what_was_not_is_known() -> None:
    alf.config("mixed", b=5)
    alf.config("Base", color="blue")
    mixed(0)
    operative = {n.rpartition("config_util.")[2]: v for n, v in alf.get_operative_configs()}
    assert operative == {"mixed.b": 5, "mixed.c": 2}
    assert [(n.split(".")[-1], v) for n, v in alf.get_inoperative_configs()] == [("color", "blue")]
    assert any(n.endswith("mixed.b") for n in alf.get_all_config_names())
    with pytest.raises(ValueError, match="no default"):
        get_config_value("mixed.a")


def test_arrays_are_compared_by_value() -> None:
    alf.config("mixed", b=np.array([1, 2]))
    mixed(0)
    alf.config("mixed", b=np.array([1, 2]))
    with pytest.raises(ValueError, match="was used already"):
        alf.config("mixed", b=np.array([1, 3]))


def test_repr_shows_the_arguments() -> None:
    @repr_wrapper
    class Shape:
        def __init__(self, *sizes: int, color: str = "red") -> None:
            self.sizes = sizes

    class Square(Shape):
        def __init__(self, size: int) -> None:
            super().__init__(size, size)

    assert repr(Shape(1, 2, color="blue")) == "Shape(1, 2, color='blue')"
    assert repr(Square(3)) == "Square(3, 3)"


def test_conf_files_import_each_other_once(tmp_path: Path, monkeypatch: Any) -> None:
    write(tmp_path / "conf" / "base.py", "import alf\nsize = alf.define_config('size', 2)\n")
    write(tmp_path / "elsewhere" / "far.py", "distance = 9\n")
    main = write(
        tmp_path / "conf" / "main.py",
        "import alf\n"
        "base = alf.import_config('base.py')\n"
        "again = alf.import_config('base.py')\n"
        "far = alf.import_config('far.py')\n"
        "alf.config('Base', size=base.size + far.distance)\n",
    )
    monkeypatch.setenv("ALF_CONFIG_PATH", str(tmp_path / "elsewhere"))
    module = alf.load_config(main)
    assert module.base is module.again
    assert Base().size == 11
    with pytest.raises(ValueError, match="is loaded already"):
        alf.load_config(main)


def test_a_missing_conf_file_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("ALF_CONFIG_PATH", str(tmp_path / "elsewhere"))
    with pytest.raises(FileNotFoundError, match=r"'nowhere.py'.*elsewhere/nowhere.py"):
        alf.load_config("nowhere.py")
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "nowhere.py", "found = True\n")
    assert alf.load_config("nowhere.py").found


def test_circular_imports_are_named(tmp_path: Path) -> None:
    text = "import alf\nalf.import_config({!r})\n"
    write(tmp_path / "a.py", text.format("b.py"))
    write(tmp_path / "b.py", text.format("a.py"))
    with pytest.raises(ValueError, match=r"circle: .*a.py -> .*b.py -> .*a.py"):
        alf.load_config(str(tmp_path / "a.py"))


def test_a_failing_conf_file_can_be_loaded_again(tmp_path: Path) -> None:
    conf = write(tmp_path / "main.py", "1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        alf.load_config(conf)
    write(tmp_path / "main.py", "ok = 1\n")
    assert alf.load_config(conf).ok == 1


def saved_run(tmp_path: Path) -> Path:
    """Parses a conf with a parameter and saves it; returns the saved file."""
    write(
        tmp_path / "conf" / "sub" / "base.py", "import alf\nwide = alf.define_config('wide', 1)\n"
    )
    main = write(
        tmp_path / "conf" / "main_conf.py",
        "import alf\nbase = alf.import_config('sub/base.py')\nalf.config('Base', size=base.wide)\n",
    )
    params = ["_CONFIG._USER.wide=21", "Base.color = 'teal'"]
    alf.parse_config(main, params, create_env=False)
    target = tmp_path / "run" / "alf_config.py"
    alf.save_config(str(target))
    return target


def test_a_saved_configuration_gives_the_same_run(tmp_path: Path) -> None:
    target = saved_run(tmp_path)
    assert (target.parent / "config_files" / "sub" / "base.py").is_file()
    (tmp_path / "conf" / "main_conf.py").unlink()
    alf.reset_configs()
    alf.load_config(str(target))
    assert (Base().size, Base().color) == (21, "teal")


def test_saving_a_resumed_run_keeps_and_extends_its_parameters(tmp_path: Path) -> None:
    target = saved_run(tmp_path)
    first_text = target.read_text()
    alf.reset_configs()
    alf.parse_config(str(target), [], create_env=False)
    alf.save_config(str(target))
    assert sorted(target.read_text().split("\n")) == sorted(first_text.split("\n"))
    alf.reset_configs()
    alf.parse_config(str(target), ["mixed.b=4"], create_env=False)
    alf.save_config(str(target))
    alf.reset_configs()
    alf.load_config(str(target))
    assert (mixed(0)[1], Base().size, Base().color) == (4, 21, "teal")
    assert not (target.parent / "config_files" / "config_files").exists()


def test_conf_params_win_over_the_conf_file(tmp_path: Path) -> None:
    conf = write(tmp_path / "main.py", "import alf\nalf.config('mixed', b=1, c=5)\n")
    alf.parse_config(conf, ["mixed.b=(1, [2])"], create_env=False)
    assert mixed(0) == (0, (1, [2]), (), 5, {})


@pytest.mark.parametrize(
    ("param", "text"),
    [
        ("mixed.b", "not of the form"),
        ("=3", "not of the form"),
        ("mixed.b=undefined_name", "there is no configurable 'undefined_name'.*allowed: a literal"),
        (
            "mixed.b=1 +",
            r"conf_param mixed\.b: '1 \+' is no value; allowed: a literal, .*Texts need quotes",
        ),
        ("Nowhere.b=1", "pre-config 'Nowhere.b' was not handled"),
    ],
)
def test_bad_conf_params_are_named(tmp_path: Path, param: str, text: str) -> None:
    conf = write(tmp_path / "main.py", "import alf\n")
    with pytest.raises(ValueError, match=text):
        config_helpers.parse_config(conf, [param], create_env=False)


def test_an_error_in_a_configured_call_names_its_values_and_their_place(tmp_path):
    from alf.config_util import origin_of

    path = tmp_path / "wrong_conf.py"
    path.write_text("import alf\n\nalf.config('OriginPart', size='three', rate=1)\n")
    _origin_part = alf.configurable("OriginPart")(lambda size=3, rate=2: size + rate)
    alf.load_config(str(path))
    with pytest.raises(TypeError) as raised:
        _origin_part(rate=2)
    origin = origin_of(raised.value)
    assert origin.endswith(f".OriginPart, configured with size='three' ({path}:3)")


def test_a_class_in_a_private_file_is_configured_under_its_public_module():
    from alf.networks import NormalProjectionNetwork

    name = "alf.networks.projection_networks.NormalProjectionNetwork.squash_mean"
    assert NormalProjectionNetwork.__module__ != "alf.networks.projection_networks"
    alf.config("projection_networks.NormalProjectionNetwork", squash_mean=False)
    assert alf.get_config_value(name) is False


def test_a_name_with_dots_is_the_whole_name() -> None:
    @alf.configurable("whole.name.f")
    def f(a: int = 1, *args: int, k: int = 2, **kwargs: int) -> tuple:
        return a, args, k, kwargs

    assert [n for n in alf.get_all_config_names() if "whole.name" in n] == [
        "whole.name.f.a",
        "whole.name.f.k",
    ]
    alf.config("name.f", a=5, k=6)
    assert f() == (5, (), 6, {})
    assert f(1, 2, z=3) == (1, (2,), 6, {"z": 3})
    with pytest.raises(ValueError, match="one name is the end of the other"):
        alf.configurable("name.f")(lambda a=1: a)


def test_a_value_that_was_read_counts_as_used() -> None:
    alf.configurable("read.once.f")(lambda b=2: b)
    assert alf.get_config_value("once.f.b") == 2
    alf.config("once.f", b=2)
    with pytest.raises(ValueError, match="used already"):
        alf.config("once.f", b=10)
    with pytest.raises(ValueError, match="no parameter"):
        alf.config("once.f")


def test_keywords_that_equal_the_default_are_not_shown() -> None:
    @alf.repr_wrapper
    class Thing:
        def __init__(self, size: int, depth: int, width: int = 7, kind: str = "flat") -> None:
            pass

    assert repr(Thing(4, depth=1, kind="tall", width=7)) == "Thing(4, depth=1, kind='tall')"
