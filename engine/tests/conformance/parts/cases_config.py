"""``alf.config`` and friends: binding, suffixes, immutability, definitions."""

import os
import tempfile
import textwrap

from harness import case, refuses

import alf
from alf.config_util import repr_wrapper


def make(name, **options):
    """A configurable function ``name(a, b=1, c=2)`` that returns its arguments."""

    @alf.configurable(name, **options)
    def f(a=0, b=1, c=2):
        return [a, b, c]

    return f


@case("config.configured_value_replaces_default")
def _():
    f = make("m01.f01")
    alf.config("f01", b=10)
    return [f(), f(b=5), f(1, 2), f(c=7)]


@case("config.explicit_argument_wins")
def _():
    f = make("m02.f02")
    alf.config("f02", a=10, b=20, c=30)
    return [f(1), f(1, 2, 3), f(c=3)]


@case("config.dict_form")
def _():
    f = make("m03.f03")
    alf.config({"f03.a": 1, "m03.f03.c": 3})
    return f()


@case("config.suffix_of_a_longer_name")
def _():
    f = make("pack.m04.f04")
    alf.config("m04.f04", b=4)
    alf.config("pack.m04.f04", c=5)
    return f()


@case("config.ambiguous_suffix_is_refused")
def _():
    make("p05a.f05")
    make("p05b.f05")
    return [refuses(alf.config, "f05", b=1), refuses(alf.config, "p05a.f05", b=1)]


@case("config.unambiguous_argument_alone")
def _():
    """An argument's name alone is enough where nothing else ends so."""

    @alf.configurable("m06.f06")
    def f(only_here_06=1):
        return only_here_06

    alf.config1("only_here_06", 9)
    return f()


@case("config.unknown_name_is_refused")
def _():
    make("m07.f07")
    return [refuses(alf.config, "f07", zz=1), refuses(alf.config, "nothing_of_the_kind", a=1)]


@case("config.after_use_is_refused")
def _():
    f = make("m08.f08")
    f()
    return [refuses(alf.config, "f08", b=99)]


@case("config.after_use_with_equal_value_is_allowed")
def _():
    f = make("m09.f09")
    f()
    return [refuses(alf.config, "f09", b=1)]


@case("config.after_use_raise_if_used_false")
def _():
    f = make("m10.f10")
    before = f()
    alf.config("f10", raise_if_used=False, b=7)
    return [before, f()]


@case("config.not_used_when_given_explicitly")
def _():
    f = make("m11.f11")
    f(1, 2, 3)
    return refuses(alf.config, "f11", b=99)


@case("config.immutable_later_change_is_ignored")
def _():
    f = make("m12.f12")
    alf.config("f12", mutable=False, b=5)
    raised = refuses(alf.config, "f12", b=6)
    return [raised, f()]


@case("config.mutable_can_change_before_use")
def _():
    f = make("m13.f13")
    alf.config("f13", b=5)
    alf.config("f13", b=6)
    return f()


@case("config.immutable_against_immutable")
def _():
    f = make("m13b.f13b")
    alf.config("f13b", mutable=False, b=5)
    try:
        alf.config("f13b", mutable=False, b=6)
    except ValueError:
        pass
    return f()


@case("config.wrong_kinds_of_argument")
def _():
    make("m14.f14")
    return [
        refuses(alf.config, "f14"),
        refuses(alf.config, {"f14.a": 1}, b=2),
        refuses(alf.config, 3),
    ]


@case("config.whitelist")
def _():
    make("m15.f15", whitelist=["b"])
    return [refuses(alf.config, "f15", b=1), refuses(alf.config, "f15", a=1)]


@case("config.blacklist")
def _():
    make("m16.f16", blacklist=["b"])
    return [refuses(alf.config, "f16", b=1), refuses(alf.config, "f16", a=1)]


@case("config.whitelist_and_blacklist_together")
def _():
    return refuses(make, "m17.f17", whitelist=["a"], blacklist=["b"])


@case("config.required_argument_can_be_configured")
def _():
    @alf.configurable("m18.f18")
    def f(a, b=1):
        return [a, b]

    alf.config("f18", a=4)
    return f()


@case("config.class_constructor")
def _():
    @alf.configurable("m19.C19")
    class C:
        def __init__(self, x, y=2):
            self.v = [x, y]

    alf.config("C19", y=5)
    return [C(1).v, C(1, 3).v, C.__name__, isinstance(C(1), C)]


@case("config.subclass_does_not_inherit_the_binding_of_its_own_argument")
def _():
    @alf.configurable("m20.Base20")
    class Base:
        def __init__(self, y=2):
            self.y = y

    @alf.configurable("m20.Sub20")
    class Sub(Base):
        def __init__(self, y=3):
            super().__init__(y=y)

    alf.config("Base20", y=50)
    first = Sub().y
    alf.config("Sub20", raise_if_used=False, y=60)
    return [first, Sub().y, Base().y]


@case("config.subclass_without_init_uses_the_base")
def _():
    @alf.configurable("m21.Base21")
    class Base:
        def __init__(self, y=2):
            self.y = y

    class Sub(Base):
        pass

    alf.config("Base21", y=50)
    return Sub().y


@case("config.subclass_init_with_super_uses_configured_base_default")
def _():
    @alf.configurable("m22.Base22")
    class Base:
        def __init__(self, y=2, z=3):
            self.v = [y, z]

    class Sub(Base):
        def __init__(self):
            super().__init__(z=4)

    alf.config("Base22", y=50, z=60)
    return Sub().v


@case("config.method")
def _():
    class C:
        @alf.configurable("C23.go")
        def go(self, x=1):
            return x

    alf.config("C23.go", x=8)
    return [C().go(), C().go(2)]


@case("config.default_name_is_the_function_name")
def _():
    @alf.configurable
    def lonely_function_24(x=1):
        return x

    names = [n for n in alf.get_all_config_names() if "lonely_function_24" in n]
    return [len(names), names[0].endswith("lonely_function_24.x")]


@case("config.varargs_are_not_configs")
def _():
    @alf.configurable("m25.f25")
    def f(a=1, *args, k=2, **kwargs):
        return [a, list(args), k, kwargs]

    alf.config("f25", a=5, k=6)
    return [sorted(n for n in alf.get_all_config_names() if "f25" in n), f(), f(1, 2, z=3)]


@case("config.get_all_config_names.sorted_with_full_path")
def _():
    make("m26.f26")
    return [n for n in alf.get_all_config_names() if "m26" in n]


@case("config.get_config_value.default_and_configured")
def _():
    make("m27.f27")
    alf.config("f27", c=9)
    return [alf.get_config_value("f27.b"), alf.get_config_value("f27.c")]


@case("config.get_config_value.marks_it_used")
def _():
    make("m28.f28")
    alf.get_config_value("f28.b")
    return refuses(alf.config, "f28", b=10)


@case("config.get_config_value.no_default")
def _():
    @alf.configurable("m29.f29")
    def f(a):
        return a

    return [refuses(alf.get_config_value, "f29.a"), refuses(alf.get_config_value, "f29.q")]


@case("config.get_operative_configs")
def _():
    f = make("m30.f30")
    alf.config("f30", b=8)
    f(1)
    return [list(p) for p in alf.get_operative_configs() if "m30" in p[0]]


@case("config.get_inoperative_configs")
def _():
    f = make("m31.f31")
    alf.config("f31", a=7, b=8)
    f(b=1)
    first = [list(p) for p in alf.get_inoperative_configs() if "m31" in p[0]]
    g = make("m31.g31")
    alf.config("g31", a=7, b=8)
    g(b=1)
    return [first, [list(p) for p in alf.get_inoperative_configs() if "g31" in p[0]]]


@case("config.reset_configs")
def _():
    f = make("m32.f32")
    alf.config("f32", b=8)
    first = f()
    alf.reset_configs()
    second = f()
    return [first, second]


@case("config.reset_configs.used_is_forgotten")
def _():
    f = make("m33.f33")
    f()
    alf.reset_configs()
    alf.config("f33", b=4)
    return f()


@case("config.pre_config.known_name_is_immutable_at_once")
def _():
    f = make("m34.f34")
    alf.pre_config({"f34.b": 5})
    alf.config("f34", b=6)
    return [f(), [list(p) for p in alf.get_handled_pre_configs()]]


@case("config.pre_config.waits_for_the_definition")
def _():
    alf.pre_config({"f35.b": 5, "m35.f35.c": 6})
    f = make("m35.f35")
    alf.config("f35", b=1, c=1)
    alf.validate_pre_configs()
    return f()


@case("config.pre_config.never_bound")
def _():
    alf.pre_config({"f36_never.b": 5})
    return refuses(alf.validate_pre_configs)


@case("config.pre_config.all_bound")
def _():
    make("m37.f37")
    alf.pre_config({"f37.b": 5})
    return refuses(alf.validate_pre_configs)


@case("config.pre_config.becomes_ambiguous")
def _():
    alf.pre_config({"f38.b": 5})
    make("p38a.f38")
    make("p38b.f38")
    return refuses(alf.validate_pre_configs)


@case("config.define_config.value_and_pre_config")
def _():
    alf.pre_config({"my_value_39": 5})
    return [
        alf.define_config("my_value_39", 1),
        alf.define_config("my_value_39b", 2),
        alf.get_config_value("my_value_39b"),
    ]


@case("config.define_config.full_name")
def _():
    alf.define_config("my_value_40", 1)
    return [n for n in alf.get_all_config_names() if "my_value_40" in n]


@case("config.define_config.twice")
def _():
    alf.define_config("my_value_41", 1)
    return refuses(alf.define_config, "my_value_41", 2)


@case("config.define_config.again_after_reset")
def _():
    alf.define_config("my_value_42", 1)
    alf.reset_configs()
    return [alf.define_config("my_value_42", 3)]


@case("config.define_config.config_after_definition")
def _():
    alf.define_config("my_value_43", 1)
    return refuses(alf.config1, "_CONFIG._USER.my_value_43", 2)


@case("config.defined_twice_is_refused")
def _():
    make("m44.f44")
    return refuses(make, "m44.f44")


@case("config.name_that_is_a_suffix_of_another_is_refused")
def _():
    make("q45.m45.f45")
    return refuses(make, "m45.f45")


@case("config.config1.mutable_false")
def _():
    f = make("m46.f46")
    alf.config1("f46.a", 3, mutable=False)
    alf.config1("f46.a", 4)
    return f()


@case("config.repr_wrapper.positional_and_changed_keywords")
def _():
    @repr_wrapper
    class Thing:
        def __init__(self, size, depth, width=7, kind="flat"):
            pass

    return [
        repr(t).split(".")[-1]
        for t in (Thing(4, 9), Thing(4, depth=1, kind="tall"), Thing(4, 9, width=7))
    ]


def folder(**files):
    where = tempfile.mkdtemp()
    for name, text in files.items():
        with open(os.path.join(where, name + ".py"), "w") as f:
            f.write(textwrap.dedent(text))
    return where


@case("config.load_config.runs_the_file")
def _():
    f = make("m47.f47")
    where = folder(
        main="""
        import alf
        value = alf.define_config('size_47', 3)
        alf.config('f47', a=value, b=value + 1)
    """
    )
    alf.load_config(os.path.join(where, "main.py"))
    return f()


@case("config.load_config.pre_config_reaches_define_config")
def _():
    f = make("m48.f48")
    where = folder(
        main="""
        import alf
        value = alf.define_config('size_48', 3)
        alf.config('f48', a=value)
    """
    )
    alf.pre_config({"size_48": 11})
    alf.load_config(os.path.join(where, "main.py"))
    alf.validate_pre_configs()
    return f()


@case("config.import_config.relative_and_attributes")
def _():
    f = make("m49.f49")
    where = folder(
        base="""
        import alf
        number = 17
        alf.config('f49', a=1, b=1)
    """,
        main="""
        import alf
        base = alf.import_config('base.py')
        alf.config('f49', b=base.number)
    """,
    )
    alf.load_config(os.path.join(where, "main.py"))
    return f()


@case("config.import_config.outside_a_conf_file")
def _():
    return refuses(alf.import_config, "anything.py")


@case("config.load_config.missing_file")
def _():
    return refuses(alf.load_config, "/nowhere/at/all.py")


@case("config.load_config.twice")
def _():
    where = folder(main="x = 1\n", other="x = 2\n")
    alf.load_config(os.path.join(where, "main.py"))
    return refuses(alf.load_config, os.path.join(where, "other.py"))


@case("config.save_config.before_load")
def _():
    return refuses(alf.save_config, os.path.join(tempfile.mkdtemp(), "saved.py"))


@case("config.save_config.can_be_loaded_again")
def _():
    """The saved file gives the same values in a later run, with its imports."""
    f = make("m50.f50")
    where = folder(
        base="import alf\nalf.config('f50', a=1, b=1)\n",
        main="""
        import alf
        alf.import_config('base.py')
        alf.config('f50', b=2, c=3)
    """,
    )
    alf.pre_config({"f50.c": 12})
    alf.load_config(os.path.join(where, "main.py"))
    first = f()
    saved = os.path.join(where, "saved", "alf_config.py")
    os.makedirs(os.path.dirname(saved))
    alf.save_config(saved)
    for name in ("main.py", "base.py"):
        os.remove(os.path.join(where, name))
    alf.reset_configs()
    alf.load_config(saved)
    return [first, f()]


@case("config.configurable.network_constructor")
def _():
    alf.config("QNetwork", fc_layer_params=(4,))
    net = alf.networks.QNetwork(alf.TensorSpec((3,)), alf.BoundedTensorSpec((), "int64", 0, 1))
    return sorted(tuple(p.shape) for p in net.parameters()).__repr__()
