"""Losses and scores of supervised learning, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from alf.utils import sl_utils


def test_half_the_sum_of_squares() -> None:
    output, target = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.0, 2.0], [3.0, 7.0]])
    assert sl_utils.regression_loss(output, target).loss == 5.0
    with pytest.raises(ValueError, match="must be the same"):
        sl_utils.regression_loss(output, target[0])


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_cross_entropy_is_summed(shape: tuple[int, ...]) -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]])
    info = sl_utils.classification_loss(logits, torch.tensor([1, 0]).reshape(shape))
    assert info.loss.item() == pytest.approx(math.log(2) - math.log(0.75))
    assert info.extra == 0.5
    with pytest.raises(ValueError, match="allowed"):
        sl_utils.classification_loss(logits, torch.tensor([1, 0, 1]))


def test_area_under_the_curve_counts_ordered_pairs() -> None:
    inliers, outliers = torch.tensor([0.1, 0.4, 0.35]), torch.tensor([0.8, 0.4, 0.2])
    pairs = [(o > i) + 0.5 * (o == i) for o in outliers.tolist() for i in inliers.tolist()]
    expected = sum(pairs) / len(pairs)
    assert sl_utils.auc_score(inliers, outliers).item() == pytest.approx(expected)
