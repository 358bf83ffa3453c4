"""Averagers, normalizers and conditional operations."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alf.tensor_specs import TensorSpec
from alf.utils.averager import (
    AdaptiveAverager,
    EMAverager,
    ScalarAdaptiveAverager,
    ScalarEMAverager,
    ScalarWindowAverager,
    WindowAverager,
    average_outer_dims,
)
from alf.utils.conditional_ops import conditional_update, select_from_mask
from alf.utils.normalizers import (
    AdaptiveNormalizer,
    EMNormalizer,
    ScalarAdaptiveNormalizer,
    ScalarEMNormalizer,
    ScalarWindowNormalizer,
    WindowNormalizer,
)

SPEC = {"a": TensorSpec((2,)), "b": TensorSpec(())}


def test_outer_dimensions_are_averaged():
    x = torch.arange(24.0).view(2, 3, 4)
    assert torch.equal(average_outer_dims(x, TensorSpec((4,))), x.mean(dim=(0, 1)))
    assert torch.equal(average_outer_dims(x, TensorSpec((2, 3, 4))), x)
    with pytest.raises(ValueError, match=r"\[3\]"):
        average_outer_dims(x, TensorSpec((3,)))


def test_window_average_forgets_what_is_old():
    averager = ScalarWindowAverager(3)
    assert averager.get() == 0
    seen = [float(averager.average(torch.tensor([x, x]))) for x in (1.0, 2.0, 3.0, 7.0)]
    assert seen == [1.0, 1.5, 2.0, 4.0]
    with pytest.raises(ValueError, match="window_size"):
        ScalarWindowAverager(0)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-10, 10), min_size=1, max_size=20), st.floats(0.01, 1))
def test_moving_average_is_the_weighted_mean(values, rate):
    averager = ScalarEMAverager(rate)
    for x in values:
        averager.update(torch.tensor(x))
    weights = [(1 - rate) ** i for i in range(len(values))][::-1]
    expected = sum(w * x for w, x in zip(weights, values, strict=True)) / sum(weights)
    assert float(averager.get()) == pytest.approx(expected, abs=1e-3)


def test_adaptive_average_of_speed_one_is_the_plain_mean():
    averager = ScalarAdaptiveAverager(speed=1)
    seen = [float(averager.average(torch.tensor(x))) for x in (1.0, 3.0, 8.0)]
    assert seen == pytest.approx([1.0, 2.0, 4.0])
    with pytest.raises(ValueError, match="speed"):
        AdaptiveAverager(SPEC, speed=0.5)


def test_adaptive_average_weighs_update_t_by_speed_over_t():
    averager = ScalarAdaptiveAverager(speed=2)
    expected = 0.0
    for t, x in enumerate([5.0, 1.0, 4.0], start=2):
        expected += 2 / t * (x - expected)
        assert float(averager.average(torch.tensor(x))) == pytest.approx(expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda: WindowAverager(SPEC, 2),
        lambda: EMAverager(SPEC, 0.3),
        lambda: AdaptiveAverager(SPEC),
    ],
)
def test_averages_of_nests_survive_save_and_load(make):
    averager, other = make(), make()
    batches = [{"a": torch.randn(5, 2), "b": torch.randn(5)} for _ in range(5)]
    for batch in batches[:4]:
        averager.update(batch)
    other.load_state_dict(averager.state_dict())
    for x in (averager, other):
        x.update(batches[4])
    first, second = averager.get(), other.get()
    assert first["a"].shape == (2,)
    assert torch.equal(first["a"], second["a"])
    assert torch.equal(first["b"], second["b"])


def test_what_get_returned_does_not_change_later():
    averager = ScalarEMAverager(0.5)
    first = averager.average(torch.tensor(1.0))
    averager.update(torch.tensor(100.0))
    assert first == 1.0


NORMALIZERS = [
    lambda spec, **kw: WindowNormalizer(spec, window_size=50, **kw),
    lambda spec, **kw: EMNormalizer(spec, update_rate=1e-3, **kw),
    lambda spec, **kw: AdaptiveNormalizer(spec, speed=2.0, **kw),
]


@pytest.mark.parametrize("make", NORMALIZERS)
@pytest.mark.parametrize("offset", [0.0, 5.0, 10000.0])
def test_normalized_values_have_mean_zero_and_deviation_one(make, offset):
    torch.manual_seed(0)
    normalizer = make(TensorSpec((3,)), auto_update=False)
    scale = torch.tensor([0.1, 1.0, 20.0])
    data = offset + scale * torch.randn(50, 200, 3)
    for batch in data:
        normalizer.update(batch)
    normal = normalizer.normalize(data)
    assert torch.allclose(normal.mean(dim=(0, 1)), torch.zeros(3), atol=0.05)
    assert torch.allclose(normal.std(dim=(0, 1)), torch.ones(3), atol=0.05)


def test_window_normalizer_by_hand():
    normalizer = ScalarWindowNormalizer(window_size=2, auto_update=False)
    normalizer.update(torch.tensor([100.0]))
    normalizer.update(torch.tensor([1.0, 3.0]))
    normalizer.update(torch.tensor([5.0, 7.0]))
    # mean 4, variance (9 + 1 + 1 + 9) / 4
    normal = normalizer.normalize(torch.tensor([4.0, 9.0]))
    assert normal.tolist() == pytest.approx([0.0, 5.0**0.5], abs=1e-4)


def test_without_zero_mean_values_are_divided_by_their_size():
    normalizer = ScalarEMNormalizer(zero_mean=False)
    assert normalizer(torch.tensor([3.0, 3.0])).tolist() == pytest.approx([1.0, 1.0])


def test_with_unit_std_only_the_mean_is_subtracted():
    normalizer = ScalarAdaptiveNormalizer(unit_std=True)
    assert normalizer(torch.tensor([3.0, 13.0])).tolist() == [-5.0, 5.0]


def test_values_pass_before_anything_was_seen():
    normalizer = AdaptiveNormalizer(SPEC, auto_update=False)
    batch = {"a": torch.randn(4, 2), "b": torch.randn(4)}
    normal = normalizer(batch)
    assert torch.equal(normal["a"], batch["a"])
    assert torch.equal(normal["b"], batch["b"])


@pytest.mark.parametrize("make", NORMALIZERS)
def test_normalize_learns_as_forward_does(make):
    torch.manual_seed(0)
    by_call, by_name = make(TensorSpec(())), make(TensorSpec(()))
    results = []
    for _ in range(100):
        batch = 20 + 5 * torch.randn(10)
        results.append(by_name.normalize(batch))
        assert torch.equal(results[-1], by_call(batch))
    # Mean near 20 and deviation near 5 when `normalize` did not learn.
    late = torch.stack(results[50:])
    assert abs(late.mean()) < 0.15
    assert abs(late.std() - 1) < 0.1


@pytest.mark.parametrize("make", NORMALIZERS)
@pytest.mark.parametrize("how", ["forward", "normalize"])
def test_evaluation_does_not_learn(make, how):
    normalizer = make(TensorSpec(()))
    normalizer(torch.tensor([-1.0, 1.0]))
    normalizer.eval()
    for _ in range(3):
        normal = getattr(normalizer, how)(torch.tensor([2.0, 6.0]))
        assert normal.tolist() == pytest.approx([2.0, 6.0])
    normalizer.train()
    assert getattr(normalizer, how)(torch.tensor([2.0, 6.0]))[0] < 1.0


def test_neither_mean_nor_deviation_is_refused():
    with pytest.raises(ValueError, match="zero_mean=False with unit_std=True"):
        ScalarEMNormalizer(zero_mean=False, unit_std=True)


def test_results_are_clipped():
    normalizer = ScalarAdaptiveNormalizer(auto_update=False)
    normalizer.update(torch.tensor([-1.0, 1.0]))
    normal = normalizer.normalize(torch.tensor([0.5, 7.0, -9.0]), clip_value=2.0)
    assert normal.tolist() == pytest.approx([0.5, 2.0, -2.0])


def test_constant_values_become_zero():
    normalizer = ScalarAdaptiveNormalizer()
    for _ in range(10):
        assert normalizer(torch.full((6,), 1234.5)).abs().max() < 1e-3


@pytest.mark.parametrize("make", NORMALIZERS)
@pytest.mark.parametrize("zero_mean", [True, False])
@pytest.mark.parametrize("constant", [0.0, 0.5, -1234.5])
def test_the_first_change_of_a_constant_is_not_blown_up(make, constant, zero_mean):
    """By the root of epsilon alone it would be 1e5 times as large as it is."""
    normalizer = make(TensorSpec((1,)), auto_update=False, zero_mean=zero_mean)
    for _ in range(10):
        normalizer.update(torch.full((6, 1), constant))
    changed = torch.tensor([[constant + 0.001]])
    result = float(normalizer.normalize(changed))
    if zero_mean:
        assert result == pytest.approx(0.001, rel=0.1)
    else:
        assert result == pytest.approx(float(changed) / (abs(constant) or 1.0), rel=1e-3)


@pytest.mark.parametrize("make", NORMALIZERS)
@pytest.mark.parametrize("size", [1e-4, 1e6])
def test_what_varies_is_scaled_however_small_or_far_from_zero(make, size):
    torch.manual_seed(0)
    normalizer = make(TensorSpec(()), auto_update=False)
    data = size * (100.0 + torch.randn(10, 500))
    for batch in data:
        normalizer.update(batch)
    assert normalizer.normalize(data).std() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("make", NORMALIZERS)
def test_statistics_survive_save_and_load(make):
    torch.manual_seed(0)
    normalizer, other = make(SPEC), make(SPEC)
    batch = {"a": 3 + torch.randn(8, 2), "b": torch.randn(8)}
    normalizer(batch)
    other.load_state_dict(normalizer.state_dict())
    first, second = normalizer(batch), other(batch)
    for key in SPEC:
        assert torch.equal(first[key], second[key])


def test_conditional_update_calls_for_the_chosen_rows_only():
    seen = []

    def double(x, y):
        seen.append(x.shape[0])
        return {"s": 2 * x + y}

    target = {"s": torch.tensor([1.0, 2.0, 3.0])}
    x, y = torch.tensor([10.0, 20.0, 30.0]), torch.tensor([0.1, 0.2, 0.3])
    for cond, expected in [
        ([False] * 3, [1.0, 2.0, 3.0]),
        ([False, True, False], [1.0, 40.2, 3.0]),
        ([True] * 3, [20.1, 40.2, 60.3]),
    ]:
        result = conditional_update(target, torch.tensor(cond), double, x, y=y)
        assert result["s"].tolist() == pytest.approx(expected)
    assert seen == [1, 3]
    assert target["s"].tolist() == [1.0, 2.0, 3.0]


def test_rows_are_selected_from_nests():
    data = {"a": torch.arange(6).view(3, 2), "b": torch.arange(3)}
    chosen = select_from_mask(data, torch.tensor([True, False, True]))
    assert chosen["a"].tolist() == [[0, 1], [4, 5]]
    assert chosen["b"].tolist() == [0, 2]
