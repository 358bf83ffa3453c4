"""Elementwise maths and tensor helpers: identities, hand numbers, extremes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import alf
from alf.utils import math_ops, tensor_utils

reals = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=8)


@pytest.mark.parametrize(
    "transform",
    [
        math_ops.Sqrt1pTransform(),
        math_ops.SqrtLinearTransform(),
        math_ops.SqrtLinearTransform(eps=0.5),
        math_ops.Log1pTransform(),
        math_ops.Log1pTransform(alpha=1),
    ],
)
@given(values=reals)
def test_transforms_are_undone_by_their_inverse(
    transform: math_ops.InvertibleTransform, values: list[float]
) -> None:
    x = torch.tensor(values)
    torch.testing.assert_close(
        transform.inverse_transform(transform.transform(x)), x, rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(transform.transform(-x), -transform.transform(x))


@pytest.mark.parametrize("clip", [math_ops.softclip, math_ops.softclip_tf])
@given(values=reals)
def test_soft_clips_are_monotone_and_stay_in_range(clip, values: list[float]) -> None:
    x = torch.tensor(values, dtype=torch.float64).sort().values
    y = clip(x, -2.0, 3.0, 0.5)
    assert bool(((y >= -2 - 1e-9) & (y <= 3 + 1e-9)).all())
    assert bool((y.diff() >= -1e-9).all())


def test_soft_clips_leave_the_middle_of_a_wide_range_alone() -> None:
    x = torch.linspace(-5, 5, 11, dtype=torch.float64)
    for clip in (math_ops.softclip, math_ops.softclip_tf):
        torch.testing.assert_close(clip(x, -100.0, 100.0), x)
    torch.testing.assert_close(math_ops.softlower(x, -100.0), x)
    torch.testing.assert_close(math_ops.softupper(x, 100.0), x)


def test_softclip_is_symmetric_about_the_middle() -> None:
    x = torch.linspace(-4, 4, 9, dtype=torch.float64)
    torch.testing.assert_close(math_ops.softclip(x, -1.0, 1.0), -math_ops.softclip(-x, -1.0, 1.0))


def test_softsign_has_the_gradient_of_its_formula() -> None:
    x = torch.linspace(-3, 3, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(math_ops.softsign, (x,))
    torch.testing.assert_close(math_ops.softsign(x), torch.nn.functional.softsign(x))
    (in_place,) = torch.autograd.grad(math_ops.softsign_(x * 1).sum(), x)
    (plain,) = torch.autograd.grad(math_ops.softsign(x).sum(), x)
    torch.testing.assert_close(in_place, plain)


def test_reductions_by_hand() -> None:
    parts = [torch.tensor([1.0, 5.0]), torch.tensor([2.0, 4.0]), torch.tensor([3.0, 3.0])]
    assert math_ops.add_n(parts).tolist() == [6, 12]
    assert math_ops.mul_n(parts).tolist() == [6, 60]
    assert math_ops.max_n(parts).tolist() == [3, 5]
    assert math_ops.min_n(parts).tolist() == [1, 3]
    assert math_ops.sum_to_leftmost(torch.ones(2, 3, 4), 1).tolist() == [12, 12]
    assert math_ops.sum_to_leftmost(torch.ones(2), 1).tolist() == [1, 1]
    assert math_ops.argmin(torch.tensor([[3, 1, 1], [0, 0, 5]])).tolist() == [1, 0]
    assert math_ops.add_ignore_empty((), 3) == math_ops.add_ignore_empty(3, ()) == 3
    assert math_ops.add_ignore_empty(1, 2) == 3


def test_weighted_means_ignore_what_has_no_weight() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 9.0]])
    weight = torch.tensor([[1.0, 1.0], [2.0, 0.0]])
    assert math_ops.weighted_reduce_mean(x, weight).item() == pytest.approx(9 / 4)
    assert math_ops.weighted_reduce_mean(x, weight, dim=0).tolist() == pytest.approx([7 / 3, 2])
    assert math_ops.weighted_reduce_mean(x, torch.zeros(2, 2)).item() == 0


def test_extremes_have_no_nan() -> None:
    assert math_ops.binary_neg_entropy(torch.tensor([0.0, 1.0])).tolist() == [0, 0]
    assert math_ops.normalize_min_max(torch.ones(3)).tolist() == [0, 0, 0]
    assert math_ops.normalize_min_max(torch.tensor([1.0, 3.0, 2.0])).tolist() == [0, 1, 0.5]
    assert math_ops.clipped_exp(torch.tensor([100.0])).item() == pytest.approx(7.389, abs=1e-3)
    assert alf.math.swish(torch.tensor(0.0)).item() == 0


def test_shuffling_keeps_rows_together() -> None:
    rows = {"a": torch.arange(20), "b": torch.arange(20) * 10}
    shuffled = math_ops.shuffle(rows)
    assert sorted(shuffled["a"].tolist()) == list(range(20))
    assert torch.equal(shuffled["a"] * 10, shuffled["b"])


def test_squashing_batches_is_undone() -> None:
    squash = tensor_utils.BatchSquash(2)
    x = torch.arange(24).reshape(2, 3, 4)
    flat = squash.flatten(x)
    assert flat.shape == (6, 4)
    assert torch.equal(squash.unflatten(flat), x)
    with pytest.raises(ValueError, match="before flatten"):
        tensor_utils.BatchSquash(2).unflatten(flat)


def test_extending_by_hand() -> None:
    x = torch.tensor([[1, 2], [3, 4]])
    assert tensor_utils.tensor_extend(x, torch.tensor([5, 6])).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert tensor_utils.tensor_prepend(x, torch.tensor([5, 6])).tolist()[0] == [5, 6]
    assert tensor_utils.tensor_extend_zero(x, dim=1).tolist() == [[1, 2, 0], [3, 4, 0]]
    assert tensor_utils.tensor_extend_zero(x[:0]).tolist() == [[0, 0]]
    assert tensor_utils.tensor_extend_zero(x, dim=-1).tolist() == [[1, 2, 0], [3, 4, 0]]
    assert tensor_utils.tensor_extend_zero(x > 1, dim=-2).tolist()[-1] == [False, False]
    with pytest.raises(IndexError):
        tensor_utils.tensor_extend_zero(x, dim=2)
    assert tensor_utils.tensor_prepend_zero(x).tolist() == [[0, 0], [1, 2], [3, 4]]
    assert tensor_utils.tensor_extend_new_dim(x, 1, 3).shape == (2, 3, 2)


def test_reverse_sums_and_products_by_hand() -> None:
    x = torch.tensor([1.0, 2.0, 3.0])
    assert tensor_utils.reverse_cumsum(x, 0).tolist() == [6, 5, 3]
    assert tensor_utils.reverse_cumprod(x, 0).tolist() == [6, 6, 3]


def test_clipping_by_norm() -> None:
    tensors = {"a": torch.tensor([3.0]), "b": torch.tensor([[4.0]])}
    clipped, norm = tensor_utils.clip_by_global_norm(tensors, 1.0)
    assert norm.item() == 5
    assert clipped["a"].item() == pytest.approx(0.6)
    untouched, _ = tensor_utils.clip_by_global_norm(tensors, 10.0)
    assert untouched["b"].item() == 4
    zeros, _ = tensor_utils.clip_by_global_norm([torch.zeros(2)], 1.0)
    assert zeros[0].tolist() == [0, 0]
    single = tensor_utils.clip_by_norms([torch.tensor([3.0, 4.0]), torch.tensor([0.5])], 1.0)
    assert single[0].tolist() == pytest.approx([0.6, 0.8])
    assert single[1].item() == 0.5
    tensor_utils.clip_by_global_norm(tensors, 1.0, in_place=True)
    assert tensors["b"].item() == pytest.approx(0.8)


def test_explained_variance_by_hand() -> None:
    y = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert tensor_utils.explained_variance(y, y).item() == 1
    assert tensor_utils.explained_variance(torch.zeros(4), y).item() == 0
    for prediction in (y, torch.ones(4)):  # there is nothing to explain in a constant
        assert tensor_utils.explained_variance(prediction, torch.ones(4)).item() == 0
    mask = torch.tensor([True, True, True, False])
    wrong_last = torch.tensor([1.0, 2.0, 3.0, 100.0])
    assert tensor_utils.explained_variance(wrong_last, y, mask).item() == 1
    columns = tensor_utils.explained_variance(y.reshape(2, 2), y.reshape(2, 2), dim=0)
    assert columns.tolist() == [1, 1]


def test_covariance_is_that_of_torch() -> None:
    x = torch.randn(50, 3, dtype=torch.float64)
    torch.testing.assert_close(tensor_utils.cov(x), torch.cov(x.T))
    torch.testing.assert_close(tensor_utils.cov(x.T, rowvar=True), torch.cov(x.T))
    torch.testing.assert_close(tensor_utils.cov(x.expand(2, 50, 3))[1], torch.cov(x.T))


@pytest.mark.parametrize("clone_input", [True, False])
def test_scaled_gradients(clone_input: bool) -> None:
    x = torch.tensor([2.0], requires_grad=True)
    middle = x * 1
    y = tensor_utils.scale_gradient(middle, 0.5, clone_input)
    assert y.item() == 2
    (gradient,) = torch.autograd.grad((y + 3 * middle).sum(), x)
    assert gradient.item() == (3.5 if clone_input else 2.0)


def test_coordinates_are_the_row_and_the_column() -> None:
    image = tensor_utils.append_coordinate(torch.zeros(2, 1, 4, 5))
    assert image.shape == (2, 3, 4, 5)
    assert image[0, 1, :, 2].tolist() == [-1, -0.5, 0, 0.5]
    assert image[1, 2, 3].tolist() == pytest.approx([-1, -0.6, -0.2, 0.2, 0.6])
    z = torch.randn(2, 4)
    assert torch.equal(tensor_utils.spatial_broadcast(z, (3, 5))[..., 2, 4], z)


def test_log1p_is_scaled_after_the_logarithm() -> None:
    x = torch.tensor([-100.0, 0.3])
    y = math_ops.Log1pTransform().transform(x)
    assert y.tolist() == pytest.approx([-20 * math.log(101), 20 * math.log(1.3)])
    torch.testing.assert_close(math_ops.Log1pTransform().inverse_transform(y), x)


def test_rows_are_normalized_on_their_own() -> None:
    x = torch.tensor([[[1.0, 3.0], [2.0, 5.0]], [[7.0, 7.0], [7.0, 7.0]]])
    expected = [[[0, 0.5], [0.25, 1]], [[0, 0], [0, 0]]]
    assert math_ops.normalize_min_max(x).tolist() == expected
