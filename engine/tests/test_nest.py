"""Nests: round trips, map identities, errors, and the modules that combine nests."""

from __future__ import annotations

import collections
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import alf
from alf.data_structures import namedtuple
from alf.nest import nest
from alf.nest import utils as nest_utils

Backward = collections.namedtuple("Backward", ["c", "a", "b"])
Pair = namedtuple("Pair", ["first", "second"], default_value=())

leaves = st.integers(0, 99) | st.none()
nests = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)
        | st.builds(Pair, inner, inner)
        | st.builds(Backward, inner, inner, inner)
    ),
    max_leaves=12,
)


def slow_flatten(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in slow_flatten(value[key])]
    if nest.is_namedtuple(value):
        return [leaf for f in sorted(value._fields) for leaf in slow_flatten(getattr(value, f))]
    if isinstance(value, (list, tuple)):
        return [leaf for child in value for leaf in slow_flatten(child)]
    return [value]


def skeleton(value: Any) -> Any:
    """A value that is the same exactly for nests of the same structure."""
    if isinstance(value, dict):
        return "dict", [(key, skeleton(value[key])) for key in sorted(value)]
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [skeleton(child) for child in value]
    return "leaf"


@given(nests)
def test_flatten_equals_its_slow_twin(value: Any) -> None:
    assert nest.flatten(value) == slow_flatten(value)


@given(nests)
def test_packing_what_was_flattened_gives_the_nest_back(value: Any) -> None:
    packed = nest.pack_sequence_as(value, nest.flatten(value))
    assert packed == value
    nest.assert_same_structure(packed, value)


@given(nests)
def test_mapping_the_identity_changes_nothing(value: Any) -> None:
    assert nest.map_structure(lambda x: x, value) == value
    assert nest.fast_map_structure(lambda x, y: y, value, value) == value


@given(nests)
def test_mapping_composes(value: Any) -> None:
    twice = nest.map_structure(repr, nest.map_structure(str, value))
    assert twice == nest.map_structure(lambda x: repr(str(x)), value)


@given(nests)
def test_every_path_leads_to_its_leaf(value: Any) -> None:
    if not nest.is_nested(value):
        return

    def check(path: str, leaf: Any) -> None:
        assert nest.get_field(value, path) == leaf

    nest.py_map_structure_with_path(check, value)


@given(nests, nests)
def test_structures_are_the_same_exactly_if_a_map_works(value: Any, other: Any) -> None:
    if skeleton(value) == skeleton(other):
        nest.assert_same_structure(value, other)
        assert nest.map_structure(lambda a, b: b, value, other) == other
    else:
        for check in (nest.assert_same_structure, lambda a, b: nest.map_structure(max, a, b)):
            with pytest.raises(ValueError, match="nests differ at"):
                check(value, other)


@given(nests)
def test_pruning_like_itself_changes_nothing(value: Any) -> None:
    assert nest.prune_nest_like(value, value) == value


@given(st.lists(st.tuples(st.integers(), st.integers()), min_size=1))
def test_transposing_twice_gives_the_nest_back(rows: list[tuple[int, int]]) -> None:
    assert nest.transpose(nest.transpose(rows)) == rows


def test_transpose_by_hand() -> None:
    assert nest.transpose([(1, 2), (3, 4)]) == ([1, 3], [2, 4])
    assert nest.transpose({"a": Pair(1, 2), "b": Pair(3, 4)}) == Pair(
        {"a": 1, "b": 3}, {"a": 2, "b": 4}
    )


def test_fields_and_keys_are_visited_alphabetically() -> None:
    value = Backward(c=3, a={"z": 1, "y": 0}, b=Backward(c=7, a=5, b=6))
    expected = [0, 1, 5, 6, 7, 3]
    assert nest.flatten(value) == expected
    assert nest.pack_sequence_as(value, expected) == value
    paths = ["a.y", "a.z", "b.a", "b.b", "b.c", "c"]
    assert nest.flatten(nest.py_map_structure_with_path(lambda path, _: path, value)) == paths
    assert nest.flatten_up_to(Backward(0, 0, 0), value) == [value.a, value.b, value.c]
    seen = []
    nest.map_structure(lambda x, y: seen.append((x, y)), value, value)
    assert seen == [(x, x) for x in expected]
    assert nest.map_structure_up_to(Backward(0, 0, 0), id, value).b == id(value.b)


def test_dicts_of_any_kind_are_of_one_type() -> None:
    filled = collections.OrderedDict(b=1, a=2)
    assert nest.flatten(filled) == [2, 1]
    assert nest.map_structure(lambda x, y: (x, y), filled, {"a": 20, "b": 10}) == {
        "a": (2, 20),
        "b": (1, 10),
    }
    nest.assert_same_structure({"a": 1, "b": 2}, filled)
    with pytest.raises(ValueError, match="list and tuple"):
        nest.assert_same_type([], ())


def test_empty_containers_have_no_leaves_and_none_is_one() -> None:
    assert nest.flatten({"b": (), "a": None, "c": []}) == [None]
    assert nest.is_nested(())
    assert not nest.is_nested(None)
    assert nest.flatten(()) == []


def test_a_mismatch_names_its_path_and_prints_no_tensor() -> None:
    left = {"x": Pair(torch.zeros(1000), [1])}
    right = {"x": Pair(torch.zeros(1000), (1,))}
    with pytest.raises(ValueError, match=r"'x.second': list of length 1 against tuple") as info:
        nest.assert_same_structure(left, right)
    assert len(str(info.value)) < 200


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((1, 2), (1, 2, 3)),
        ({"a": 1}, {"b": 1}),
        ([1], (1,)),
        (1, (1,)),
        ((), 1),
        (Pair(1), (1, ())),
    ],
)
def test_different_structures_are_refused(left: Any, right: Any) -> None:
    with pytest.raises(ValueError, match="differ"):
        nest.assert_same_structure(left, right)
    with pytest.raises(ValueError, match="differ"):
        nest.map_structure(lambda a, b: a, left, right)


def test_up_to_passes_whole_parts() -> None:
    shallow, deep = {"a": 0, "b": (0, 0)}, {"a": (1, 2), "b": (3, {"c": 4})}
    assert nest.flatten_up_to(shallow, deep) == [(1, 2), 3, {"c": 4}]
    assert nest.map_structure_up_to(shallow, lambda d: [d], deep) == {
        "a": [(1, 2)],
        "b": ([3], [{"c": 4}]),
    }
    with pytest.raises(ValueError, match="'b'"):
        nest.flatten_up_to(shallow, {"a": 1, "b": 2})


def test_fields_are_found_read_and_replaced() -> None:
    value = Pair({"x": [1, 2]}, Pair(3, ()))
    assert nest.get_field(value, "first.x.1") == 2
    assert nest.get_field(value, "") is value
    assert nest.set_field(value, "first.x.1", 9) == Pair({"x": [1, 9]}, Pair(3, ()))
    assert nest.transform_nest(value, "second.first", lambda v: -v).second.first == -3
    both = nest.transform_nests(
        [value, nest.set_field(value, "second.first", 5)], "second.first", lambda v: (max(v), -1)
    )
    assert [x.second.first for x in both] == [5, -1]
    with pytest.raises(ValueError, match="1 nodes for 2 nests"):
        nest.transform_nests([value, value], "second", lambda nodes: nodes[:1])
    assert value == Pair({"x": [1, 2]}, Pair(3, ()))
    assert nest.find_field(value, "first") == [{"x": [1, 2]}, 3]
    assert nest.find_field([value.second], "second") == []
    assert nest.find_field([value.second], "second", ignore_empty=False) == [()]
    with pytest.raises(ValueError, match=r"no 'z' of 'first.z'; available: \['x'\]"):
        nest.get_field(value, "first.z")
    with pytest.raises(LookupError):
        nest.get_field(value, "third")


def test_pruning_keeps_what_the_slim_nest_has() -> None:
    value = Pair({"x": 1, "y": 2}, (3, 4))
    assert nest.prune_nest_like(value, Pair({"y": 0}, None)) == Pair({"y": 2}, None)
    assert nest.prune_nest_like([1, 3], [None, 1]) == [None, 3]
    with pytest.raises(ValueError, match="'second'"):
        nest.prune_nest_like(value, Pair({"y": 0}, ()))
    assert nest.prune_nest_like(value, Pair((), (0, 0)), value_to_match=()) == Pair((), (3, 4))
    with pytest.raises(ValueError, match="no entries"):
        nest.prune_nest_like(value, Pair({"z": 0}, None))


def test_sizes_and_batch_dimension() -> None:
    value = {"b": torch.zeros(3, 2), "a": torch.ones(3, 5)}
    assert nest.get_nest_batch_size(value) == 3
    assert nest.get_nest_size(value, 1) == 5
    assert nest.get_nest_shape(value) == (3, 5)
    back = nest.unbatch_nested_tensor(nest.batch_nested_tensor(value))
    assert torch.equal(back["b"], value["b"])
    with pytest.raises(ValueError, match="size 1"):
        nest.unbatch_nested_tensor(value)


def test_subclasses_of_named_tuples_stay_what_they_are() -> None:
    class Named(Pair):
        def total(self) -> int:
            return self.first + self.second

    assert nest.map_structure(lambda x: 2 * x, Named(1, 2)).total() == 6


def test_nest_functions_are_reached_through_alf() -> None:
    assert alf.nest.map_structure(abs, (-1,)) == (1,)
    assert alf.nest.utils.NestConcat is nest_utils.NestConcat


def test_stacking_and_zeros() -> None:
    stacked = nest_utils.stack_nests([{"a": torch.tensor([i])} for i in range(3)])
    assert stacked["a"].tolist() == [[0], [1], [2]]
    assert nest_utils.zeros_like(stacked)["a"].tolist() == [[0], [0], [0]]
    assert nest_utils.stack_nests([torch.ones(2)], dim=1).shape == (2, 1)


def test_outer_rank_counts_the_leading_dimensions() -> None:
    specs = {"a": alf.TensorSpec((2,)), "b": alf.TensorSpec(())}
    tensors = {"a": torch.zeros(4, 3, 2), "b": torch.zeros(4, 3)}
    assert nest_utils.get_outer_rank(tensors, specs) == 2
    with pytest.raises(ValueError, match="outer dimensions differ"):
        nest_utils.get_outer_rank({**tensors, "b": torch.zeros(4)}, specs)
    with pytest.raises(ValueError, match="'a'"):
        nest_utils.get_outer_rank({**tensors, "a": torch.zeros(4)}, specs)


def test_grad_has_the_structure_of_its_nest() -> None:
    x = Pair(torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor(3.0, requires_grad=True))
    gradient = nest_utils.grad(x, x.first**2 * x.second)
    assert gradient.first.tolist() == [6.0, 12.0]
    assert gradient.second.item() == 5.0


def test_combiners_by_hand() -> None:
    value = {"a": torch.tensor([[1.0, 2.0]]), "b": torch.tensor([[3.0, 4.0]])}
    assert nest_utils.NestConcat()(value).tolist() == [[1, 2, 3, 4]]
    assert nest_utils.NestConcat(nest_mask={"a": False, "b": True})(value).tolist() == [[3, 4]]
    assert nest_utils.NestSum()(value).tolist() == [[4, 6]]
    assert nest_utils.NestSum(average=True, activation=torch.neg)(value).tolist() == [[-2, -3]]
    assert nest_utils.NestMultiply()(value).tolist() == [[3, 8]]
    assert nest_utils.NestOuterProduct()(value).tolist() == [[3, 4, 6, 8]]
    padded = nest_utils.NestOuterProduct(padding=True)(value)
    assert padded.tolist() == [[3, 4, 1, 6, 8, 2, 3, 4, 1]]


def test_concatenation_counts_axes_after_the_batch() -> None:
    """`dim=0` of two [4, 3] is [4, 6], not [8, 3]."""
    pair = [torch.zeros(4, 3), torch.ones(4, 3)]
    assert nest_utils.NestConcat(dim=0)(pair).tolist() == [[0, 0, 0, 1, 1, 1]] * 4
    assert nest_utils.NestConcat(dim=1)([torch.zeros(2, 3, 2), torch.zeros(2, 3, 1)]).shape == (
        2,
        3,
        3,
    )
    specs = [alf.TensorSpec((1, 5)), alf.TensorSpec((3, 5))]
    assert nest_utils.NestConcat(dim=0)(specs).shape == (4, 5)
    parallel = nest_utils.NestConcat(dim=0).make_parallel(3)
    assert parallel([torch.zeros(2, 3, 4, 2), torch.zeros(2, 3, 1, 2)]).shape == (2, 3, 5, 2)


def test_numbers_are_added_and_leaves_of_batch_rank_are_multiplied() -> None:
    assert nest_utils.NestSum()({"a": 1.5, "b": 2}) == 3.5
    product = nest_utils.NestOuterProduct()([torch.tensor([2.0, 3.0]), torch.ones(2, 2)])
    assert product.tolist() == [[2, 2], [3, 3]]


def test_combiners_combine_specs_into_the_spec_of_the_result() -> None:
    specs = (alf.TensorSpec((2,)), alf.TensorSpec((3,)))
    assert nest_utils.NestConcat()(specs) == alf.TensorSpec((5,))
    assert nest_utils.NestOuterProduct()(specs) == alf.TensorSpec((6,))


def test_parallel_combiners_treat_each_replica_alike() -> None:
    value = (torch.randn(4, 3, 2), torch.randn(4, 3, 5))  # B=4, 3 replicas
    for combiner in (nest_utils.NestConcat(), nest_utils.NestOuterProduct()):
        whole = combiner.make_parallel(3)(value)
        for replica in range(3):
            single = combiner(nest.map_structure(lambda x, i=replica: x[:, i], value))
            assert torch.allclose(whole[:, replica], single)


def test_nested_modules_are_registered() -> None:
    module = nest_utils.make_nested_module(
        {"a": torch.nn.Linear(1, 1), "b": (torch.nn.Linear(1, 1), 3), "c": ()}
    )
    assert sorted(dict(module.named_parameters())) == [
        "a.bias",
        "a.weight",
        "b.0.bias",
        "b.0.weight",
    ]
    with pytest.raises(ValueError, match="int is no module"):
        nest_utils.make_nested_module([3], ignore_non_module_element=False)


def test_conversion_to_the_device_they_are_on_copies_nothing() -> None:
    value = {"a": torch.zeros(2), "b": "text"}
    assert nest_utils.convert_device(value) is value
    assert nest_utils.convert_device(value, "meta")["a"].device.type == "meta"


def test_nested_fields_are_gathered() -> None:
    assert nest_utils.get_nested_field(Pair(1, {"x": 2}), ["second.x", "first"]) == [2, 1]


def test_named_children_sums_and_the_outermost_container() -> None:
    value = {"b": Pair(1, [2, 3]), "a": 4}
    assert list(nest.extract_fields_from_nest(Pair(1, [2, 3]))) == [
        ("first", 1),
        ("second", [2, 3]),
    ]
    assert dict(nest.extract_fields_from_nest(value)) == value
    assert nest.sum_nest(value) == 10
    assert nest.nest_top_level(Pair([5, 6], {"x": 7})) == Pair(None, None)
    assert nest.nest_top_level(5) == 5
    assert nest.sum_nest(()) == 0
    assert nest.extract_any_leaf_from_nest([(), {}]) is None
    assert nest.transpose(3) == 3
    assert list(nest.extract_fields_from_nest(Backward(1, 2, 3))) == [("a", 2), ("b", 3), ("c", 1)]
    assert nest.nest_top_level([(1, 2), 3, 4]) == [None] * 3
    with pytest.raises(ValueError, match="int"):
        list(nest.extract_fields_from_nest(3))
