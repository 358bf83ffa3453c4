"""Estimators find the mutual information of normal variables, which is known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from alf.algorithms.mi_estimator import MIEstimator
from alf.optimizers import Adam
from alf.tensor_specs import TensorSpec
from alf.utils.dist_utils import DiagMultivariateNormal

SPEC = TensorSpec((1,))
CORRELATION = 0.9
INFORMATION = -0.5 * math.log(1 - CORRELATION**2)  # 0.83


def pairs(rows: int = 512) -> tuple[Tensor, Tensor]:
    """Standard normal x and y `[B, 1]`, correlated."""
    x = torch.randn(rows, 1)
    return x, CORRELATION * x + math.sqrt(1 - CORRELATION**2) * torch.randn(rows, 1)


def prior_of(y: Tensor) -> DiagMultivariateNormal:
    return DiagMultivariateNormal(torch.zeros_like(y), torch.ones_like(y))


def trained(estimator_type: Any, sampler: Any, steps: int = 250) -> MIEstimator:
    estimator = MIEstimator(
        SPEC,
        SPEC,
        fc_layers=(32, 32),
        sampler=sampler,
        estimator_type=estimator_type,
        optimizer=Adam(lr=5e-3),
    )
    for _ in range(steps):
        x, y = pairs()
        prior = prior_of(y) if estimator_type == "ML" else None
        estimator.update_with_gradient(estimator.train_step((x, y), prior).info)
    return estimator


@pytest.mark.parametrize(
    ("estimator_type", "sampler"),
    [
        ("DV", "shift"),
        ("DV", "buffer"),
        ("KLD", "double_buffer"),
        ("KLD", "shuffle"),
        ("ML", "shift"),
    ],
)
def test_the_estimate_is_the_information_of_correlated_normals(
    estimator_type: Any, sampler: Any
) -> None:
    torch.manual_seed(0)
    estimator = trained(estimator_type, sampler)
    x, y = pairs(8192)
    with torch.no_grad():
        estimate = estimator.train_step((x, y), prior_of(y)).output.mean()
        pointwise = estimator.calc_pmi(x, y, prior_of(y)).mean()
    assert estimate.item() == pytest.approx(INFORMATION, abs=0.12)
    assert pointwise.item() == pytest.approx(INFORMATION, abs=0.2)


def test_jensen_shannon_scores_are_pointwise_information() -> None:
    torch.manual_seed(0)
    estimator = trained("JSD", "shift", 300)
    x, y = pairs(8192)
    with torch.no_grad():
        assert estimator.calc_pmi(x, y).mean().item() == pytest.approx(INFORMATION, abs=0.25)


def test_independent_variables_have_none() -> None:
    torch.manual_seed(0)
    estimator = MIEstimator(SPEC, SPEC, fc_layers=(16,), sampler="shift", optimizer=Adam(lr=1e-2))
    for _ in range(100):
        batch = (torch.randn(256, 1), torch.randn(256, 1))
        estimator.update_with_gradient(estimator.train_step(batch).info)
    with torch.no_grad():
        estimate = estimator.train_step((torch.randn(4096, 1), torch.randn(4096, 1))).output
    assert abs(estimate.mean().item()) < 0.03


@pytest.mark.parametrize(
    ("sampler", "reaches"), [("shift", True), ("shuffle", True), ("buffer", False)]
)
def test_which_samplers_pass_gradients_through_independent_samples(
    sampler: Any, reaches: bool
) -> None:
    estimator = MIEstimator(SPEC, SPEC, fc_layers=(4,), sampler=sampler, estimator_type="KLD")
    x, y = torch.randn(6, 1), torch.randn(6, 1, requires_grad=True)
    _, other = estimator._independent(x, y)
    assert other.requires_grad == reaches


def test_ml_asks_for_the_distribution() -> None:
    with pytest.raises(ValueError, match="y_distribution"):
        MIEstimator(SPEC, SPEC, estimator_type="ML").calc_pmi(*pairs(3))


def test_nested_parts() -> None:
    estimator = MIEstimator(
        [SPEC, TensorSpec((2,))], [SPEC, SPEC], fc_layers=(4,), sampler="double_buffer"
    )
    x, y = [torch.randn(5, 1), torch.randn(5, 2)], [torch.randn(5, 1), torch.randn(5, 1)]
    assert estimator.train_step((x, y)).info.loss.shape == (5,)


@pytest.mark.parametrize("estimator_type", ["DV", "KLD", "JSD"])
def test_a_nested_distribution_replaces_the_sampler(estimator_type: Any) -> None:
    estimator = MIEstimator(SPEC, [SPEC, SPEC], fc_layers=(4,), estimator_type=estimator_type)
    x, y = torch.randn(3, 5, 1), [torch.randn(3, 5, 1), torch.randn(3, 5, 1)]
    step = estimator.train_step((x, y), [prior_of(part) for part in y])
    assert step.output.shape == step.info.loss.shape == (3, 5)


@pytest.mark.parametrize(
    ("y_spec", "model", "text"),
    [
        ([SPEC, SPEC], None, "one vector"),
        (TensorSpec((2,), torch.int64), None, "one vector"),
        (SPEC, torch.nn.Identity(), "its own model"),
    ],
)
def test_what_ml_cannot_use_is_refused(y_spec: Any, model: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        MIEstimator(SPEC, y_spec, model, estimator_type="ML")
