"""``alf.nest``: flattening, mapping, pruning, fields, and ``alf.nest.utils``."""

import collections

import torch
from harness import case, ramp, refuses

import alf

Pair = collections.namedtuple("Pair", ["right", "left"])
Plain = alf.data_structures.namedtuple("Plain", ["x", "y", "z"], default_value=())


def mixed():
    return {"b": [1, (2, 3)], "a": Pair(right=4, left={"k": 5})}


@case("nest.flatten.fields_in_alphabetical_order")
def _():
    """Named fields and dictionary keys are walked in alphabetical order."""
    return alf.nest.flatten(mixed())


@case("nest.flatten.namedtuple_alphabetical")
def _():
    return alf.nest.flatten(Pair(right=1, left=2))


@case("nest.flatten.leaf")
def _():
    return alf.nest.flatten(7)


@case("nest.flatten.empty")
def _():
    return [
        alf.nest.flatten(()),
        alf.nest.flatten([]),
        alf.nest.flatten({}),
        alf.nest.flatten([(), {}]),
    ]


@case("nest.flatten.none_is_a_leaf")
def _():
    return len(alf.nest.flatten([None, 1]))


@case("nest.py_flatten.same_order")
def _():
    return alf.nest.py_flatten(mixed())


@case("nest.pack_sequence_as.round_trip")
def _():
    return alf.nest.pack_sequence_as(mixed(), [10, 20, 30, 40, 50])


@case("nest.pack_sequence_as.type_kept")
def _():
    r = alf.nest.pack_sequence_as(mixed(), list("abcde"))
    return [
        type(r).__name__,
        type(r["a"]).__name__,
        type(r["b"]).__name__,
        type(r["b"][1]).__name__,
    ]


@case("nest.pack_sequence_as.too_few")
def _():
    return refuses(alf.nest.pack_sequence_as, [1, 2, 3], [1, 2])


@case("nest.pack_sequence_as.too_many")
def _():
    return refuses(alf.nest.pack_sequence_as, [1, 2], [1, 2, 3])


@case("nest.py_pack_sequence_as.round_trip")
def _():
    return alf.nest.py_pack_sequence_as(mixed(), [1, 2, 3, 4, 5])


@case("nest.map_structure.two_nests")
def _():
    return alf.nest.map_structure(lambda x, y: x * 10 + y, mixed(), mixed())


@case("nest.map_structure.different_keys")
def _():
    return refuses(alf.nest.map_structure, lambda x, y: x, {"a": 1}, {"b": 1})


@case("nest.map_structure.different_lengths")
def _():
    return refuses(alf.nest.map_structure, lambda x, y: x, [1, 2], [1])


@case("nest.map_structure.list_against_tuple")
def _():
    return refuses(alf.nest.map_structure, lambda x, y: x, [1, 2], (1, 2))


@case("nest.map_structure.leaf_against_list")
def _():
    return refuses(alf.nest.map_structure, lambda x, y: x, 1, [1])


@case("nest.map_structure.no_nests")
def _():
    return refuses(alf.nest.map_structure, lambda *x: x)


@case("nest.map_structure.empty_tuple_kept")
def _():
    return alf.nest.map_structure(lambda x: x + 1, Plain(x=1))


@case("nest.map_structure.ordered_dict_against_dict")
def _():
    """Any two dictionaries are of one type for a nest."""
    return refuses(alf.nest.map_structure, lambda x, y: x, collections.OrderedDict(a=1), {"a": 1})


@case("nest.py_map_structure.two_nests")
def _():
    return alf.nest.py_map_structure(lambda x, y: x - y, mixed(), mixed())


@case("nest.py_map_structure_with_path.paths")
def _():
    """The path joins field names and list positions with dots."""
    return alf.nest.flatten(alf.nest.py_map_structure_with_path(lambda path, x: path, mixed()))


@case("nest.py_map_structure_with_path.leaf")
def _():
    return alf.nest.py_map_structure_with_path(lambda path, x: path + "|" + str(x), 3)


@case("nest.map_structure.other_key_order")
def _():
    """The order of keys in a dictionary does not matter."""
    return alf.nest.map_structure(lambda u, v: u - v, {"b": 5, "a": 9}, {"a": 1, "b": 2})


@case("nest.map_structure.kinds_are_kept")
def _():
    r = alf.nest.map_structure(lambda u: u, [Pair(1, (2, {"k": 3})), Plain(x=[4])])
    return [type(v).__name__ for v in (r, r[0], r[0].left, r[0].left[1], r[1], r[1].x)]


@case("nest.map_structure.none_is_passed_to_the_function")
def _():
    return alf.nest.map_structure(lambda u: u is None, {"a": None, "b": 1})


@case("nest.map_structure.tensors_and_functions")
def _():
    return alf.nest.map_structure(
        torch.relu, {"a": torch.tensor([-1.0, 2.0]), "b": (torch.tensor(-3.0),)}
    )


@case("nest.flatten.strings_and_arrays_are_leaves")
def _():
    return len(alf.nest.flatten({"a": "text", "b": torch.zeros(3), "c": [range(3)]}))


@case("nest.order_of_flatten_and_map_agree")
def _():
    """Functions are called in the order of flatten."""
    seen = []
    alf.nest.map_structure(lambda u: seen.append(u), mixed())
    return seen == alf.nest.flatten(mixed())


@case("nest.tree_of_sub_nests_prunes_to_its_spec")
def _():
    full = Plain(x={"u": 1, "v": [2, 3]}, y=4)
    return alf.nest.prune_nest_like(full, Plain(x={"v": [0, 0]}), value_to_match=())


@case("nest.assert_same_structure.equal")
def _():
    return refuses(alf.nest.assert_same_structure, mixed(), mixed())


@case("nest.assert_same_structure.other_namedtuple")
def _():
    other = collections.namedtuple("Other", ["right", "left"])
    return refuses(alf.nest.assert_same_structure, Pair(1, 2), other(1, 2))


@case("nest.assert_same_structure.extra_key")
def _():
    return refuses(alf.nest.assert_same_structure, {"a": 1}, {"a": 1, "b": 2})


@case("nest.assert_same_structure.depth")
def _():
    return refuses(alf.nest.assert_same_structure, [1, [2]], [1, 2])


@case("nest.assert_same_structure.empty_against_leaf")
def _():
    return refuses(alf.nest.assert_same_structure, Plain(x=1), Plain(x=1, y=2))


@case("nest.flatten_up_to.keeps_below")
def _():
    return alf.nest.flatten_up_to([None, (None,)], [{"a": 1}, ([2, 3],)])


@case("nest.flatten_up_to.shallow_leaf")
def _():
    return alf.nest.flatten_up_to(None, [1, 2])


@case("nest.flatten_up_to.wrong_type")
def _():
    return refuses(alf.nest.flatten_up_to, [None], (1,))


@case("nest.py_flatten_up_to.keeps_below")
def _():
    return alf.nest.py_flatten_up_to({"a": None, "b": None}, {"b": [1], "a": 2})


@case("nest.map_structure_up_to.lengths")
def _():
    return alf.nest.map_structure_up_to([None, [None]], lambda x: len(x), [[1, 2, 3], [(4,)]])


@case("nest.map_structure_up_to.two_nests")
def _():
    return alf.nest.map_structure_up_to(
        Pair(0, 0), lambda x, y: x * sum(y), Pair(2, 3), Pair([1, 2], [3])
    )


@case("nest.map_structure_up_to.shallower_than_shallow")
def _():
    return refuses(alf.nest.map_structure_up_to, [[None]], lambda x: x, [1])


@case("nest.assert_same_structure_up_to.ok")
def _():
    return refuses(
        alf.nest.assert_same_structure_up_to, {"p": [0], "q": 0}, {"q": {"deep": (4, 5)}, "p": [7]}
    )


@case("nest.assert_same_structure_up_to.empty_list")
def _():
    """An empty list in the shallow nest only fits an empty list."""
    return refuses(
        alf.nest.assert_same_structure_up_to, {"p": [0], "q": []}, {"q": [4, 5], "p": [7]}
    )


@case("nest.prune_nest_like.dict")
def _():
    return alf.nest.prune_nest_like(
        {"a": 1, "b": 2, "c": {"d": 3, "e": 4}}, {"a": 0, "c": {"e": 0}}
    )


@case("nest.prune_nest_like.value_to_match")
def _():
    """Where the slim nest holds the value to match, that value is the result."""
    return alf.nest.prune_nest_like(Plain(x=1, y=2, z=3), Plain(x=0), value_to_match=())


@case("nest.prune_nest_like.none_in_slim_is_the_default_match")
def _():
    return alf.nest.prune_nest_like({"a": 1, "b": 2}, {"a": None, "b": 0})


@case("nest.prune_nest_like.none_for_a_sub_nest")
def _():
    return alf.nest.prune_nest_like({"a": [1, 2], "b": 2}, {"a": None, "b": 0})


@case("nest.prune_nest_like.list_lengths_must_agree")
def _():
    return refuses(alf.nest.prune_nest_like, [1, 2], [1])


@case("nest.prune_nest_like.unknown_field")
def _():
    return refuses(alf.nest.prune_nest_like, {"a": 1}, {"z": 1})


@case("nest.prune_nest_like.empty_without_match")
def _():
    return refuses(alf.nest.prune_nest_like, Plain(x=1, y=2), Plain(x=0))


@case("nest.py_prune_nest_like.value_to_match")
def _():
    return alf.nest.py_prune_nest_like(
        {"a": 1, "b": [2, 3]}, {"a": (), "b": [0, 0]}, value_to_match=()
    )


@case("nest.is_namedtuple")
def _():
    return [alf.nest.is_namedtuple(v) for v in (Pair(1, 2), (1, 2), [1], {"a": 1}, Plain())]


@case("nest.is_unnamedtuple")
def _():
    return [alf.nest.is_unnamedtuple(v) for v in (Pair(1, 2), (1, 2), [1], ())]


@case("nest.is_nested")
def _():
    return [alf.nest.is_nested(v) for v in (Pair(1, 2), (), [1], {}, 1, "ab", torch.zeros(2), None)]


@case("nest.extract_fields_from_nest.sorted")
def _():
    return [list(alf.nest.extract_fields_from_nest(v)) for v in ({"b": 1, "a": 2}, Pair(1, 2))]


@case("nest.extract_fields_from_nest.list_refused")
def _():
    return refuses(lambda: list(alf.nest.extract_fields_from_nest([1])))


@case("nest.extract_any_leaf_from_nest")
def _():
    leaf = alf.nest.extract_any_leaf_from_nest
    return [leaf({"b": 1, "a": [(), 5]}), leaf([(), {}]), leaf(3)]


@case("nest.find_field.nested_match_not_searched")
def _():
    return alf.nest.find_field([{"m": 4, "n": ({"m": [5]}, 6)}, {"n": {"m": {"m": 7}}}], "m")


@case("nest.find_field.ignores_empty")
def _():
    return [
        alf.nest.find_field(Plain(x=1), "y"),
        alf.nest.find_field(Plain(x=1), "y", ignore_empty=False),
    ]


@case("nest.get_field.path")
def _():
    g = alf.nest.get_field
    return [g(mixed(), "a.left.k"), g(mixed(), "b.1.0"), g(mixed(), "b")]


@case("nest.get_field.empty_path_is_the_whole")
def _():
    return [alf.nest.get_field({"a": 1}, ""), alf.nest.get_field({"a": 1}, None)]


@case("nest.get_field.unknown")
def _():
    return [
        refuses(alf.nest.get_field, mixed(), p) for p in ("q", "a.q", "b.7", "b.x", "a.right.z")
    ]


@case("nest.get_field.unknown_is_a_lookup_error")
def _():
    """The documentation promises LookupError."""
    try:
        alf.nest.get_field({"a": 1}, "b")
    except LookupError:
        return True
    return False


@case("nest.set_field.path")
def _():
    return [alf.nest.set_field(mixed(), "a.left.k", 0), alf.nest.set_field(mixed(), "b.1", "new")]


@case("nest.set_field.input_untouched")
def _():
    n = mixed()
    alf.nest.set_field(n, "b.0", 9)
    alf.nest.set_field(n, "a.left.k", 9)
    return n


@case("nest.transform_nest.path_and_root")
def _():
    t = alf.nest.transform_nest
    return [t(mixed(), "b.1.1", lambda x: x * 100), t({"a": 1}, None, lambda x: list(x))]


@case("nest.transform_nests.both")
def _():
    return alf.nest.transform_nests(
        [{"p": {"q": 2}, "r": 1}, {"p": {"q": 5}, "r": 3}], "p.q", lambda v: (max(v), min(v) - 1)
    )


@case("nest.transform_nests.list_level_refused")
def _():
    return refuses(alf.nest.transform_nests, [[1], [2]], "0", lambda v: v)


@case("nest.transpose.list_of_tuples")
def _():
    return alf.nest.transpose({"u": ["r", "s"], "v": ["x", "y"]})


@case("nest.transpose.type_of_result")
def _():
    r = alf.nest.transpose([(0, 1), (2, 3)])
    return [type(r).__name__, type(r[0]).__name__]


@case("nest.transpose.with_shallow_nest")
def _():
    return alf.nest.transpose(([Pair(1, 2)], {"w": Pair(3, 4)}), ([None], {"w": None}))


@case("nest.transpose.new_shallow_nest")
def _():
    return alf.nest.transpose([{"a": (1, 2)}, {"a": (3, 4)}], new_shallow_nest={"a": (None, None)})


@case("nest.transpose.leaf")
def _():
    return alf.nest.transpose(3)


@case("nest.transpose.unequal_children")
def _():
    return refuses(alf.nest.transpose, [(0, 1), (2,)])


@case("nest.nest_top_level")
def _():
    return [alf.nest.nest_top_level(v) for v in ([1, [2]], {"a": {"b": 1}}, Pair((1,), 2), 5)]


@case("nest.sum_nest")
def _():
    return [
        alf.nest.sum_nest(mixed()),
        alf.nest.sum_nest({"a": torch.ones(2), "b": [torch.tensor([1.0, 2.0])]}),
        alf.nest.sum_nest(()),
    ]


@case("nest.batch_nested_tensor.adds_a_dimension")
def _():
    return alf.nest.batch_nested_tensor({"a": torch.ones(2, 3), "b": torch.tensor(1)})


@case("nest.unbatch_nested_tensor.removes_it")
def _():
    return alf.nest.unbatch_nested_tensor({"a": torch.ones(1, 3), "b": torch.tensor([1])})


@case("nest.get_nest_shape_and_batch_size")
def _():
    n = {"a": (), "b": [torch.zeros(4, 2), torch.zeros(4)]}
    return [
        alf.nest.get_nest_batch_size(n),
        tuple(alf.nest.get_nest_shape(n)),
        alf.nest.get_nest_size(n, 1),
    ]


@case("nest.get_nest_batch_size.empty_nest_refused")
def _():
    return refuses(alf.nest.get_nest_batch_size, ((), {}))


@case("nest.assert_same_type.dicts_of_any_kind")
def _():
    return [
        refuses(alf.nest.assert_same_type, collections.OrderedDict(), {}),
        refuses(alf.nest.assert_same_type, [], ()),
    ]


@case("nest.assert_same_length")
def _():
    return [
        refuses(alf.nest.assert_same_length, [1], (2,)),
        refuses(alf.nest.assert_same_length, [1], []),
    ]


@case("nest.fast_map_structure.values")
def _():
    return alf.nest.fast_map_structure(lambda x, y: x + y, [1, (2,)], [10, (20,)])


@case("nest.fast_map_structure_flatten.values")
def _():
    return alf.nest.fast_map_structure_flatten(
        lambda x, y: x + y, {"b": 0, "a": 0}, [1, 2], [10, 20]
    )


@case("nest.py_map_structure_up_to.values")
def _():
    return alf.nest.py_map_structure_up_to([None, None], lambda x, y: [x, y], [[1], 2], [3, [4]])


@case("nest.py_assert_same_structure.refusals")
def _():
    f = alf.nest.py_assert_same_structure
    return [refuses(f, [1], (1,)), refuses(f, {"a": 1}, {"a": [1]}), refuses(f, mixed(), mixed())]


# ---- alf.nest.utils ------------------------------------------------------


def images():
    return [ramp(2, 1, 2, 2), ramp(2, 3, 2, 2)]


@case("nest.NestConcat.last_dimension")
def _():
    from alf.nest.utils import NestConcat

    return NestConcat()({"b": ramp(2, 3), "a": ramp(2, 1)})


@case("nest.NestConcat.dim_does_not_count_the_batch")
def _():
    """dim=0 is the first dimension after the batch."""
    from alf.nest.utils import NestConcat

    return NestConcat(dim=0)(images())


@case("nest.NestConcat.dim_1_of_matrices")
def _():
    from alf.nest.utils import NestConcat

    return NestConcat(dim=1)([ramp(2, 3, 2), ramp(2, 3, 1)])


@case("nest.NestConcat.mask")
def _():
    from alf.nest.utils import NestConcat

    return NestConcat(nest_mask=[True, False, 1])([ramp(2, 1), ramp(2, 2), ramp(2, 3)])


@case("nest.NestConcat.mask_of_other_length")
def _():
    from alf.nest.utils import NestConcat

    return refuses(NestConcat(nest_mask=[True]), [ramp(2, 1), ramp(2, 2)])


@case("nest.NestConcat.of_specs")
def _():
    from alf.nest.utils import NestConcat

    s = alf.TensorSpec
    return [NestConcat()([s((3,)), s((2,))]), NestConcat(dim=0)([s((1, 5)), s((3, 5))])]


@case("nest.NestConcat.empty_nest")
def _():
    from alf.nest.utils import NestConcat

    return refuses(NestConcat(), [])


@case("nest.NestConcat.make_parallel_last_dim")
def _():
    from alf.nest.utils import NestConcat

    return NestConcat().make_parallel(3)([ramp(2, 3, 4), ramp(2, 3, 1)])


@case("nest.NestConcat.make_parallel_dim_0")
def _():
    """In a parallel batch neither batch nor replica counts for dim."""
    from alf.nest.utils import NestConcat

    return NestConcat(dim=0).make_parallel(3)([ramp(2, 3, 4, 2), ramp(2, 3, 1, 2)]).shape


@case("nest.NestSum.sum_and_average")
def _():
    from alf.nest.utils import NestSum

    n = {"a": ramp(2, 2), "b": [torch.ones(2, 2), ramp(2, 2)]}
    return [NestSum()(n), NestSum(average=True)(n), NestSum(activation=torch.relu)(n)]


@case("nest.NestSum.of_specs")
def _():
    from alf.nest.utils import NestSum

    return NestSum()([alf.TensorSpec((3,)), alf.TensorSpec((3,))])


@case("nest.NestMultiply.product")
def _():
    from alf.nest.utils import NestMultiply

    return [
        NestMultiply()([ramp(2, 2), ramp(2, 2), ramp(2, 2)]),
        NestMultiply(activation=torch.relu)([ramp(2, 2), ramp(2, 2)]),
    ]


@case("nest.NestOuterProduct.two_vectors")
def _():
    from alf.nest.utils import NestOuterProduct

    return NestOuterProduct()([torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0, 5.0]])])


@case("nest.NestOuterProduct.padding")
def _():
    from alf.nest.utils import NestOuterProduct

    return NestOuterProduct(padding=True)([torch.tensor([[2.0]]), torch.tensor([[3.0, 4.0]])])


@case("nest.NestOuterProduct.batch_dims")
def _():
    from alf.nest.utils import NestOuterProduct

    return NestOuterProduct(batch_dims=2, activation=torch.tanh)([ramp(2, 3, 2), ramp(2, 3, 2)])


@case("nest.NestOuterProduct.of_specs")
def _():
    from alf.nest.utils import NestOuterProduct

    return [
        NestOuterProduct(padding=p)([alf.TensorSpec((2,)), alf.TensorSpec((3, 2))])
        for p in (False, True)
    ]


@case("nest.NestOuterProduct.make_parallel")
def _():
    from alf.nest.utils import NestOuterProduct

    return NestOuterProduct().make_parallel(2)([ramp(1, 2, 2), ramp(1, 2, 3)])


@case("nest.NestOuterProduct.unequal_batches")
def _():
    from alf.nest.utils import NestOuterProduct

    return refuses(NestOuterProduct(), [ramp(2, 2), ramp(3, 2)])


@case("nest.stack_nests.dims")
def _():
    from alf.nest.utils import stack_nests

    a, b = {"x": ramp(2, 3)}, {"x": ramp(2, 3, lo=0.0)}
    return [stack_nests([a, b]), stack_nests([a, b], dim=1), stack_nests([a], dim=2)]


@case("nest.get_outer_rank.values")
def _():
    from alf.nest.utils import get_outer_rank

    s = {"a": alf.TensorSpec((3,)), "b": alf.TensorSpec(())}
    return [
        get_outer_rank({"a": torch.zeros(*o, 3), "b": torch.zeros(o)}, s)
        for o in ((), (2,), (4, 2))
    ]


@case("nest.get_outer_rank.mixed_ranks")
def _():
    from alf.nest.utils import get_outer_rank

    s = {"a": alf.TensorSpec((3,)), "b": alf.TensorSpec(())}
    return refuses(get_outer_rank, {"a": torch.zeros(2, 3), "b": torch.zeros(())}, s)


@case("nest.get_outer_rank.wrong_shape")
def _():
    from alf.nest.utils import get_outer_rank

    return [
        refuses(get_outer_rank, torch.zeros(2, 4), alf.TensorSpec((3,))),
        refuses(get_outer_rank, torch.zeros(3), alf.TensorSpec((2, 3))),
    ]


@case("nest.convert_device.unknown")
def _():
    from alf.nest.utils import convert_device

    return [
        convert_device({"a": torch.ones(2)}, "cpu"),
        refuses(convert_device, torch.ones(2), "tpu"),
    ]


@case("nest.grad.of_a_nest")
def _():
    from alf.nest.utils import grad

    v = {
        "a": torch.tensor([1.0, 2.0], requires_grad=True),
        "b": torch.tensor(3.0, requires_grad=True),
    }
    return grad(v, (v["a"] ** 2).sum() * v["b"])


@case("nest.zeros_like")
def _():
    from alf.nest.utils import zeros_like

    return zeros_like([torch.ones(2, dtype=torch.int64), {"a": torch.ones(1)}])


@case("nest.make_nested_module.keys_and_types")
def _():
    from alf.nest.utils import make_nested_module

    m = make_nested_module({"a": torch.nn.Linear(1, 2), "b": [torch.nn.Linear(2, 1)]})
    return [
        isinstance(m, torch.nn.ModuleDict),
        isinstance(m["b"], torch.nn.ModuleList),
        sorted(m.state_dict()),
    ]


@case("nest.make_nested_module.non_module_element")
def _():
    from alf.nest.utils import make_nested_module

    m = make_nested_module([torch.nn.Linear(1, 1), 5])
    return [len(m), m[1] is None]


@case("nest.get_nested_field.nest_of_paths")
def _():
    from alf.nest.utils import get_nested_field

    n = {"a": 1, "b": {"c": 2}}
    return [
        get_nested_field(n, {"x": "b.c", "y": "a"}),
        get_nested_field(n, ["a", "b.c"]),
        get_nested_field(n, "b.c"),
    ]
