"""Gin files: what they configure, what they refuse, and that a saved one says the same."""

from __future__ import annotations

import sys

import pytest
import torch

import alf
from alf.config_helpers import parse_config
from alf.config_util import configurable, get_config_value, origin_of, reset_configs
from alf.utils.common import get_conf_file, parse_conf_file, write_config


@configurable
class GinPart:
    def __init__(self, size=1, rate=0.1):
        self.size, self.rate = size, rate


@configurable
class GinWhole:
    def __init__(self, part=None, activation=None, numbers=(), make_part=GinPart, required=0):
        self.part, self.activation, self.numbers = part, activation, numbers
        self.make_part = make_part


@pytest.fixture(autouse=True)
def _reset():
    reset_configs()
    yield
    reset_configs()


@pytest.fixture
def parse(tmp_path):
    def parse_text(text, *params, name="test.gin"):
        path = tmp_path / name
        path.write_text(text)
        parse_config(str(path), params, create_env=False)
        return path

    return parse_text


def test_bindings_take_literals_by_the_end_of_a_name(parse):
    parse("""
        import alf.optimizers
        GinPart.size = 3   # of the part
        test_gin.GinPart.rate = -1e-3
        GinWhole.numbers = [1, (2,),
                            {'a': 'b'}]
    """)
    assert (GinPart().size, GinPart().rate) == (3, -1e-3)
    assert GinWhole().numbers == [1, (2,), {"a": "b"}]
    assert GinPart(size=4).size == 4


def test_the_last_binding_counts(parse):
    parse("GinPart.size = 1\ntest_gin.GinPart.size = 2\nGinPart.size = 3\n", "GinPart.size=4")
    assert GinPart().size == 4


def test_blocks_and_macros(parse):
    parse("width = 7\nGinPart:\n    size = %width\n    rate = %rates/slow\nrates/slow = 0.5\n")
    assert (GinPart().size, GinPart().rate) == (7, 0.5)


def test_a_parameter_overrides_a_macro(parse):
    parse("width = 7\nGinPart.size = %width\n", "width = 8")
    assert GinPart().size == 8


def test_a_called_reference_is_made_anew_each_time(parse):
    parse("GinWhole.part = @GinPart()\nGinPart.size = 5\n")
    first, second = GinWhole().part, GinWhole().part
    assert (first.size, second.size) == (5, 5)
    assert first is not second
    assert get_config_value("GinWhole.part").size == 5


def test_references_inside_containers_and_macros(parse):
    parse("parts = [@GinPart(), @GinPart]\nGinWhole.numbers = %parts\n")
    made, cls = GinWhole().numbers
    assert isinstance(made, GinPart)
    assert cls is GinPart


def test_a_scope_is_for_the_calls_of_its_references(parse):
    parse("""
GinPart.size = 1
big/GinPart.size = 10
big/GinPart.rate = %rate
rate = 0.5
GinWhole.part = @big/GinPart()
GinWhole.make_part = @big/GinPart
GinWhole.numbers = (@GinPart(), @big/inner/GinPart())
big/inner/GinPart.rate = 0.25
""")
    whole = GinWhole()
    assert (whole.part.size, whole.part.rate) == (10, 0.5)
    assert whole.make_part(rate=2).rate == 2
    assert [(p.size, p.rate) for p in whole.numbers] == [(1, 0.1), (10, 0.25)]
    assert GinPart().size == 1


def test_torch_functions_are_referred_to_by_path_or_as_activations(parse):
    parse("""
GinWhole.activation = @torch.nn.functional.elu
GinWhole.numbers = [@relu_, @tanh, @slow/torch.nn.functional.leaky_relu]
slow/torch.nn.functional.leaky_relu.negative_slope = 0.5
""")
    whole = GinWhole()
    assert whole.activation is torch.nn.functional.elu
    assert whole.numbers[:2] == [torch.nn.functional.relu_, torch.tanh]
    assert whole.numbers[2](torch.tensor(-2.0)) == -1.0


def test_included_files_are_found_beside_their_includer(parse, tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "base.gin").write_text("include 'more.gin'\nGinPart.size = 2\n")
    (tmp_path / "parts" / "more.gin").write_text("GinPart.rate = 3\nGinPart.size = 1\n")
    parse("include 'parts/base.gin'\nGinWhole.required = 4\n")
    assert (GinPart().size, GinPart().rate) == (2, 3)


def test_a_scope_that_nobody_enters_is_no_error(parse):
    parse("big/GinPart.size = 7\nGinPart.size = 2\n")
    assert GinPart().size == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("GinPart.sise = 1", r"test\.gin:1: GinPart\.sise: .*nearest names are: GinPart\.size"),
        ("\nGinWhole.part = @GinPrt()", r"test\.gin:2: .*no configurable 'GinPrt'.*GinPart"),
        ("GinPart.size = %widht\nwidth = 1", r":1: .*no macro %widht.*nearest names are: width"),
        ("GinPart.size = %gin.REQUIRED", r":1: .*give it with --gin_param"),
        ("a = %b\nb = %a\nGinPart.size = %a", r":3: .*circle: %a -> %b -> %a"),
        ("GinPart.size = = 1", r"test\.gin:1: this is no gin"),
        ("GinPart.size = [1,\n", r"this is no gin"),
        ("import no_such_module", r":1: cannot import no_such_module"),
        ("include 'none.gin'", r":1: conf file 'none\.gin' does not exist"),
        ("include 'test.gin'", r"include each other in a circle"),
    ],
)
def test_mistakes_are_named_with_their_line(parse, text, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        parse(text)


def test_an_error_in_a_called_reference_names_its_values(parse):
    parse("GinWhole.part = @x/SGD()\nx/SGD.lr = 'abc'\n")
    with pytest.raises(ValueError, match="abc") as raised:
        GinWhole()
    assert origin_of(raised.value) == "in @x/SGD() with lr='abc'"


def test_a_wrong_parameter_is_named(parse):
    with pytest.raises(ValueError, match=r"gin_param 'GinPart\.sise = 1'"):
        parse("", "GinPart.sise = 1")


def test_a_saved_configuration_says_the_same(parse, tmp_path):
    (tmp_path / "base.gin").write_text("GinPart.rate = 3\nw = 2\n")
    parse(
        "import alf.layers\ninclude 'base.gin'\nGinWhole.part = @x/GinPart()\n"
        "x/GinPart.size = %w\nGinWhole.numbers = {'a': (@GinPart, 'b')}\n",
        "w = 5",
    )
    root = tmp_path / "run"
    for _ in range(2):  # the second time what is read is what was saved
        write_config(str(root))
        assert (root / "config_files" / "base.gin").is_file()
        saved = (root / "alf_config.gin").read_text()
        reset_configs()
        conf_file = get_conf_file(str(root))
        assert conf_file == str(root / "alf_config.gin")
        parse_config(conf_file, [], create_env=False)
        whole = GinWhole()
        assert (whole.part.size, whole.part.rate) == (5, 3)
        assert whole.numbers == {"a": (GinPart, "b")}
    assert saved == (root / "alf_config.gin").read_text()


def test_a_fixed_value_wins_over_a_gin_file(parse):
    alf.config("GinPart", mutable=False, size=9)
    parse("GinPart.size = 1\n")
    assert GinPart().size == 9


def test_several_gin_files_in_a_root_dir_are_ambiguous(tmp_path):
    (tmp_path / "a.gin").write_text("")
    assert get_conf_file(str(tmp_path)) == str(tmp_path / "a.gin")
    (tmp_path / "b.gin").write_text("")
    with pytest.raises(ValueError, match="several gin files"):
        get_conf_file(str(tmp_path))


def test_without_gin_config_the_package_is_named(parse, monkeypatch):
    monkeypatch.setitem(sys.modules, "gin", None)
    with pytest.raises(ValueError, match="pip install 'gin-config"):
        parse("GinPart.size = 1\n")


def test_parse_conf_file_reads_gin(tmp_path):
    alf.config("create_environment", nonparallel=True)
    path = tmp_path / "a.gin"
    path.write_text("create_environment.env_name = 'CartPole-v1'\n")
    parse_conf_file(str(path))
    assert alf.get_env().batch_size == 1
    alf.close_env()
