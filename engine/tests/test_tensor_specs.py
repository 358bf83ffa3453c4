"""Specs: equality, samples within bounds, constants, pickling."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alf.device_ctx import device, get_default_device, set_default_device
from alf.tensor_specs import BoundedTensorSpec, TensorSpec, torch_dtype_to_str
from alf.utils import spec_utils

SPECS = [
    TensorSpec((2, 3)),
    TensorSpec((), torch.int64),
    BoundedTensorSpec((2,), torch.float32, -1.0, [1.0, 2.0]),
    BoundedTensorSpec((), torch.int64, 0, 4),
]


@pytest.mark.parametrize("spec", SPECS)
def test_specs_survive_pickling_and_hash_alike(spec: TensorSpec) -> None:
    copy = pickle.loads(pickle.dumps(spec))
    assert copy == spec
    assert hash(copy) == hash(spec)
    assert repr(copy) == repr(spec)


def test_equality_looks_at_everything() -> None:
    for i, a in enumerate(SPECS):
        for j, b in enumerate(SPECS):
            assert (a == b) == (i == j)
    assert BoundedTensorSpec((2,)) != TensorSpec((2,))
    assert BoundedTensorSpec((2,), maximum=2) != BoundedTensorSpec((2,), maximum=3)


@pytest.mark.parametrize("spec", SPECS)
def test_tensors_made_from_a_spec_have_it(spec: TensorSpec) -> None:
    plain = TensorSpec.from_spec(spec)
    for tensor in (spec.zeros((4,)), spec.ones((4,)), spec.constant(1, (4,))):
        assert TensorSpec.from_tensor(tensor, from_dim=1) == plain
    assert TensorSpec.from_array(spec.numpy_zeros((4,)), from_dim=1) == plain
    assert spec.zeros().shape == spec.shape
    assert spec.numpy_constant(1, (2,)).sum() == 2 * spec.numel


@given(
    low=st.lists(st.integers(-50, 50), min_size=3, max_size=3),
    width=st.integers(0, 20),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.int64, torch.int32]),
)
def test_samples_lie_within_the_bounds(low: list[int], width: int, dtype: torch.dtype) -> None:
    spec = BoundedTensorSpec((3,), dtype, low, np.array(low) + width)
    sample = spec.sample((7,))
    assert sample.dtype == dtype
    assert sample.shape == (7, 3)
    assert bool((sample >= torch.as_tensor(spec.minimum)).all())
    assert bool((sample <= torch.as_tensor(spec.maximum)).all())
    array = spec.numpy_sample((7,))
    assert str(array.dtype) == spec.dtype_str
    assert bool(((array >= spec.minimum) & (array <= spec.maximum)).all())


def test_discrete_samples_reach_both_ends() -> None:
    spec = BoundedTensorSpec((), torch.int64, 0, 2)
    assert set(spec.sample((200,)).tolist()) == {0, 1, 2}
    assert set(spec.numpy_sample((200,), np.random.default_rng(0)).tolist()) == {0, 1, 2}
    assert set(BoundedTensorSpec((), torch.bool).sample((50,)).tolist()) == {False, True}


def test_unbounded_ranges_give_finite_samples_on_the_right_side() -> None:
    inf = np.inf
    spec = BoundedTensorSpec((4,), torch.float32, [-inf, 0, -inf, -1], [inf, inf, 0, 1])
    for sample in (spec.sample((100,)), torch.as_tensor(spec.numpy_sample((100,)))):
        assert bool(sample.isfinite().all())
        assert bool((sample[:, 1] >= 0).all())
        assert bool((sample[:, 2] <= 0).all())
        assert bool((sample[:, 3].abs() <= 1).all())
    info = torch.finfo(torch.float32)
    widest = BoundedTensorSpec((5,), minimum=info.min, maximum=info.max)
    assert bool(widest.sample((100,)).isfinite().all())


def test_a_spec_without_bounds_makes_no_bounded_one() -> None:
    with pytest.raises(ValueError, match="has no bounds"):
        BoundedTensorSpec.from_spec(TensorSpec((5,)))


@pytest.mark.parametrize(
    ("bounds", "text"),
    [({"minimum": 2}, "larger than maximum"), ({"minimum": [0, 0, 0]}, "does not broadcast")],
)
def test_impossible_bounds_are_refused(bounds: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        BoundedTensorSpec((2,), **bounds)


def test_replace_keeps_the_rest() -> None:
    spec = BoundedTensorSpec((2,), torch.float32, -1, 1)
    assert spec.replace(maximum=3) == BoundedTensorSpec((2,), torch.float32, -1, 3)
    assert TensorSpec((2,)).replace(dtype=torch.int64) == TensorSpec((2,), torch.int64)


def test_kinds_of_specs() -> None:
    assert TensorSpec((2, 3)).numel == 6
    assert TensorSpec(()).numel == 1
    assert BoundedTensorSpec.is_bounded()
    assert not TensorSpec.is_bounded()
    assert TensorSpec((), torch.int32).is_discrete
    assert TensorSpec(()).is_continuous
    assert torch_dtype_to_str(torch.uint8) == "uint8"
    with pytest.raises(ValueError, match="complex64"):
        torch_dtype_to_str(torch.complex64)


def test_scaling_maps_the_unit_range_onto_the_spec() -> None:
    spec = BoundedTensorSpec((2,), torch.float32, [-1, 0], [3, 10])
    scaled = spec_utils.scale_to_spec(torch.tensor([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]]), spec)
    assert scaled.tolist() == [[-1, 0], [1, 5], [3, 10]]
    clipped = spec_utils.clip_to_spec(torch.tensor([[-9.0, -9.0], [9.0, 9.0]]), spec)
    assert clipped.tolist() == [[-1, 0], [3, 9]]


def test_consistency_and_sameness_of_nests() -> None:
    specs = {"a": TensorSpec((2,)), "b": BoundedTensorSpec((), torch.int64, 0, 3)}
    zeros = spec_utils.zeros_from_spec(specs, 5)
    assert zeros["a"].shape == (5, 2)
    assert spec_utils.consistent_with_spec(zeros, specs, from_dim=1)
    assert not spec_utils.consistent_with_spec(zeros, specs)
    assert spec_utils.is_same_spec(specs, dict(specs))
    assert not spec_utils.is_same_spec(specs, (specs["a"], specs["b"]))


def test_the_device_context_restores_the_default() -> None:
    assert get_default_device() == "cpu"
    with device("meta"):
        assert get_default_device() == "meta"
        assert torch.zeros(1).device.type == "meta"
        with device("cpu"):
            assert torch.zeros(1).device.type == "cpu"
        assert torch.zeros(1).device.type == "meta"
    assert torch.zeros(1).device.type == "cpu"
    with pytest.raises(ValueError, match="nonsense"):
        set_default_device("nonsense")
