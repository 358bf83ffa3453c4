"""Models of the dynamics find those of a known linear system, and how noisy it is."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from alf.algorithms.dynamics_learning_algorithm import (
    DeterministicDynamicsAlgorithm,
    DynamicsInfo,
    DynamicsLearningAlgorithm,
    DynamicsState,
    StochasticDynamicsAlgorithm,
)
from alf.data_structures import LossInfo, StepType, TimeStep
from alf.networks.dynamics_networks import DynamicsNetwork
from alf.tensor_specs import BoundedTensorSpec, TensorSpec

FEATURE = TensorSpec((2,))
CONTINUOUS = BoundedTensorSpec((2,), minimum=-1.0, maximum=1.0)
DISCRETE = BoundedTensorSpec((), torch.int64, 0, 2)
NOISE = 0.2
KINDS = {
    "deterministic": DeterministicDynamicsAlgorithm,
    "stochastic": StochasticDynamicsAlgorithm,
}


def _effect(feature: Tensor, action: Tensor) -> Tensor:
    """The change of a feature [B, 2]: a push that depends on where it is."""
    if action.dtype == torch.int64:
        action = torch.tensor([[1.0, 0.0], [0.0, -1.0], [0.5, 0.5]])[action]
    return 0.3 * action.flip(-1) - 0.1 * feature


def _action(spec: Any, rows: int) -> Tensor:
    return torch.randint(3, (rows,)) if spec is DISCRETE else 2 * torch.rand(rows, 2) - 1


def _mid(**fields: Any) -> TimeStep:
    rows = len(fields["prev_action"])
    types = torch.full((rows,), int(StepType.MID), dtype=torch.int32)
    return TimeStep(step_type=types, **fields)


def _trained(kind: str, spec: Any, replicas: int, seed: int = 0, steps: int = 400) -> Any:
    """Learns from features, actions and what followed, where the change has a noise of 0.2."""
    torch.manual_seed(seed)
    model = KINDS[kind](spec, FEATURE, hidden_size=(32,), num_replicas=replicas)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        feature, action = torch.randn(128, 2), _action(spec, 128)
        after = feature + _effect(feature, action) + NOISE * torch.randn(128, 2)
        step = _mid(observation=after, prev_action=action)
        info = model.train_step(step, DynamicsState(feature=feature)).info
        optimizer.zero_grad()
        model.calc_loss(info).scalar_loss.backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("spec", "replicas"), [(CONTINUOUS, 3), (DISCRETE, 1)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_learns_the_dynamics(kind: str, spec: Any, replicas: int, seed: int) -> None:
    """The changes have a deviation of 0.2 and more; a model that knows nothing is off by that."""
    model = _trained(kind, spec, replicas, seed)
    feature, action = torch.randn(500, 2), _action(spec, 500)
    truth = feature + _effect(feature, action)
    with torch.no_grad():
        step = model.predict_step(_mid(prev_action=action), DynamicsState(feature=feature))
        if kind == "stochastic":
            before = feature if replicas == 1 else feature.unsqueeze(1)
            mean = before + step.info.dist.mean
            error = step.output - mean
            assert float(error.std()) == pytest.approx(NOISE, abs=0.03)  # its samples are as noisy
            torch.testing.assert_close(
                step.info.dist.stddev.mean(), torch.tensor(NOISE), atol=0.03, rtol=0
            )
        else:
            mean = step.output
    assert mean.shape == ((500, 2) if replicas == 1 else (500, 3, 2))
    wanted = truth if replicas == 1 else truth.unsqueeze(1).expand(-1, 3, -1)
    assert float((mean - wanted).square().mean().sqrt()) < 0.08


def test_members_of_an_ensemble_differ() -> None:
    model = _trained("deterministic", CONTINUOUS, 3, steps=0)
    step = _mid(prev_action=torch.rand(4, 2))
    output = model.predict_step(step, DynamicsState(feature=torch.rand(4, 2))).output
    assert output.std(1).min() > 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_step_counts_for_nothing_and_a_feature_of_zeros_as_any_other(kind: str) -> None:
    model = _trained(kind, CONTINUOUS, 2, steps=0)
    step = _mid(observation=torch.rand(3, 2), prev_action=torch.rand(3, 2))
    step.step_type[0] = StepType.FIRST
    state = DynamicsState(feature=torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]]))
    trained = model.train_step(step, state)
    assert (trained.info.loss.loss != 0).tolist() == [False, True, True]
    torch.testing.assert_close(trained.state.feature, step.observation[:, None].expand(3, 2, 2))


def test_what_comes_before_a_replayed_sequence_counts_for_nothing() -> None:
    model = _trained("deterministic", CONTINUOUS, 1, steps=0)
    model.set_on_policy(False)
    info = DynamicsInfo(loss=LossInfo(loss=2 * torch.ones(4, 3)))
    assert float(model.calc_loss(info).scalar_loss) == 1.5  # of three of four steps
    model.use_rollout_state = True  # then the feature before is stored
    assert float(model.calc_loss(info).scalar_loss) == 2.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DeterministicDynamicsAlgorithm([CONTINUOUS], FEATURE), "for one action"),
        (lambda: DeterministicDynamicsAlgorithm(CONTINUOUS, {"x": FEATURE}), "for one feature"),
        (lambda: DeterministicDynamicsAlgorithm(CONTINUOUS, TensorSpec((3, 4))), "of rank 1"),
        (
            lambda: DeterministicDynamicsAlgorithm(
                BoundedTensorSpec((), torch.int64, 1, 2), FEATURE
            ),
            "a discrete scalar from 0",
        ),
        (
            lambda: StochasticDynamicsAlgorithm(
                CONTINUOUS, FEATURE, dynamics_network_ctor=partial(DynamicsNetwork, prob=False)
            ),
            "set prob=True",
        ),
        (lambda: DeterministicDynamicsAlgorithm(CONTINUOUS, FEATURE, num_replicas=0), "at least 1"),
    ],
)
def test_what_cannot_be_modelled_is_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_the_base_has_a_network_of_its_own() -> None:
    base = DynamicsLearningAlgorithm(
        DynamicsState(feature=FEATURE), CONTINUOUS, FEATURE, hidden_size=(8,), num_replicas=2
    )
    assert base._dynamics_network((torch.rand(3, 2, 2), torch.rand(3, 2, 2)))[0].shape == (3, 2, 2)
