"""Small ensembles of each kind, and data for them."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from alf.tensor_specs import TensorSpec
from alf_layered.models.batch import ModelBatch
from alf_layered.models.known_model import KnownModel
from alf_layered.models.model import Model
from alf_layered.models.probabilistic_ensemble import ProbabilisticEnsemble
from alf_layered.networks.prob_dynamics import ProbFCDynamics


def make_model(state: int = 3, context: int = 2, action: int = 1, **options: Any) -> Any:
    torch.manual_seed(0)
    options.setdefault("partial_net", partial(ProbFCDynamics, hidden=(16, 16)))
    return ProbabilisticEnsemble(
        TensorSpec((state,)), TensorSpec((context,)), TensorSpec((action,)), **options
    ).eval()


def transitions(rows: int = 40, scale: float = 1.0, **fields: Any) -> ModelBatch:
    torch.manual_seed(1)
    state, context, action = torch.randn(rows, 3), torch.randn(rows, 2), torch.randn(rows, 1)
    return ModelBatch(
        state=scale * state,
        context=context,
        action=action,
        next_state=scale * (state + 0.5 * action + 0.1 * torch.randn(rows, 3)),
        terminated=torch.rand(rows) < 0.2,
        **fields,
    )


def rollout_inputs(rows: int = 5, horizon: int = 4) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(2)
    return torch.randn(rows, 3), torch.randn(rows, 2), torch.randn(rows, 6, horizon, 1)


ALL_KINDS = [
    {},
    {"n_models": 3},
    {"n_models": 2, "n_modes": 3, "n_particles_per_model": 2},
    {"n_models": 2, "predict_delta": False},
    {"n_modes": 2, "normalize_targets": False},
    {"n_models": 2, "symmetry_breaking_start": True, "sb_start_duration": 100},
    {"n_modes": 2, "symmetry_breaking_start": True, "predict_delta": False},
    {
        "n_models": 2,
        "n_modes": 2,
        "partial_net": partial(
            ProbFCDynamics, hidden=(16, 16), normalize_inputs=True, ignore_context=False
        ),
    },
]
over_all_kinds = pytest.mark.parametrize("options", ALL_KINDS, ids=[str(i) for i in range(8)])


def used_model(options: dict) -> Any:
    """A model whose moments and schedule are somewhere in between."""
    model = make_model(**options).train()
    model.loss(transitions(scale=2.0))
    model.set_n_total_env_steps(70)
    return model.eval()


def known_model() -> Model:
    """Of the same spaces, with particles that differ and a chance to terminate."""
    return KnownModel(
        lambda state, context, action: 0.9 * state + action + context.sum(-1, keepdim=True),
        lambda state, context, action: torch.sigmoid(state[..., 0]),
        n_particles_per_model=2,
    )


over_all_models = pytest.mark.parametrize(
    "make",
    [*(partial(used_model, o) for o in ALL_KINDS), known_model],
    ids=[*(str(i) for i in range(8)), "known"],
)
